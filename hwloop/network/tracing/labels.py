"""Which channel each value of a tensor belongs to: arrays of labels that go through the same moves as the tensors.

A label array has the shape of its tensor and holds, per value, the number of the channel that made it; `NONE` where the value
belongs to no channel that could be removed. Most are broadcast from one axis and take no memory: an axis of stride 0 is known
to be constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
NONE = -1


def along(channels: Labels, axis: int, shape: Sequence[int]) -> Labels:
    """`channels`, one per place of `axis`, for a whole tensor of `shape`."""
    axis %= len(shape)
    return np.broadcast_to(channels.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)


def compressed(labels: Labels) -> Labels:
    """The same with size 1 along the axes that are known to be constant."""
    return labels[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in labels.strides)]


def varies(labels: Labels, axis: int) -> bool:
    """Whether labels differ along an axis."""
    if labels.shape[axis] < 2 or labels.strides[axis] == 0:
        return False
    small = np.moveaxis(compressed(labels), axis, 0)
    return bool((small != small[:1]).any())


def varying(labels: Labels) -> list[int]:
    """The axes along which labels differ."""
    return [axis for axis in range(labels.ndim) if varies(labels, axis)]


def first(labels: Labels, axes: Sequence[int], shape: Sequence[int]) -> Labels:
    """The labels at the start of `axes`, for a tensor of `shape` that has these axes in another size, or not at all.

    Args:
        labels: constant along `axes`.
        axes: those that change.
        shape: of the result.
    """
    gone = {axis % labels.ndim for axis in axes}
    start = labels[tuple(slice(0, 1) if i in gone else slice(None) for i in range(labels.ndim))]
    if len(shape) < labels.ndim:
        start = start.reshape([size for i, size in enumerate(start.shape) if i not in gone])
    return np.broadcast_to(start, shape)


def pad(labels: Labels, amounts: Sequence[int], shape: Sequence[int]) -> Labels:
    """As `torch.nn.functional.pad` by a constant, which belongs to no channel."""
    axes = range(labels.ndim - 1, labels.ndim - 1 - len(amounts) // 2, -1)
    changed = {axis for i, axis in enumerate(axes) if amounts[2 * i] or amounts[2 * i + 1]}
    if not any(varies(labels, axis) for axis in changed):  # of pixels: the border is part of the channel's map
        return first(labels, sorted(changed), shape)
    out = np.full(shape, NONE, dtype=np.int64)
    target, source = [slice(None)] * labels.ndim, [slice(None)] * labels.ndim
    for i, axis in enumerate(axes):
        before, after = amounts[2 * i], amounts[2 * i + 1]
        target[axis] = slice(max(before, 0), shape[axis] - max(after, 0))
        source[axis] = slice(max(-before, 0), labels.shape[axis] + min(after, 0))
    out[tuple(target)] = labels[tuple(source)]
    return out


def _axis(args: Sequence[Any], at: int = 1, default: int = 0) -> int:
    return int(args[at]) if len(args) > at else default


def _at(labels: Labels, axis: int, place: int) -> Labels:
    return np.moveaxis(labels, axis, 0)[place]  # type: ignore[no-any-return]


def _slice(labels: Labels, args: Sequence[Any]) -> Labels:
    given = [*args[1:], *(None,) * 4]
    axis, start, end, step = given[0] or 0, given[1], given[2], given[3] or 1
    index: list[slice] = [slice(None)] * labels.ndim
    index[axis] = slice(start, end, step)
    return labels[tuple(index)]


def _split(labels: Labels, axis: int, shapes: Sequence[Sequence[int]]) -> list[Labels]:
    ends = np.cumsum([shape[axis] for shape in shapes])[:-1]
    return np.split(labels, ends, axis)


# what an operation does with its first argument's labels: (labels, arguments, shapes of the results) -> labels
Move = Callable[[Labels, Sequence[Any], Sequence[Sequence[int]]], "Labels | list[Labels]"]


def _same(labels: Labels, args: Sequence[Any], shapes: Sequence[Sequence[int]]) -> Labels:
    return labels


def _reshape(labels: Labels, args: Sequence[Any], shapes: Sequence[Sequence[int]]) -> Labels:
    return labels.reshape(shapes[0])


RESHAPES: dict[str, Move] = dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias", "squeeze", "unsqueeze"), _reshape)
TAKES: dict[str, Move] = {
    "select": lambda labels, args, shapes: _at(labels, args[1], args[2]),
    "slice": lambda labels, args, shapes: _slice(labels, args),
    "unbind": lambda labels, args, shapes: [_at(labels, _axis(args), i) for i in range(len(shapes))],
    "split": lambda labels, args, shapes: _split(labels, _axis(args, 2), shapes),
    "split_with_sizes": lambda labels, args, shapes: _split(labels, _axis(args, 2), shapes),
}
MOVES: dict[str, Move] = {
    **dict.fromkeys(("alias", "detach", "clone", "contiguous", "_to_copy", "lift_fresh", "dropout", "native_dropout"), _same),
    "t": lambda labels, args, shapes: labels.T,
    "transpose": lambda labels, args, shapes: labels.swapaxes(args[1], args[2]),
    "permute": lambda labels, args, shapes: labels.transpose(args[1]),
    "expand": lambda labels, args, shapes: np.broadcast_to(labels, shapes[0]),
    "flip": lambda labels, args, shapes: np.flip(labels, args[1]),
    "roll": lambda labels, args, shapes: _rolled(labels, args),
    "constant_pad_nd": lambda labels, args, shapes: pad(labels, args[1], shapes[0]),
}


def _rolled(labels: Labels, args: Sequence[Any]) -> Labels:
    shifts, axes = args[1], args[2] if len(args) > 2 else []
    if not axes:
        return np.roll(labels, shifts)
    moved = [(shift, axis) for shift, axis in zip(shifts, axes, strict=True) if varies(labels, axis)]
    for shift, axis in moved:
        labels = np.roll(labels, shift, axis)
    return labels


def joined(parts: Sequence[Labels], axis: int) -> Labels:
    """The labels of concatenated tensors."""
    axis %= parts[0].ndim
    constant = [all(part.strides[i] == 0 for part in parts) and i != axis for i in range(parts[0].ndim)]
    index = tuple(slice(0, 1) if same else slice(None) for same in constant)
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    return np.broadcast_to(np.concatenate([part[index] for part in parts], axis), shape)


class Unions:
    """Labels that stand for the same channel, and channels that may not be removed."""

    def __init__(self) -> None:
        self._count = 0
        self._pairs: list[tuple[Labels, Labels]] = []
        self._fixed: list[tuple[Labels, str]] = []

    def new(self, count: int) -> Labels:
        """`count` new labels."""
        self._count += count
        return np.arange(self._count - count, self._count, dtype=np.int64)

    def join(self, one: Labels, other: Labels) -> Labels:
        """Makes labels at the same place, of arrays that broadcast together, one channel; returns the labels there."""
        one, other = np.broadcast_arrays(one, other)
        both = [a == 0 and b == 0 for a, b in zip(one.strides, other.strides, strict=True)]
        index = tuple(slice(0, 1) if same else slice(None) for same in both)
        left, right = one[index], other[index]
        if left is right or np.array_equal(left, right):
            return one
        known = (left != NONE) & (right != NONE)
        self._pairs.append((left[known], right[known]))
        for labels, missing in ((left, right), (right, left)):
            lonely = labels[(labels != NONE) & (missing == NONE)]
            if lonely.size:
                self.fix(lonely, "they are combined with values that belong to no layer's channels, such as padding")
        return np.broadcast_to(np.where(left != NONE, left, right), one.shape)

    def fix(self, labels: Labels, reason: str) -> None:
        """None of these channels may be removed."""
        self._fixed.append((np.unique(compressed(labels)), reason))

    def gathered(self, labels: Labels, axis: int) -> Labels:
        """One label per place of `axis`: those that stand at the same place along other axes become one channel."""
        small = np.moveaxis(compressed(labels), axis, 0)
        if small.shape[0] == 1 and labels.shape[axis] > 1:
            small = np.broadcast_to(small, (labels.shape[axis], *small.shape[1:]))
        rows = small.reshape(small.shape[0], -1)
        found = rows[:, 0].copy()
        if rows.shape[1] > 1:
            self.join(np.broadcast_to(rows[:, :1], rows.shape), rows)
            found = rows.max(axis=1)
        return found

    def classes(self) -> Labels:
        """The class of each label: equal for labels that stand for the same channel."""
        parent = np.arange(self._count, dtype=np.int64)
        if self._pairs:
            left = np.concatenate([pair[0] for pair in self._pairs])
            right = np.concatenate([pair[1] for pair in self._pairs])
            while True:
                low = np.minimum(parent[left], parent[right])
                before = parent.copy()
                np.minimum.at(parent, parent[left], low)
                np.minimum.at(parent, parent[right], low)
                parent = parent[parent]
                if np.array_equal(parent, before):
                    break
        return parent

    def fixed(self, classes: Labels) -> dict[int, str]:
        """The first reason why the channels of a class may not be removed, by class."""
        out: dict[int, str] = {}
        for labels, reason in self._fixed:
            for found in np.unique(classes[labels[labels != NONE]]).tolist():
                out.setdefault(found, reason)
        return out
