"""The products that a lower bound on cost is made of, as logarithms by way to spread each dimension.

Every count of the cost model is a product over dimensions: words of a tile, times the instances that hold it, times how often it
comes again. Where the count depends on more than the ways to spread (loop orders, neighbours that pass words on, halos) the
product stands below the count:

- Loops that do not index a data space reload its tile only where they stand outside a loop that does. `Rests` says for which
  loops that is certain.
- A loop that indexes a data space, but has a single pass left in the incomplete last one of those outside it, lets the tile rest
  there: what belongs to that pass is left out.
- A window that slides keeps its halo along one rank, that of the innermost loop that moves it (`bound_halo`).
- Instances whose windows overlap share words only where these are all the same, so `n` by `m` of them hold at least `n + m - 1`
  different tiles. Where a neighbour can pass words on (one dimension of the window is spread and the other moves in time), no
  more is taken for granted than what one instance takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.mapper.bound_halo import Window
from hwloop.mapper.bound_rows import Part
from hwloop.mapper.mapspace import Mapspace
from hwloop.simulator.compiled import Compiled

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Rests:
    """What is assumed of the traffic into a tile.

    Attributes:
        free: `(dimension, slot)` pairs of temporal loops that do not reload it.
        lead: the dimension of the innermost loop that moves it, along whose rank it keeps its halo; -1 when it keeps none, None
            when it is open.
        at: the slot of that loop, None when it is open.
        twins: (dimension, slot) of the loops further out that may move it in the same way; None for all of them.
    """

    free: frozenset[tuple[int, int]] = frozenset()
    lead: int | None = None
    at: int | None = None
    twins: frozenset[tuple[int, int]] | None = None


@dataclass(frozen=True)
class Product:
    """One product.

    Attributes:
        kind: `fill` (words into all tiles of `level`), `read` (words that `level` sends for tiles of `child`), `operand` (words
            it sends for the compute units), `fresh` (words of all its instances), `tile`, `passes`, or `axis` (instances on it).
        level: the level; for `axis` the fan-out.
        space: the data space, by index.
        child: the next level inward that keeps it; as many as there are levels stands for the compute units.
        rests: what is assumed of the traffic.
        per: a level by whose instances the product is divided, -1 for none.
        times: a level by whose instances, on average, it is multiplied, -1 for none.
    """

    kind: str
    level: int = 0
    space: int = 0
    child: int = 0
    rests: Rests = Rests()
    per: int = -1
    times: int = -1


class Products:
    """Logarithms of products, `(way,)` for each part of a problem, each made once.

    Args:
        space: the mapspace.
        compiled: the simulator's view of levels and data spaces.
        parts: the ways to spread the dimensions.
    """

    def __init__(self, space: Mapspace, compiled: Compiled, parts: list[Part]) -> None:
        self.space, self.compiled, self.parts = space, compiled, parts
        slots = space.slots
        self.spatial = np.array([s.spatial for s in slots], bool)
        self.inside = [sum(s.level >= level for s in slots) for level in range(len(compiled.levels))] + [0]
        self.levels = np.array([s.level for s in slots])
        self._effective = [part.effective for part in parts]
        self._sliding = [frozenset(d for rank in s.ranks if len(rank) > 1 for d, _ in rank) for s in compiled.spaces]
        self._known: dict[tuple[int, Product], Array] = {}

    def log(self, part: int, product: Product) -> Array:
        """The part's share of a product, as a logarithm."""
        key = part, product
        if key not in self._known:
            makers: dict[str, Callable[[int, Product], Array]] = {
                "fill": self._fill, "read": self._read, "operand": self._operand, "fresh": self._fresh, "tile": self._tile,
                "passes": self._passes, "axis": self._axis,
            }  # fmt: skip
            value = makers[product.kind](part, product)
            if product.per >= 0:
                value = value - self._instances(part, product.per)
            if product.times >= 0:
                value = value + self._instances(part, product.times, average=True)
            self._known[key] = value
        return self._known[key]

    def _instances(self, part: int, level: int, average: bool = False) -> Array:
        above = self.spatial & (np.arange(len(self.spatial)) >= self.inside[level])
        passes = self._effective[part] if average else self.parts[part].bounds
        return np.asarray(np.log(passes[:, :, above]).sum((1, 2)))

    def _passes(self, part: int, product: Product) -> Array:
        return np.asarray(np.log(self.parts[part].bounds[:, :, ~self.spatial]).sum((1, 2)))

    def _axis(self, part: int, product: Product) -> Array:
        slot = int(np.flatnonzero(self.spatial & (self.levels == product.level))[0])
        here = self.parts[part].on_y[:, :, slot] == bool(product.space)
        return np.asarray(np.where(here, np.log(self.parts[part].bounds[:, :, slot]), 0.0).sum(1))

    def _fresh(self, part: int, product: Product) -> Array:
        """At most: instances that hold the same words, times the tensor's."""
        above = self.spatial & (np.arange(len(self.spatial)) >= self.inside[product.level])
        out = np.zeros(len(self.parts[part]))
        for j, d in enumerate(self.parts[part].dims):
            if d not in self.compiled.spaces[product.space].dimensions:
                out += np.log(self.parts[part].bounds[:, j, above]).sum(1)
        return out

    def _tile(self, part: int, product: Product) -> Array:
        rows, begin = self.parts[part], self.inside[product.level]
        out = np.zeros(len(rows))
        for terms in self._ranks(part, product.space):
            if rows.loose:
                out += np.log(rows.covered[:, 0, begin]) if self._leads(part, terms) else 0.0
            else:
                out += np.log(1.0 + sum(c * (rows.covered[:, j, begin] - 1.0) for j, c in self._local(part, terms)))
        return out

    def _fill(self, part: int, product: Product) -> Array:
        begin = self.inside[product.level]
        after = np.arange(len(self.spatial)) >= begin
        return self._traffic(part, product, begin, after & self.spatial, after & False)

    def _read(self, part: int, product: Product) -> Array:
        begin, end = self.inside[product.child], self.inside[product.level]
        slots = np.arange(len(self.spatial))
        return self._traffic(part, product, begin, (slots >= end) & self.spatial, (slots >= begin) & (slots < end) & self.spatial)

    def _traffic(self, part: int, product: Product, begin: int, copies: Mask, shared: Mask) -> Array:
        """Words for tiles inside slot `begin`, repeated over the spatial slots `copies`, sent once over the slots `shared`."""
        rows, space = self.parts[part], self.compiled.spaces[product.space]
        out = np.zeros(len(rows))
        for j, d in enumerate(rows.dims):
            if d not in space.dimensions:
                counted = copies.copy()
                for i in np.flatnonzero(~self.spatial):
                    counted[i] = i >= begin and (d, int(i)) not in product.rests.free
                out += self._counted(part, j, counted)
        for terms in self._ranks(part, product.space):
            out += self._rank(part, product, terms, begin, copies, shared)
        return out

    def _counted(self, part: int, j: int, counted: Mask) -> Array:
        """Passes of those slots of a dimension that count; whole ones where only slots outside all others do."""
        rows, effective = self.parts[part], self._effective[part][:, j]
        left_out = np.flatnonzero(~counted)
        start = int(left_out[-1]) + 1 if len(left_out) else 0
        inner = effective[:, :start][:, counted[:start]].prod(1)
        outer = rows.covered[:, j, -1] / rows.covered[:, j, start]
        if not rows.loose:
            outer = np.where(inner == 1.0, np.ceil(outer - 1e-9), outer)
        return np.asarray(np.log(inner * outer))

    def _rank(self, part: int, product: Product, terms: list[tuple[int, int]], begin: int, copies: Mask, shared: Mask) -> Array:
        """Words along one rank, over all instances of the slots `copies` and `shared` where these differ, over all of time."""
        rows, effective = self.parts[part], self._effective[part]
        if rows.loose:
            if not self._leads(part, terms):
                return np.zeros(len(rows))
            part_of = effective[:, 0][:, shared].prod(1) if len(terms) > 1 else 1.0
            return np.asarray(np.log(rows.covered[:, 0, -1] / part_of))
        local = self._local(part, terms)
        if not local:
            return np.zeros(len(rows))
        resting = np.sum([self._resting(part, j, begin, product) for j, _ in local], axis=0)
        if len(local) == 1 and local[0][1] == 1:
            return np.asarray(np.log(rows.covered[:, local[0][0], -1] * (1.0 - resting)))
        time = ~self.spatial & (np.arange(len(self.spatial)) >= begin)
        extent = self._extent(rows, local, begin)
        window = Window(rows, local, time, extent)
        words = extent * window.total  # steps along a single dimension keep nothing
        if len(local) > 1:
            words = window.words(product.rests.lead, product.rests.twins)
        words = np.maximum(words - resting * window.total * extent, extent)
        for j, _ in local:
            words = words * effective[:, j][:, copies].prod(1)
        return np.asarray(np.log(words) + self._different(part, local, shared, list(window.turns.values())))

    def _resting(self, part: int, j: int, begin: int, product: Product) -> Array:
        """Part of a dimension that belongs to an incomplete pass in which the loop that moves the tile may not move it."""
        rows, rests = self.parts[part], product.rests
        out = np.zeros(len(rows))
        sliding = self._sliding[product.space]
        if rests.lead is not None and (rows.dims[j] != rests.lead if rests.lead >= 0 else rows.dims[j] in sliding):
            return out
        time = np.flatnonzero(~self.spatial)
        for i in time[time >= begin]:
            if rests.at is None or rests.at == i:
                single = (rows.last[:, j, i] == 1.0) & (rows.bounds[:, j, i] > 1.0)
                moved = (rows.bounds[:, j, time[time > i]] > 1.0).any(1)
                out = np.where(single & moved, rows.covered[:, j, i] / rows.covered[:, j, -1], out)
        return out

    def _extent(self, rows: Part, local: list[tuple[int, int]], begin: int) -> Array:
        """Words of a tile along a rank; where some are cut short, so many that the tiles in proportion have no more."""
        extent: Array = 1.0 + np.sum([c * (rows.covered[:, j, begin] - 1.0) for j, c in local], axis=0)
        more, mean = np.ones(len(rows)), np.ones(len(rows))
        for j, c in local:
            tile, size = rows.covered[:, j, begin], rows.covered[:, j, -1]
            tiles = np.ceil(size / tile - 1e-9)
            more = more * tiles * tile / size
            mean = mean + c * (size / tiles - 1.0)
        return np.minimum(extent, more * mean)

    def _different(self, part: int, local: list[tuple[int, int]], shared: Mask, turns: list[Array]) -> Array:
        """Different tiles at least among the instances of the slots `shared`, as a logarithm."""
        effective = self._effective[part]
        spread = [effective[:, j][:, shared].prod(1) for j, _ in local]
        passed_on = np.zeros(len(effective), bool)
        for a in range(len(local)):
            for b in range(len(local)):
                if a != b:
                    passed_on |= (spread[a] > 1.0) & (turns[b] > 1.0)
        out = np.zeros(len(effective))
        for slot in np.flatnonzero(shared):
            out += np.log(1.0 + sum(effective[:, j, slot] - 1.0 for j, _ in local))
        return np.where(passed_on, 0.0, out)

    def _operand(self, part: int, product: Product) -> Array:
        """Words that a level sends where the compute units take each operand from it."""
        rows, effective, space = self.parts[part], self._effective[part], self.compiled.spaces[product.space]
        end = self.inside[product.level]
        shared = self.spatial & (np.arange(len(self.spatial)) < end)
        out = np.zeros(len(rows))
        for j, d in enumerate(rows.dims):
            if d not in space.dimensions:
                out += self._counted(part, j, ~shared)
        for terms in self._ranks(part, product.space):
            if rows.loose:
                part_of = effective[:, 0][:, shared].prod(1) if len(terms) > 1 else 1.0
                out += np.log(rows.covered[:, 0, -1] / part_of)
                continue
            local = self._local(part, terms)
            for j, _ in local:
                out += np.log(rows.covered[:, j, -1])
            if len(local) < 2:
                continue
            for slot in np.flatnonzero(shared):
                n = np.array([effective[:, j, slot] for j, _ in local])
                out -= np.log(n.prod(0) / n.max(0))
        return out

    def _ranks(self, part: int, s: int) -> list[list[tuple[int, int]]]:
        """The ranks of a data space that some dimension of a part indexes."""
        dims = self.parts[part].dims
        return [list(rank) for rank in self.compiled.spaces[s].ranks if any(d in dims for d, _ in rank)]

    def _local(self, part: int, terms: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """(place in the part, coefficient) of a rank's dimensions that are larger than 1."""
        dims = self.parts[part].dims
        return [(dims.index(d), c) for d, c in terms if d in dims]

    def _leads(self, part: int, terms: list[tuple[int, int]]) -> bool:
        """Whether a loose part's dimension is the one of a window that counts."""
        return self.parts[part].dims[0] == max((self.compiled.bounds[d], d) for d, _ in terms)[1]
