"""The real Timeloop as a backend: it costs every mapping, and finds them too where it is asked to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter

import numpy as np

from hwloop.backend.answering import answer_all
from hwloop.backend.embedded import IDENTITY, Embedded, map_one
from hwloop.backend.pool import Workers
from hwloop.backend.protocol import Cheapest, ShortList
from hwloop.backend.request import MapRequest, OnOutcome, Outcome
from hwloop.backend.timeloop.programs import Timeloop
from hwloop.backend.timeloop.version import MODEL_VERSION
from hwloop.errors import InfeasibleMappingError, SimulatorError
from hwloop.mapper.objective import Objective, objective_value
from hwloop.mapper.result import MapResult, find_ceiling, find_padding
from hwloop.simulator import LayerCandidate, LayerCost
from hwloop.spec.levels import Architecture
from hwloop.spec.mapping import Mapping as LoopMapping
from hwloop.spec.problem import Problem

TIMELOOP, TIMELOOP_MAPPER = "timeloop", "timeloop-mapper"


@dataclass(frozen=True)
class TimeloopBackend:
    """hwloop's mapper finds the mappings, the real `timeloop-model` says what they cost.

    Attributes:
        programs: the Timeloop on this machine.
        workers: programs at a time; None for one a core; text for the address of a Dask scheduler.
    """

    programs: Timeloop
    workers: Workers = None
    name = TIMELOOP

    @property
    def identity(self) -> str:
        """The program's digest, and the versions of what writes its input, reads its output and finds the mappings."""
        return f"{TIMELOOP} {self.programs.version}: adapter {MODEL_VERSION}, {IDENTITY}"

    def map(self, requests: Sequence[MapRequest], on_outcome: OnOutcome | None = None) -> list[Outcome]:
        """The best mapping of each request; see `Backend.map`."""
        return answer_all(partial(_with_our_mapping, self.programs), requests, self.workers, on_outcome)

    def simulate(self, request: MapRequest, mapping: LoopMapping) -> LayerCost:
        """The cost of a request's layer under one mapping; see `Backend.simulate`."""
        return _run(self.programs, request, mapping)

    def short_list(self, problem: Problem, arch: Architecture, mappings: Sequence[LoopMapping]) -> TimeloopShortList:
        """Mappings of which the embedded simulator picks one and Timeloop costs it; see `Backend.short_list`."""
        return TimeloopShortList(self.programs, problem, arch, tuple(mappings), Embedded().short_list(problem, arch, mappings))


@dataclass(frozen=True)
class TimeloopShortList:
    """Some mappings of one layer: the embedded simulator picks each case's, Timeloop says what it costs."""

    programs: Timeloop
    problem: Problem
    arch: Architecture
    mappings: tuple[LoopMapping, ...]
    picker: ShortList

    def cheapest(self, cases: Sequence[LayerCandidate], objective: Objective = "edp") -> Cheapest:
        """One run of Timeloop a case; see `ShortList.cheapest`."""
        picked = self.picker.cheapest(cases, objective).at.tolist()
        costs = [None if at < 0 else self._attempt(case, self.mappings[at]) for at, case in zip(picked, cases, strict=True)]
        names = dict.fromkeys(name for cost in costs if cost for name in cost.components)
        return Cheapest(
            np.array([at if cost else -1 for at, cost in zip(picked, costs, strict=True)], np.int64),
            np.array([cost.energy_pj if cost else np.inf for cost in costs]),
            np.array([float(cost.cycles) if cost else np.inf for cost in costs]),
            np.array([cost.utilization if cost else 0.0 for cost in costs]),
            {name: np.array([cost.components[name].energy_pj if cost else np.inf for cost in costs]) for name in names},
        )

    def _attempt(self, case: LayerCandidate, mapping: LoopMapping) -> LayerCost | None:
        densities = dict(self.problem.densities) | dict(case.densities)
        problem = self.problem.with_densities(densities) if densities else self.problem
        try:
            return self.programs.simulate(problem, self.arch, mapping, case.energy_table, case.bits or None)
        except InfeasibleMappingError:
            return None


@dataclass(frozen=True)
class TimeloopMapperBackend(TimeloopBackend):
    """The real `timeloop-mapper` finds the mappings, `timeloop-model` says what they cost."""

    name = TIMELOOP_MAPPER

    @property
    def identity(self) -> str:
        """The programs' digests, and the version of what writes their input and reads their output.

        Raises:
            SimulatorError: `timeloop-mapper` is not there.
        """
        return f"{TIMELOOP_MAPPER} {self.programs.mapper_version} with {self.programs.version}: adapter {MODEL_VERSION}"

    def map(self, requests: Sequence[MapRequest], on_outcome: OnOutcome | None = None) -> list[Outcome]:
        """The mapping that `timeloop-mapper` finds for each request; see `Backend.map`.

        It looks at the accelerator's own word widths; with `bits` only the cost is that of mixed precision, so a mapping that
        fits wide words is found where a tighter one would do. It takes no start, seed or effort.
        """
        return answer_all(partial(_with_their_mapping, self.programs), requests, self.workers, on_outcome)


def _with_our_mapping(programs: Timeloop, request: MapRequest) -> Outcome:
    began = perf_counter()
    found = map_one(request)
    if not isinstance(found, MapResult):
        return found
    try:
        cost = _run(programs, request, found.mapping)
    except InfeasibleMappingError as refused:
        return refused
    return replace(
        found,
        cost=cost,
        value=_value(request.settings.objective, cost),
        ceiling=find_ceiling(cost, request.arch),
        seconds=perf_counter() - began,
    )


def _with_their_mapping(programs: Timeloop, request: MapRequest) -> Outcome:
    began = perf_counter()
    objective = request.settings.objective
    if not isinstance(objective, str):
        raise SimulatorError(f"{TIMELOOP_MAPPER} minimises edp, energy or cycles, not a function; use hwloop's mapper")
    try:
        mapping, cost = programs.map_problem(request.problem, request.arch, request.ert, request.constraints, objective)
        if request.bits or any(density.level for _, density in request.problem.densities):
            cost = _run(programs, request, mapping)
    except InfeasibleMappingError as refused:
        return refused
    return MapResult(
        mapping=mapping,
        cost=cost,
        objective=objective,
        value=_value(objective, cost),
        ceiling=find_ceiling(cost, request.arch),
        padding=find_padding(mapping, request.problem),
        evaluated=1,
        simulated=1,
        seconds=perf_counter() - began,
    )


def _run(programs: Timeloop, request: MapRequest, mapping: LoopMapping) -> LayerCost:
    return programs.simulate(request.problem, request.arch, mapping, request.ert, request.bits)


def _value(objective: Objective, cost: LayerCost) -> float:
    return objective_value(objective, cost.energy_pj, cost.cycles, cost.utilization)
