"""One change at a time, in every field of every spec, table and setting: the key changes, unless the field is for people only."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from hwloop.backend.embedded import Embedded
from hwloop.backend.request import MapperSettings, MapRequest
from hwloop.backend.target import make_targets
from hwloop.mapper.mapper import map_problem
from hwloop.memo.key import request_key
from hwloop.spec.density import Density
from hwloop.spec.problem import conv2d_shape, make_problem

FOR_PEOPLE = {"network", "layer"}  # of a request; in the specs, the fields that do not count when two are compared


def request_on(arch: str, flow: str | None) -> MapRequest:
    [target] = make_targets(arch, flow)
    sizes = {"C": 8, "M": 8, "R": 3, "S": 3, "P": 4, "Q": 4}
    problem = make_problem(conv2d_shape(), sizes, {"Weights": 0.5, "Inputs": Density("banded", 0.25, 2)})
    bits = {"Weights": 4, "Inputs": 8}
    start = map_problem(problem.with_densities({}), target.arch, target.table(), target.constraints, effort="quick").mapping
    return MapRequest(problem, target.arch, target.table(bits), target.constraints, bits, MapperSettings(), (start,), "net", "a")


def changes(value: Any) -> Iterator[tuple[str, Any, bool]]:
    """Every way to change one thing in a value: (where, the changed value, whether it counts)."""
    if is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            for where, new, counts in changes(getattr(value, field.name)):
                other = copy.copy(value)
                object.__setattr__(other, field.name, new)
                yield f".{field.name}{where}", other, counts and field.compare
    elif isinstance(value, tuple):
        for i, entry in enumerate(value):
            yield f"[-{i}]", value[:i] + value[i + 1 :], True
            for where, new, counts in changes(entry):
                yield f"[{i}]{where}", (*value[:i], new, *value[i + 1 :]), counts
        if not value:
            yield "[+]", ("more",), True
    elif isinstance(value, dict):
        for name, entry in value.items():
            yield f"[-{name}]", {k: v for k, v in value.items() if k != name}, True
            yield f"[{name}]", {**value, name: entry + 1}, True
    elif isinstance(value, bool):
        yield "", not value, True
    elif isinstance(value, (int, float)):
        yield "", value + 1, True
    elif isinstance(value, str):
        yield "", f"{value}_other", True
    else:
        assert value is None, f"{value!r}: say here how to change one"
        yield "", 7, True


@pytest.mark.parametrize(("arch", "flow"), [("flexible_skipping", "row_stationary"), ("tpu_like_compressed", None)])
def test_every_change_is_a_miss_and_what_is_for_people_a_hit(
    arch: str, flow: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwloop.memo.key._file_digest", lambda filename: filename)
    request, identity = request_on(arch, flow), Embedded().identity
    base = request_key(request, identity)
    seen: dict[str, tuple[str, Any]] = {base: ("nothing changed", None)}
    misses = 0
    for field in fields(request):
        for where, new, counts in changes(getattr(request, field.name)):
            name = f"{field.name}{where}"
            key = request_key(replace(request, **{field.name: new}), identity)
            if not counts or field.name in FOR_PEOPLE:
                assert key == base, f"{name} changes the key, and is for people only"
                continue
            other, same = seen.setdefault(key, (name, new))
            assert other == name or same == new, f"{name} has the key of {other}"  # 8, 8 less one of them is 8
            misses += 1
    assert misses > 500
