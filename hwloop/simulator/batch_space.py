"""Multicast and neighbour links of many mappings by trying every child: for those where the closed form does not apply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
_NOWHERE = np.iinfo(np.int64).min // 2  # a position that no child has


@dataclass(slots=True)
class Children:
    """The children of an instance of one level, for some mappings.

    Attributes:
        bounds: `(2, dimension, row)` spatial loops on X and on Y, innermost first; X lies inside Y.
        codes: `(2, dimension, row)` what one pass of each adds to a child's position in the tensor.
        width: `(row,)` children in a row of the mesh.
        height: `(row,)` rows of the mesh.
        full: `(row,)` words of a child's tile.
        active: `(slot, row)` temporal loops with a bound above 1.
        sizes: `(slot, row)` new words in the loop's step.
        moves: `(slot, row)` how the tile moves in it.
        weights: `(slot, row)` how often it happens.
        passes: `(slot, row)` the loop's bound.
        counted: whether hops are counted.
    """

    bounds: Ints
    codes: Ints
    width: Ints
    height: Ints
    full: Ints
    active: NDArray[np.bool_]
    sizes: Ints
    moves: Ints
    weights: Ints
    passes: Ints
    counted: bool = False


@dataclass(slots=True)
class Spread:
    """What instances send, for some mappings.

    Attributes:
        row: `(entry,)` which mapping; entries are sorted by mapping, then by how many children share a word.
        amount: `(entry,)` words sent.
        sent: `(row,)` words sent in all.
        weighted: `(row,)` words sent times the children that each reaches.
        arrive: `(row,)` words that arrive at a child, on average over the children.
        links: `(row,)` words that children hand to each other instead.
        hops: `(row,)` hops of all words; 0 unless they are counted.
    """

    row: Ints
    amount: NDArray[np.float64]
    sent: NDArray[np.float64]
    weighted: NDArray[np.float64]
    arrive: NDArray[np.float64]
    links: NDArray[np.float64]
    hops: NDArray[np.float64]

    def scaled(self, factor: NDArray[np.float64]) -> NDArray[np.float64]:
        """The words sent when each mapping's are scaled, added up in the order of the real program."""
        return _sum_by(self.row, self.amount * factor[self.row], len(self.sent))


def _sum_by(place: Ints, values: NDArray[Any], size: int) -> NDArray[np.float64]:
    """Adds values up by place, one after the other in double precision."""
    out: NDArray[Any] = np.bincount(place, values.astype(np.float64), size)
    return out


def spread_rows(children: Children) -> Spread:
    """Tries every child. Sums are made in the order and precision of the real program, which truncates them."""
    offsets, count = child_offsets(children.bounds, children.codes)
    groups, by_share = _groups(offsets)
    words = children.full + (children.sizes * children.weights).sum(axis=0)
    links, hops = np.zeros(len(count)), np.zeros(len(count))
    parts: list[tuple[Ints, Ints, Ints, Ints]] = []  # (row, share, groups, words sent)
    handed = _linked(children, offsets, groups, links, parts, hops)
    if children.counted:
        hops += hops_of(offsets, children.width, children.height) * (words - handed)
    row, share = np.nonzero(by_share)
    number = by_share[row, share]
    parts.append((row, share + 1, number, number * (words - handed)[row]))
    rows, shares, numbers, amounts = (np.concatenate(column) for column in zip(*parts, strict=True))
    radix = offsets.shape[1] + 1
    keys, inverse = np.unique((rows * radix + shares) * radix + numbers, return_inverse=True)
    amount = _sum_by(inverse, amounts, len(keys))
    row, share = keys // (radix * radix), keys // radix % radix
    size = len(count)
    return Spread(
        row=row,
        amount=amount,
        sent=_sum_by(row, amount, size),
        weighted=_sum_by(row, amount * share, size),
        arrive=_sum_by(row, amount * share / count[row], size),
        links=links,
        hops=hops,
    )


def child_offsets(bounds: Ints, codes: Ints) -> tuple[Ints, Ints]:
    """`(row, child)` positions in linear order, `_NOWHERE` beyond a mapping's children, and how many there are.

    Args:
        bounds: see `Children`.
        codes: likewise.
    """
    rows = bounds.shape[2]
    count = bounds.prod(axis=(0, 1))
    ids = np.arange(int(count.max()))
    offsets = np.zeros((rows, len(ids)), np.int64)
    stride = np.ones(rows, np.int64)
    flat = bounds.reshape(-1, rows)
    for bound, code in zip(flat, codes.reshape(-1, rows), strict=True):
        if bound.max() > 1:
            offsets += (ids // stride[:, None]) % bound[:, None] * code[:, None]
            stride = stride * bound
    offsets[ids >= count[:, None]] = _NOWHERE
    return offsets, count


def _groups(offsets: Ints) -> tuple[Ints, Ints]:
    """How many different positions there are, and `(row, share)` how many of them `share + 1` children have."""
    rows, width = offsets.shape
    ordered = np.sort(offsets, axis=1)
    first = np.ones(ordered.shape, np.bool_)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    starts = np.flatnonzero(first)
    lengths = np.diff(np.append(starts, rows * width))
    real = ordered.reshape(-1)[starts] != _NOWHERE
    starts, lengths = starts[real], lengths[real]
    by_share = np.zeros((rows, int(lengths.max(initial=1))), np.int64)
    np.add.at(by_share, (starts // width, lengths - 1), 1)
    return by_share.sum(axis=1), by_share


def hops_of(offsets: Ints, width: Ints, height: Ints) -> NDArray[np.float64]:
    """`(row,)` hops of a word to each group of children at the same position, summed over the groups; see `reuse.mesh_hops`.

    Args:
        offsets: `(row, child)` positions in linear order; `_NOWHERE` for children that get nothing.
        width: `(row,)` children in a row of the mesh.
        height: `(row,)` rows of the mesh.
    """
    rows, count = offsets.shape
    ids = np.arange(count)
    h, v = ids % width[:, None], ids // width[:, None]
    row = np.repeat(np.arange(rows), count)
    real = offsets.reshape(-1) != _NOWHERE
    out = np.zeros(rows)
    if not real.any():
        return out
    row, position, h, v = row[real], offsets.reshape(-1)[real], h.reshape(-1)[real], v.reshape(-1)[real]
    order = np.lexsort((v, h, position, row))
    row, position, h, v = row[order], position[order], h[order], v[order]
    group = np.ones(len(row), np.bool_)
    group[1:] = (row[1:] != row[:-1]) | (position[1:] != position[:-1])
    column = group.copy()
    column[1:] |= h[1:] != h[:-1]
    first = np.flatnonzero(column)
    last = np.append(first[1:], len(row)) - 1
    centre = (height[row[first]] - 1) / 2
    np.add.at(out, row[first], np.maximum(centre - v[first], 0.0) + np.maximum(v[last] - centre, 0.0))
    ends = np.append(np.flatnonzero(group)[1:], len(row)) - 1  # the farthest column of each group
    np.add.at(out, row[ends], h[ends].astype(np.float64))
    return out


def _linked(
    children: Children, offsets: Ints, groups: Ints, links: NDArray[np.float64], parts: list[tuple[Ints, Ints, Ints, Ints]],
    hops: NDArray[np.float64],
) -> Ints:  # fmt: skip
    """Finds the steps in which neighbours hand data over: adds to `links`, and to `parts` and `hops` what is still sent in them.

    Returns:
        `(row,)` words of a child's tile in those steps.
    """
    handed = np.zeros(len(groups), np.int64)
    active, sizes, weights = children.active, children.sizes, children.weights
    innermost = active & (np.add.accumulate(active, axis=0) == 1)
    inner_size = (sizes * innermost).sum(axis=0)
    if not inner_size.any():
        return handed
    inner_passes = (children.passes * innermost).sum(axis=0)
    same = active & (sizes == inner_size) & (inner_size > 0)
    before = (weights * (same & ~innermost)).sum(axis=0) + (children.full == inner_size)
    often = np.where(innermost, (inner_passes - 1) * before, weights * same)
    slot, row = np.nonzero((often * sizes > 0) & _reachable(children))
    if not len(row):
        return handed
    hits, rest = _hits(offsets[row], children.moves[slot, row], children.width[row], children.height[row])
    left, by_share = _groups(rest)
    better = left < groups[row]
    slot, row, by_share = slot[better], row[better], by_share[better]
    amount = (often * sizes)[slot, row]
    np.add.at(links, row, amount * hits[better])
    if children.counted:
        np.add.at(hops, row, amount * hops_of(rest[better], children.width[row], children.height[row]))
    np.add.at(handed, row, amount)
    pair, share = np.nonzero(by_share)
    number = by_share[pair, share]
    parts.append((row[pair], share + 1, number, number * amount[pair]))
    return handed


def _reachable(children: Children) -> NDArray[np.bool_]:
    """`(slot, row)`: a quick no where no two neighbours' data lie as far apart as the tile moves.

    One child further, the innermost loop steps and those that overflow start again; a row further, the loops on Y do so, if
    the loops on X fill the mesh's rows exactly. Otherwise everything is tried.
    """
    near = np.zeros(children.moves.shape, np.bool_)
    used_x, used_y = children.bounds.prod(axis=1)
    near |= (used_y > 1) & (used_x != children.width)
    for axes in ((0, 1), (1,)):
        back = np.zeros(children.moves.shape[1], np.int64)
        for axis in axes:
            for bound, code in zip(children.bounds[axis], children.codes[axis], strict=True):
                used = bound > 1
                if used.any():
                    near |= used & (np.abs(children.moves) == np.abs(code - back))
                    back = back + (bound - 1) * code
    return near


def _hits(own: Ints, gap: Ints, width: Ints, height: Ints) -> tuple[Ints, Ints]:
    """How many children get their data from a neighbour, and the positions with those children taken out.

    Args:
        own: `(row, child)` positions.
        gap: `(row,)` how far a neighbour's data must lie from the child's own.
        width: `(row,)` children in a row of the mesh.
        height: `(row,)` rows of the mesh.
    """
    wanted = own + gap[:, None]
    ids = np.arange(own.shape[1])[None, :]
    h = ids % width[:, None]
    hit = np.zeros(own.shape, np.bool_)
    hit[:, 1:] |= (own[:, :-1] == wanted[:, 1:]) & (h[:, 1:] > 0)
    hit[:, :-1] |= (own[:, 1:] == wanted[:, :-1]) & (h[:, :-1] < width[:, None] - 1)
    if height.max() > 1:
        last = own.shape[1] - 1
        v = ids // width[:, None]
        up = np.take_along_axis(own, np.maximum(ids - width[:, None], 0), axis=1)
        down = np.take_along_axis(own, np.minimum(ids + width[:, None], last), axis=1)
        hit |= (up == wanted) & (v > 0)
        hit |= (down == wanted) & (v < height[:, None] - 1) & (ids + width[:, None] <= last)
    hit &= own != _NOWHERE
    return hit.sum(axis=1), np.where(hit, _NOWHERE, own)
