"""Thousands of mappings at once: `BatchSimulator` compiled once, `simulate_batch` for a single call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hwloop.errors import InfeasibleMappingError
from hwloop.simulator.activity import Activity, dense_activity
from hwloop.simulator.batch_loops import Bools, Footprint, Ints, Keep
from hwloop.simulator.batch_nest import BatchAnalysis
from hwloop.simulator.compiled import Compiled
from hwloop.simulator.cost import evaluate
from hwloop.simulator.fit import fits
from hwloop.simulator.loops import constraint_flags
from hwloop.simulator.nest import TEMPORAL, Nest
from hwloop.simulator.result import BatchCost
from hwloop.simulator.simulator import Simulator
from hwloop.simulator.sparse import data_fits, nest_of_batch, sparse_activity
from hwloop.spec.architecture import Architecture, load_architecture
from hwloop.spec.batch import MappingBatch
from hwloop.spec.bits import Bits
from hwloop.spec.energy_table import EnergyTable, load_energy_table
from hwloop.spec.problem import Problem, load_problem

CHUNK = 4096  # mappings at once: a chunk's arrays stay in a core's cache


class BatchSimulator:
    """A problem on an accelerator, ready to cost batches of mappings.

    Mappings with remainders go through `Simulator` one by one, and all where reuse is forbidden or a network counts routers.

    Args:
        problem: the layer.
        architecture: the accelerator.
        energy_table: energies [pJ] per vector access; never rescaled.
        bits: widths of values [bits]; see `compile_simulation`.

    Raises:
        SpecError: bits of an unknown data space.
        EnergyTableError: a component or action that the table lacks.
    """

    def __init__(self, problem: Problem, architecture: Architecture, energy_table: EnergyTable, bits: Bits | None = None) -> None:
        self.scalar = Simulator(problem, architecture, energy_table, bits)
        self.compiled = self.scalar.compiled
        self.analysis = BatchAnalysis(self.compiled)
        self._names = [(i, level.name) for i, level in enumerate(self.compiled.levels) if not level.spatial]
        self._in_arrays = self.analysis.exact and not constraint_flags(self.compiled)
        self._in_arrays &= all(prices.wires.linear for prices in self.compiled.wires)

    def run(self, batch: MappingBatch) -> BatchCost:
        """The cost of every mapping; infeasible ones are masked, never raised."""
        names = [name for _, name in self._names]
        names += [self.compiled.compute_name, *(prices.wires.name for prices in self.compiled.wires)]
        out = _empty(len(batch), names, self.compiled.problem.computes)
        for rows, keep in by_keep(batch):
            for begin in range(0, len(rows), CHUNK):
                self._run_chunk(batch, rows[begin : begin + CHUNK], keep, out)
        return out

    def _run_chunk(self, batch: MappingBatch, rows: Ints, keep: Keep, out: BatchCost) -> None:
        if not all(any(row[s] for row in keep) for s in range(len(self.compiled.spaces))):
            return
        if not self._in_arrays:
            self._run_each(batch, rows, out)
            return
        if batch.remainders is not None:
            imperfect = (batch.remainders[rows] != batch.factors[rows]).any(axis=(1, 2, 3))
            self._run_each(batch, rows[imperfect], out)
            rows = rows[~imperfect]
        if not len(rows):
            return
        contiguous = rows[-1] - rows[0] == len(rows) - 1
        chosen: Any = slice(int(rows[0]), int(rows[-1]) + 1) if contiguous else rows
        factors = np.ascontiguousarray(batch.factors[chosen].transpose(1, 2, 3, 0))
        order = np.ascontiguousarray(batch.order[chosen].transpose(1, 2, 0))
        spatial = None if batch.spatial_order is None else np.ascontiguousarray(batch.spatial_order[chosen].transpose(1, 2, 0))
        good = covers(self.compiled, factors)
        if not good.all():
            rows, factors, order, spatial = _take(good, rows, factors, order, spatial)
        if not len(rows):
            return
        foot = self.analysis.footprint(factors)
        good = self._room(foot, keep)
        share = good.mean()
        if share == 0.0:
            return
        if share < 0.8:  # worth starting again with what fits
            rows, factors, order, spatial = _take(good, rows, factors, order, spatial)
            foot, good = self.analysis.footprint(factors), np.ones(len(rows), np.bool_)
        nest, valid = self.analysis.run(foot, order, keep, spatial)
        if self.scalar.sparse is None:
            activity = dense_activity(self.compiled, nest)
            if any(waiting is not None for level in self.compiled.levels for waiting in level.waiting):
                good = good & fits(self.compiled, activity)  # partial sums may take more room than the finished values looked at
            self._store(nest, activity, valid & good, rows, out)
            return
        activity = sparse_activity(self.scalar.sparse, nest, nest_of_batch(self.scalar.sparse, nest))
        self._store(nest, activity, valid & good & fits(self.compiled, activity) & ~activity.infeasible, rows, out)

    def _room(self, foot: Footprint, keep: Keep) -> Bools:
        """Where there is room for the data, before the traffic is looked at."""
        sparse = self.scalar.sparse
        return self.analysis.fits(foot, keep) if sparse is None else data_fits(sparse, list(foot.bounds), keep)

    def _store(self, nest: Nest, activity: Activity, valid: Bools, rows: Ints, out: BatchCost) -> None:
        cost = evaluate(self.compiled, nest, activity)
        done = rows[valid]
        out.feasible[done] = True
        out.energy_pj[done] = cost.energy_pj[valid]
        out.cycles[done] = cost.cycles[valid]
        out.utilization[done] = cost.utilization[valid]
        for index, name in self._names:
            energy = cost.levels[index].energy_pj
            out.component_energy_pj[name][done] = energy[valid] if isinstance(energy, np.ndarray) else energy
        out.component_energy_pj[self.compiled.compute_name][done] = cost.compute_pj[valid]
        for name, energies in cost.networks_pj.items():
            total: Any = sum(energies)
            out.component_energy_pj[name][done] = total[valid]

    def _run_each(self, batch: MappingBatch, rows: Ints, out: BatchCost) -> None:
        """One by one, for mappings that the arrays do not cover."""
        shape, architecture = self.compiled.problem.shape, self.compiled.architecture
        for row in rows:
            try:
                cost = self.scalar.run(batch.to_mapping(int(row), shape, architecture))
            except InfeasibleMappingError:
                continue
            out.feasible[row], out.energy_pj[row], out.cycles[row] = True, cost.energy_pj, cost.cycles
            out.utilization[row] = cost.utilization
            for name, component in cost.components.items():
                out.component_energy_pj[name][row] = component.energy_pj
            for name, network in cost.networks.items():
                out.component_energy_pj[name][row] = network.energy_pj


def simulate_batch(
    problem: Problem | Any, architecture: Architecture | Any, batch: MappingBatch, energy_table: EnergyTable | Any,
    bits: Bits | None = None,
) -> BatchCost:  # fmt: skip
    """The cost of one layer under many mappings; the numbers are those of `simulate`. Infeasible mappings are masked.

    Args:
        problem: a `Problem`, or what `load_problem` takes.
        architecture: an `Architecture`, or what `load_architecture` takes.
        batch: the mappings as integer arrays.
        energy_table: an `EnergyTable`, or what `load_energy_table` takes; never rescaled.
        bits: width of the values of a data space [bits]; see `simulate`.

    Raises:
        SpecError: a spec that cannot be read.
        EnergyTableError: a component or action that the table lacks.
    """
    simulator = BatchSimulator(load_problem(problem), load_architecture(architecture), load_energy_table(energy_table), bits)
    return simulator.run(batch)


def covers(compiled: Compiled, factors: Ints) -> Bools:
    """Where the factors `(level, 3, dimension, batch)` multiply to the dimensions and spatial ones have a fan-out to lie on."""
    product = factors.reshape(-1, *factors.shape[2:]).prod(axis=0)
    good: Bools = (product == np.array(compiled.bounds)[:, None]).all(axis=0)
    for level, fan in enumerate(compiled.fanout):
        if fan == (1, 1):
            good &= (factors[level, TEMPORAL + 1 :] == 1).all(axis=(0, 1))
    return good


def _take(good: Bools, rows: Ints, factors: Ints, order: Ints, spatial: Ints | None) -> tuple[Ints, Ints, Ints, Ints | None]:
    chosen = np.flatnonzero(good)
    return (
        rows[chosen],
        factors.take(chosen, axis=-1),
        order.take(chosen, axis=-1),
        None if spatial is None else spatial.take(chosen, axis=-1),
    )


def by_keep(batch: MappingBatch) -> Iterator[tuple[Ints, Keep]]:
    """Rows grouped by what is kept where."""
    if not len(batch):
        return
    flat = batch.keep.reshape(len(batch), -1)
    if (flat == flat[0]).all():
        yield np.arange(len(batch)), _as_tuple(batch.keep[0])
        return
    packed = np.packbits(flat, axis=1)
    _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    for group, row in enumerate(first):
        yield np.flatnonzero(inverse.reshape(-1) == group), _as_tuple(batch.keep[row])


def _as_tuple(keep: Bools) -> Keep:
    return tuple(tuple(row) for row in keep.tolist())


def _empty(size: int, components: list[str], computes: int) -> BatchCost:
    return BatchCost(
        feasible=np.zeros(size, np.bool_),
        energy_pj=np.full(size, np.inf),
        cycles=np.full(size, -1, np.int64),
        utilization=np.zeros(size),
        computes=np.full(size, computes, np.int64),
        component_energy_pj={name: np.full(size, np.inf) for name in components},
    )
