"""`map_problem`: the best mapping of one problem on one accelerator under its constraints."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import InfeasibleMappingError
from hwloop.mapper.check import check
from hwloop.mapper.diagnose import explain
from hwloop.mapper.factors import factor_tables
from hwloop.mapper.layout import Layout, Points
from hwloop.mapper.mapspace import Mapspace, build_mapspace
from hwloop.mapper.model import CostModel
from hwloop.mapper.objective import Objective, objective_values
from hwloop.mapper.refine import Best, Refiner
from hwloop.mapper.result import MapResult, find_ceiling, find_padding
from hwloop.mapper.search import EFFORTS, TilingSearch
from hwloop.mapper.simulation import BatchSimulation
from hwloop.spec.architecture import Architecture, load_architecture
from hwloop.spec.batch import MappingBatch
from hwloop.spec.constraints import Constraints
from hwloop.spec.energy_table import EnergyTable, load_energy_table
from hwloop.spec.mapping import Mapping
from hwloop.spec.problem import Problem, load_problem


def map_problem(
    problem: Problem | Any,
    arch: Architecture | Any,
    ert: EnergyTable | Any,
    constraints: Constraints | None = None,
    objective: Objective = "edp",
    bits: MappingABC[str, int] | None = None,
    start: Sequence[Mapping] | None = None,
    seed: int = 0,
    effort: str = "normal",
) -> MapResult:
    """Finds the best mapping.

    Args:
        problem: a `Problem`, or what `load_problem` takes.
        arch: an `Architecture`, or what `load_architecture` takes.
        ert: an `EnergyTable`, or what `load_energy_table` takes; never rescaled.
        constraints: what a mapping may do, in place of the accelerator's own on the same level and kind.
        objective: `edp`, `energy`, `cycles`, or a function of costs (`energy_pj`, `cycles`, `utilization`, arrays `(batch,)`) that
            returns an array, minimised.
        bits: width of the values of a data space [bits], as in `simulate`.
        start: known good mappings, e.g. of the same layer at another density; those the constraints allow are starting points,
            and the result is at least as good as the best of them.
        seed: of the random part of the search; the same arguments give the same mapping.
        effort: `quick`, `normal` or `thorough`.

    Raises:
        InfeasibleMappingError: no mapping satisfies the constraints and capacities; the reason names what rules them out.
        SpecError: a spec that cannot be read.
        ValueError: an unknown objective or effort.
    """
    began = perf_counter()
    if effort not in EFFORTS:
        raise ValueError(f"effort: expected one of {tuple(EFFORTS)}, found {effort!r}")
    problem, architecture, table = load_problem(problem), load_architecture(arch), load_energy_table(ert)
    architecture = architecture.with_constraints(constraints)
    run = _Run(problem, architecture, BatchSimulation(problem, architecture, table, bits), objective, seed, effort)
    mapping = run.best(tuple(start or ()))
    cost = run.simulation.one(mapping)
    value, _ = objective_values(objective, _One(cost.energy_pj, cost.cycles, cost.utilization))
    return MapResult(
        mapping=mapping,
        cost=cost,
        objective=objective if isinstance(objective, str) else "custom",
        value=float(value[0]),
        ceiling=find_ceiling(cost, architecture),
        padding=find_padding(mapping, problem),
        evaluated=run.evaluated,
        simulated=run.simulated,
        seconds=perf_counter() - began,
    )


class _One:
    """The costs of one mapping as arrays of one."""

    def __init__(self, energy_pj: float, cycles: int, utilization: float) -> None:
        self.energy_pj = np.array([energy_pj])
        self.cycles = np.array([cycles])
        self.utilization = np.array([utilization])


class _Run:
    """One search: the mapspace, its model, and counts of what was costed."""

    def __init__(
        self,
        problem: Problem,
        architecture: Architecture,
        simulation: BatchSimulation,
        objective: Objective,
        seed: int,
        effort: str,
    ) -> None:
        self.problem, self.architecture, self.simulation, self.objective = problem, architecture, simulation, objective
        self.seed, self.effort = seed, EFFORTS[effort]
        self.space: Mapspace = build_mapspace(problem, architecture)
        self.evaluated = self.simulated = 0

    def best(self, start: tuple[Mapping, ...]) -> Mapping:
        """The best mapping of the mapspace, or of `start`."""
        known = [m for m in start if not check(m, self.problem, self.architecture)]
        batch = MappingBatch.from_mappings(known, self.problem.shape, self.problem.bounds, self.architecture) if known else None
        found = self._search(False, batch)
        if batch is None:
            return found[0]
        value, tie = self._values(batch)
        at = int(np.lexsort((tie, value))[0])
        return found[0] if (found[1], found[2]) <= (value[at], tie[at]) else known[at]

    def _values(self, batch: MappingBatch) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        self.simulated += len(batch)
        cost = self.simulation.batch(batch)
        with np.errstate(invalid="ignore"):
            value, tie = objective_values(self.objective, cost)
        return np.where(cost.feasible, value, np.inf), np.where(cost.feasible, tie, np.inf)

    def _search(self, imperfect: bool, start: MappingBatch | None) -> tuple[Mapping, float, float]:
        tables = factor_tables(self.space, imperfect, self.effort.table)
        compiled = self.simulation.compiled
        model = CostModel(self.space, tables, compiled, self.simulation.shrink)
        layout = Layout(self.space, tables, compiled)
        search = TilingSearch(self.space, model, self.objective, self.effort, self.seed)
        rows, from_start = np.zeros((0, len(search.genes.sizes)), np.int64), None
        if start is not None:
            points, exact = layout.points(start)
            from_start = points[exact]
            rows = search.genes.from_rows(from_start.rows, from_start.keep)
        archive = search.run(rows)
        refiner = Refiner(layout, model, self.simulation.batch, self.objective)
        short = refiner.shortlist(archive, search.genes)
        best = Best(short[:0], np.inf, np.inf)
        if len(short):
            best = refiner.best_of(short, best)
        if from_start is not None and len(from_start):
            best = refiner.best_of(from_start, best)
        best = refiner.climb(best, self.effort.rounds, self.effort.shortlist * 2)
        self.evaluated += archive.evaluated + refiner.evaluated
        self.simulated += refiner.evaluated
        if not len(best.points):
            raise explain(self.space, tables, model, self._refusal(layout, short))
        mapping = layout.batch(best.points).to_mapping(0, self.problem.shape, self.architecture)
        return mapping, best.value, best.tie

    def _refusal(self, layout: Layout, short: Points) -> str:
        """What the simulator says of the model's best, where the simulator refuses all that the model allows."""
        if not len(short):
            return ""
        mapping = layout.batch(short[:1]).to_mapping(0, self.problem.shape, self.architecture)
        try:
            self.simulation.one(mapping)
        except InfeasibleMappingError as refused:
            return refused.reason
        return ""
