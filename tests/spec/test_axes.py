"""What a sweep goes through: lists, ranges and their products."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwloop.errors import SpecError
from hwloop.spec.axes import count, cross, read_axes, read_axis, read_points, read_values, values_of


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("4096,8192", (4096, 8192)),
        ("8..32:8", (8, 16, 24, 32)),
        ("8..30:8", (8, 16, 24)),
        ("1..4", (1, 2, 3, 4)),
        ("1024..8192:*2", (1024, 2048, 4096, 8192)),
        ("0.1..0.4:0.1", (0.1, 0.2, 0.3, 0.4)),
        ("1,4..8:4,16", (1, 4, 8, 16)),
        ("45nm, 32nm", ("45nm", "32nm")),
        ("-4..4:4", (-4, 0, 4)),
        ("7..7", (7,)),
        ("true,false", (True, False)),
    ],
)
def test_values_of_a_line(text: str, values: tuple[object, ...]) -> None:
    assert read_values(text, "field") == values


@given(st.integers(-1000, 1000), st.integers(0, 50), st.integers(1, 40))
def test_a_range_has_both_ends_where_the_step_meets_them(low: int, steps: int, step: int) -> None:
    high = low + steps * step
    assert read_values(f"{low}..{high}:{step}", "field") == tuple(range(low, high + 1, step))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "values, such as"),
        ("1,,2", "values, such as"),
        ("8..4", "it holds no value"),
        ("1..9:0", "a step above 0"),
        ("1..9:-1", "a step above 0"),
        ("1..9:*1", "a factor above 1"),
        ("0..9:*2", "from a number above 0"),
        ("a..b", "a range of numbers"),
        ("1..nan", "a range of numbers"),
        ("1..1e300", "at most 100,000 values"),
    ],
)
def test_values_that_make_no_sense(text: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        read_values(text, "field")


def test_axes_are_crossed_with_the_last_changing_fastest() -> None:
    axes = read_axes(["a.b+c.d=1,2", "e.f=3,4"])
    assert count(axes) == 4
    assert list(cross(axes)) == [
        (("a.b", 1), ("c.d", 1), ("e.f", 3)),
        (("a.b", 1), ("c.d", 1), ("e.f", 4)),
        (("a.b", 2), ("c.d", 2), ("e.f", 3)),
        (("a.b", 2), ("c.d", 2), ("e.f", 4)),
    ]
    assert list(cross([])) == [()]


def test_a_mapping_says_the_same_as_texts() -> None:
    assert read_axes({"a.b": "8..16:8", "c.d": [1, "4..6:2"], "e.f": 5}) == read_axes(["a.b=8..16:8", "c.d=1,4,6", "e.f=5"])
    assert values_of([[1, 2], [3, 4]], "field") == ([1, 2], [3, 4])


def test_points_written_out_are_one_axis() -> None:
    axis = read_points([{"a.b": 1, "c.d": 2}, {"c.d": 4, "a.b": 3}])
    assert axis.points == ((("a.b", 1), ("c.d", 2)), (("a.b", 3), ("c.d", 4)))
    with pytest.raises(SpecError, match=r"points\[1\].*the same fields in every point"):
        read_points([{"a.b": 1}, {"c.d": 2}])
    with pytest.raises(SpecError, match="at least one"):
        read_points([])
    with pytest.raises(SpecError, match="at least one"):
        read_points([3])  # type: ignore[list-item]


def test_fields_and_values_stand_once() -> None:
    with pytest.raises(SpecError, match="each value once, found 4"):
        read_axis("a.b=4,4")
    with pytest.raises(SpecError, match="each field once"):
        read_axis("a.b+a.b=4")
    with pytest.raises(SpecError, match="each field on one axis"):
        read_axes(["a.b=4", "a.b=5"])
    with pytest.raises(SpecError, match="FIELD=VALUES"):
        read_axis("4096,8192")
    assert len(read_axis("a.b=1,true").points) == 2  # true is no 1
