"""Problems: sizes, projections, densities; round trip; mistakes named."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.errors import SpecError
from hwloop.spec.density import Density
from hwloop.spec.problem import conv2d_shape, load_problem, make_problem

CONV = make_problem(conv2d_shape(), {"C": 3, "M": 96, "R": 11, "S": 11, "P": 55, "Q": 55, "Wstride": 4, "Hstride": 4})


def test_tensor_sizes_of_alexnet_conv1() -> None:
    assert CONV.computes == 3 * 96 * 11 * 11 * 55 * 55
    assert CONV.tensor_size("Weights") == 3 * 96 * 121
    assert CONV.tensor_size("Outputs") == 96 * 55 * 55
    assert CONV.tensor_size("Inputs") == 3 * 227 * 227  # (55 - 1) * 4 + 11


def test_user_einsum_with_long_dimension_names() -> None:
    problem = load_problem(
        """
problem:
  version: 0.4
  shape:
    name: matmul
    dimensions: [row, inner, col]
    data_spaces:
    - {name: A, projection: [[[row]], [[inner]]]}
    - {name: B, projection: [[[inner]], [[col]]]}
    - {name: Z, projection: [[[row]], [[col]]], read_write: true}
  instance: {row: 4, inner: 5, col: 6}
"""
    )
    assert problem.sizes == {"row": 4, "inner": 5, "col": 6}
    assert problem.shape.output.name == "Z"
    assert problem.tensor_size("B") == 30


def test_densities_stand_in_the_instance() -> None:
    problem = CONV.with_densities({"Weights": 0.25, "Inputs": Density("fixed_structured", 0.5)})
    assert problem.density("Weights") == Density("hypergeometric", 0.25)
    assert problem.density("Outputs") == Density()
    assert load_problem(problem.to_dict()) == problem
    assert load_problem(problem.to_yaml()) == problem


@settings(deadline=None)
@given(
    st.fixed_dictionaries({d: st.integers(1, 300) for d in ("C", "M", "R", "S", "N", "P", "Q")}),
    st.integers(1, 4),
    st.floats(0, 1),
    st.booleans(),
)
def test_round_trip(sizes: dict[str, int], stride: int, density: float, depthwise: bool) -> None:
    shape = conv2d_shape(depthwise=depthwise)
    if depthwise:
        sizes.pop("M")
    problem = make_problem(shape, {**sizes, "Wstride": stride}, {"Weights": density})
    assert load_problem(problem.to_yaml()) == problem


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instance": {"P": 0}}, r"instance\.P: expected a whole number of at least 1, found 0"),
        ({"instance": {"P": 2.5}}, r"instance\.P: expected a value of type int, found 2\.5"),
        ({"instance": {"densities": {"Wieghts": 0.5}}}, r"instance\.densities\.Wieghts: expected a data space among"),
        ({"instance": {"densities": {"Weights": 1.5}}}, r"densities\.Weights\.density: expected a fraction between 0 and 1"),
        ({"instance": {"densities": {"Weights": {"distribution": "magic"}}}}, r"distribution: expected one of"),
        ({"shape": {"dimensions": ["C", "C"]}}, r"shape\.dimensions: expected distinct names"),
        ({"shape": {"data_space": []}}, r"shape\.data_space: expected a known field.*did you mean 'data_spaces'"),
        ({"version": 9}, "version: expected 0.4"),
        ({"instances": {}}, r"instances: expected a known field.*did you mean 'instance'"),
    ],
)
def test_mistakes_are_named(change: dict[str, dict[str, object]], message: str) -> None:
    document = CONV.to_dict()
    for key, value in change.items():
        document[key] = {**document[key], **value} if isinstance(value, dict) and key in document else value
    with pytest.raises(SpecError, match=message):
        load_problem(document)


def test_a_data_space_has_a_rank() -> None:
    document = CONV.to_dict()
    document["shape"]["data_spaces"][2]["projection"] = []
    with pytest.raises(SpecError, match=r"shape\.data_spaces\[2\]\.projection: expected a list of 1 to 16 ranks, found \[\]"):
        load_problem(document)


def test_a_projection_names_known_dimensions_and_coefficients() -> None:
    document = CONV.to_dict()
    document["shape"]["data_spaces"][1]["projection"][2] = [["R", "Wdil"], ["P"]]
    with pytest.raises(SpecError, match=r"shape\.data_spaces\[1\]\.projection\[2\]\[0\]: expected a coefficient among"):
        load_problem(document)
