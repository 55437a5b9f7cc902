"""The mapper's own cost model: energy and cycles of tilings under their best loop orders, for many tilings at once.

A tiling says how every dimension is spread over the slots; the orders of the temporal loops are not part of it, because the best
ones follow: loops that do not index a data space let its tile rest only where they stand inside the loops that do, so of
each level's loops one data space at most rests beyond what rests under every order. Which level that is follows from the tiling,
so the cost splits into a sum over levels and each level's order is chosen on its own (the reuse analysis of LOMA, Symons et al.,
AICAS 2021, with the sum in place of the enumeration). The figures equal the simulator's for perfect factors apart from windows
that slide in two ranks at once, fractions of a vector and sparsity; the simulator costs what is returned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.mapper.factors import FactorTable
from hwloop.mapper.flows import Flows, Kept, Traffic
from hwloop.mapper.mapspace import Mapspace
from hwloop.mapper.prices import Prices
from hwloop.mapper.view import Array, Keep, View, product, rank_extent
from hwloop.simulator.compiled import Compiled


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of many tilings, arrays `(batch,)`.

    Attributes:
        energy_pj: energy [pJ].
        cycles: time [cycles].
        overflow: the worst of need over room, over capacities and fan-outs; above 1 the tiling does not fit.
        utilization: part of the compute units' time that they compute, 0-1.
        orders: by level (index into `architecture.storage`) which of its order choices is best.
    """

    energy_pj: Array
    cycles: Array
    overflow: Array
    utilization: Array
    orders: dict[int, NDArray[np.int64]]

    @property
    def edp(self) -> Array:
        """Energy times delay [pJ x cycles]."""
        return self.energy_pj * self.cycles


class CostModel:
    """Costs tilings of one mapspace, given as row numbers into the factor tables.

    Args:
        space: the mapspace.
        tables: ways to spread each dimension.
        compiled: the simulator's view of levels and energies.
        prices: energy of words and what they take of capacities and bandwidths.
    """

    def __init__(self, space: Mapspace, tables: tuple[FactorTable, ...], compiled: Compiled, prices: Prices) -> None:
        self.space, self.tables, self.compiled, self.prices = space, tables, compiled, prices
        self.n_levels = len(compiled.levels)
        self.macs = float(space.problem.computes)
        self.tensor = [float(space.problem.tensor_size(s.name)) for s in compiled.spaces]
        slots = space.slots
        self.temporal = {
            s.level: i for i, s in enumerate(slots) if not s.spatial and any((t.bounds[:, i] > 1).any() for t in tables)
        }
        self.spatial = {s.level: i for i, s in enumerate(slots) if s.spatial}
        self._dims = range(len(tables))
        self._last_slot = [
            max((i for i, s in enumerate(slots) if s.level >= level), default=-1) for level in range(self.n_levels)
        ]
        self._packed = [self._pack(d) for d in self._dims]
        self.flows = Flows(space, compiled, prices)
        self.choices = self.flows.choices

    def _pack(self, d: int) -> Array:
        """All that is looked up by row number, `(quantity, row)`: temporal passes, spatial X and Y, extents by level, passes."""
        table = self.tables[d]
        rows = [table.effective[:, slot] for slot in self.temporal.values()]
        for slot in self.spatial.values():
            rows += [
                np.where(table.on_y[:, slot], 1.0, table.bounds[:, slot]),
                np.where(table.on_y[:, slot], table.bounds[:, slot], 1.0),
            ]
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
        passes = product([g[-1] for g in gathered])
        kept = self._kept(keep)
        sizes = self._sizes(extents, kept)
        overflow = self._capacity(sizes, kept, self._fan_out(gathered, n_t))
        view = View(self.compiled, times, spread, extents, len(rows))
        savings: dict[int, list[Array | float]] = {level: [0.0] * len(self.choices[level]) for level in self.temporal}
        traffic: dict[tuple[int, int], Traffic] = {}
        for s in range(len(self.compiled.spaces)):
            self.flows.add(view, extents, sizes, kept, s, savings, traffic)
        orders = {level: _best(saved, len(rows)) for level, saved in savings.items()}
        for flow in traffic.values():
            for level, at, ratios in flow.ratios:
                ratio, asked = (_choose(orders[level], [r[i] for r in ratios], len(rows)) for i in (0, 1))
                flow.words = np.where(at, flow.words * ratio, flow.words)
                flow.asked = np.where(at, asked, flow.asked)
            flow.asked = flow.words * flow.asked
        energy, cycles = self._cost(view, traffic, kept, passes)
        utilization = self.macs / self.compiled.compute_instances / cycles
        return Estimate(energy, cycles, overflow, utilization, orders)

    def _kept(self, keep: Keep) -> Kept:
        """Where each level keeps each data space: True for all, a mask for some; absent for none."""
        out: Kept = {}
        every, some = (keep, keep) if keep.ndim == 2 else (np.all(keep, axis=0), np.any(keep, axis=0))
        for level, s in zip(*np.nonzero(some), strict=True):
            out[int(level), int(s)] = None if every[level, s] else keep[:, level, s]
        return out

    def _fan_out(self, gathered: list[Array], n_t: int) -> Array:
        overflow = np.zeros(gathered[0].shape[1])
        for i, level in enumerate(self.spatial):
            for axis in (0, 1):
                used = product([g[n_t + 3 * i + axis] for g in gathered])
                np.maximum(overflow, used / self.compiled.fanout[level][axis], out=overflow)
        floor = self.space.architecture.constraints.min_utilization
        if floor > 0:
            units = product([g[n_t + 3 * i + axis] for i in range(len(self.spatial)) for axis in (0, 1) for g in gathered])
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

    def _sizes(self, extents: list[list[Array]], kept: Kept) -> dict[tuple[int, int], Array]:
        spaces = self.compiled.spaces
        return {(level, s): product([rank_extent(extents[level], rank) for rank in spaces[s].ranks]) for level, s in kept}

    def _capacity(self, sizes: dict[tuple[int, int], Array], kept: Kept, overflow: Array) -> Array:
        for index, level in enumerate(self.compiled.levels):
            if level.capacity is None and not level.min_capacity > 0:
                continue
            need: Array | float = 0.0
            for s in range(len(self.compiled.spaces)):
                if (index, s) in sizes:
                    words = self.prices.stored(index, s, sizes[index, s])
                    if level.by_rows:
                        words = np.ceil(words / level.packing[s].row_words) * level.packing[s].word_rows
                    mask = kept[index, s]
                    need = need + (words if mask is None else np.where(mask, words, 0.0))
            if level.capacity is not None:
                overflow = np.maximum(overflow, need / max(level.capacity, 1e-9))
            if level.min_capacity > 0:
                overflow = np.maximum(overflow, level.min_capacity / np.maximum(need, 1e-9))
        return overflow

    def _where_results_wait(
        self, kept: Kept, index: int, s: int, words: tuple[Array, Array | float, Array | float], spent: Array,
        moved: tuple[Array, Array],
    ) -> tuple[Array, tuple[Array, Array]]:  # fmt: skip
        """Energy and bandwidth of a result at a level, with its finished values apart where no level outside keeps it.

        Args:
            kept: where each level keeps each data space.
            index, s: the level and the data space.
            words: read, filled and updated.
            spent: energy were all values of one width [pJ].
            moved: words of bandwidth read and written, likewise.
        """
        outer = [kept[above, s] for above in range(index) if (above, s) in kept]
        if any(mask is None for mask in outer):
            return spent, moved
        prices, (read, fill, update) = self.prices.waiting[index, s], words
        finished = np.minimum(self.tensor[s], update)
        partial = update - finished
        apart = read * prices.read + fill * prices.fill + partial * prices.update + finished * prices.finished
        written = (fill + partial) * prices.share + finished * prices.finished_share
        if not outer:
            return np.asarray(apart), (read * prices.share, written)
        inner = np.any(np.array(outer), axis=0)
        choose = np.where
        return choose(inner, spent, apart), (choose(inner, moved[0], read * prices.share), choose(inner, moved[1], written))

    def _cost(self, view: View, traffic: dict[tuple[int, int], Traffic], kept: Kept, passes: Array) -> tuple[Array, Array]:
        n = self.n_levels
        energy = np.full(len(passes), self.macs * self.prices.compute)
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
                    if flow:
                        read = read + (flow.words - flow.asked)
                spent = read * self.prices.read[index, s] + fill * self.prices.fill[index, s]
                if space.read_write:
                    spent = spent + update * self.prices.update[index, s]
                share = level.packing[s].bandwidth_scale
                moved = read * share, (fill + update) * share
                if (index, s) in self.prices.waiting:
                    spent, moved = self._where_results_wait(kept, index, s, (read, fill, update), spent, moved)
                read, write = moved
                if mask is not None:
                    spent, read, write = np.where(mask, spent, 0.0), np.where(mask, read, 0.0), np.where(mask, write, 0.0)
                energy = energy + spent
                reads[index], writes[index] = reads[index] + read, writes[index] + write
                if flow:
                    demand = flow.asked if mask is None else np.where(mask, flow.asked, demand)
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


def _choose(which: NDArray[np.int64], values: list[Array | float], n: int) -> Array | float:
    if all(isinstance(v, float) for v in values) and len(set(map(float, values))) == 1:
        return values[0]
    return values[0] if len(values) == 1 else np.choose(which, [np.broadcast_to(np.asarray(v), (n,)) for v in values])


def _best(saved: list[Array | float], n: int) -> NDArray[np.int64]:
    if all(isinstance(value, float) for value in saved):
        return np.zeros(n, np.int64)
    return np.asarray(np.argmax(np.array([np.broadcast_to(np.asarray(v), (n,)) for v in saved]), axis=0))
