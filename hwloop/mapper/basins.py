"""Where keeps are free: the best point seen of every way to keep the data spaces, and new starts made from these.

Which levels keep what decides which tilings pay, so one best move at a time seldom leads from one such choice to another: each is
a valley of its own, and the best points that a search has seen nearly all lie in one of them. New starts come from many valleys.
"""

from __future__ import annotations

import numpy as np

from hwloop.mapper.genes import Genes, Ints
from hwloop.mapper.view import Array

BASINS = 60  # of so many of the best, new starts are made
Groups = tuple[Ints, Ints, Ints]  # rows by group, where each group starts, its size


class Basins:
    """The best point of each basin, a choice of what is kept where.

    Args:
        genes: the coordinates of points.
        spatial: by dimension the rows of its table grouped by their spatial loops.
        combos: `(combination, dimension)` groups that fill the array well.
        rng: where chance comes from.
    """

    def __init__(self, genes: Genes, spatial: list[Groups], combos: Ints, rng: np.random.Generator) -> None:
        self.genes, self.spatial, self.combos, self.rng = genes, spatial, combos, rng
        self._best: dict[bytes, tuple[float, Ints]] = {}
        self._tables = len(genes.tables)
        self._free = np.flatnonzero(np.array(genes.sizes) > 1)
        self._extents = [np.log2(table.extents) for table in genes.tables]

    def add(self, points: Ints, score: Array) -> None:
        """Takes in points that are the best of their basin so far."""
        for point, value in zip(points, score, strict=True):
            key = point[self._tables :].tobytes()
            if key not in self._best or value < self._best[key][0]:
                self._best[key] = (float(value), point)

    def starts(self, n: int) -> Ints:
        """`(n, gene)` points made from the best of the basins: genes drawn anew, two crossed, spread or kept another way.

        Half of them come from the very best, the others from any.
        """
        best = [point for _, point in sorted(self._best.values(), key=lambda held: held[0])[:BASINS]]
        out = np.zeros((n if best else 0, len(self.genes.sizes)), np.int64)
        ways = (self._redrawn, self._crossed, self._respread, self._rekept)
        for i in range(len(out)):
            ranked = i // len(ways) if self.rng.random() < 0.5 else int(self.rng.integers(len(best)))
            point = ways[i % len(ways)](best[min(ranked, len(best) - 1)], best[self.rng.integers(len(best))])
            out[i] = self._redrawn(point, point, 1) if self.rng.random() < 0.5 else point
        return out

    def _redrawn(self, point: Ints, _: Ints, genes: int = 2) -> Ints:
        """With a few genes drawn anew."""
        out = point.copy()
        for gene in self.rng.choice(self._free, size=genes):
            out[gene] = self.rng.integers(self.genes.sizes[gene])
        return out

    def _crossed(self, point: Ints, other: Ints) -> Ints:
        """Each gene from one of the two."""
        return np.where(self.rng.random(len(point)) < 0.5, point, other)

    def _rekept(self, point: Ints, other: Ints) -> Ints:
        """Some data spaces kept as the other point keeps them, or at random."""
        keeps = other[self._tables :] if self.rng.random() < 0.5 else self.genes.random_keeps(self.rng, 1)[0]
        own = point[self._tables :]
        return np.concatenate([point[: self._tables], np.where(self.rng.random(len(own)) < 0.5, own, keeps)])

    def _respread(self, point: Ints, _: Ints) -> Ints:
        """Spread over the array another way, with tiles as near to the point's as that allows."""
        out = point.copy()
        for d, group in enumerate(self.combos[self.rng.integers(len(self.combos))]):
            members, offsets, counts = self.spatial[d]
            rows = members[offsets[group] : offsets[group] + counts[group]]
            far = np.abs(self._extents[d][rows] - self._extents[d][point[d]]).sum(1)
            out[d] = rows[np.argmin(far + 0.5 * self.rng.random(len(rows)))]
        return out
