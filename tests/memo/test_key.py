from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwloop.backend.request import MapperSettings, MapRequest
from hwloop.errors import MemoError, SpecError
from hwloop.memo.key import canonical, digest, request_key
from hwloop.spec.energy_table import load_energy_table
from hwloop.spec.mapping import load_mapping
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.resources import open_architecture, open_mapping

ARCH = open_architecture("eyeriss_168")
FLOW = open_mapping("row_stationary")
ERT = load_energy_table({level.name: {"read": 1.0, "write": 1.5} for level in ARCH.levels})
PROBLEM = make_problem(conv2d_shape(), {"C": 4, "M": 8, "R": 3, "S": 3, "P": 8, "Q": 8}, {"Weights": 0.5}, name="conv1")
QUICK = MapperSettings(effort="quick")
REQUEST = MapRequest(PROBLEM, ARCH, ERT, FLOW, {"Weights": 8, "Inputs": 8}, QUICK)


def key(request: MapRequest, identity: str = "embedded: 1") -> str:
    return request_key(request, identity)


def shuffled(form: Any) -> Any:
    """The same plain data with the dict entries the other way round."""
    if isinstance(form, dict):
        return {key: shuffled(form[key]) for key in reversed(form)}
    return [shuffled(entry) for entry in form] if isinstance(form, list) else form


SAME = {
    "layer name": replace(REQUEST, layer="other", network="net"),
    "problem name": replace(REQUEST, problem=replace(PROBLEM, name="other")),
    "accelerator name": replace(REQUEST, arch=replace(ARCH, name="other", source="elsewhere.yaml")),
    "dataflow name": replace(REQUEST, constraints=replace(FLOW, name="other", description="in other words")),
    "dict order of bits": replace(REQUEST, bits={"Inputs": 8, "Weights": 8}),
    "numpy bits": replace(REQUEST, bits={"Weights": np.int64(8), "Inputs": np.int64(8)}),
    "order of the energy table": replace(REQUEST, ert=load_energy_table(shuffled(ERT.to_dict()))),
    "order of the constraints": replace(REQUEST, constraints=replace(FLOW, loops=FLOW.loops[::-1])),
    "source of an energy": replace(
        REQUEST, ert=replace(ERT, components=tuple(replace(c, source="said someone") for c in ERT.components))
    ),
}
OTHER = {
    "a size": replace(REQUEST, problem=replace(PROBLEM, bounds=(*PROBLEM.bounds[:-1], 9))),
    "a stride": replace(REQUEST, problem=replace(PROBLEM, coefficients=(2, *PROBLEM.coefficients[1:]))),
    "a density": replace(REQUEST, problem=PROBLEM.with_densities({"Weights": 0.4999})),
    "how zeros are spread": replace(
        REQUEST, problem=PROBLEM.with_densities({"Weights": replace(PROBLEM.density("Weights"), distribution="fixed_structured")})
    ),
    "bits": replace(REQUEST, bits={"Weights": 4, "Inputs": 8}),
    "no bits": replace(REQUEST, bits=None),
    "a level's size": replace(
        REQUEST, arch=replace(ARCH, levels=(replace(ARCH.levels[0], instances=2), *ARCH.levels[1:]))
    ),
    "no constraints": replace(REQUEST, constraints=None),
    "a constraint": replace(REQUEST, constraints=replace(FLOW, loops=FLOW.loops[1:])),
    "least utilisation": replace(REQUEST, constraints=replace(FLOW, min_utilization=0.5)),
    "an energy": replace(
        REQUEST, ert=load_energy_table({level.name: {"read": 1.0, "write": 1.5000001} for level in ARCH.levels})
    ),
    "objective": replace(REQUEST, settings=replace(QUICK, objective="energy")),
    "start": replace(REQUEST, start=(load_mapping([{"target": "DRAM", "type": "temporal", "factors": "C4 M8"}]),)),
    "seed": replace(REQUEST, settings=replace(QUICK, seed=1)),
    "effort": replace(REQUEST, settings=replace(QUICK, effort="thorough")),
}  # fmt: skip


@pytest.mark.parametrize("what", SAME)
def test_what_is_only_for_people_is_not_in_the_key(what: str) -> None:
    assert key(SAME[what]) == key(REQUEST)


def test_everything_that_changes_the_answer_is_in_the_key() -> None:
    keys = {what: key(request) for what, request in OTHER.items()} | {"as it was": key(REQUEST)}
    assert len(set(keys.values())) == len(keys), keys


def test_a_density_counted_from_a_file_follows_what_the_file_says(tmp_path) -> None:
    def request(text: str) -> MapRequest:
        (tmp_path / "counts.txt").write_text(text)
        density = replace(PROBLEM.density("Weights"), distribution="actual_data", filename=str(tmp_path / "counts.txt"))
        return replace(REQUEST, problem=PROBLEM.with_densities({"Weights": density}))

    assert key(request("1 2")) != key(request("1 3"))


def test_a_file_of_counts_that_is_none_is_refused_at_once(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    density = replace(PROBLEM.density("Weights"), distribution="actual_data", filename=str(tmp_path / "pipe"))
    with pytest.raises(SpecError, match=r"a readable file of counts.*not a regular file"):
        key(replace(REQUEST, problem=PROBLEM.with_densities({"Weights": density})))


def test_who_answers_is_in_the_key() -> None:
    assert key(REQUEST) != key(REQUEST, "embedded: 2")


def test_a_coefficient_called_like_a_dimension_hides_no_size() -> None:
    shape = replace(PROBLEM.shape, coefficients=(("C", 1), *PROBLEM.shape.coefficients[1:]))
    small, large = (replace(PROBLEM, shape=shape, bounds=(size, *PROBLEM.bounds[1:])) for size in (8, 64))
    assert key(replace(REQUEST, problem=small)) != key(replace(REQUEST, problem=large))


def test_an_objective_that_is_a_function_has_no_key() -> None:
    with pytest.raises(MemoError, match="has no canonical form"):
        key(replace(REQUEST, settings=MapperSettings(lambda costs: costs.energy_pj)))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )
)
def test_canonical_form_does_not_know_the_order_of_dicts(data: Any) -> None:
    assert canonical(shuffled(data)) == canonical(data)
    assert digest(json.loads(canonical(data))) == digest(data)


def test_canonical_form_takes_plain_data_only() -> None:
    assert canonical({"b": 1.0, "a": np.float64(0.5)}) == '{"a":0.5,"b":1}'
    with pytest.raises(TypeError, match="expected plain data"):
        canonical(object())
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(float("nan"))
