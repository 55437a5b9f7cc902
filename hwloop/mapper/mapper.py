"""`map_problem`: the best mapping of one problem on one accelerator under its constraints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import InfeasibleMappingError, SpecError
from hwloop.mapper.check import check
from hwloop.mapper.credit import true_cost
from hwloop.mapper.diagnose import explain
from hwloop.mapper.factors import factor_tables
from hwloop.mapper.layout import Layout, Points
from hwloop.mapper.mapspace import Mapspace, build_mapspace
from hwloop.mapper.model import CostModel
from hwloop.mapper.objective import Objective, One, objective_value, objective_values
from hwloop.mapper.prices import tile_reach
from hwloop.mapper.refine import Best, Refiner
from hwloop.mapper.result import MapResult, find_ceiling, find_padding
from hwloop.mapper.search import EFFORTS, Effort, TilingSearch
from hwloop.mapper.simulation import BatchSimulation
from hwloop.simulator.result import LayerCost
from hwloop.spec.architecture import Architecture, load_architecture
from hwloop.spec.batch import MappingBatch
from hwloop.spec.bits import Bits
from hwloop.spec.constraints import Constraints
from hwloop.spec.energy_table import EnergyTable, load_energy_table
from hwloop.spec.mapping import Mapping
from hwloop.spec.problem import Problem, load_problem

WORTH_IT = 0.03  # incomplete passes must promise to save this part of the objective: they are slow to cost
MOST_COMPUTES = 2**53
FULL_ARRAY = 0.97  # utilization that incomplete passes could hardly raise
HONEST = 0.9  # the real program's walk misses some work of incomplete passes; a mapping that it credits for more is left out


def map_problem(
    problem: Problem | Any,
    arch: Architecture | Any,
    ert: EnergyTable | Any,
    constraints: Constraints | None = None,
    objective: Objective = "edp",
    bits: Bits | None = None,
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
        objective: `edp`, `energy`, `cycles`, or a function of costs (`energy_pj`, `cycles`, `utilization`, arrays `(batch,)`)
            that returns an array, minimised.
        bits: width of the values of a data space [bits], as in `simulate`.
        start: known good mappings, e.g. of the same layer at another density; those the constraints allow are starting points,
            and the result is at least as good as the best of them.
        seed: of the random part of the search; the same arguments give the same mapping.
        effort: `quick` (a fifth of the time, factors that divide only), `normal` or `thorough` (ten times the time).

    Raises:
        InfeasibleMappingError: no mapping satisfies the constraints and capacities; the reason names what rules them out.
        SpecError: a spec that cannot be read, or a problem too large to count.
        ValueError: an unknown objective or effort.
    """
    began = perf_counter()
    if effort not in EFFORTS:
        raise ValueError(f"effort: expected one of {tuple(EFFORTS)}, found {effort!r}")
    problem, architecture, table = load_problem(problem), load_architecture(arch), load_energy_table(ert)
    if problem.computes > MOST_COMPUTES:
        raise SpecError(
            "problem", "instance", f"sizes whose product is {MOST_COMPUTES} at most", f"{float(problem.computes):.3g}",
            "counts are exact up to there",
        )  # fmt: skip
    architecture = architecture.with_constraints(constraints)
    run = _Run(problem, architecture, BatchSimulation(problem, architecture, table, bits), objective, seed, effort)
    mapping, cost = run.best(tuple(start or ()))
    return MapResult(
        mapping=mapping,
        cost=cost,
        objective=objective if isinstance(objective, str) else "custom",
        value=objective_value(objective, cost.energy_pj, cost.cycles, cost.utilization),
        ceiling=find_ceiling(cost, architecture),
        padding=find_padding(mapping, problem),
        evaluated=run.evaluated,
        simulated=run.simulated,
        seconds=perf_counter() - began,
    )


def _smooth(n: int) -> bool:
    """Whether no prime factor exceeds 7."""
    for p in (2, 3, 5, 7):
        while n % p == 0:
            n //= p
    return n == 1


@dataclass(frozen=True)
class _Found:
    """A mapping and what it scores, or why there is none."""

    mapping: Mapping | None
    value: float
    tie: float
    why: InfeasibleMappingError | None = None
    cost: LayerCost | None = None


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
        self._seen: NDArray[np.int64]
        self._best_estimate = np.inf

    def best(self, start: tuple[Mapping, ...]) -> tuple[Mapping, LayerCost]:
        """The best mapping of the mapspace, or of `start`, and its cost."""
        known = [m for m in start if not check(m, self.problem, self.architecture)]
        batch = MappingBatch.from_mappings(known, self.problem.shape, self.problem.bounds, self.architecture) if known else None
        found = self._perfect(batch)
        if batch is not None:
            value, tie = self._values(batch)
            at = int(np.lexsort((tie, value))[0])
            if (value[at], tie[at]) < (found.value, found.tie):
                found = _Found(known[at], float(value[at]), float(tie[at]))
        if found.mapping is not None:
            found = replace(found, cost=found.cost or self.simulation.one(found.mapping))
        if self.effort.imperfect and not self._even(found.cost):
            better = self._imperfect(self._best_estimate if self.simulation.sparse else found.value)
            if better is not None and (better.value, better.tie) < (found.value, found.tie):
                found = better
        if found.mapping is None:
            raise found.why or InfeasibleMappingError("no mapping satisfies all constraints and capacities together")
        return found.mapping, found.cost or self.simulation.one(found.mapping)

    def _even(self, cost: LayerCost | None) -> bool:
        """Whether perfect factors leave little to gain: they fill the array, and every dimension has small prime factors.

        A full array says nothing of energy alone.
        """
        full = cost is not None and cost.utilization >= FULL_ARRAY and self.objective != "energy"
        return full and all(_smooth(n) for n in self.problem.bounds)

    def _values(self, batch: MappingBatch) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        self.simulated += len(batch)
        cost = self.simulation.batch(batch)
        with np.errstate(invalid="ignore"):
            value, tie = objective_values(self.objective, cost)
        return np.where(cost.feasible, value, np.inf), np.where(cost.feasible, tie, np.inf)

    def _tools(self, imperfect: bool, effort: Effort) -> tuple[CostModel, Layout, TilingSearch]:
        compiled = self.simulation.compiled
        reach = tile_reach(self.space, compiled, self.simulation.prices)
        tables = factor_tables(self.space, imperfect, effort.table, reach)
        model = CostModel(self.space, tables, compiled, self.simulation.prices)
        return model, Layout(self.space, tables, compiled), TilingSearch(self.space, model, self.objective, effort, self.seed)

    def _perfect(self, start: MappingBatch | None) -> _Found:
        """The best mapping whose factors divide."""
        model, layout, search = self._tools(False, self.effort)
        rows, from_start = np.zeros((0, len(search.genes.sizes)), np.int64), None
        if start is not None:
            points, exact = layout.points(start)
            from_start = points[exact]
            rows = search.genes.from_rows(from_start.rows, from_start.keep)
        archive = search.run(rows)
        self._seen = archive.points
        self._best_estimate = float(archive.score[0]) if len(archive.score) else np.inf
        refiner = Refiner(layout, model, self.simulation.batch, self.objective)
        short = refiner.shortlist(archive, search.genes)
        best = Best(short[:0], np.inf, np.inf)
        if len(short):
            best = refiner.best_of(short, best)
        if from_start is not None and len(from_start):
            best = refiner.best_of(from_start, best)
        if self.simulation.sparse:
            best = self._sparse_starts(search, refiner, best)
        best = refiner.climb(best, self.effort.rounds, self.effort.shortlist * 2)
        self.evaluated += archive.evaluated + refiner.evaluated
        self.simulated += refiner.evaluated
        if not len(best.points):
            return _Found(None, np.inf, np.inf, explain(self.space, model.tables, model, self._refusal(layout, short)))
        mapping = layout.batch(best.points).to_mapping(0, self.problem.shape, self.architecture)
        return _Found(mapping, best.value, best.tie)

    def _sparse_starts(self, search: TilingSearch, refiner: Refiner, best: Best) -> Best:
        """Climbs by the simulator alone from where it finds most saved: the model ignores what is skipped."""
        points = refiner.feasible(search, self.effort.starts // 4)
        if not len(points):
            return best
        value, tie = refiner.cost(points)
        for i in np.lexsort((tie, value))[: self.effort.climbers // 2]:
            if np.isfinite(value[i]):
                start = Best(points[np.array([i])], float(value[i]), float(tie[i]))
                end = refiner.climb(start, self.effort.rounds, 8 * self.effort.shortlist)
                best = end if (end.value, end.tie) < (best.value, best.tie) else best
        return best

    def _imperfect(self, to_beat: float) -> _Found | None:
        """The best mapping with incomplete last passes, where the model promises a gain; costing these takes long.

        Args:
            to_beat: objective of the best perfect mapping; with sparsity, which the model ignores, what the model says of it.
        """
        effort = replace(
            self.effort, starts=self.effort.starts // 2, restarts=self.effort.restarts // 2, shortlist=8 * self.effort.shortlist
        )
        model, layout, search = self._tools(True, effort)
        archive = search.run(self._seen)  # the tables of perfect factors come first in these, row by row
        self.evaluated += archive.evaluated
        uneven = np.array([t.imperfect[archive.points[:, d]] for d, t in enumerate(model.tables)])
        promising = np.flatnonzero(uneven.any(0) & (archive.score < to_beat - WORTH_IT * abs(to_beat)))
        if not len(promising):
            return None
        refiner = Refiner(layout, model, self.simulation.batch, self.objective)
        short = refiner.shortlist(archive, search.genes)
        # the same incomplete passes under other factors of the other dimensions come later, around the best
        kinds = np.where(uneven[:, promising], archive.points[promising, : len(model.tables)].T, -1)
        _, first = np.unique(kinds, axis=1, return_index=True)
        best, at, left = self._walk(layout, model, short[promising[np.sort(first)]], self.effort.imperfect / 2)
        if best is None or at is None:
            return best
        near = refiner.near(at, 200)
        better, _, _ = self._walk(layout, model, near, self.effort.imperfect / 2 + left)
        return better if better is not None and (better.value, better.tie) < (best.value, best.tie) else best

    def _walk(
        self, layout: Layout, model: CostModel, points: Points, budget: float
    ) -> tuple[_Found | None, Points | None, float]:
        """Costs points in their order until the simulator has walked `budget` steps; the best, where it is, and what is left."""
        best: _Found | None = None
        at: Points | None = None
        for i in range(len(points)):
            steps = self._visits(model, points.rows[i])
            if steps > budget and i:
                break
            budget -= steps
            found = self._cost_one(layout.batch(points[i : i + 1]).to_mapping(0, self.problem.shape, self.architecture))
            if found is not None and (best is None or (found.value, found.tie) < (best.value, best.tie)):
                best, at = found, points[i : i + 1]
        return best, at, max(budget, 0.0)

    def _cost_one(self, mapping: Mapping) -> _Found | None:
        """A mapping that the simulator costed in full, None where it refuses it."""
        self.simulated += 1
        try:
            cost = self.simulation.one(mapping)
        except InfeasibleMappingError:
            return None
        if cost.computes < HONEST * self.problem.computes:
            return None
        energy, cycles = true_cost(self.simulation, mapping, cost)
        value, tie = objective_values(self.objective, One(energy, cycles, cost.utilization))
        return _Found(mapping, float(value[0]), float(tie[0]), cost=cost)

    def _visits(self, model: CostModel, row: NDArray[np.int64]) -> float:
        """How many steps the simulator walks for one mapping: two a temporal loop, three where a dimension is cut short."""
        total = 1.0
        for d, table in enumerate(model.tables):
            loops = sum(int(table.bounds[row[d], slot] > 1) for slot in model.temporal.values())
            total *= (3.0 if table.imperfect[row[d]] else 2.0) ** loops
        return total

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
