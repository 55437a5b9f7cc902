"""The least that a mapping costs, as sums of products: energy, what takes time, and what must fit.

Energy follows the simulator term by term. What stands out is always on the low side: vectors are not rounded up to whole ones,
energy of address generation, metadata and codecs is left out, leakage lasts only as long as the compute. With sparse
optimisations every count is taken times the product of all densities, the least that skipping and compression leave, and gated
accesses are free.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from hwloop.mapper.bound_orders import Halo, OrderCase, feeds_many, rests
from hwloop.mapper.bound_terms import Product
from hwloop.mapper.mapspace import Mapspace
from hwloop.mapper.prices import Prices
from hwloop.simulator.compiled import Compiled

Array = NDArray[np.float64]
Keep = tuple[tuple[int, ...], ...]
Words = list[tuple[Product, float]]


@dataclass(frozen=True)
class Decisions:
    """What is decided of a mapping.

    Attributes:
        keep: `(level, data space)` 1 kept, 0 bypassed, -1 open.
        cases: by level with temporal loops, their order case; None while open.
        halos: by (level, data space), what is decided of the halo of its tile; open where not named.
    """

    keep: Keep
    cases: tuple[tuple[int, OrderCase | None], ...]
    halos: tuple[tuple[tuple[int, int], Halo], ...] = ()


@dataclass
class Sum:
    """Coefficients of products, those taken off, and a number."""

    plus: dict[Product, float] = field(default_factory=dict)
    minus: dict[Product, float] = field(default_factory=dict)
    base: float = 0.0

    def add(self, product: Product, coefficient: float) -> None:
        """Adds a multiple of a product, negative to take it off."""
        side = self.plus if coefficient > 0 else self.minus
        if coefficient:
            side[product] = side.get(product, 0.0) + abs(coefficient)

    def add_all(self, words: Words, coefficient: float, per: int = -1) -> None:
        """Adds a multiple of products times coefficients, over the instances of the level `per`."""
        for product, number in words:
            self.add(replace(product, per=per), number * coefficient)


class BoundModel:
    """Sums of products for what is decided.

    Args:
        space: the mapspace.
        compiled: the simulator's view of levels and data spaces.
        prices: what words cost and take.
        part_left: part of every count that sparsity leaves at least, 1 without.
    """

    def __init__(self, space: Mapspace, compiled: Compiled, prices: Prices, part_left: float) -> None:
        self.space, self.compiled, self.prices, self.part_left = space, compiled, prices, part_left
        self.macs = float(space.problem.computes)
        self.tensor = [float(space.problem.tensor_size(s.name)) for s in compiled.spaces]
        self.units = len(compiled.levels)
        clusters = [level.clusters / level.instances for level in compiled.levels]
        self._part = [min(c, 1.0) * part_left for c in clusters]

    def energy(self, decided: Decisions) -> Sum:
        """Energy [pJ]."""
        out = Sum(base=self.macs * self.prices.compute * self.part_left)
        for s in range(len(self.tensor)):
            for level, kind, words in self._words(decided, s):
                price: float = {"read": self.prices.read, "fill": self.prices.fill, "update": self.prices.update}[kind][level, s]
                out.add_all(words, price * self._part[level])
            out.base += self._least_operand(decided, s)
        for index, compiled in enumerate(self.compiled.levels):
            if compiled.leak_pj and any(k == 1 for k in decided.keep[index]):
                out.add(Product("passes", times=index), compiled.leak_pj * self.part_left)
        return out

    def times(self, decided: Decisions) -> list[Sum]:
        """Cycles: of the compute units, and of each level by each of its bandwidths; the most of them counts."""
        out = [Sum(base=float(self.compiled.network_latency))]
        out[0].add(Product("passes"), self.part_left)
        words = [list(self._words(decided, s)) for s in range(len(self.tensor))]
        for index, level in enumerate(self.compiled.levels):
            for have, kinds in (
                (level.read_bandwidth, ("read",)),
                (level.write_bandwidth, ("fill", "update")),
                (level.shared_bandwidth, ("read", "fill", "update")),
            ):
                if have is None:
                    continue
                total = Sum(base=float(self.compiled.network_latency))
                for s, moved in enumerate(words):
                    for at, kind, amount in moved:
                        if at == index and kind in kinds:
                            total.add_all(amount, level.packing[s].bandwidth_scale * self.part_left / have, per=index)
                if total.plus:
                    out.append(total)
        return out

    def rooms(self, decided: Decisions) -> list[dict[Product, float]]:
        """Words over capacity, a dictionary a level; each sums to 1 at most."""
        out = []
        for index, level in enumerate(self.compiled.levels):
            if level.capacity is None:
                continue
            need = {}
            for s, tensor in enumerate(self.tensor):
                if decided.keep[index][s] == 1:
                    stored = min(self.prices.part[index, s], self.prices.most[index, s] / tensor)
                    rows = level.packing[s].word_rows / level.packing[s].row_words if level.by_rows else 1.0
                    need[Product("tile", index, s)] = stored * rows / max(level.capacity, 1e-9)
            if need:
                out.append(need)
        return out

    def axes(self) -> list[tuple[Product, float]]:
        """Instances on each axis of each fan-out, and the logarithm of its room."""
        return [
            (Product("axis", slot.level, axis), float(np.log(slot.room[axis])))
            for slot in self.space.slots if slot.spatial for axis in (0, 1)
        ]  # fmt: skip

    def _words(self, decided: Decisions, s: int) -> Iterator[tuple[int, str, Words]]:
        """(level, action, products times coefficients) of the words of a data space over all instances."""
        column = [row[s] for row in decided.keep]
        held = [level for level, kept in enumerate(column) if kept != 0]
        halos = dict(decided.halos)
        cases = dict(decided.cases)
        result = self.compiled.spaces[s].read_write
        for i, level in enumerate(held):
            if column[level] != 1:
                continue
            child = held[i + 1] if i + 1 < len(held) else self.units
            if child == self.units and not feeds_many(self.space):
                demand = Product("operand", level, s)
            else:
                demand = Product("read", level, s, child, rests(self.space, cases, child, s, halos.get((child, s))))
            words: Words = [(demand, 1.0)]
            fresh: Words = [(Product("fresh", level, s), -self.tensor[s])]
            if not result:
                yield level, "read", words
            else:
                yield level, "update", words
                if self.part_left == 1.0:
                    yield level, "read", words + fresh
            if i > 0:
                fill = Product("fill", level, s, 0, rests(self.space, cases, level, s, halos.get((level, s))))
                if not result:
                    yield level, "fill", [(fill, 1.0)]
                elif self.part_left == 1.0:
                    yield level, "fill", [(fill, 1.0), *fresh]

    def _least_operand(self, decided: Decisions, s: int) -> float:
        """What the operands of the compute units cost at least while it is open which level serves them [pJ]."""
        column = [row[s] for row in decided.keep]
        forced = max((level for level, kept in enumerate(column) if kept == 1), default=0)
        serving = [forced, *(level for level, kept in enumerate(column) if kept == -1 and level > forced)]
        if len(serving) == 1 or feeds_many(self.space):
            return 0.0
        kind = self.prices.update if self.compiled.spaces[s].read_write else self.prices.read
        costs = []
        for level in serving:
            shared = prod(slot.room[0] * slot.room[1] for slot in self.space.slots if slot.spatial and slot.level >= level)
            already = 0.0 if level != forced else kind[level, s]  # what the forced level sends is counted as traffic to a child
            costs.append(max(float(kind[level, s]) - already, 0.0) * self._part[level] / shared)
        return self.macs * min(costs)
