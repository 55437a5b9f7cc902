"""What a sweep goes through: fields of a spec by path, each with its values, written `FIELD=VALUES` or as data.

Values are a list (`4096,8192`), a range (`8..32:8`, ends included; `8..32` in steps of 1; `1024..65536:*2` by a factor), or both.
`FIELD+FIELD=VALUES` gives several fields the same value.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from hwloop.errors import SpecError
from hwloop.spec.document import check_plain, parse_yaml

MOST_VALUES = 100_000
FORMS = "such as 4096,8192 or 8..32:8 or 1024..65536:*2"
Fields = tuple[tuple[str, Any], ...]  # (path, value) pairs: what one point sets


@dataclass(frozen=True)
class Axis:
    """One direction: what is set together at each of its points.

    Attributes:
        points: (path, value) pairs of each; all of the same paths.
    """

    points: tuple[Fields, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields that it sets."""
        return tuple(path for path, _ in self.points[0])


def read_axis(text: str) -> Axis:
    """Reads `FIELD=VALUES`.

    Raises:
        SpecError: not of that form, or no values.
    """
    name, equals, values = text.partition("=")
    if not equals or not name.strip():
        raise SpecError("<arguments>", "sweep", "FIELD=VALUES, e.g. shared_glb.attributes.depth=4096,8192", text)
    return make_axis(name.strip(), read_values(values, name.strip()))


def make_axis(name: str, values: Sequence[Any]) -> Axis:
    """The axis of a field, or of several written with `+` between them, over these values.

    Raises:
        SpecError: no values, one that stands twice, or a field that does.
    """
    paths = [path.strip() for path in name.split("+")]
    if len(set(paths)) < len(paths):
        raise SpecError("<arguments>", name, "each field once", paths)
    if not values:
        raise SpecError("<arguments>", name, f"at least one value, {FORMS}", list(values))
    seen: set[str] = set()
    for value in values:
        written = json.dumps(value, sort_keys=True, default=str)
        if written in seen:
            raise SpecError("<arguments>", name, "each value once", value)
        seen.add(written)
    return Axis(tuple(tuple((path, value) for path in paths) for value in values))


def read_axes(given: Mapping[str, Any] | Sequence[str | Axis] | None) -> tuple[Axis, ...]:
    """Axes from `FIELD=VALUES` texts, or from a mapping of fields to values (a list, one value, or text such as `8..32:8`).

    Raises:
        SpecError: a form that is not known, or a field that stands on two axes.
    """
    if isinstance(given, Mapping):
        axes = tuple(make_axis(str(name), values_of(values, str(name))) for name, values in given.items())
    else:
        axes = tuple(axis if isinstance(axis, Axis) else read_axis(axis) for axis in given or ())
    return check_axes(axes)


def read_points(given: Sequence[Mapping[str, Any]]) -> Axis:
    """One axis from points written out: a mapping of fields to values each.

    Raises:
        SpecError: none, or points that set different fields.
    """
    points = [tuple((str(path), value) for path, value in point.items()) for point in given if isinstance(point, Mapping)]
    if len(points) < len(given) or not points or not points[0]:
        raise SpecError("<arguments>", "points", "a list of mappings {field: value}, at least one", list(given))
    names = sorted(path for path, _ in points[0])
    for number, point in enumerate(points):
        if sorted(path for path, _ in point) != names:
            raise SpecError(
                "<arguments>", f"points[{number}]", f"the same fields in every point ({', '.join(names)})", dict(point)
            )
    return Axis(tuple(tuple(sorted(point)) for point in points))


def check_axes(axes: Sequence[Axis]) -> tuple[Axis, ...]:
    """The axes, if every field stands on one of them alone.

    Raises:
        SpecError: one stands on two.
    """
    paths = [path for axis in axes for path in axis.paths]
    twice = [path for path in paths if paths.count(path) > 1]
    if twice:
        raise SpecError("<arguments>", "sweep", "each field on one axis", twice[0])
    return tuple(axes)


def cross(axes: Sequence[Axis]) -> Iterator[Fields]:
    """Every combination, the last axis changing fastest; one that sets nothing where there are no axes."""
    for chosen in product(*(axis.points for axis in axes)):
        yield tuple(pair for point in chosen for pair in point)


def count(axes: Sequence[Axis]) -> int:
    """How many combinations there are."""
    return math.prod(len(axis.points) for axis in axes)


def values_of(given: Any, name: str) -> tuple[Any, ...]:
    """Values from a list, one value, or text as on a command line.

    Raises:
        SpecError: no plain data, or text that is no list or range.
    """
    if isinstance(given, str):
        return read_values(given, name)
    check_plain(given, name)
    if isinstance(given, (list, tuple)):
        return tuple(value for entry in given for value in (read_values(entry, name) if _is_range(entry) else (entry,)))
    return (given,)


def read_values(text: str, name: str) -> tuple[Any, ...]:
    """Values of a line: parts between commas, each a range or a value as YAML reads it.

    Raises:
        SpecError: an empty part, a range that makes no sense, or more than 100,000 values.
    """
    out: list[Any] = []
    for part in text.split(","):
        if not part.strip():
            raise SpecError("<arguments>", name, f"values, {FORMS}", text)
        out += _range(part, name) if _is_range(part) else [parse_yaml(part.strip(), name)]
    return tuple(out)


def _is_range(part: Any) -> bool:
    return isinstance(part, str) and ".." in part and not part.strip().startswith(("'", '"'))


def _range(text: str, name: str) -> list[int | float]:
    ends, _, step_text = text.partition(":")
    low_text, _, high_text = ends.partition("..")
    factor = step_text.strip().startswith("*")
    try:
        low, high = _number(low_text), _number(high_text)
        step = _number(step_text.strip().removeprefix("*")) if step_text.strip() else 1
    except ValueError:
        raise SpecError("<arguments>", name, f"a range of numbers, {FORMS}", text) from None
    if high < low:
        raise SpecError("<arguments>", name, "a range from the smaller to the greater number", text, "it holds no value")
    if step <= (1 if factor else 0) or (factor and low <= 0):
        raise SpecError("<arguments>", name, "a step above 0, or a factor above 1 from a number above 0", text)
    steps = math.log(high / low) / math.log(step) if factor else (high - low) / step
    if steps >= MOST_VALUES:
        raise SpecError("<arguments>", name, f"a range of at most {MOST_VALUES:,} values", text)
    values = [low * step**i if factor else low + i * step for i in range(int(steps + 1e-9) + 1)]
    return [float(f"{value:.12g}") if isinstance(value, float) else value for value in values]


def _number(text: str) -> int | float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return int(text) if text.strip().lstrip("+-").isdecimal() else value
