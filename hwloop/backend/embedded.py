"""The embedded backend: hwloop's mapper and simulator, over the machine's cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwloop.backend.pool import answer_all
from hwloop.backend.protocol import EMBEDDED, Cheapest, CostCase
from hwloop.backend.request import MapRequest, OnOutcome, Outcome
from hwloop.errors import InfeasibleMappingError
from hwloop.mapper.mapper import map_problem
from hwloop.mapper.objective import Objective, objective_values
from hwloop.mapper.version import MODEL_VERSION as MAPPER_VERSION
from hwloop.simulator import BatchCost, LayerCost, simulate, simulate_batch
from hwloop.simulator.version import MODEL_VERSION as SIMULATOR_VERSION
from hwloop.spec.batch import MappingBatch
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.levels import Architecture
from hwloop.spec.mapping import Mapping as LoopMapping
from hwloop.spec.problem import Problem

IDENTITY = f"mapper {MAPPER_VERSION}, simulator {SIMULATOR_VERSION}"


@dataclass(frozen=True)
class Embedded:
    """hwloop's own mapper and simulator.

    Attributes:
        workers: processes; None for one a core, 1 to stay in this one. Answers do not depend on it.
    """

    workers: int | None = None
    name = EMBEDDED
    identity = f"{EMBEDDED}: {IDENTITY}"

    def map(self, requests: Sequence[MapRequest], on_outcome: OnOutcome | None = None) -> list[Outcome]:
        """The best mapping of each request; see `Backend.map`."""
        return answer_all(map_one, requests, self.workers, on_outcome)

    def simulate(
        self,
        problem: Problem,
        architecture: Architecture,
        mapping: LoopMapping,
        table: EnergyTable,
        bits: Mapping[str, int] | None = None,
    ) -> LayerCost:
        """The cost of one layer under one mapping; see `hwloop.simulate`."""
        return simulate(problem, architecture, mapping, table, bits)

    def cheapest(
        self, mappings: Sequence[LoopMapping], arch: Architecture, cases: Sequence[CostCase], objective: Objective = "edp"
    ) -> Cheapest:
        """The best of `mappings` for each case; see `Backend.cheapest`."""
        problem = cases[0].problem
        batch = MappingBatch.from_mappings(mappings, problem.shape, problem.bounds, arch)
        found = [best_of(simulate_batch(c.problem, arch, batch, c.ert, bits=c.bits), objective) for c in cases]
        names = dict.fromkeys(name for _, cost in found for name in cost.component_energy_pj)
        rows = [max(at, 0) for at, _ in found]
        picked = [(cost, at) for (_, cost), at in zip(found, rows, strict=True)]
        return Cheapest(
            np.array([at for at, _ in found]),
            np.array([cost.energy_pj[at] for cost, at in picked]),
            np.array([cost.cycles[at] if cost.feasible[at] else np.inf for cost, at in picked], np.float64),
            np.array([cost.utilization[at] for cost, at in picked]),
            {name: np.array([cost.component_energy_pj[name][at] for cost, at in picked]) for name in names},
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


def best_of(cost: BatchCost, objective: Objective) -> tuple[int, BatchCost]:
    """The row of least objective, ties by `objective_values`; -1 where none is feasible."""
    fits = np.flatnonzero(cost.feasible)
    if not len(fits):
        return -1, cost
    with np.errstate(invalid="ignore"):
        value, tie = objective_values(objective, cost)
    return int(fits[np.lexsort((tie[fits], value[fits]))[0]]), cost
