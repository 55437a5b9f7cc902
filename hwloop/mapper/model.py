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
from hwloop.mapper.orders import OrderChoice, order_choices
from hwloop.simulate.compiled import Compiled

Array = NDArray[np.float64]
Keep = NDArray[np.bool_]
Mask = Keep | None  # None: all of the batch
Part = tuple[Array | float, Array | float]


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


@dataclass
class _Traffic:
    """Words that one level's tile of one data space takes, over all instances.

    Attributes:
        words: under the worst order of the loops above; afterwards under the chosen one.
        asked: those that come from the parent; the others come from a neighbour.
        ratios: (level, rows where its order matters, by order choice what remains of `words` and what part of that is asked).
    """

    words: Array
    asked: Array
    ratios: list[tuple[int, NDArray[np.bool_], list[Part]]]


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
        self._last_slot = [
            max((i for i, s in enumerate(slots) if s.level >= level), default=-1) for level in range(self.n_levels)
        ]
        self._packed = [self._pack(d) for d in self._dims]
        self.choices = order_choices(space, compiled)
        self._ruled = {level for level, rule in enumerate(space.orders) if rule.first or rule.last}
        self._sliding = [frozenset(d for rank in s.ranks if len(rank) > 1 for d, _ in rank) for s in compiled.spaces]

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
        passes = _product([g[-1] for g in gathered])
        kept = self._kept(keep)
        sizes = self._sizes(extents, kept)
        overflow = self._capacity(sizes, kept, self._fan_out(gathered, n_t))
        view = _View(self, times, spread, extents, len(rows))
        savings: dict[int, list[Array | float]] = {level: [0.0] * len(self.choices[level]) for level in self.temporal}
        traffic: dict[tuple[int, int], _Traffic] = {}
        for s in range(len(self.compiled.spaces)):
            self._flows(view, extents, sizes, kept, s, savings, traffic)
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
                    prices = level.energy_pj["random", "fill"] * rows, serve, level.energy_pj["random", "read"] * rows
                    flow = self._traffic(view, extents, sizes, index, s, prices, mask, savings)
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
        prices: tuple[float, Array | float, float],
        mask: Mask,
        savings: dict[int, list[Array | float]],
    ) -> _Traffic:
        """Words into the tile of `level`, and what each order of the loops above would save of their energy.

        Args:
            view: products over dimensions.
            extents: iterations by level and dimension.
            sizes: words of tiles.
            level: the level.
            s: the data space.
            prices: energy of a word for the fill, for the parent and, where a neighbour passes it on, for the neighbour [pJ].
            mask: where the level keeps the data space.
            savings: by level and order choice [pJ]; added to.
        """
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
                links = self._links(view, extents[level], level, above, s)
                choice = self._ratios(view, extents[level], above, s, links)
                ratios.append((above, at, choice))
                if len(choice) > 1:
                    base = np.where(at if mask is None else at & mask, words, 0.0)
                    self._save(base, choice, prices, savings[above])
            if not open_rows.any():
                break
        return _Traffic(words, view.ones, ratios)

    def _save(
        self, words: Array, parts: list[Part], prices: tuple[float, Array | float, float], savings: list[Array | float]
    ) -> None:
        """Adds what each order saves of the energy of `words` [pJ]."""
        fill, serve, passed = prices
        known: dict[tuple[int, int], Array | float] = {}
        for g, (ratio, asked) in enumerate(parts):
            if isinstance(ratio, float) and isinstance(asked, float):
                continue
            key = id(ratio), id(asked)
            if key not in known:
                if isinstance(asked, float):
                    known[key] = words * ((1.0 - ratio) * (fill + serve))
                else:
                    known[key] = words * (fill + serve - ratio * (fill + serve * asked + passed * (1.0 - asked)))
            savings[g] = savings[g] + known[key]

    def _links(self, view: _View, tile: list[Array], level: int, above: int, s: int) -> dict[int, Array]:
        """By dimension, the part of the words that the parent sends when that loop is the innermost around the tile.

        The rest comes from the neighbour that held it one pass before: where the tile moves by as much as neighbours lie apart
        and none of it overlaps its own last place.
        """
        fan = level - 1
        out: dict[int, Array] = {}
        if fan not in view.spread:
            return out
        for rank in self.compiled.spaces[s].ranks:
            for d, step in rank if len(rank) == 2 else ():
                other, other_step = next(term for term in rank if term[0] != d)
                width, move = view.spread[fan][other], step * tile[d]
                if not (width > 1).any():
                    continue
                met = (width > 1) & (move == other_step * tile[other]) & (move >= _rank_extent(tile, rank))
                for between in range(above + 1, level):
                    if between in view.total:
                        met &= view.total[between] <= 1.0
                passes = view.times[above][d]
                if met.any():
                    out[d] = np.where(met, (1.0 + (passes - 1.0) / width) / passes, 1.0)
        return out

    def _ratios(self, view: _View, tile: list[Array], above: int, s: int, links: dict[int, Array]) -> list[Part]:
        """What remains of the traffic under each order choice of level `above`."""
        if above in self._ruled:
            return [self._scanned(view, tile, above, s, links, choice.order) for choice in self.choices[above]]
        rest = view.relevant(above, s) / view.total[above]
        slides: dict[int, Array] = {}
        made: dict[tuple[bool, int], Part] = {}
        out: list[Part] = []
        for choice in self.choices[above]:
            own = choice.rests == s
            d = choice.slides if choice.slides in self._sliding[s] else -1
            if not own and d in self.compiled.spaces[choice.rests].dimensions:
                d = -1
            if (own, d) not in made:
                if d >= 0 and d not in slides:
                    slides[d] = self._slide_ratio(view, tile, above, s, d)
                ratio: Array | float = rest * slides[d] if own and d >= 0 else rest if own else slides[d] if d >= 0 else 1.0
                asked: Array | float = links.get(d, 1.0)
                if own and d in links:
                    asked = np.where(rest < 1.0, 1.0, links[d])
                made[own, d] = ratio, asked
            out.append(made[own, d])
        return out

    def _slide_ratio(self, view: _View, tile: list[Array], above: int, s: int, d: int) -> Array:
        """Share of a sliding window that is new, averaged over the passes of the loop on `d` (the halo stays)."""
        rank, step = next((rank, c) for rank in self.compiled.spaces[s].ranks for k, c in rank if k == d)
        passes = view.times[above][d]
        fresh = np.minimum(step * tile[d] / _rank_extent(tile, rank), 1.0)
        return np.asarray((1.0 + (passes - 1.0) * fresh) / passes)

    def _scanned(
        self, view: _View, tile: list[Array], above: int, s: int, links: dict[int, Array], order: tuple[int, ...]
    ) -> Part:
        """The same for one order, loop by loop."""
        ratio, asked = np.ones(len(view.total[above])), np.ones(len(view.total[above]))
        open_rows = np.ones(len(ratio), bool)
        for d in order:
            passes = view.times[above][d]
            if d not in self.compiled.spaces[s].dimensions:
                ratio = np.where(open_rows, ratio / passes, ratio)
                continue
            turns = open_rows & (passes > 1)
            if d in links:
                asked = np.where(turns & (ratio == 1.0), links[d], asked)
            if d in self._sliding[s]:
                ratio = np.where(turns, ratio * self._slide_ratio(view, tile, above, s, d), ratio)
            open_rows &= ~turns
        return ratio, asked

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
                    if flow:
                        read = read + (flow.words - flow.asked)
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


class _View:
    """Products over dimensions that several steps need, made once."""

    def __init__(
        self, model: CostModel, times: dict[int, list[Array]], spread: dict[int, list[Array]], extents: list[list[Array]], n: int
    ) -> None:
        self.model, self.times, self.spread, self.extents = model, times, spread, extents
        self.total = {level: _product(t) for level, t in times.items()}
        self.ones = np.ones(n)
        self.spread_total = {level: _product(t) for level, t in spread.items()}
        self.instances: list[Array] = [self.ones]
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
            self._relevant[level, s] = _product([t for d, t in enumerate(self.times[level]) if d in dims], self.ones)
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
            shared = _product([t for d, t in enumerate(self.spread[level]) if d not in dims], self.ones)
            for rank in self.model.compiled.spaces[s].ranks:
                if len(rank) == 2:
                    shared = shared * self._overlap(level, rank)
            self._spread_irrelevant[level, s] = shared
        return self._spread_irrelevant[level, s]

    def _overlap(self, level: int, rank: tuple[tuple[int, int], ...]) -> Array | float:
        """Instances that see the same part of a window, on average, when both dimensions of a rank are spread."""
        (a, step_a), (b, step_b) = rank
        n_a, n_b = self.spread[level][a], self.spread[level][b]
        both = (n_a > 1) & (n_b > 1)
        if not both.any():
            return 1.0
        inner = self.extents[level + 1] if level + 1 < self.model.n_levels else [self.ones] * len(self.model.tables)
        move_a, move_b = step_a * inner[a], step_b * inner[b]
        swap = move_a > move_b
        small, big = np.where(swap, move_b, move_a), np.where(swap, move_a, move_b)
        n_small, n_big = np.where(swap, n_b, n_a), np.where(swap, n_a, n_b)
        k = big / small
        distinct = np.where((k == np.floor(k)) & (k < n_small), k * (n_big - 1.0) + n_small, n_small * n_big)
        return np.where(both, n_small * n_big / distinct, 1.0)

    def copies(self, level: int, s: int) -> Array:
        """Instances of a level that hold the same words."""
        out = self.ones
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


def _choose(which: NDArray[np.int64], values: list[Array | float], n: int) -> Array | float:
    if all(isinstance(v, float) for v in values) and len(set(map(float, values))) == 1:
        return values[0]
    return values[0] if len(values) == 1 else np.choose(which, [np.broadcast_to(np.asarray(v), (n,)) for v in values])


def _best(saved: list[Array | float], n: int) -> NDArray[np.int64]:
    if all(isinstance(value, float) for value in saved):
        return np.zeros(n, np.int64)
    return np.argmax(np.array([np.broadcast_to(np.asarray(v), (n,)) for v in saved]), axis=0)
