"""One target's search, from its reference to the final mapping of its front."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hwloop.backend.layer_runs import Known, NetworkRun
from hwloop.backend.network_cost import NetworkCost
from hwloop.backend.pool import Workers
from hwloop.backend.request import MapperSettings, OnOutcome
from hwloop.backend.target import Target
from hwloop.errors import InfeasibleMappingError
from hwloop.memo import Memo
from hwloop.pareto import hypervolume, non_dominated
from hwloop.report.progress import Progress
from hwloop.report.result import Front, Member
from hwloop.report.tables import metric_text
from hwloop.run.design_search import Costs, search_parts
from hwloop.run.networks import open_backend
from hwloop.run.settings import CODINGS, Settings
from hwloop.search.log import EvaluationLog
from hwloop.search.method import Method, run_method
from hwloop.search.objectives import Budget, Objective, find_objectives, read_budget, to_f, to_g
from hwloop.search.records import Record, front, nearest_to_feasible
from hwloop.search.seams import Scorer, SearchBudget, Step
from hwloop.search.space import Space
from hwloop.search.study import Study, hardware_metrics
from hwloop.spec.plan import Plan

Timer = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class Searched:
    """A finished search.

    Attributes:
        front: its numbers, without the test set's.
        records: of each member of the front.
        networks: of each member of the front: gives its network, or None where the plan alone makes it.
    """

    front: Front
    records: tuple[Record, ...]
    networks: tuple[Callable[[], Any], ...]


def search_target(
    target: Target,
    scorer: Scorer,
    space: Space,
    method: Method,
    settings: Settings,
    log: EvaluationLog,
    folder: Path | None,
    memo: Memo | None,
    workers: Workers,
    progress: Progress,
    timer: Timer,
) -> Searched:
    """Maps the reference and the corners, searches, and maps every layer of the front again.

    Args:
        target: the accelerator under its dataflow.
        scorer: the network.
        space: what may be changed.
        method: how it is searched.
        settings: everything else.
        log: every evaluation.
        folder: for what the method keeps; None keeps nothing.
        memo: the memo table, None without one.
        workers: processes of the mapper.
        progress: where to show how far it is.
        timer: adds the time of a stage.

    Raises:
        InfeasibleMappingError: a layer fits no mapping, or no candidate meets the budgets.
    """
    objectives = find_objectives(settings.objectives)
    budgets = [read_budget(text) for text in settings.budgets]
    mapper = MapperSettings(settings.mapping_objective, settings.mapper_effort, settings.seed)
    scorer, space, hardware = search_parts(target, scorer, space, mapper, open_backend(settings.simulator, workers, memo))
    with timer("mapping"):
        corners = [scorer.complete(plan) for plan in space.corners()]
        reference = scorer.complete(Plan())
        title = f"{target.name}: map the reference and {len(corners)} corners"
        with _answers(progress, title, scorer, [reference, *corners]) as count:
            reference_cost = hardware.prepare(reference, corners, count)
        plain = _plain(hardware, reference)
    study = Study(
        scorer, hardware, reference_cost, objectives, budgets, SearchBudget(settings.evaluations, settings.images),
        settings.seed, log, folder,
    )  # fmt: skip
    with timer("search"):
        _search(study, space, method, target.name, log, progress)
    found = front(study.records, objectives, budgets)
    if not found:
        raise _out_of_reach(target, study.records, budgets)
    plans = [scorer.complete(record.plan) for record in found]
    title = f"{target.name}: map all layers of the {len(found)} on the front"
    with timer("mapping"), _answers(progress, title, scorer, plans) as count:
        costs = hardware.remap(plans, count)
        known: Known = {}

        members = [
            (_member(scorer, plan, record, cost, None if cost is None else hardware.run(plan, cost, known)), record)
            for plan, record, cost in zip(plans, found, costs, strict=True)
        ]
        start = replace(_reference(scorer, reference_cost), run=hardware.run(reference, reference_cost, known))
    best = _still_best(members, objectives, budgets)
    result = Front(
        target=target.name,
        objectives=tuple(o.metric for o in objectives),
        maximised=tuple(o.maximise for o in objectives),
        reference=start,
        members=tuple(member for member, _ in best),
        cloud=tuple(record.metrics for record in study.records),
        hypervolumes=hypervolumes(study.steps),
        images=study.images_used,
        plain_energy_pj=plain,
    )
    records = tuple(record for _, record in best)
    return Searched(result, records, tuple(partial(study.network, record) for record in records))


def _plain(hardware: Costs, reference: Plan) -> float | None:
    """Energy of the reference where no zero is used [pJ]; None where that says nothing more, or dense data does not fit."""
    try:
        cost = hardware.plain(reference)
    except InfeasibleMappingError:
        return None
    return None if cost is None else cost.energy_pj


@contextmanager
def _answers(progress: Progress, title: str, scorer: Scorer, plans: Sequence[Plan]) -> Iterator[OnOutcome]:
    """A task that moves as the mapper answers for the layers of `plans`."""
    with progress.task(title, sum(len(plan.apply(scorer.workload)) for plan in plans)) as task:
        yield lambda _at, request, _outcome: task.advance(request.layer)


def _search(study: Study, space: Space, method: Method, target: str, log: EvaluationLog, progress: Progress) -> None:
    if log.resumed:
        progress.say(f"{target}: {log.resumed} evaluations of an earlier run are taken from its log")
    bounds = [n for n in (method.expected(), study.limit.evaluations) if n]
    with progress.task(f"{target}: search with {method.name}", min(bounds, default=0)) as task:

        def on_step(step: Step) -> None:
            of = f"/{step.steps}" if step.steps else ""
            task.advance(f"step {step.number}{of}", 0)

        def on_divergence(count: int) -> None:
            task.advance(f"{count} choices of single layers measured", 0)

        study.watch(lambda _record, _known: task.advance(), on_step, on_divergence)
        run_method(method, study, space)


def hypervolumes(steps: Sequence[Step]) -> tuple[float, ...]:
    """Of each step's feasible candidates, as a part of the box that all of them span; empty beyond four objectives."""
    fronts = [step.F[(step.G <= 0).all(axis=1)] for step in steps]
    every = np.concatenate(fronts) if fronts else np.zeros((0, 1))
    if not len(every) or every.shape[1] > 4:
        return ()
    low, high = every.min(axis=0), every.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    ref = np.ones(every.shape[1]) * 1.001
    return tuple(round(hypervolume((F - low) / span, ref), 6) if len(F) else 0.0 for F in fronts)


def _reference(scorer: Scorer, cost: NetworkCost) -> Member:
    metrics = {
        "accuracy": float(scorer.accuracy(Plan())),
        "size_bits": float(scorer.size_bits(Plan())),
        "macs": float(scorer.workload.computes),
        **hardware_metrics(cost),
    }
    return Member(scorer.complete(Plan()), 0.0, metrics, metrics, sizes=_sizes(scorer, Plan()))


def _member(scorer: Scorer, plan: Plan, record: Record, cost: NetworkCost | None, run: NetworkRun | None) -> Member:
    metrics = dict(record.metrics) | (hardware_metrics(cost) if cost is not None else {})
    pruned, sizes = 1 - plan.weights_kept(scorer.workload), _sizes(scorer, plan)
    return Member(plan, pruned, metrics, record.metrics, record.how, sizes=sizes, run=run)


def _sizes(scorer: Scorer, plan: Plan) -> dict[str, float]:
    """Of the stored network under every coding [bits]."""
    return {coding: float(scorer.size_bits(plan, coding)) for coding in CODINGS}


def _still_best(
    members: Sequence[tuple[Member, Record]], objectives: Sequence[Objective], budgets: Sequence[Budget]
) -> list[tuple[Member, Record]]:
    """Those that the full mapping leaves feasible and not dominated, by falling accuracy, then rising energy."""
    feasible = (to_g([member.metrics for member, _ in members], budgets) <= 0).all(axis=1)
    kept = [members[i] for i in np.flatnonzero(feasible).tolist()] or list(members)
    mask = non_dominated(to_f([member.metrics for member, _ in kept], objectives))
    best = [kept[i] for i in np.flatnonzero(mask).tolist()]
    return sorted(best, key=lambda pair: (-pair[0].metrics["accuracy"], pair[0].metrics["energy_pj"]))


def _out_of_reach(target: Target, records: Sequence[Record], budgets: Sequence[Budget]) -> InfeasibleMappingError:
    nearest = nearest_to_feasible(records, budgets)
    if nearest is None or "energy_pj" not in nearest.metrics or not budgets:
        return InfeasibleMappingError(f"{target.name}: no mapping fits for any candidate; give the accelerator more room")
    reached = ", ".join(
        f"{b.objective.name} {metric_text(b.objective.metric, nearest.metrics[b.objective.metric])}" for b in budgets
    )
    wanted = " and ".join(f"{b.objective.name} {b.relation} {metric_text(b.objective.metric, b.bound)}" for b in budgets)
    return InfeasibleMappingError(
        f"{target.name}: none of {len(records)} candidates meets {wanted}; "
        f"the nearest reaches {reached}; loosen the budget, allow fewer bits or more pruning, or search longer "
        "(the evaluations are kept)"
    )
