"""The independent checker: each kind of constraint, broken and kept."""

from __future__ import annotations

import re

import pytest

from hwloop.mapper import check
from hwloop.spec.constraint_sets import load_constraints
from hwloop.spec.mapping import load_mapping
from hwloop.spec.problem import conv2d_shape, make_problem

from .conftest import make_dataflow

PROBLEM = make_problem(conv2d_shape(), {"C": 8, "M": 8, "P": 4})
FREE = make_dataflow("weight_stationary", 64, glb="keep: []", reg="keep: []", temporal="permutation: []", spatial="factors: []")


def mapping(**places: dict[str, object]):
    """DRAM holds what the places leave."""
    targets = []
    left = {"C": 8, "M": 8, "P": 4}
    for name, entry in places.items():
        target, kind = name.rsplit("_", 1)
        for d, n in entry["factors"].items():
            left[d] //= n
        targets.append({"target": target, "type": {"t": "temporal", "s": "spatial"}[kind], **entry})
    targets.append({"target": "glb", "type": "bypass", "keep": ["Weights", "Inputs", "Outputs"], "bypass": []})
    return load_mapping([*targets, {"target": "DRAM", "type": "temporal", "factors": left, "permutation": "CMPRSNQ"}])


GOOD = mapping(
    inter_PE_spatial_s={"factors": {"C": 4, "M": 4}, "permutation": "CMPRSNQ", "split": 1},
    reg_t={"factors": {"P": 2}, "permutation": "PCMRSNQ"},
    glb_t={"factors": {"C": 2, "M": 2}, "permutation": "CMPRSNQ"},
)


def test_a_free_mapping_passes() -> None:
    assert check(GOOD, PROBLEM, FREE) == []


@pytest.mark.parametrize(
    ("constraint", "said"),
    [
        ({"target": "glb", "type": "temporal", "factors": ["C=4"]}, "C is 2, the constraint asks for C=4"),
        ({"target": "glb", "type": "temporal", "factors": ["C<=1"]}, "C<=1"),
        ({"target": "glb", "type": "temporal", "factors": ["C>=4"]}, "C>=4"),
        ({"target": "glb", "type": "temporal", "factors": ["C=0"]}, "C is 2, the constraint asks for C=8"),
        ({"target": "glb", "type": "temporal", "permutation": ["M", "C"]}, "loops are .* from the innermost"),
        ({"target": "glb", "type": "temporal", "permutation": ["*", "C"]}, "loops are .* from the innermost"),
        ({"target": "inter_PE_spatial", "type": "spatial", "permutation": ["M", "C"], "split": 6}, "the constraint orders"),
        (
            {"target": "glb", "type": "dataspace", "keep": [], "bypass": ["Weights"]},
            "Weights is kept, the constraint bypasses it",
        ),
        ({"type": "utilization", "min": 1.5 / 1.5, "target": "reg"}, None),
    ],
)
def test_each_constraint_is_read(constraint: dict[str, object], said: str | None) -> None:
    found = check(GOOD, PROBLEM, FREE, load_constraints([constraint]))
    if said is None:
        assert found == []
    else:
        assert len(found) == 1
        assert re.search(said, found[0])


@pytest.mark.parametrize(
    "constraint",
    [
        {"target": "glb", "type": "temporal", "factors": ["C=2", "M<=2", "P=1"], "permutation": ["C", "M"]},
        {"target": "glb", "type": "temporal", "factors": ["C=16"]},  # larger than the dimension: ignored, as Timeloop does
        {"target": "glb", "type": "temporal", "permutation": ["P", "*", "M"]},
        {"target": "inter_PE_spatial", "type": "spatial", "permutation": ["C", "N", "P", "Q", "R", "S", "M"], "split": 6},
        {"target": "inter_PE_spatial", "type": "spatial", "split": 1},
        {"target": "glb", "type": "dataspace", "keep": ["Weights"], "bypass": []},
    ],
)
def test_kept_constraints_pass(constraint: dict[str, object]) -> None:
    assert check(GOOD, PROBLEM, FREE, load_constraints([constraint])) == []


def test_products_and_fan_outs() -> None:
    wide = mapping(inter_PE_spatial_s={"factors": {"C": 8}, "permutation": "CMPRSNQ", "split": 1})
    assert check(wide, PROBLEM, FREE) == ["inter_PE_spatial (spatial): 8 along X, its fan-out has 4"]
    short = load_mapping([{"target": "DRAM", "type": "temporal", "factors": {"C": 8, "M": 4, "P": 4}, "permutation": "CMPRSNQ"}])
    assert check(short, PROBLEM, FREE) == ["M: the factors multiply to 4, the problem has 8"]


def test_minimum_utilization() -> None:
    half = mapping(inter_PE_spatial_s={"factors": {"C": 4, "M": 2}, "permutation": "CMPRSNQ", "split": 1})
    constraints = load_constraints({"min_utilization": 0.75, "targets": []})
    assert check(half, PROBLEM, FREE, constraints) == ["8 of 16 compute units are used, min_utilization asks for 0.75"]
