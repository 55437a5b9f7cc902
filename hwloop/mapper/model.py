"""The mapper's own cost model: energy and cycles of tilings under their best loop orders, for many tilings at once.

A tiling says how every dimension is spread over the slots; the orders of the temporal loops are not part of it, because the best ones
follow: loops that do not index a data space let its tile rest only where they stand inside the loops that do, so of
each level's loops one data space at most rests beyond what rests under every order. Which level that is follows from the tiling,
so the cost splits into a sum over levels and each level's order is chosen on its own (the reuse analysis of LOMA, Symons et al.,
AICAS 2021, with the sum in place of the enumeration). The figures equal the simulator's for perfect factors apart from sliding
windows that overlap in two ranks at once, fractions of a vector and sparsity; the simulator has the last word on what is returned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.mapper.factors import FactorTable
from hwloop.mapper.mapspace import Mapspace
from hwloop.simulate.compiled import Compiled

Array = NDArray[np.float64]
Keep = NDArray[np.bool_]
Mask = Keep | None  # None: all of the batch


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of many tilings, arrays `(batch,)`.

    Attributes:
        energy_pj: energy [pJ].
        cycles: time [cycles].
        overflow: the worst of need over room, over capacities and fan-outs; above 1 the tiling does not fit.
        utilization: part of the compute units' time that they compute, 0-1.
        rests: by level (index into `architecture.storage`) the data space whose tile rests under the chosen order.
    """

    energy_pj: Array
    cycles: Array
    overflow: Array
    utilization: Array
    rests: dict[int, NDArray[np.int64]]

    @property
    def edp(self) -> Array:
        """Energy times delay [pJ x cycles]."""
        return self.energy_pj * self.cycles


@dataclass
class _Traffic:
    """Words that one level's tile of one data space takes from its parent, over all instances."""

    words: Array
    ratios: list[tuple[int, NDArray[np.bool_], list[Array | float]]]


class CostModel:
    """Costs tilings of one mapspace, given as row numbers into the factor tables.

    Args:
        space: the mapspace.
        tables: ways to spread each dimension.
        compiled: the simulator's view of levels and energies.
        shrink: `(level, data space)` factor on tile sizes where a level holds a data space compressed, 1 elsewhere.
    """

    def __init__(self, space: Mapspace, tables: tuple[FactorTable, ...], compiled: Compiled, shrink: Array) -> None:
        self.space, self.tables, self.compiled, self.shrink = space, tables, compiled, shrink
        self.n_levels = len(compiled.levels)
        self.macs = float(space.problem.computes)
        self.tensor = [float(space.problem.tensor_size(s.name)) for s in compiled.spaces]
        slots = space.slots
        self.temporal = {
            s.level: i for i, s in enumerate(slots) if not s.spatial and any((t.bounds[:, i] > 1).any() for t in tables)
        }
        self.spatial = {s.level: i for i, s in enumerate(slots) if s.spatial}
        self._dims = range(len(tables))
        self._last_slot = [max((i for i, s in enumerate(slots) if s.level >= level), default=-1) for level in range(self.n_levels)]
        self._packed = [self._pack(d) for d in self._dims]
        self._fixed_order = {
            level: order.first + order.last
            for level, order in enumerate(space.orders)
            if len(order.first) + len(order.last) >= len(tables) - 1 and (order.first or order.last)
        }
        self._leading = {level: frozenset(order.first) for level, order in enumerate(space.orders) if order.first}
        self._sliding = [frozenset(d for rank in s.ranks if len(rank) > 1 for d, _ in rank) for s in compiled.spaces]

    def _pack(self, d: int) -> Array:
        """All that is looked up by row number, `(quantity, row)`: temporal passes, spatial X and Y, extents by level, passes."""
        table = self.tables[d]
        rows = [table.effective[:, slot] for slot in self.temporal.values()]
        for slot in self.spatial.values():
            rows += [np.where(table.on_y[:, slot], 1.0, table.bounds[:, slot]), np.where(table.on_y[:, slot], table.bounds[:, slot], 1.0)]
            rows.append(table.effective[:, slot])
        ones = np.ones(len(table))
        rows += [table.extents[:, slot] if slot >= 0 else ones for slot in self._last_slot]
        return np.array([*rows, table.passes])

    def evaluate(self, rows: NDArray[np.int64], keep: Keep) -> Estimate:
        """Costs tilings.

        Args:
            rows: `(batch, dimension)` row numbers into the factor tables.
            keep: `(batch, level, data space)`, or `(level, data space)` for all of them.
        """
        gathered = [packed[:, rows[:, d]] for d, packed in enumerate(self._packed)]
        n_t, n_s = len(self.temporal), len(self.spatial)
        times = {level: [g[i] for g in gathered] for i, level in enumerate(self.temporal)}
        spread = {level: [g[n_t + 3 * i + 2] for g in gathered] for i, level in enumerate(self.spatial)}
        extents = [[g[n_t + 3 * n_s + level] for g in gathered] for level in range(self.n_levels)]
        passes = _product([g[-1] for g in gathered])
        kept = self._kept(keep)
        sizes = self._sizes(extents, kept)
        overflow = self._capacity(sizes, kept, self._fan_out(gathered, n_t))
        view = _View(self, times, spread, len(rows))
        savings: dict[int, list[Array | float]] = {level: [0.0] * len(self.compiled.spaces) for level in self.temporal}
        traffic: dict[tuple[int, int], _Traffic] = {}
        for s in range(len(self.compiled.spaces)):
            self._flows(view, extents, sizes, kept, s, savings, traffic)
        rests = {level: _best(saved, len(rows)) for level, saved in savings.items()}
        for flow in traffic.values():
            for level, at, ratios in flow.ratios:
                if len(ratios) == 1:
                    ratio = ratios[0]
                else:
                    ratio = np.choose(rests[level], [np.broadcast_to(np.asarray(r), (len(rows),)) for r in ratios])
                flow.words = np.where(at, flow.words * ratio, flow.words)
        energy, cycles = self._cost(view, traffic, kept, passes)
        utilization = self.macs / self.compiled.compute_instances / cycles
        return Estimate(energy, cycles, overflow, utilization, rests)

    def _kept(self, keep: Keep) -> dict[tuple[int, int], Mask]:
        """Where each level keeps each data space: True for all, a mask for some; absent for none."""
        out: dict[tuple[int, int], Mask] = {}
        every, some = (keep, keep) if keep.ndim == 2 else (keep.all(0), keep.any(0))
        for level, s in zip(*np.nonzero(some), strict=True):
            out[int(level), int(s)] = None if every[level, s] else keep[:, level, s]
        return out

    def _fan_out(self, gathered: list[Array], n_t: int) -> Array:
        overflow = np.zeros(gathered[0].shape[1])
        for i, level in enumerate(self.spatial):
            for axis in (0, 1):
                used = _product([g[n_t + 3 * i + axis] for g in gathered])
                np.maximum(overflow, used / self.compiled.fanout[level][axis], out=overflow)
        floor = self.space.architecture.constraints.min_utilization
        if floor > 0:
            units = _product([g[n_t + 3 * i + axis] for i in range(len(self.spatial)) for axis in (0, 1) for g in gathered])
            np.maximum(overflow, floor * self.compiled.compute_instances / units, out=overflow)
        for rule in self.space.axis_rules:
            i = list(self.spatial).index(rule.level)
            on_x = np.array([gathered[d][n_t + 3 * i] > 1 for d in self._dims])
            on_y = np.array([gathered[d][n_t + 3 * i + 1] > 1 for d in self._dims])
            broken = np.zeros(len(overflow), bool)
            if rule.on_x is not None and rule.on_y is not None:
                broken |= (on_x[list(rule.among)].sum(0) > rule.on_x) | (on_y[list(rule.among)].sum(0) > rule.on_y)
            if rule.order is not None:
                place = np.array(rule.order)[:, None]
                broken |= np.where(on_x, place, -1).max(0) > np.where(on_y, place, len(place)).min(0)
            overflow = np.where(broken, np.maximum(overflow, 2.0), overflow)
        return overflow

    def _sizes(self, extents: list[list[Array]], kept: dict[tuple[int, int], Mask]) -> dict[tuple[int, int], Array]:
        spaces = self.compiled.spaces
        return {(level, s): _product([_rank_extent(extents[level], rank) for rank in spaces[s].ranks]) for level, s in kept}

    def _capacity(self, sizes: dict[tuple[int, int], Array], kept: dict[tuple[int, int], Mask], overflow: Array) -> Array:
        for index, level in enumerate(self.compiled.levels):
            if level.capacity is None and not level.min_capacity > 0:
                continue
            need: Array | float = 0.0
            for s in range(len(self.compiled.spaces)):
                if (index, s) in sizes:
                    words = sizes[index, s] if self.shrink[index, s] == 1 else sizes[index, s] * self.shrink[index, s]
                    if level.by_rows:
                        words = np.ceil(words / level.row_words[s]) * level.word_rows[s]
                    mask = kept[index, s]
                    need = need + (words if mask is None else np.where(mask, words, 0.0))
            if level.capacity is not None:
                overflow = np.maximum(overflow, need / max(level.capacity, 1e-9))
            if level.min_capacity > 0:
                overflow = np.maximum(overflow, level.min_capacity / np.maximum(need, 1e-9))
        return overflow

    def _flows(
        self,
        view: _View,
        extents: list[list[Array]],
        sizes: dict[tuple[int, int], Array],
        kept: dict[tuple[int, int], Mask],
        s: int,
        savings: dict[int, list[Array | float]],
        traffic: dict[tuple[int, int], _Traffic],
    ) -> None:
        """The traffic into every level that keeps a data space, from the next one outward that does."""
        space, levels = self.compiled.spaces[s], self.compiled.levels
        serve: Array | float | None = None  # energy at the parent of a word that one child asks for [pJ]
        for index in range(self.n_levels):
            level = levels[index]
            rows = level.word_rows[s] / level.row_words[s]
            if (index, s) in kept:
                mask = kept[index, s]
                if serve is not None:
                    weight = level.energy_pj["random", "fill"] * rows + serve
                    flow = self._traffic(view, extents, sizes, index, s, weight, mask, savings)
                    traffic[index, s] = flow
                own: Array | float = level.energy_pj["random", "read"] * rows
                if space.read_write:
                    own = own + level.energy_pj["random", "update"] * rows
                serve = own if mask is None or serve is None else np.where(mask, own, serve)
            if serve is not None and index in view.spread:
                serve = serve / view.irrelevant_spread(index, s)

    def _traffic(
        self,
        view: _View,
        extents: list[list[Array]],
        sizes: dict[tuple[int, int], Array],
        level: int,
        s: int,
        weight: Array | float,
        mask: Mask,
        savings: dict[int, list[Array | float]],
    ) -> _Traffic:
        """Words into the tile of `level`, and what each order of the loops above would save of their energy."""
        words = sizes[level, s] * view.instances[level]
        for above in range(level):
            if above in view.total:
                words = words * view.total[above]
        open_rows = np.ones(len(words), bool)
        ratios: list[tuple[int, NDArray[np.bool_], list[Array | float]]] = []
        for above in range(level - 1, -1, -1):
            if above not in view.total:
                continue
            moves = view.moves(above, s)
            resting = open_rows & ~moves
            if resting.any():
                words = np.where(resting, words / view.total[above], words)
            at = open_rows & moves
            open_rows = resting
            if at.any():
                choice = self._ratios(view, extents[level], above, s)
                ratios.append((above, at, choice))
                if len(choice) > 1:
                    base = np.where(at if mask is None else at & mask, words * weight, 0.0)
                    for g, ratio in enumerate(choice):
                        if not (isinstance(ratio, float) and ratio == 1.0):
                            savings[above][g] = savings[above][g] + base * (1.0 - ratio)
            if not open_rows.any():
                break
        return _Traffic(words, ratios)

    def _ratios(self, view: _View, tile: list[Array], above: int, s: int) -> list[Array | float]:
        """What remains of the traffic when the loops of level `above` are ordered for each data space to rest."""
        if above in self._fixed_order:
            return [self._fixed_ratio(view, tile, above, s)]
        slides = {d: self._slide_ratio(view, tile, above, s, d) for d in self._sliding[s]}
        out: list[Array | float] = []
        for g in range(len(self.compiled.spaces)):
            if g == s:
                ratio: Array | float = view.relevant(above, s) / view.total[above]
                inner = slides
            else:
                ratio = 1.0
                inner = {d: r for d, r in slides.items() if d not in self.compiled.spaces[g].dimensions}
            best: Array | float = 1.0
            for value in inner.values():
                best = np.minimum(best, value)
            out.append(ratio * best)
        return out

    def _slide_ratio(self, view: _View, tile: list[Array], above: int, s: int, d: int) -> Array:
        """Share of a sliding window that is new, averaged over the passes of the loop on `d` (the halo stays)."""
        rank, step = next((rank, c) for rank in self.compiled.spaces[s].ranks for k, c in rank if k == d)
        passes = view.times[above][d]
        fresh = np.minimum(step * tile[d] / _rank_extent(tile, rank), 1.0)
        return np.asarray((1.0 + (passes - 1.0) * fresh) / passes)

    def _fixed_ratio(self, view: _View, tile: list[Array], above: int, s: int) -> Array:
        """The same for an order that the constraints fix."""
        order = self._fixed_order[above]
        missing = [d for d in self._dims if d not in order]
        first = self.space.orders[above].first
        order = (*first, *missing, *self.space.orders[above].last)
        ratio = np.ones(len(view.total[above]))
        open_rows = np.ones(len(ratio), bool)
        for d in order:
            passes = view.times[above][d]
            if d not in self.compiled.spaces[s].dimensions:
                ratio = np.where(open_rows, ratio / passes, ratio)
                continue
            turns = open_rows & (passes > 1)
            if d in self._sliding[s]:
                ratio = np.where(turns, ratio * self._slide_ratio(view, tile, above, s, d), ratio)
            open_rows &= ~turns
        return ratio

    def _cost(
        self, view: _View, traffic: dict[tuple[int, int], _Traffic], kept: dict[tuple[int, int], Mask], passes: Array
    ) -> tuple[Array, Array]:
        n = self.n_levels
        energy = np.full(len(passes), self.macs * self.compiled.compute_pj["computes"])
        reads: list[Array | float] = [0.0] * n
        writes: list[Array | float] = [0.0] * n
        for s, space in enumerate(self.compiled.spaces):
            demand: Array = np.full(len(passes), self.macs)
            for index in range(n - 1, -1, -1):
                demand = view.combine(index, s, demand)
                if (index, s) not in kept:
                    continue
                mask, level, flow = kept[index, s], self.compiled.levels[index], traffic.get((index, s))
                if space.read_write:
                    fresh = self.tensor[s] * view.copies(index, s)
                    read = np.maximum(demand - fresh, 0.0)
                    fill: Array | float = np.maximum(flow.words - fresh, 0.0) if flow else 0.0
                    update: Array | float = demand
                else:
                    read, fill, update = demand, flow.words if flow else 0.0, 0.0
                per_word = level.word_rows[s] / level.row_words[s]
                spent = read * (level.energy_pj["random", "read"] * per_word)
                spent = spent + fill * (level.energy_pj["random", "fill"] * per_word)
                if space.read_write:
                    spent = spent + update * (level.energy_pj["random", "update"] * per_word)
                write = (fill + update) * level.bandwidth_scale[s]
                read = read * level.bandwidth_scale[s]
                if mask is not None:
                    spent, read, write = np.where(mask, spent, 0.0), np.where(mask, read, 0.0), np.where(mask, write, 0.0)
                energy = energy + spent
                reads[index], writes[index] = reads[index] + read, writes[index] + write
                if flow:
                    demand = flow.words if mask is None else np.where(mask, flow.words, demand)
        cycles = passes
        for index, level in enumerate(self.compiled.levels):
            for have, words in (
                (level.read_bandwidth, reads[index]),
                (level.write_bandwidth, writes[index]),
                (level.shared_bandwidth, reads[index] + writes[index]),
            ):
                if have is not None:
                    cycles = np.maximum(cycles, np.ceil(words / view.instances[index] / have))
        for index, level in enumerate(self.compiled.levels):
            if level.leak_pj:
                energy = energy + level.leak_pj * cycles * view.instances[index]
        return energy, cycles


class _View:
    """Products over dimensions that several steps need, made once."""

    def __init__(self, model: CostModel, times: dict[int, list[Array]], spread: dict[int, list[Array]], n: int) -> None:
        self.model, self.times, self.spread = model, times, spread
        self.total = {level: _product(t) for level, t in times.items()}
        self._ones = np.ones(n)
        self.spread_total = {level: _product(t) for level, t in spread.items()}
        self.instances: list[Array] = [self._ones]
        for level in range(model.n_levels - 1):
            last = self.instances[-1]
            self.instances.append(last * self.spread_total[level] if level in spread else last)
        self._relevant: dict[tuple[int, int], Array] = {}
        self._moves: dict[tuple[int, int], NDArray[np.bool_]] = {}
        self._spread_irrelevant: dict[tuple[int, int], Array] = {}

    def relevant(self, level: int, s: int) -> Array:
        """Passes of the loops of a level that index the data space."""
        if (level, s) not in self._relevant:
            dims = self.model.compiled.spaces[s].dimensions
            self._relevant[level, s] = _product([t for d, t in enumerate(self.times[level]) if d in dims], self._ones)
        return self._relevant[level, s]

    def moves(self, level: int, s: int) -> NDArray[np.bool_]:
        """Whether some loop of a level indexes the data space."""
        if (level, s) not in self._moves:
            self._moves[level, s] = self.relevant(level, s) > 1.0
        return self._moves[level, s]

    def irrelevant_spread(self, level: int, s: int) -> Array:
        """Instances below one instance of a level that see the same words."""
        if (level, s) not in self._spread_irrelevant:
            dims = self.model.compiled.spaces[s].dimensions
            factors = [t for d, t in enumerate(self.spread[level]) if d not in dims]
            self._spread_irrelevant[level, s] = _product(factors, self._ones)
        return self._spread_irrelevant[level, s]

    def copies(self, level: int, s: int) -> Array:
        """Instances of a level that hold the same words."""
        out = self._ones
        for above in range(level):
            if above in self.spread:
                out = out * self.irrelevant_spread(above, s)
        return out

    def combine(self, level: int, s: int, demand: Array) -> Array:
        """Words asked of a level by those below its fan-out, multicast or reduced on the way."""
        return demand / self.irrelevant_spread(level, s) if level in self.spread else demand


def _product(factors: list[Array], default: Array | None = None) -> Array:
    if not factors:
        assert default is not None
        return default
    out = factors[0]
    for factor in factors[1:]:
        out = out * factor
    return out


def _rank_extent(extents: list[Array], rank: tuple[tuple[int, int], ...]) -> Array:
    if len(rank) == 1 and rank[0][1] == 1:
        return extents[rank[0][0]]
    out: Array | float = 1.0
    for d, coefficient in rank:
        out = out + coefficient * (extents[d] - 1.0)
    return np.asarray(out)


def _best(saved: list[Array | float], n: int) -> NDArray[np.int64]:
    if all(isinstance(value, float) for value in saved):
        return np.zeros(n, np.int64)
    return np.argmax(np.array([np.broadcast_to(np.asarray(v), (n,)) for v in saved]), axis=0)
