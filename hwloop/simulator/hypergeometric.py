"""The hypergeometric density model: the nonzeros fall anywhere in the tensor (unstructured pruning, MICRO 2022 section 5.3.2).

A tile is a draw of its size without replacement from a tensor of `size` values, `nonzeros` of which are not zero.

Probabilities are formed in long doubles, factor by factor, and rounded once, because counts that follow are rounded up or
down: the last bit can decide. For tensors of more than 104,729 values the real program's own approximation is a bit or two off; a
count that lies on a whole number can then differ by 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from hwloop.simulator.density import DensityModel, Floats, Ints, chunks
from hwloop.simulator.numeric import Number

_TAIL = 10.0  # standard deviations (and twice as many counts) kept of a distribution: what is left out is far below 1e-17
_VANISHES = 40.0  # a chance of less than exp(-this) leaves 1 - chance at 1 in a double, and that is all it is used for
_TOO_LARGE = float(1 << 62)


class Hypergeometric(DensityModel):
    """Nonzeros anywhere.

    Args:
        density: fraction of nonzeros.
        size: values in the tensor.
    """

    name = "hypergeometric"

    def __init__(self, density: float, size: int) -> None:
        self.size: Number = size
        self.nonzeros: Number = int(np.ceil(density * size))

    @classmethod
    def together(cls, models: Sequence[Self]) -> Self:
        """One model a row."""
        out = cls(0.0, 0)
        out.size = np.array([model.size for model in models])
        out.nonzeros = np.array([model.nonzeros for model in models])
        return out

    def empty(self, tiles: Ints) -> Floats:
        """Probability that a tile of the tensor has no nonzero."""
        return none_drawn(*np.broadcast_arrays(self.size, self.nonzeros, tiles[:, 0]))

    def empty_within(self, parts: Ints, tiles: Ints, occupancies: Ints) -> Floats:
        """Probability that a part of a tile is empty, by the occupancy of the tile."""
        drawn, size = parts[:, 0], tiles[:, 0]
        out = np.empty(occupancies.shape)
        out[:, -1] = none_drawn(size, occupancies[:, -1], drawn)
        main = occupancies[:, :-1]
        # Value by value drawn, none is marked; or marked value by marked value, none is drawn: whichever takes fewer factors.
        most = main[:, -1]
        by_marked = np.minimum(most, _VANISHES * size / drawn).astype(np.int64) + 1
        each = (drawn > 1) & (np.minimum(drawn, most) * main.shape[1] < by_marked)
        rest = np.flatnonzero((drawn > 1) & ~each)
        single = np.flatnonzero(drawn == 1)
        # an imperfect factor may make a tile hold more than it has room for
        out[single, :-1] = np.maximum(size[single, None] - main[single], 0) / size[single, None]
        if each.any():
            columns = np.broadcast_arrays(size[each, None], main[each], drawn[each, None])
            out[each, :-1] = none_drawn(*(column.reshape(-1) for column in columns)).reshape(columns[0].shape)
        for rows in chunks(by_marked[rest]):
            chosen = rest[rows]
            out[chosen, :-1] = _none_hit(size[chosen], drawn[chosen], main[chosen], int(by_marked[chosen].max()))
        out[drawn > size] = 0.0
        return out

    def _range(self, tiles: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """Least possible occupancy, the first and last that have a chance to speak of, and the likeliest."""
        drawn, total, marked = tiles[:, 0], self.size, self.nonzeros
        low, high = np.maximum(0, drawn + marked - total), np.minimum(drawn, marked)
        mean = drawn * (marked / np.asarray(total, np.float64))
        variance = mean * (1.0 - marked / np.asarray(total, np.float64)) * (total - drawn) / np.maximum(total - 1, 1)
        spread = _TAIL * (2.0 + np.sqrt(np.maximum(variance, 0.0)))
        mode = np.clip(np.floor(mean).astype(np.int64), low, high)
        first = np.maximum(low, np.floor(mode - spread).astype(np.int64))
        last = np.minimum(high, np.ceil(mode + spread).astype(np.int64))
        return low, first, last, mode

    def cases(self, tiles: Ints) -> Ints:
        """Occupancies that have a chance to speak of, and the least one."""
        low, first, last, _ = self._range(tiles)
        count: Ints = last - first + 1 + (first > low)
        return count

    def occupancies(self, tiles: Ints) -> tuple[Ints, Floats]:
        """Possible occupancies and their probabilities.

        Ratios of neighbours are multiplied up, outwards from the likeliest occupancy: no factorial is ever formed, and the
        sum says how much one is. The least occupancy keeps its (negligible) place: the analysis may take it out as "empty".
        """
        low, first, last, mode = self._range(tiles)
        apart = first > low
        start = first - apart
        counts = start[:, None] + np.arange(int((last - start).max()) + 1)
        drawn, marked = (np.broadcast_to(x, low.shape).astype(np.longdouble)[:, None] for x in (tiles[:, 0], self.nonzeros))
        spare = np.broadcast_to(self.size, low.shape)[:, None] - marked - drawn
        possible = (counts <= last[:, None]) & (counts >= first[:, None])
        exact = counts.astype(np.longdouble)
        inside = possible & (counts > first[:, None])
        above = np.where(inside, (marked - exact + 1) * (drawn - exact + 1), 1)
        below = np.where(inside, exact * (spare + exact), 1)
        up = counts > mode[:, None]
        ratios = np.where(up, above, below) / np.where(up, below, above)
        down = np.ones_like(ratios)
        np.cumprod(np.where(up, 1, ratios)[:, :0:-1], axis=1, out=down[:, -2::-1])
        weights = np.where(possible, np.cumprod(np.where(up, ratios, 1), axis=1) * down, 0)
        probabilities = (weights / np.cumsum(weights, axis=1)[:, -1:]).astype(np.float64)
        counts = np.minimum(counts, last[:, None])
        counts[:, 0] = low
        return counts, probabilities

    def least_occupancy(self, tiles: Ints, sizes: Ints) -> Ints:
        """The real program's arithmetic: the difference of two sizes wraps below 0, so that nearly every tile starts from 0.

        Where the wrapped number comes out just below 2**64, no occupancy is left at all.
        """
        drawn = tiles[:, 0]
        lacking = drawn - self.size
        wrapped = np.where(lacking < 0, lacking + 2.0**64, lacking)
        least = np.floor((wrapped + self.nonzeros) / drawn * sizes)
        least = np.where((drawn <= self.size - self.nonzeros) | (least >= 2.0**64), 0.0, least)
        whole: Ints = np.minimum(least, _TOO_LARGE).astype(np.int64)
        return whole

    def most_occupancy(self, tiles: Ints) -> Ints:
        """The largest possible occupancy."""
        most: Ints = np.minimum(tiles[:, 0], self.nonzeros)
        return most

    def value_density(self) -> Number:
        """Expected density of a single value."""
        return self.nonzeros / self.size


def _none_hit(size: Ints, drawn: Ints, marked: Ints, longest: int) -> Floats:
    """`none_drawn` for many numbers of marked values a row: each marked value in turn is not among the drawn ones."""
    steps = np.arange(longest, dtype=np.longdouble)
    rest = size[:, None] - steps
    chances = np.ones((len(size), longest + 1), np.longdouble)
    np.cumprod(np.maximum(rest - drawn[:, None], 0) / np.maximum(rest, 1), axis=1, out=chances[:, 1:])
    chosen = np.take_along_axis(chances, np.minimum(marked, longest), axis=1).astype(np.float64)
    return np.where(marked > longest, 0.0, chosen)


def none_drawn(total: Ints, marked: Ints, drawn: Ints) -> Floats:
    """`(row,)` probability that `drawn` out of `total` values miss all the `marked` ones.

    That is C(total - marked, drawn) / C(total, drawn). Chances far too small for a double's `1 - chance` to show are 0.
    """
    few, many = np.minimum(drawn, marked), np.maximum(drawn, marked)
    out = np.where(few == 0, 1.0, np.maximum(total - many, 0) / np.maximum(total, 1))  # right for none and for one
    impossible = (drawn + marked > total) & (marked > 0)
    out[impossible | ((few > 1) & (few * (many / np.maximum(total, 1)) > _VANISHES))] = 0.0
    left = np.flatnonzero((few > 1) & (out > 0.0))
    for rows in chunks(few[left]):
        chosen = left[rows]
        steps = np.arange(int(few[chosen].max()), dtype=np.longdouble)
        rest = total[chosen, None] - steps
        factors = np.where(steps < few[chosen, None], (rest - many[chosen, None]) / np.maximum(rest, 1), 1)
        out[chosen] = np.multiply.reduce(factors, axis=1).astype(np.float64)
    return out
