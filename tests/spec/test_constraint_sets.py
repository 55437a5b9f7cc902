"""Constraint sets add up and say nothing twice; names that are not there are refused with the nearest; macros; orders."""

from __future__ import annotations

from typing import Any

import pytest

import hwloop
from hwloop.errors import SpecError, SpecWarning
from hwloop.spec.architecture import load_architecture
from hwloop.spec.constraint_sets import load_constraints
from hwloop.spec.constraints import Constraints
from hwloop.spec.expand import expand_mapping
from hwloop.spec.problem import conv2d_shape, load_problem, make_problem
from hwloop.spec.resources import open_architecture, open_mapping

from .reading_cases import NODES, PROBLEM, TREE

CONV = load_problem(PROBLEM)
SETS = """
architecture_constraints:
  targets:
  - {target: glb, type: temporal, factors: "C=1 M<=4", permutation: SQP}
  - {target: glb, type: dataspace, bypass: [Weights]}
mapspace_constraints:
  targets:
  - {target: glb, type: temporal, factors: "R=3 M>=2"}
  - {target: glb, type: dataspace, keep: [Inputs]}
"""


@pytest.mark.parametrize("form", [TREE, NODES])
def test_sets_on_one_target_add_up(form: str) -> None:
    constraints = load_architecture(form + SETS).constraints
    loop, spaces = constraints.loop("glb", "temporal"), constraints.data_space("glb")
    assert loop is not None
    assert spaces is not None
    assert loop.factors == (("C", "=", 1), ("M", "<=", 4), ("R", "=", 3), ("M", ">=", 2))
    assert loop.permutation == ("S", "Q", "P")
    assert (spaces.keep, spaces.bypass) == (("Inputs",), ("Weights",))


def test_a_node_a_file_and_the_mapspace_add_up() -> None:
    node = NODES.replace("depth: 4096}", "depth: 4096}\n    constraints: {temporal: {factors: [N=1]}}")
    arch = load_architecture(node + SETS).with_constraints(
        load_constraints([{"target": "glb", "type": "temporal", "factors": "S=1"}])
    )
    loop = arch.constraints.loop("glb", "temporal")
    assert loop is not None
    assert {d for d, _, _ in loop.factors} == set("NCMRS")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"type": "temporal", "factors": "C=2"},
            r"glb \(temporal\)\.factors\.C: expected each thing.*found '=1 and =2'",
        ),
        ({"type": "temporal", "permutation": "PQ"}, r"glb \(temporal\)\.permutation: expected each thing to be said once"),
        ({"type": "dataspace", "keep": ["Weights"]}, r"glb\.dataspace: expected each thing.*bypass and keep of \['Weights'\]"),
    ],
)
@pytest.mark.parametrize("form", [TREE, NODES])
def test_what_two_sets_say_differently_is_refused(form: str, entry: dict[str, Any], message: str) -> None:
    arch = load_architecture(form + SETS)
    with pytest.raises(SpecError, match=message):
        arch.with_constraints(load_constraints([{"target": "glb", **entry}]))


def test_the_same_thing_twice_passes_the_front_end_and_not_the_program() -> None:
    again = load_constraints([{"target": "glb", "type": "temporal", "factors": "C=1"}])
    assert load_architecture(NODES + SETS).with_constraints(again).constraints == load_architecture(NODES + SETS).constraints
    with pytest.raises(SpecError, match=r"factors\.C: expected each thing to be said once"):
        load_architecture(TREE + SETS).with_constraints(again)
    with pytest.raises(SpecError, match=r"factors\.C: expected each thing to be said once"):
        load_constraints([{"target": "glb", "type": "temporal", "factors": f} for f in ("C=1", "C=2")])


def test_a_bound_beside_a_factor_that_keeps_to_it_says_nothing_new() -> None:
    arch = load_architecture(NODES + SETS)
    both = arch.with_constraints(load_constraints([{"target": "glb", "type": "temporal", "factors": "C<=2"}]))
    loop = both.constraints.loop("glb", "temporal")
    assert loop is not None
    assert {("C", "=", 1), ("C", "<=", 2)} <= set(loop.factors)
    with pytest.raises(SpecError, match=r"factors\.C: expected each thing.*found '=1 and >=2'"):
        arch.with_constraints(load_constraints([{"target": "glb", "type": "temporal", "factors": "C>=2"}]))


def test_a_level_that_is_not_there_is_refused_with_the_nearest() -> None:
    arch = load_architecture(NODES)
    with pytest.raises(SpecError, match=r"found 'gbl'; did you mean 'glb'\?"):
        arch.with_constraints(load_constraints([{"target": "gbl", "type": "temporal", "factors": "C=1"}]))
    with pytest.raises(SpecError, match="these constraints are of another accelerator"):
        open_architecture("tpu_like").with_constraints(open_mapping("row_stationary"))


def test_a_dimension_that_is_not_there_is_refused_with_the_nearest() -> None:
    arch = load_architecture(NODES)
    for entry in ({"factors": "K=2"}, {"permutation": "CK"}):
        named = arch.with_constraints(load_constraints([{"target": "glb", "type": "temporal", **entry}]))
        with pytest.raises(SpecError, match=r"glb \(temporal\): expected a dimension among .*found 'K'"):
            named.for_problem(CONV)
    kept = arch.with_constraints(load_constraints([{"target": "glb", "type": "dataspace", "keep": ["Input"]}]))
    with pytest.raises(SpecError, match=r"glb \(dataspace\): expected a data space .*'Input'; did you mean 'Inputs'\?"):
        kept.for_problem(CONV)


def test_a_depthwise_layer_goes_without_what_is_said_of_m() -> None:
    arch = load_architecture(NODES).with_constraints(
        load_constraints([{"target": "PE", "type": "spatial", "factors": "M=4 G=1", "permutation": "MCGPQRSN", "split": 2}])
    )
    problem = make_problem(conv2d_shape(depthwise=True), {"C": 8, "P": 4, "Q": 4, "R": 3, "S": 3})
    loop = arch.for_problem(problem).constraints.loop("inter_PE_spatial", "spatial")
    assert loop is not None
    assert (loop.factors, loop.permutation, loop.split) == ((), tuple("CPQRSN"), 1)


@pytest.mark.parametrize("written", ["NPQR SCM", "N P Q R S C M", " NPQRSCM ", "N,P,Q,R,S,C,M", list("NPQRSCM")])
def test_permutations_are_read_letter_by_letter(written: Any) -> None:
    (loop,) = load_constraints([{"target": "glb", "type": "temporal", "permutation": written}]).loops
    assert loop.permutation == tuple("NPQRSCM")
    (mapped,) = hwloop.load_mapping([{"target": "glb", "type": "temporal", "factors": "C2", "permutation": written}]).loops
    assert mapped.permutation == tuple("NPQRSCM")


def test_the_front_end_completes_an_order_and_the_tree_has_no_front_end() -> None:
    """Checked on the real mapper: of the tree form it takes the permutation as it stands, so that C lies on X."""
    order = load_constraints([{"target": "glb", "type": "spatial", "factors": "R=1 S=1", "permutation": "CM", "split": 1}])
    (loop,) = order.loops
    assert loop.order(CONV.sizes, front_end=True) == ("R", "S", "N", "C", "M", "*")
    assert loop.order(CONV.sizes, front_end=False) == ("C", "M", "*")
    assert load_architecture(NODES).front_end
    assert not load_architecture(TREE).front_end
    assert load_architecture(load_architecture(NODES).to_yaml()).front_end


def resolved(entry: dict[str, Any]) -> Constraints:
    arch = load_architecture(NODES).with_constraints(load_constraints([{"target": "glb", **entry}]))
    return arch.for_problem(CONV).constraints


@pytest.mark.parametrize(
    ("entry", "factors"),
    [
        ({"factors_only": ["C=4", "M<=2"]}, "C=4 M<=2 R=1 S=1 N=1 P=1 Q=1"),
        ({"no_iteration_over_dataspaces": ["Weights"]}, "C=1 M=1 R=1 S=1"),
        ({"must_iterate_over_dataspaces": ["Weights"]}, "N=1 P=1 Q=1"),
        ({"factors": "C=4 M<=3", "default_max_factor": 2}, "C=4 M<=3 R<=2 S<=2 N<=2 P<=2 Q<=2"),
    ],
)
def test_macros_become_factors(entry: dict[str, Any], factors: str) -> None:
    (loop,) = resolved({"type": "temporal", **entry}).loops
    (wanted,) = load_constraints([{"target": "glb", "type": "temporal", "factors": factors}]).loops
    assert set(loop.factors) == set(wanted.factors)
    with pytest.raises(SpecError, match="to have no other factor here"):
        resolved({"type": "temporal", "factors": "C=4", "no_iteration_over_dataspaces": ["Weights"]})


@pytest.mark.parametrize(
    ("entry", "keep", "bypass"),
    [
        ({"keep_only": ["Inputs"]}, {"Inputs"}, {"Weights", "Outputs"}),
        ({"bypass_only": ["Inputs"]}, {"Weights", "Outputs"}, {"Inputs"}),
        ({"keep": ["*"]}, {"Weights", "Inputs", "Outputs"}, set()),
        ({"keep": ["Inputs"], "bypass": ["Weights"]}, {"Inputs"}, {"Weights"}),
    ],
)
def test_keep_only_and_its_kin(entry: dict[str, Any], keep: set[str], bypass: set[str]) -> None:
    (space,) = resolved({"type": "dataspace", **entry}).data_spaces
    assert (set(space.keep), set(space.bypass)) == (keep, bypass)


def test_targets_by_node_by_number_and_in_old_forms() -> None:
    arch = load_architecture(NODES)
    by_node = load_constraints([{"target": "PE", "type": "spatial", "factors": "C=8"}])
    assert arch.with_constraints(by_node).constraints.loop("inter_PE_spatial", "spatial") is not None
    nested = load_constraints(
        {"targets": [{"target": 0, "constraints": [{"type": "temporal", "attributes": {"factors": "C=8"}}]}]}
    )
    assert arch.with_constraints(nested).constraints.loop("rf", "temporal") is not None
    named = load_constraints({"mapspace": {"constraints": "b", "constraints_a": [], "constraints_b": [
        {"target": "glb", "type": "temporal", "factors": "C=8"}]}})  # fmt: skip
    assert arch.with_constraints(named).constraints.loop("glb", "temporal") is not None
    with pytest.warns(SpecWarning, match="split: no effect on a temporal target"):
        load_constraints([{"target": "glb", "type": "temporal", "split": 2}])


def test_two_branches_of_parallel_may_not_keep_one_data_space() -> None:
    both = NODES.replace(
        "  - !Component\n    name: glb",
        "  - !Parallel\n    nodes:\n    - !Component {name: a, class: SRAM, attributes: {datawidth: 16},"
        " constraints: {dataspace: {keep: [Inputs]}}}\n"
        "    - !Component {name: b, class: SRAM, attributes: {datawidth: 16}, constraints: {dataspace: {keep: [Inputs]}}}\n"
        "  - !Component\n    name: glb",
    )
    with pytest.raises(SpecError, match=r"expected each data space kept in one branch of !Parallel, found \['Inputs'\]"):
        load_architecture(both)


def test_a_mapping_is_filled_in_from_the_nodes_alone() -> None:
    constrained = NODES.replace(
        "depth: 4096}",
        "depth: 4096}\n    constraints: {temporal: {factors: [S=3], no_reuse: [Inputs]}, dataspace: {bypass: [Weights]}}",
    )
    mapping = hwloop.load_mapping([{"target": "glb", "type": "temporal", "factors": "C=2"}])
    filled = expand_mapping(mapping, load_architecture(constrained), CONV)
    glb = filled.find("glb", "temporal")
    assert glb is not None
    assert (glb.factors, glb.no_reuse) == ((("C", 2, 2), ("S", 3, 3)), ("Inputs",))
    bypass = filled.find_bypass("glb")
    assert bypass is not None
    assert bypass.bypass == ("Weights",)
    tree = load_architecture(TREE + "architecture_constraints: [{target: glb, type: temporal, factors: S=3}]\n")
    assert expand_mapping(mapping, tree, CONV) == mapping
