"""Stage 2 of the search: evolution over (p, q), every candidate scored by inference and simulation alone.

Stage 1, the library of pruned models, is `hwloop.network.build_library`; here it is what `CompressedModel` stands on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from hwloop.backend.candidates import CandidateCosts
from hwloop.search.archive import Evaluation
from hwloop.search.checkpoint import EvaluationLog
from hwloop.search.genotype import Candidate, Genotype
from hwloop.search.method import Floats, Genes, OnStep, SearchBudget, SearchMethod, SearchProblem
from hwloop.search.objectives import Budget, Objective, to_f, to_g
from hwloop.spec.plan import Plan

OnEvaluation = Callable[[Evaluation, bool], None]


class CompressedModel(Protocol):
    """A trained network with its library, as the search asks about it. The same candidate always gets the same answers."""

    def accuracy(self, candidate: Candidate) -> float:
        """On the validation images, 0 to 1."""
        ...

    def plan(self, candidate: Candidate) -> Plan:
        """Densities and bits of every layer."""
        ...

    def size_bits(self, candidate: Candidate) -> float:
        """Of the stored model [bits]."""
        ...

    def macs(self, candidate: Candidate) -> float:
        """Multiply-accumulates with a weight that is not zero, for one input."""
        ...


def score(candidate: Candidate, model: CompressedModel, hardware: CandidateCosts) -> dict[str, float]:
    """Every number a candidate has, by metric; those of the hardware are left out where no mapping fits."""
    metrics = {
        "accuracy": float(model.accuracy(candidate)),
        "size_bits": float(model.size_bits(candidate)),
        "macs": float(model.macs(candidate)),
    }
    [cost] = hardware.costs([model.plan(candidate)])
    if cost is not None:
        metrics |= {"energy_pj": float(cost.energy_pj), "cycles": float(cost.cycles), "edp": float(cost.edp)}
    return metrics


def corners(genotype: Genotype) -> list[Candidate]:
    """Candidates far apart in density and bits, whose best mappings make the short lists."""
    last = len(genotype.fractions) - 1
    low = max(genotype.weight_bits[0], min(4, genotype.weight_bits[1]))
    middle = max(genotype.weight_bits[0], min(8, genotype.weight_bits[1]))
    rows = [(0, low), (last // 2, middle), (last, middle), (last, low)]
    genes = dict.fromkeys(tuple(genotype.uniform(i, bits).tolist()) for i, bits in rows)
    return [genotype.decode(row) for row in genes]


def evolve(
    genotype: Genotype,
    scorer: Callable[[Candidate], dict[str, float]],
    objectives: Sequence[Objective],
    budgets: Sequence[Budget],
    method: SearchMethod,
    search_budget: SearchBudget,
    seed: int,
    log: EvaluationLog,
    on_step: OnStep | None = None,
    on_evaluation: OnEvaluation | None = None,
) -> list[Evaluation]:
    """Runs a search method; what `log` has is answered from it, what it has not is scored and appended.

    Args:
        genotype: the space.
        scorer: metrics of a candidate.
        objectives: what is minimised.
        budgets: what must hold.
        method: NSGA-II or another.
        search_budget: population and generations.
        seed: the same seed asks for the same candidates.
        log: every evaluation, kept as it happens.
        on_step: called after each generation.
        on_evaluation: called for each candidate with whether it came from the log.

    Returns:
        The evaluations that this search asked for, in the order it asked, each once.
    """
    asked: dict[tuple[int, ...], Evaluation] = {}

    def evaluate(X: Genes) -> tuple[Floats, Floats]:
        for row in X:
            x = tuple(int(v) for v in row)
            known = x in log
            if not known:
                log.append(Evaluation(x, scorer(genotype.decode(row))))
            if x not in asked:
                asked[x] = log[x]
                if on_evaluation is not None:
                    on_evaluation(log[x], known)
        metrics = [asked[tuple(int(v) for v in row)].metrics for row in X]
        return to_f(metrics, objectives), to_g(metrics, budgets)

    problem = SearchProblem(
        lower=genotype.lower,
        upper=genotype.upper,
        n_obj=len(objectives),
        n_constr=1 + len(budgets),
        evaluate=evaluate,
        anchors=np.asarray(genotype.anchors()),
        groups=genotype.groups,
    )
    method.run(problem, search_budget, seed, on_step)
    return list(asked.values())
