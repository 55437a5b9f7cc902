"""The banded density model: nonzeros within a band around the diagonal of a square matrix (MICRO 2022 table 4).

Occupancies are counted tile by tile. The real program's counts have two simplifications, kept here because its numbers are the
measure: parts of a tile are counted in the first tile that has the occupancy asked for, and the blocks of the matrix are
counted by row groups of three kinds (first, middle, last).
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, floor, prod

import numpy as np

from hwloop.errors import InfeasibleMappingError
from hwloop.simulator.density import DensityModel, Floats, Ints, Key


class Banded(DensityModel):
    """Nonzero where |row - column| <= half width. Tiles are their (rows, columns)."""

    by_size = False

    def __init__(self, half_width: int, side: int) -> None:
        self.half_width, self.side = half_width, side
        self.name = f"banded-{half_width}"
        inside = side + sum(2 * (side - d) for d in range(1, half_width + 1))
        self._density = inside / (side * side)
        self._distribution = lru_cache(maxsize=4096)(self._count_tiles)

    def _nonzeros(self, top: int, bottom: int, left: int, right: int) -> int:
        rows = np.arange(top, bottom)
        first = np.maximum(np.maximum(left, rows - self.half_width), 0)
        last = np.minimum(right, rows + self.half_width + 1)
        return int(np.maximum(last - first, 0).sum())

    def _count_tiles(self, rows: int, columns: int) -> dict[int, float]:
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

    def _tile_with(self, rows: int, columns: int, occupancy: int) -> tuple[int, int]:
        """Top and left of the first tile with this occupancy.

        Raises:
            InfeasibleMappingError: no tile has it, or tiles do not divide the matrix: the real program stops there.
        """
        if self.side % rows or self.side % columns:
            raise InfeasibleMappingError(f"banded density: tiles of {rows} x {columns} do not divide a matrix of {self.side}")
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
        raise InfeasibleMappingError(f"banded density: no tile of {rows} x {columns} has {occupancy} nonzeros")

    def empty(self, tile: Key) -> float:
        """Probability that a tile of the tensor has no nonzero."""
        return self._distribution(*tile).get(0, 0.0)

    def empty_within(self, part: Key, tile: Key, occupancies: Ints) -> Floats:
        """Probability that a part of a tile is empty, by the occupancy of the tile."""
        return np.array([self._empty_part(part, tile, int(n)) for n in occupancies])

    def _empty_part(self, part: Key, tile: Key, occupancy: int) -> float:
        top, left = self._tile_with(tile[0], tile[1], occupancy)
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

    def occupancies(self, tile: Key) -> tuple[Ints, Floats]:
        """Possible occupancies and their probabilities."""
        pairs = [(k, p) for k, p in self._distribution(*tile).items() if p != 0]
        return np.array([k for k, _ in pairs]), np.array([p for _, p in pairs])

    def least_occupancy(self, tile: Key, size: int) -> int:
        """The least occupancy of any tile, by way of its density."""
        return floor(next(iter(self._distribution(*tile))) / prod(tile) * size)

    def most_occupancy(self, tile: Key) -> int:
        """The largest possible occupancy."""
        return max(self._distribution(*tile))

    def fullest(self, extents: Ints) -> Ints:
        """`most_occupancy` of many tiles."""
        return np.array([self.most_occupancy((int(rows), int(columns))) for rows, columns in extents.T])

    def value_density(self) -> float:
        """Expected density of a single value."""
        return self._density

    def most_elements(self, fiber: Key, element: Key) -> int:
        """The largest number of nonempty elements in a fiber."""
        empty = self._empty_part(element, fiber, self.most_occupancy(fiber))
        return ceil(prod(fiber) // prod(element) * empty)
