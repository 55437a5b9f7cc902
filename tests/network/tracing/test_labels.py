"""Labels go through the same moves as tensors: torch itself, run on whole numbers, is the oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hwloop.network.tracing.labels import MOVES, NONE, RESHAPES, TAKES, Unions, along, first, joined, varies, varying

aten = torch.ops.aten
OPERATIONS: list[tuple[str, Callable[..., Any], tuple[Any, ...]]] = [
    ("view", aten.view, ([6, 20],)),
    ("unsqueeze", aten.unsqueeze, (1,)),
    ("transpose", aten.transpose, (0, -1)),
    ("permute", aten.permute, ([2, 0, 1],)),
    ("expand", lambda x, sizes: aten.expand(x, sizes), ([3, 2, 3, 20],)),
    ("flip", aten.flip, ([0, 2],)),
    ("roll", aten.roll, ([3, -1], [2, 0])),
    ("constant_pad_nd", lambda x, amounts: aten.constant_pad_nd(x, amounts, NONE), ([1, 2, 0, 1],)),
    ("constant_pad_nd", lambda x, amounts: aten.constant_pad_nd(x, amounts, NONE), ([-2, 3],)),
    ("select", aten.select, (2, 7)),
    ("slice", aten.slice, (2, 3, 17, 4)),
    ("slice", aten.slice, (1,)),
    ("unbind", aten.unbind, (1,)),
    ("split", aten.split, (8, 2)),
    ("split_with_sizes", aten.split_with_sizes, ([1, 2], 1)),
    ("clone", aten.clone, ()),
]


@pytest.mark.parametrize(("name", "operation", "args"), OPERATIONS)
def test_every_move_is_torch_s_own(name: str, operation: Callable[..., Any], args: tuple[Any, ...]) -> None:
    tensor = torch.arange(2 * 3 * 20).view(2, 3, 20)
    found = operation(tensor, *args)
    results: list[Tensor] = list(found) if isinstance(found, (list, tuple)) else [found]
    move = {**MOVES, **RESHAPES, **TAKES}[name]
    moved = move(tensor.numpy(), (tensor, *args), [tuple(result.shape) for result in results])
    parts = moved if isinstance(moved, list) else [moved]
    assert len(parts) == len(results)
    for part, result in zip(parts, results, strict=True):
        assert np.array_equal(part, result.numpy())


def test_labels_of_an_axis_take_no_memory_and_are_known_to_be_constant_elsewhere() -> None:
    labels = along(np.arange(5, dtype=np.int64), 1, (2, 5, 1000, 1000))
    assert (labels.shape, labels.strides) == ((2, 5, 1000, 1000), (0, 8, 0, 0))
    assert varying(labels) == [1]
    assert not varies(labels, 0)
    pooled = first(labels, [-1, -2], (2, 5, 3, 3))
    assert (pooled.shape, varying(pooled)) == ((2, 5, 3, 3), [1])
    assert first(labels, [2, 3], (2, 5)).tolist() == [[0, 1, 2, 3, 4]] * 2
    both = joined([labels, labels], 1)
    assert both[0, :, 0, 0].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
    assert both.strides[2:] == (0, 0)


def test_padding_of_pixels_belongs_to_the_channel_and_padding_of_channels_to_none() -> None:
    labels = along(np.arange(2, dtype=np.int64), 1, (1, 2, 4, 4))
    assert varying(MOVES["constant_pad_nd"](labels, (None, [1, 1, 1, 1]), [(1, 2, 6, 6)])) == [1]  # type: ignore[arg-type]
    wider = MOVES["constant_pad_nd"](labels, (None, [0, 0, 0, 0, 1, 2]), [(1, 5, 4, 4)])
    assert wider[0, :, 0, 0].tolist() == [NONE, 0, 1, NONE, NONE]  # type: ignore[call-overload]


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30))
def test_classes_are_the_connected_components(pairs: list[tuple[int, int]]) -> None:
    unions = Unions()
    labels = unions.new(20)
    for one, other in pairs:
        unions.join(labels[one : one + 1], labels[other : other + 1])
    classes = unions.classes()
    reached = [{n} for n in range(20)]
    for _ in range(20):
        for one, other in pairs:
            both = reached[one] | reached[other]
            reached[one] = reached[other] = both
    for one in range(20):
        closure = {n for n in range(20) if classes[n] == classes[one]}
        assert reached[one] <= closure
    for one, other in pairs:
        assert classes[one] == classes[other]
    assert len(set(classes.tolist())) == _components(pairs)


def _components(pairs: list[tuple[int, int]]) -> int:
    left, count = set(range(20)), 0
    while left:
        count += 1
        front = {left.pop()}
        while front:
            n = front.pop()
            near = {b for a, b in pairs if a == n} | {a for a, b in pairs if b == n}
            front |= near & left
            left -= near
    return count


def test_channels_that_meet_nothing_are_kept() -> None:
    unions = Unions()
    labels = unions.new(3)
    other = np.array([NONE, labels[1], labels[0]], dtype=np.int64)
    assert unions.join(labels, other).tolist() == [0, 1, 2]
    classes = unions.classes()
    assert classes.tolist() == [0, 1, 0]
    assert list(unions.fixed(classes)) == [0]
    assert unions.gathered(np.array([[0, 0], [1, 1]], dtype=np.int64), 0).tolist() == [0, 1]
