"""The banded density model: nonzeros within a band around the diagonal of a square matrix (MICRO 2022 table 4).

Occupancies are counted tile by tile. The real program's counts have two simplifications, kept here because its numbers are the
measure: parts of a tile are counted in the first tile that has the occupancy asked for, and the blocks of the matrix are
counted by row groups of three kinds (first, middle, last). Where it finds no such tile the real program stops; here the chance is
not a number, and the mapping is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, nan
from typing import Self

import numpy as np

from hwloop.simulator.density import DensityModel, Floats, Ints


class Banded(DensityModel):
    """Nonzero where |row - column| <= half width. Tiles are their (rows, columns)."""

    by_size = False

    def __init__(self, half_width: int, side: int) -> None:
        self.half_width, self.side = half_width, side
        self.name = f"banded-{half_width}"
        inside = side + sum(2 * (side - d) for d in range(1, half_width + 1))
        self._density = inside / (side * side)
        self._distribution = lru_cache(maxsize=4096)(self._count_tiles)

    @property
    def kind(self) -> object:
        """Tiles are counted matrix by matrix."""
        return type(self), self.half_width, self.side

    @classmethod
    def together(cls, models: Sequence[Self]) -> Self:
        """The one matrix that all of them are about."""
        return models[0]

    def _nonzeros(self, top: int, bottom: int, left: int, right: int) -> int:
        rows = np.arange(top, bottom)
        first = np.maximum(np.maximum(left, rows - self.half_width), 0)
        last = np.minimum(right, rows + self.half_width + 1)
        return int(np.maximum(last - first, 0).sum())

    def _count_tiles(self, rows: int, columns: int) -> dict[int, float]:
        rows, columns = min(rows, self.side), min(columns, self.side)  # a leader's tile may reach beyond the matrix
        groups_down, groups_across = self.side // rows, self.side // columns
        warm = ceil(self.half_width / rows)
        steady = max(groups_down - 2 * warm, 0)
        counts: dict[int, int] = {0: 0}
        for down in range(min(warm + 1, groups_down)):
            weight = steady if down >= warm else 2 if warm != groups_down else 1
            for across in range(groups_across):
                if across * columns > down * rows + rows - 1 + self.half_width:
                    counts[0] += (groups_across - across) * weight
                    break
                inside = self._nonzeros(down * rows, (down + 1) * rows, across * columns, (across + 1) * columns)
                counts[inside] = counts.get(inside, 0) + weight
        return {k: counts[k] / (groups_down * groups_across) for k in sorted(counts)}

    def _tile_with(self, rows: int, columns: int, occupancy: int) -> tuple[int, int] | None:
        """Top and left of the first tile with this occupancy; None where no tile has it or tiles do not divide the matrix."""
        if self.side % rows or self.side % columns:
            return None
        warm = ceil(self.half_width / rows)
        for down in range(min(warm + 1, self.side // rows)):
            for across in range(self.side // columns):
                top, left = down * rows, across * columns
                if left > top + rows - 1 + self.half_width:
                    if occupancy == 0:
                        return top, left
                    break
                if self._nonzeros(top, top + rows, left, left + columns) == occupancy:
                    return top, left
        return None

    def empty(self, tiles: Ints) -> Floats:
        """Probability that a tile of the tensor has no nonzero."""
        return np.array([self._distribution(rows, columns).get(0, 0.0) for rows, columns in tiles.tolist()])

    def empty_within(self, parts: Ints, tiles: Ints, occupancies: Ints) -> Floats:
        """Probability that a part of a tile is empty, by the occupancy of the tile."""
        rows = zip(parts.tolist(), tiles.tolist(), occupancies.tolist(), strict=True)
        return np.array([[self._empty_part(tuple(part), tuple(tile), n) for n in counts] for part, tile, counts in rows])

    def _empty_part(self, part: tuple[int, ...], tile: tuple[int, ...], occupancy: int) -> float:
        found = self._tile_with(tile[0], tile[1], occupancy)
        if found is None:
            return nan
        top, left = found
        down, across = tile[0] // part[0], tile[1] // part[1]
        if down * across == 0:
            return 0.0
        # The corner is counted twice, and the far edges from the origin, as the real program does it.
        empty = 0
        for i in range(down):
            for j in range(across):
                row, column = top + i * part[0], left + j * part[1]
                empty += self._nonzeros(top + row, part[0] + row, left + column, part[1] + column) == 0
        return empty / (down * across)

    def _possible(self, tile: list[int]) -> list[tuple[int, float]]:
        return [(count, chance) for count, chance in self._distribution(*tile).items() if chance != 0]

    def occupancies(self, tiles: Ints) -> tuple[Ints, Floats]:
        """Possible occupancies and their probabilities."""
        rows = [self._possible(tile) for tile in tiles.tolist()]
        most = max(len(row) for row in rows)
        filled = [row + [(row[-1][0], 0.0)] * (most - len(row)) for row in rows]
        return np.array([[count for count, _ in row] for row in filled]), np.array([[p for _, p in row] for row in filled])

    def cases(self, tiles: Ints) -> Ints:
        """Occupancies that some tile has."""
        return np.array([len(self._possible(tile)) for tile in tiles.tolist()])

    def least_occupancy(self, tiles: Ints, sizes: Ints) -> Ints:
        """The least occupancy of any tile, by way of its density."""
        least = np.array([next(iter(self._distribution(*tile))) for tile in tiles.tolist()])
        scaled: Ints = np.floor(least / tiles.prod(axis=1) * sizes).astype(np.int64)
        return scaled

    def most_occupancy(self, tiles: Ints) -> Ints:
        """The largest possible occupancy."""
        return np.array([self._most(tile) for tile in tiles.tolist()])

    def _most(self, tile: list[int]) -> int:
        return max(self._distribution(*tile))

    def value_density(self) -> float:
        """Expected density of a single value."""
        return self._density

    def most_elements(self, fibers: Ints, elements: Ints) -> Floats:
        """The largest number of nonempty elements in a fiber."""
        rows = zip(fibers.tolist(), elements.tolist(), strict=True)
        empty = np.array([self._empty_part(tuple(element), tuple(fiber), self._most(fiber)) for fiber, element in rows])
        whole: Floats = np.ceil(fibers.prod(axis=1) // elements.prod(axis=1) * empty)
        return whole
