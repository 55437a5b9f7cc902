"""Mappings and constraints: both encodings, round trip, layout as arrays, mistakes named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.errors import SpecError
from hwloop.spec.architecture import load_architecture
from hwloop.spec.batch import SPATIAL_X, SPATIAL_Y, TEMPORAL, MappingBatch
from hwloop.spec.constraint_sets import load_constraints
from hwloop.spec.loops import complete_permutation, constraint_order
from hwloop.spec.mapping import load_mapping
from hwloop.spec.problem import conv2d_shape

SHAPE = conv2d_shape()
DIMS = SHAPE.dimensions  # C M R S N P Q
ARCH = load_architecture(
    """
architecture:
  nodes:
  - !Component {name: DRAM, class: DRAM, attributes: {datawidth: 16}}
  - !Container {name: PE, spatial: {meshX: 4, meshY: 4}}
  - !Component {name: rf, class: regfile, attributes: {depth: 64, datawidth: 16}}
  - !Component {name: mac, class: intmac}
"""
)


def test_both_encodings_are_the_same_mapping() -> None:
    verbose = load_mapping(
        [
            {"target": "rf", "type": "temporal", "factors": {"C": 2, "M": 3}, "permutation": ["M", "C", "R", "S", "N", "P", "Q"]},
            {"target": "rf", "type": "bypass", "keep": ["Weights"], "bypass": ["Inputs"]},
        ]
    )
    terse = load_mapping(
        """
mapping:
- {target: rf, type: datatype, keep: [Weights], bypass: [Inputs]}
- {target: rf, type: temporal, factors: C2 M3, permutation: MCRSNPQ}
"""
    )
    assert verbose == terse
    assert load_mapping(verbose.to_yaml()) == verbose
    assert (
        load_mapping([{"target": "rf", "type": "temporal", "factors": "C=2,M=3", "permutation": "M,C,R,S,N,P,Q"}]).loops
        == terse.loops
    )


def test_an_imperfect_factor_has_a_remainder() -> None:
    mapping = load_mapping([{"target": "rf", "type": "temporal", "factors": "C4,3 M2", "permutation": "CM"}])
    assert mapping.loops[0].factors == (("C", 4, 3), ("M", 2, 2))
    assert load_mapping(mapping.to_yaml()) == mapping


def test_missing_dimensions_go_behind_or_where_the_star_stands() -> None:
    assert complete_permutation(("P", "Q"), "CPQM") == ("P", "Q", "C", "M")
    assert complete_permutation(("P", "*", "Q"), "CPQM") == ("P", "C", "M", "Q")


def test_a_constraint_gets_the_dimensions_of_one_pass_in_front() -> None:
    assert constraint_order(("C", "M"), {"N", "C"}, "NCMPQ") == ("N", "C", "M", "*")
    assert constraint_order(("C", "*", "M"), {"N"}, "NCMPQ") == ("N", "C", "*", "M")


def test_the_split_decides_the_axis() -> None:
    mapping = load_mapping(
        [{"target": "inter_PE_spatial", "type": "spatial", "factors": "C4 M2", "permutation": list("NPQRSCM"), "split": 6}]
    )
    batch = MappingBatch.from_mappings([mapping], SHAPE, (4, 2, 1, 1, 1, 1, 1), ARCH)
    assert batch.factors[0, 1, SPATIAL_X].tolist() == [4, 1, 1, 1, 1, 1, 1]
    assert batch.factors[0, 1, SPATIAL_Y].tolist() == [1, 2, 1, 1, 1, 1, 1]
    assert batch.factors[0, :, TEMPORAL].max() == 1
    assert not batch.keep[0, 1].any()
    assert batch.keep[0, [0, 2]].all()


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_arrays_and_targets_are_the_same_mapping(data: st.DataObject) -> None:
    factors = np.ones((1, 3, 3, 7), np.int64)
    for level in (0, 2):
        factors[0, level, TEMPORAL] = data.draw(st.lists(st.integers(1, 5), min_size=7, max_size=7))
    for dim, axis in enumerate(data.draw(st.lists(st.sampled_from([SPATIAL_X, SPATIAL_Y]), min_size=7, max_size=7))):
        factors[0, 1, axis, dim] = data.draw(st.integers(1, 4))
    order = np.array([[data.draw(st.permutations(range(7))) for _ in range(3)]], np.int8)
    keep = np.array([[data.draw(st.lists(st.booleans(), min_size=3, max_size=3)) for _ in range(3)]])
    keep[0, 1] = False
    batch = MappingBatch(factors, order, keep)
    mapping = load_mapping(batch.to_mapping(0, SHAPE, ARCH).to_yaml())
    again = MappingBatch.from_mappings([mapping], SHAPE, (1,) * 7, ARCH)
    assert np.array_equal(again.factors, factors)
    assert np.array_equal(again.keep, keep)
    assert np.array_equal(again.order[0, [0, 2]], order[0, [0, 2]])


def test_the_order_of_spatial_loops_survives() -> None:
    target = {
        "target": "inter_PE_spatial",
        "type": "spatial",
        "factors": "Q2 P2 M2 C2",
        "permutation": list("RQPSNMC"),
        "split": 5,
    }
    batch = MappingBatch.from_mappings([load_mapping([target])], SHAPE, (2, 2, 1, 1, 1, 2, 2), ARCH)
    loops = batch.to_mapping(0, SHAPE, ARCH).find("inter_PE_spatial", "spatial")
    assert loops is not None
    assert (loops.permutation, loops.split) == (tuple("RQPSNMC"), 5)
    twice = MappingBatch.concatenate([batch, MappingBatch(batch.factors, batch.order, batch.keep)])
    assert twice.spatial_order is not None
    assert twice[1:].spatial_order is not None
    assert twice.spatial_order[1, 1].tolist() == list(range(7))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"target": "rf", "type": "temporal", "factors": "C2 C3"}, "expected each dimension once"),
        ({"target": "rf", "type": "temporal", "factors": "C=two"}, "expected factors such as"),
        ({"target": "rf", "type": "temporal", "factor": "C2"}, r"factor: expected a known field.*did you mean 'factors'"),
        ({"target": "rf", "type": "temporel"}, "type: expected temporal, spatial or bypass"),
        ({"type": "temporal"}, "target: expected a field of type str"),
    ],
)
def test_mistakes_in_a_mapping_are_named(target: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_mapping([target])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"target": "glb", "type": "temporal", "factors": "C2"}, "expected a level among"),
        ({"target": "rf", "type": "temporal", "factors": "K2"}, "expected a dimension among"),
        ({"target": "rf", "type": "temporal", "permutation": "KC"}, "expected dimensions among"),
        ({"target": "rf", "type": "bypass", "keep": ["Biases"]}, "expected a data space among"),
        ({"target": "inter_PE_spatial", "type": "bypass", "keep": ["Weights"]}, "this level is a fan-out and stores no data"),
    ],
)
def test_a_mapping_that_does_not_fit_the_architecture_is_refused(target: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        MappingBatch.from_mappings([load_mapping([target])], SHAPE, (1,) * 7, ARCH)


def test_constraints_round_trip_and_merge() -> None:
    constraints = load_constraints(
        """
mapspace_constraints:
  name: weight_stationary
  min_utilization: 0.5
  targets:
  - {target: rf, type: temporal, factors: [C=1, M<=4, P>=2], permutation: PQ}
  - {target: inter_PE_spatial, type: spatial, factors: N=1 P=1, split: 6}
  - {target: rf, type: bypass, keep: [Weights], bypass: [Inputs]}
"""
    )
    assert load_constraints(constraints.to_yaml()) == constraints
    temporal = constraints.loop("rf", "temporal")
    assert temporal is not None
    assert temporal.factors == (("C", "=", 1), ("M", "<=", 4), ("P", ">=", 2))
    other = load_constraints([{"target": "rf", "type": "temporal", "factors": ["S=2"]}])
    merged = constraints.merged_with(other)
    together = merged.loop("rf", "temporal")
    assert together is not None
    assert together.factors == (("C", "=", 1), ("M", "<=", 4), ("P", ">=", 2), ("S", "=", 2))
    assert together.permutation == ("P", "Q")
    assert merged.data_space("rf") == constraints.data_space("rf")
    assert merged.min_utilization == 0.5


def test_a_constraint_that_names_nothing_known_is_refused() -> None:
    with pytest.raises(SpecError, match=r"targets\[0\]\.type: expected temporal, spatial, dataspace"):
        load_constraints([{"target": "rf", "type": "sometimes"}])
    with pytest.raises(SpecError, match=r"keep: expected no data space that is also in bypass"):
        load_constraints([{"target": "rf", "type": "bypass", "keep": ["Weights"], "bypass": ["Weights"]}])
