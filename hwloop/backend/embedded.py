"""The embedded backend: hwloop's mapper and simulator, over the machine's cores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwloop.backend.answering import answer_all
from hwloop.backend.pool import Workers
from hwloop.backend.protocol import Cheapest
from hwloop.backend.request import MapRequest, OnOutcome, Outcome
from hwloop.errors import InfeasibleMappingError
from hwloop.mapper.mapper import map_problem
from hwloop.mapper.objective import Objective, objective_values
from hwloop.mapper.version import MODEL_VERSION as MAPPER_VERSION
from hwloop.simulator import LayerCandidate, LayerCost, LayerNests, simulate
from hwloop.simulator.version import MODEL_VERSION as SIMULATOR_VERSION
from hwloop.spec.batch import MappingBatch
from hwloop.spec.levels import Architecture
from hwloop.spec.mapping import Mapping as LoopMapping
from hwloop.spec.problem import Problem

EMBEDDED = "embedded"
IDENTITY = f"mapper {MAPPER_VERSION}, simulator {SIMULATOR_VERSION}"


@dataclass(frozen=True)
class Embedded:
    """hwloop's own mapper and simulator.

    Attributes:
        workers: processes; None for one a core, 1 to stay in this one, text for the address of a Dask scheduler. Answers do not
            depend on it.
    """

    workers: Workers = None
    name = EMBEDDED
    identity = f"{EMBEDDED}: {IDENTITY}"

    def map(self, requests: Sequence[MapRequest], on_outcome: OnOutcome | None = None) -> list[Outcome]:
        """The best mapping of each request; see `Backend.map`."""
        return answer_all(map_one, requests, self.workers, on_outcome)

    def simulate(self, request: MapRequest, mapping: LoopMapping) -> LayerCost:
        """The cost of a request's layer under one mapping; see `hwloop.simulate`."""
        return simulate(request.problem, request.arch, mapping, request.ert, request.bits)

    def short_list(self, problem: Problem, arch: Architecture, mappings: Sequence[LoopMapping]) -> EmbeddedShortList:
        """Mappings whose nests are analysed once; see `Backend.short_list`."""
        batch = MappingBatch.from_mappings(mappings, problem.shape, problem.bounds, arch)
        return EmbeddedShortList(LayerNests(problem, arch, batch))


@dataclass(frozen=True)
class EmbeddedShortList:
    """Analysed nests of some mappings of one layer."""

    nests: LayerNests

    def cheapest(self, cases: Sequence[LayerCandidate], objective: Objective = "edp") -> Cheapest:
        """The best mapping for each case, all cases at once; see `ShortList.cheapest`."""
        found = self.nests.cost(cases)
        with np.errstate(invalid="ignore"):
            value, tie = objective_values(objective, found)
        value, tie = np.where(found.feasible, value, np.inf), np.where(found.feasible, tie, np.inf)
        best = np.lexsort((tie, value), axis=1)[:, 0]
        rows = np.arange(len(cases))
        fits = found.feasible[rows, best]
        return Cheapest(
            np.where(fits, best, -1),
            found.energy_pj[rows, best],
            np.where(fits, found.cycles[rows, best], np.inf),
            found.utilization[rows, best],
            {name: energy[rows, best] for name, energy in found.component_energy_pj.items()},
        )


def map_one(request: MapRequest) -> Outcome:
    """Runs the mapper on one request, in this process."""
    try:
        return map_problem(
            request.problem,
            request.arch,
            request.ert,
            constraints=request.constraints,
            objective=request.settings.objective,
            bits=None if request.bits is None else dict(request.bits),
            start=request.start,
            seed=request.settings.seed,
            effort=request.settings.effort,
        )
    except InfeasibleMappingError as error:
        return error
