"""One target's search, from its reference to its front mapped in full."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from hwloop.backend.candidates import CandidateCosts
from hwloop.backend.network_cost import NetworkCost
from hwloop.backend.request import MapperSettings, MapRequest, Outcome
from hwloop.backend.target import Target
from hwloop.errors import InfeasibleMappingError
from hwloop.memo import Memo
from hwloop.pareto import hypervolume, non_dominated
from hwloop.report.progress import Progress, Task
from hwloop.report.result import Front, Member
from hwloop.report.tables import count_text, energy_text, percent, size_text
from hwloop.run.model import LibraryModel
from hwloop.run.networks import open_backend
from hwloop.run.settings import Settings
from hwloop.search.archive import Evaluation, front, nearest_to_feasible
from hwloop.search.checkpoint import EvaluationLog
from hwloop.search.genotype import Genotype
from hwloop.search.method import SearchBudget, Step
from hwloop.search.methods import find_method
from hwloop.search.objectives import Budget, Objective, find_objectives, read_budget, to_f, to_g
from hwloop.search.stages import corners, evolve, score

Timer = Callable[[str], AbstractContextManager[None]]
_HARDWARE = ("energy_pj", "cycles", "edp")


def search_target(
    target: Target,
    scored: LibraryModel,
    settings: Settings,
    log: EvaluationLog,
    memo: Memo | None,
    workers: int | None,
    progress: Progress,
    timer: Timer,
) -> Front:
    """Maps the reference and the corners, evolves, and maps the front in full.

    Raises:
        InfeasibleMappingError: a layer fits no mapping, or no candidate meets the budgets.
    """
    genotype = Genotype(scored.library.fractions, scored.layers, settings.weight_bits, settings.activation_bits)
    objectives = find_objectives(settings.objectives)
    budgets = [read_budget(text) for text in settings.budgets]
    counter = _Counter()
    mapper = MapperSettings(settings.mapping_objective, settings.mapper_effort, settings.seed)
    hardware = CandidateCosts(scored.workload, target, mapper, open_backend(settings.simulator, workers, memo))
    with timer("mapping"):
        plans = [scored.plan(candidate) for candidate in corners(genotype)]
        layers = len(scored.workload.layers)
        with counter.shown(progress, f"{target.name}: map the reference and {len(plans)} corners", layers * (len(plans) + 1)):
            reference_cost = hardware.prepare(scored.reference_plan(), plans, counter)
    with timer("search"):
        evaluations, hypervolumes = _evolve(target, genotype, scored, hardware, objectives, budgets, settings, log, progress)
    found = front(evaluations, objectives, budgets)
    if not found:
        raise _out_of_reach(target, evaluations, budgets)
    reference = _reference(scored, genotype, reference_cost, settings)
    with timer("mapping"):
        candidates = [genotype.decode(entry.x) for entry in found]
        with counter.shown(progress, f"{target.name}: map the front of {len(found)} in full", layers * len(found)):
            costs = hardware.remap([scored.plan(candidate) for candidate in candidates], counter)
    members = [
        Member(candidate.p, candidate.weight_bits, candidate.activation_bits, _metrics(entry, cost), entry.metrics)
        for candidate, entry, cost in zip(candidates, found, costs, strict=True)
    ]
    return Front(
        target=target.name,
        objectives=tuple(o.metric for o in objectives),
        maximised=tuple(o.maximise for o in objectives),
        reference=reference,
        members=_still_best(members, objectives, budgets),
        cloud=tuple(entry.metrics for entry in evaluations),
        hypervolumes=hypervolumes,
    )


def _evolve(
    target: Target,
    genotype: Genotype,
    scored: LibraryModel,
    hardware: CandidateCosts,
    objectives: Sequence[Objective],
    budgets: Sequence[Budget],
    settings: Settings,
    log: EvaluationLog,
    progress: Progress,
) -> tuple[list[Evaluation], tuple[float, ...]]:
    steps: list[Step] = []
    if log.resumed:
        progress.say(f"{target.name}: {log.resumed} evaluations of an earlier run are taken from its log")
    with progress.task(f"{target.name}: evolve", settings.population * settings.generations) as task:
        state: dict[str, Any] = {"note": ""}

        def on_step(step: Step) -> None:
            steps.append(step)
            state["note"] = f"generation {step.generation}/{step.generations}"
            task.advance(state["note"], 0)

        evaluations = evolve(
            genotype,
            lambda candidate: score(candidate, scored, hardware),
            objectives,
            budgets,
            find_method(settings.method),
            SearchBudget(settings.population, settings.generations),
            settings.seed,
            log,
            on_step,
            lambda _evaluation, _known: task.advance(),
        )
    return evaluations, _hypervolumes(steps)


def _hypervolumes(steps: Sequence[Step]) -> tuple[float, ...]:
    """Of each generation's feasible candidates, as a part of the box that all of them span."""
    fronts = [step.F[(step.G <= 0).all(axis=1)] for step in steps]
    every = np.concatenate(fronts) if fronts else np.zeros((0, 1))
    if not len(every) or every.shape[1] > 3:
        return ()
    low, high = every.min(axis=0), every.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    ref = np.ones(every.shape[1]) * 1.001
    return tuple(round(hypervolume((F - low) / span, ref), 6) if len(F) else 0.0 for F in fronts)


def _reference(scored: LibraryModel, genotype: Genotype, cost: NetworkCost, settings: Settings) -> Member:
    metrics = {
        "accuracy": scored.reference_accuracy(),
        "size_bits": float(scored.reference_size_bits()),
        "macs": float(scored.workload.computes),
        **_hardware_metrics(cost),
    }
    bits = dict.fromkeys(genotype.layers, settings.reference_bits)
    return Member(0.0, bits, bits, metrics, metrics)


def _hardware_metrics(cost: NetworkCost) -> dict[str, float]:
    return {"energy_pj": float(cost.energy_pj), "cycles": float(cost.cycles), "edp": float(cost.edp)}


def _metrics(entry: Evaluation, cost: NetworkCost | None) -> dict[str, float]:
    return dict(entry.metrics) | (_hardware_metrics(cost) if cost is not None else {})


def _still_best(members: Sequence[Member], objectives: Sequence[Objective], budgets: Sequence[Budget]) -> tuple[Member, ...]:
    """Those that the full mapping leaves feasible and not dominated, by falling accuracy, then rising energy."""
    metrics = [member.metrics for member in members]
    feasible = (to_g(metrics, budgets) <= 0).all(axis=1)
    kept = [members[i] for i in np.flatnonzero(feasible).tolist()] or list(members)
    mask = non_dominated(to_f([member.metrics for member in kept], objectives))
    best = [kept[i] for i in np.flatnonzero(mask).tolist()]
    return tuple(sorted(best, key=lambda m: (-m.metrics["accuracy"], m.metrics["energy_pj"])))


def _out_of_reach(target: Target, evaluations: Sequence[Evaluation], budgets: Sequence[Budget]) -> InfeasibleMappingError:
    nearest = nearest_to_feasible(evaluations, budgets)
    if nearest is None or "energy_pj" not in nearest.metrics or not budgets:
        return InfeasibleMappingError(f"{target.name}: no mapping fits for any candidate; give the accelerator more room")
    reached = ", ".join(
        f"{b.objective.name} {_value_text(b.objective.metric, nearest.metrics[b.objective.metric])}" for b in budgets
    )
    wanted = " and ".join(f"{b.objective.name} {b.relation} {_value_text(b.objective.metric, b.bound)}" for b in budgets)
    return InfeasibleMappingError(
        f"{target.name}: none of {len(evaluations)} candidates meets {wanted}; "
        f"the nearest reaches {reached}; loosen the budget, allow fewer bits or more pruning, or search longer "
        "(the evaluations are kept)"
    )


def _value_text(metric: str, value: float) -> str:
    """A metric's value with its unit: `2.31 uJ`, `12.3 kB`, `97.50%`, `1.23 M cycles`."""
    if metric in ("energy_pj", "size_bits", "accuracy"):
        return {"energy_pj": energy_text, "size_bits": size_text, "accuracy": percent}[metric](value)
    return count_text(value) + {"cycles": " cycles", "edp": " pJ cycles"}.get(metric, "")


class _Counter:
    """Moves the bar under way as mapper answers arrive."""

    def __init__(self) -> None:
        self._task: Task | None = None
        self._total = self._seen = 0

    def __call__(self, _at: int, request: MapRequest, _outcome: Outcome) -> None:
        if self._task is not None:
            self._seen += 1
            self._task.advance(request.layer)

    def shown(self, progress: Progress, title: str, total: int) -> _Shown:
        """A context in which answers are counted."""
        return _Shown(self, progress, title, total)


class _Shown:
    def __init__(self, counter: _Counter, progress: Progress, title: str, total: int) -> None:
        self.counter, self.total = counter, total
        self.context = progress.task(title, total)

    def __enter__(self) -> None:
        self.counter._task = self.context.__enter__()
        self.counter._seen = 0

    def __exit__(self, *error: Any) -> None:
        if error[0] is None and self.counter._task is not None and self.counter._seen < self.total:
            self.counter._task.advance(f"{self.counter._seen} distinct", self.total - self.counter._seen)
        self.counter._task = None
        self.context.__exit__(*error)
