"""Points of the search: their coordinates, their neighbours, and the best of those seen."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hwloop.mapper.factors import FactorTable
from hwloop.mapper.mapspace import Mapspace
from hwloop.mapper.model import Estimate
from hwloop.mapper.view import Array

Ints = NDArray[np.int64]
FLIPS = 3  # levels that start or stop to keep a data space in one move


class Genes:
    """The coordinates of a search point: a row number for each dimension, then for each data space where it is kept, as bits.

    Args:
        space: the mapspace.
        tables: ways to spread each dimension.
    """

    def __init__(self, space: Mapspace, tables: tuple[FactorTable, ...]) -> None:
        self.tables = tables
        free = space.free_keeps
        self.columns = [(s, [level for level, k in free if k == s]) for s in sorted({s for _, s in free})]
        self.sizes = (*(len(t) for t in tables), *(2 ** len(levels) for _, levels in self.columns))
        self._base: NDArray[np.bool_] = np.equal(space.keep, 1)
        self._signed = [np.where(t.on_y, -t.bounds, t.bounds) for t in tables]
        self._near: dict[tuple[int, int], Ints] = {}

    def rows(self, points: Ints) -> Ints:
        """`(batch, dimension)` row numbers of points `(batch, gene)`."""
        return points[:, : len(self.tables)]

    def keep(self, points: Ints) -> NDArray[np.bool_]:
        """`(batch, level, data space)`, or `(level, data space)` where nothing is free."""
        if not self.columns:
            return self._base
        keep = np.repeat(self._base[None], len(points), axis=0)
        for i, (s, levels) in enumerate(self.columns):
            for bit, level in enumerate(levels):
                keep[:, level, s] = points[:, len(self.tables) + i] >> bit & 1
        return keep

    def from_rows(self, rows: Ints, keep: NDArray[np.bool_]) -> Ints:
        """Points from `(batch, dimension)` and `(batch, level, data space)`."""
        bits = [
            np.sum([keep[:, level, s].astype(np.int64) << bit for bit, level in enumerate(levels)], axis=0)[:, None]
            for s, levels in self.columns
        ]
        return np.concatenate([rows, *bits], axis=1)

    def random_keeps(self, rng: np.random.Generator, n: int) -> Ints:
        """`(n, column)` values of the keep genes: everything kept, most of it, or half of it."""
        chance = rng.choice([1.0, 0.8, 0.5], size=(n, 1))
        bits = [(rng.random((n, len(levels))) < chance) @ (1 << np.arange(len(levels))) for _, levels in self.columns]
        return np.stack(bits, axis=1) if bits else np.zeros((n, 0), np.int64)

    def neighbours(self, gene: int, value: int) -> Ints:
        """Values of a gene one move away: other rows that differ in at most two slots, or other levels that keep."""
        if (gene, value) not in self._near:
            if gene >= len(self.tables):
                every = np.arange(self.sizes[gene])
                flipped = np.array([int(v).bit_count() for v in every ^ value])
                self._near[gene, value] = every[(flipped > 0) & (flipped <= FLIPS)]
            else:
                signed = self._signed[gene]
                moved = (signed != signed[value]).sum(1)
                self._near[gene, value] = np.flatnonzero((moved > 0) & (moved <= 2))
        return self._near[gene, value]

    def moves(self, point: Ints) -> tuple[Ints, Ints]:
        """All single moves from a point `(gene,)`: which gene, and its new value."""
        near = [self.neighbours(g, int(v)) for g, v in enumerate(point)]
        return np.repeat(np.arange(len(near)), [len(n) for n in near]), np.concatenate(near)


@dataclass
class Archive:
    """The best points seen, each once.

    Attributes:
        size: how many are held.
        points: `(held, gene)`.
        score: `(held,)` estimated objective.
        orders: `(held, level)` which order choice is best.
        evaluated: how many were costed.
    """

    size: int
    points: Ints
    score: Array
    orders: Ints
    evaluated: int = 0
    seen: set[bytes] = field(default_factory=set)

    def add(self, points: Ints, score: Array, estimate: Estimate) -> None:
        """Takes in what is better than what is held."""
        self.evaluated += len(points)
        limit = self.score[-1] if len(self.score) == self.size else np.inf
        better = np.flatnonzero(score < limit)
        if len(better) > self.size:
            better = better[np.argpartition(score[better], self.size - 1)[: self.size]]
        better = better[np.argsort(score[better], kind="stable")]
        fresh = []
        for i in better:
            key = points[i].tobytes()
            if key not in self.seen:
                self.seen.add(key)
                fresh.append(i)
        if not fresh:
            return
        at = np.array(fresh)
        orders = np.zeros((len(at), self.orders.shape[1]), np.int64)
        for level, which in estimate.orders.items():
            orders[:, level] = which[at]
        score_all = np.concatenate([self.score, score[at]])
        order = np.argsort(score_all, kind="stable")[: self.size]
        self.points = np.concatenate([self.points, points[at]])[order]
        self.orders = np.concatenate([self.orders, orders])[order]
        self.score = score_all[order]
