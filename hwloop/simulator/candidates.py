"""Many candidates on a few mappings of one layer: the nests are analysed once, then asked for every density, bit-width and table.

Bits and densities do not change a loop nest. The stages of a simulation are therefore

- the *nest* (tiles, reuse, access counts): of the layer's shape, the accelerator and the mapping, here in `LayerNests`;
- the *activity* (what of it is done, gated or skipped): of the densities;
- the *cost* (energy, cycles, whether it fits): of the bits and the energy table.

The last two run for all candidates and mappings at once, on arrays `(candidate, mapping)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import InfeasibleMappingError, SpecError
from hwloop.simulator.activity import dense_activity
from hwloop.simulator.batch import by_keep, covers
from hwloop.simulator.batch_loops import Bools, Ints
from hwloop.simulator.batch_nest import BatchAnalysis
from hwloop.simulator.compiled import Compiled, compile_structure
from hwloop.simulator.cost import Cost, evaluate
from hwloop.simulator.fit import fits
from hwloop.simulator.loops import constraint_flags
from hwloop.simulator.nest import Nest
from hwloop.simulator.networks import linear_wires
from hwloop.simulator.pricing import price
from hwloop.simulator.simulator import nest_of
from hwloop.simulator.sparse import (
    SparseContext,
    SparseNest,
    nest_of_batch,
    prepare,
    shape_of_mapping,
    sparse_activity,
    sparse_needed,
    with_densities,
)
from hwloop.spec.architecture import Architecture
from hwloop.spec.batch import MappingBatch
from hwloop.spec.bits import Bits, LevelBits
from hwloop.spec.density import Density, unstructured
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.problem import Problem


@dataclass(frozen=True)
class LayerCandidate:
    """What a layer is to run with.

    Attributes:
        energy_table: energies [pJ] per vector access for these bits; never rescaled. Candidates should share equal tables.
        densities: fraction of nonzeros by data space, 0-1; a number means unstructured pruning
            (`hwloop.spec.density.unstructured`). A data space not named keeps the problem's.
        bits: width of the values of a data space [bits]; see `simulate`.
    """

    energy_table: EnergyTable
    densities: Mapping[str, float | Density] = field(default_factory=dict)
    bits: Bits = field(default_factory=dict)


@dataclass(frozen=True)
class CandidateCosts:
    """The cost of every candidate under every mapping: arrays `(candidate, mapping)`.

    Attributes:
        feasible: bool; where False the other arrays hold infinity (floats) or -1 (cycles).
        energy_pj: energy of everything, leakage included [pJ].
        cycles: time [cycles], int64.
        utilization: part of the compute units' time that they compute, 0-1.
    """

    feasible: Bools
    energy_pj: NDArray[np.float64]
    cycles: NDArray[np.int64]
    utilization: NDArray[np.float64]
    _compiled: Compiled
    _parts: list[tuple[Any, Bools, Cost]] = field(default_factory=list)

    @classmethod
    def empty(cls, shape: tuple[int, int], compiled: Compiled) -> CandidateCosts:
        """Nothing feasible yet."""
        return cls(
            np.zeros(shape, np.bool_), np.full(shape, np.inf), np.full(shape, -1, np.int64), np.zeros(shape), compiled
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.feasible)

    @property
    def edp(self) -> NDArray[np.float64]:
        """Energy times delay [pJ x cycles], infinite where infeasible."""
        return np.where(self.feasible, self.energy_pj * self.cycles, np.inf)

    @cached_property
    def component_energy_pj(self) -> dict[str, NDArray[np.float64]]:
        """Energy by component name, leakage included [pJ]; worked out when first asked for."""
        levels = [(i, level.name) for i, level in enumerate(self._compiled.levels) if not level.spatial]
        out = {name: np.full(self.feasible.shape, np.inf) for _, name in levels}
        out[self._compiled.compute_name] = np.full(self.feasible.shape, np.inf)
        for name in {name for _, _, cost in self._parts for name in cost.networks_pj}:
            out[name] = np.full(self.feasible.shape, np.inf)
        for where, good, cost in self._parts:
            for name, energies in cost.networks_pj.items():
                _put(out[name], where, good, sum(energies))
            for index, name in levels:
                _put(out[name], where, good, cost.levels[index].energy_pj)
            _put(out[self._compiled.compute_name], where, good, cost.compute_pj)
        return out

    def store(self, where: Any, good: Bools, cost: Cost) -> None:
        """Takes over the cost of some candidates under some mappings.

        Args:
            where: index of those rows and columns, as `np.ix_` gives it.
            good: `(candidate, mapping)` which of them are feasible.
            cost: arrays that broadcast to it.
        """
        self.feasible[where] = good
        _put(self.energy_pj, where, good, cost.energy_pj)
        _put(self.cycles, where, good, cost.cycles)
        _put(self.utilization, where, good, cost.utilization)
        self._parts.append((where, good, cost))


def _put(out: NDArray[Any], where: Any, good: Bools, values: Any) -> None:
    out[where] = np.where(good, values, out[where])


@dataclass(frozen=True)
class _Group:
    """Mappings that are costed together: those that keep the same data in the same places.

    Attributes:
        rows: which mappings of the batch.
        nest: their analysed nests.
        valid: where the real program has an answer.
        shape: the nests as formats, gating and skipping see them; None on a dense accelerator.
        bounds: what the factors cover of each dimension: the problem's sizes, or more with imperfect factors.
    """

    rows: Ints
    nest: Nest
    valid: Bools
    shape: SparseNest | None
    bounds: tuple[int, ...]


class LayerNests:
    """A few mappings of one layer on one accelerator, analysed once and ready to be costed for many candidates.

    Args:
        problem: the layer; its densities count where a candidate gives none.
        architecture: the accelerator.
        batch: the mappings.

    Example:
        >>> nests = LayerNests(problem, arch, MappingBatch.from_mappings(mappings, problem.shape, problem.bounds, arch))
        >>> costs = nests.cost([LayerCandidate(table, {"Weights": 0.3}, {"Weights": 8, "Inputs": 8})])
        >>> costs.energy_pj.shape
        (1, len(mappings))
    """

    def __init__(self, problem: Problem, architecture: Architecture, batch: MappingBatch) -> None:
        self.compiled = compile_structure(problem, architecture)
        self._sparse = prepare(self.compiled) if sparse_needed(self.compiled) else None
        self._size = len(batch)
        self._sizes = {space.name: problem.tensor_size(space.name) for space in self.compiled.spaces}
        self._analysis = BatchAnalysis(self.compiled)
        self._groups = [*self._analyse(batch)]

    def __len__(self) -> int:
        return self._size

    def cost(self, candidates: Sequence[LayerCandidate]) -> CandidateCosts:
        """The cost of every candidate under every mapping; the numbers are those of `simulate`.

        Raises:
            SpecError: a data space that is not there, bits below 1 or a density outside 0-1.
            EnergyTableError: a component or action that a table lacks.
        """
        out = CandidateCosts.empty((len(candidates), self._size), self.compiled)
        kinds: dict[Any, list[int]] = {}
        densities = [self._densities(candidate) for candidate in candidates]
        for i, candidate in enumerate(candidates):
            banded = frozenset(name for name, density in densities[i].items() if density.distribution == "banded")
            waiting = frozenset((name, density.level) for name, density in densities[i].items() if density.level)
            kinds.setdefault((_named(candidate.bits), banded, waiting), []).append(i)
        for chosen in kinds.values():
            compiled = self._priced([candidates[i] for i in chosen])
            given = {name: [densities[i][name] for i in chosen] for name in densities[chosen[0]]}
            contexts: dict[tuple[int, ...], SparseContext] = {}
            for group in self._groups:
                if self._sparse is not None and group.bounds not in contexts:
                    contexts[group.bounds] = with_densities(self._sparse, compiled, given, group.bounds)
                _cost_group(compiled, contexts.get(group.bounds), group, np.ix_(np.array(chosen), group.rows), out)
        return out

    def _densities(self, candidate: LayerCandidate) -> dict[str, Density]:
        names = [space.name for space in self.compiled.spaces]
        out = {name: self.compiled.problem.density(name) for name in names}
        for name, given in candidate.densities.items():
            if name not in out:
                raise SpecError("<candidate>", f"densities.{name}", f"a data space among {names}", given)
            density = given if isinstance(given, Density) else unstructured(given, self._sizes[name])
            if not 0.0 <= density.density <= 1.0:
                raise SpecError("<candidate>", f"densities.{name}", "a fraction between 0 and 1", density.density)
            out[name] = density
        return out

    def _priced(self, candidates: list[LayerCandidate]) -> Compiled:
        tables: dict[int, EnergyTable] = {}
        place: dict[int, int] = {}
        for candidate in candidates:
            key = id(candidate.energy_table)
            tables[key] = candidate.energy_table
            place.setdefault(key, len(place))
        which = [place[id(candidate.energy_table)] for candidate in candidates]
        bits = {name: _columns([candidate.bits[name] for candidate in candidates]) for name in candidates[0].bits}
        return price(self.compiled, list(tables.values()), bits, _column(which))

    def _analyse(self, batch: MappingBatch) -> Iterator[_Group]:
        imperfect = np.zeros(len(batch), np.bool_)
        if batch.remainders is not None:
            imperfect = (batch.remainders != batch.factors).any(axis=(1, 2, 3))
        if not (self._analysis.exact and linear_wires(self.compiled.architecture)) or constraint_flags(self.compiled):
            imperfect[:] = True
        for rows, keep in by_keep(batch):
            if not all(any(row[s] for row in keep) for s in range(len(self.compiled.spaces))):
                continue
            perfect = rows[~imperfect[rows]]
            factors = np.ascontiguousarray(batch.factors[perfect].transpose(1, 2, 3, 0))
            good = covers(self.compiled, factors) if len(perfect) else np.zeros(0, np.bool_)
            perfect = perfect[good]
            if len(perfect):
                order = _batch_last(batch.order[perfect])
                spatial = None if batch.spatial_order is None else _batch_last(batch.spatial_order[perfect])
                foot = self._analysis.footprint(np.ascontiguousarray(factors[..., good]))
                nest, valid = self._analysis.run(foot, order, keep, spatial)
                shape = None if self._sparse is None else nest_of_batch(self._sparse, nest)
                yield _Group(perfect, nest, valid, shape, self.compiled.bounds)
            for row in rows[imperfect[rows]]:
                yield from self._analyse_one(batch, int(row))

    def _analyse_one(self, batch: MappingBatch, row: int) -> Iterator[_Group]:
        """A mapping with imperfect factors, or on a tensor too large for the arrays' integers."""
        mapping = batch.to_mapping(row, self.compiled.problem.shape, self.compiled.architecture)
        try:
            nest = nest_of(self.compiled, mapping).widened()
        except InfeasibleMappingError:
            return
        shape, bounds = None, self.compiled.bounds
        if self._sparse is not None:
            shape, bounds = shape_of_mapping(self._sparse, nest, mapping)
        yield _Group(np.array([row]), nest, np.ones(1, np.bool_), shape, bounds)


def _cost_group(compiled: Compiled, context: SparseContext | None, group: _Group, where: Any, out: CandidateCosts) -> None:
    """The cost of some candidates under the mappings of a group."""
    if context is None or group.shape is None:
        activity = dense_activity(compiled, group.nest)
    else:
        activity = sparse_activity(context, group.nest, group.shape)
    good = group.valid & fits(compiled, activity) & ~np.asarray(activity.infeasible)
    good = np.broadcast_to(good, out.feasible[where].shape)
    if good.any():
        out.store(where, good, evaluate(compiled, group.nest, activity))


def _batch_last(order: NDArray[np.int8]) -> Ints:
    return np.ascontiguousarray(order.transpose(1, 2, 0), np.int64)


def _column(values: list[int]) -> Any:
    """One number if all are equal, else `(candidate, 1)`."""
    return values[0] if values.count(values[0]) == len(values) else np.array(values)[:, None]


def _columns(values: Sequence[LevelBits]) -> Any:
    """Widths of one data space, as `price` takes them: by level where they are given so, which is the same for all."""
    if not isinstance(values[0], Mapping):
        return _column(values)  # type: ignore[arg-type]
    return {level: _column([value[level] for value in values]) for level in values[0]}  # type: ignore[index]


def _named(bits: Bits) -> frozenset[tuple[str, frozenset[str]]]:
    """What widths are given of."""
    return frozenset((name, frozenset(given) if isinstance(given, Mapping) else frozenset()) for name, given in bits.items())
