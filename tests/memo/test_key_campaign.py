"""One change at a time, in every field of every spec, table and setting: the key changes, unless the field is for people only."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from hwloop.backend.embedded import Embedded
from hwloop.backend.request import MapperSettings, MapRequest
from hwloop.backend.target import make_targets
from hwloop.mapper.mapper import map_problem
from hwloop.memo.key import request_key
from hwloop.spec.density import Density
from hwloop.spec.problem import conv2d_shape, make_problem

from ..changes import changes

FOR_PEOPLE = {"network", "layer"}  # of a request; in the specs, the fields that do not count when two are compared


def request_on(arch: str, flow: str | None) -> MapRequest:
    [target] = make_targets(arch, flow)
    sizes = {"C": 8, "M": 8, "R": 3, "S": 3, "P": 4, "Q": 4}
    problem = make_problem(conv2d_shape(), sizes, {"Weights": 0.5, "Inputs": Density("banded", 0.25, 2)})
    bits = {"Weights": 4, "Inputs": 8}
    start = map_problem(problem.with_densities({}), target.arch, target.table(), target.constraints, effort="quick").mapping
    return MapRequest(problem, target.arch, target.table(bits), target.constraints, bits, MapperSettings(), (start,), "net", "a")


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
