"""`map_problem`: the optimum where it can be enumerated, constraints kept, reasons given, the same answer every time."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hwloop
from hwloop.errors import InfeasibleMappingError
from hwloop.mapper import check, map_problem
from hwloop.mapper.result import MapResult
from hwloop.simulator.simulator import Simulator
from hwloop.spec.constraint_sets import load_constraints
from hwloop.spec.constraints import Constraints
from hwloop.spec.energy_table import EnergyTable, load_energy_table
from hwloop.spec.problem import conv2d_shape, make_problem

from .conftest import DATAFLOWS, ENERGIES, exhaustive, make_dataflow
from .independent import broken

SMALL = {"C": 2, "M": 4, "P": 4, "R": 3}


@pytest.mark.parametrize("dataflow", sorted(DATAFLOWS))
def test_small_spaces_give_the_optimum(dataflow: str, energies: EnergyTable) -> None:
    problem = make_problem(conv2d_shape(), SMALL)
    architecture = make_dataflow(dataflow)
    best, count = exhaustive(problem, architecture, energies)
    assert count > 50
    for objective, value in best.items():
        found = map_problem(problem, architecture, energies, objective=objective)
        assert found.padding == ()
        assert found.value == pytest.approx(value, rel=1e-12), objective
        assert check(found.mapping, problem, architecture) == []


def test_result_is_what_the_simulator_says(energies: EnergyTable) -> None:
    problem, architecture = (
        make_problem(conv2d_shape(), {"C": 16, "M": 32, "P": 8, "Q": 8, "R": 3, "S": 3}),
        make_dataflow("weight_stationary", 512),
    )
    found = map_problem(problem, architecture, energies)
    again = Simulator(problem, architecture, energies).run(found.mapping)
    assert again == found.cost
    assert found.value == pytest.approx(again.edp)
    assert MapResult.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize("dataflow", sorted(DATAFLOWS))
def test_same_arguments_same_mapping(dataflow: str, energies: EnergyTable) -> None:
    problem, architecture = (
        make_problem(conv2d_shape(), {"C": 24, "M": 36, "P": 14, "Q": 14, "R": 3, "S": 3}),
        make_dataflow(dataflow, 512),
    )
    a, b = (map_problem(problem, architecture, energies, seed=3, effort="quick") for _ in range(2))
    assert (a.mapping, a.value, a.evaluated) == (b.mapping, b.value, b.evaluated)


def test_start_is_never_lost(energies: EnergyTable) -> None:
    problem, architecture = (
        make_problem(conv2d_shape(), {"C": 32, "M": 48, "P": 16, "Q": 12, "R": 3, "S": 3}),
        make_dataflow("row_stationary", 512),
    )
    good = map_problem(problem, architecture, energies, effort="normal")
    again = map_problem(problem, architecture, energies, effort="quick", seed=7, start=[good.mapping])
    assert again.value <= good.value


def test_start_that_breaks_a_constraint_is_left_out(energies: EnergyTable) -> None:
    problem = make_problem(conv2d_shape(), SMALL)
    other = map_problem(problem, make_dataflow("output_stationary"), energies)
    architecture = make_dataflow("weight_stationary")
    found = map_problem(problem, architecture, energies, start=[other.mapping])
    assert check(other.mapping, problem, architecture)
    assert check(found.mapping, problem, architecture) == []


def test_objective_may_be_a_function(energies: EnergyTable) -> None:
    problem, architecture = make_problem(conv2d_shape(), SMALL), make_dataflow("output_stationary")
    named = map_problem(problem, architecture, energies, objective="energy")
    custom = map_problem(problem, architecture, energies, objective=lambda costs: costs.energy_pj * 2.0)
    assert custom.objective == "custom"
    assert custom.value == pytest.approx(2 * named.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"objective": "edq"}, "objective: expected one of"), ({"effort": "heroic"}, "effort: expected one of")],
)
def test_unknown_settings_are_named(arguments: dict[str, str], message: str, energies: EnergyTable) -> None:
    problem, architecture = make_problem(conv2d_shape(), SMALL), make_dataflow("output_stationary")
    with pytest.raises(ValueError, match=message):
        map_problem(problem, architecture, energies, **arguments)


def test_objective_of_the_wrong_shape(energies: EnergyTable) -> None:
    problem, architecture = make_problem(conv2d_shape(), SMALL), make_dataflow("output_stationary")
    with pytest.raises(ValueError, match="expected an array of shape"):
        map_problem(problem, architecture, energies, objective=lambda costs: np.zeros(1))


def test_a_capacity_that_a_constraint_overflows_is_named(energies: EnergyTable) -> None:
    problem = make_problem(conv2d_shape(), {"C": 4, "M": 4, "R": 11})
    architecture = make_dataflow("weight_stationary", temporal="factors: [R=11, C=1, M=1]")
    with pytest.raises(
        InfeasibleMappingError, match=r"reg must hold R=11 \(constraint\) of Weights: needs 11 words .*, 8 fit"
    ) as raised:
        map_problem(problem, architecture, energies)
    assert (raised.value.level, raised.value.data_space) == ("reg", "Weights")


def test_a_fan_out_that_a_constraint_overflows_is_named(energies: EnergyTable) -> None:
    architecture = make_dataflow("weight_stationary", spatial="permutation: [C, N, P, Q, R, S, M], factors: [C=8], split: 6")
    with pytest.raises(
        InfeasibleMappingError, match=r"inter_PE_spatial must hold C=8 \(constraint\), its fan-out has room for 4"
    ):
        map_problem(make_problem(conv2d_shape(), {"C": 16, "M": 4}), architecture, energies)


def test_factors_that_cannot_make_a_dimension_up_are_named(energies: EnergyTable) -> None:
    constraints = load_constraints([{"target": t, "type": "temporal", "factors": ["M=1"]} for t in ("DRAM", "glb", "reg")])
    with pytest.raises(InfeasibleMappingError, match="M is 64, but the factors that the constraints allow multiply to 4 at most"):
        map_problem(make_problem(conv2d_shape(), {"M": 64, "C": 4}), make_dataflow("weight_stationary"), energies, constraints)


def test_a_utilization_out_of_reach_is_named(energies: EnergyTable) -> None:
    constraints = load_constraints({"min_utilization": 0.9, "targets": []})
    with pytest.raises(InfeasibleMappingError, match=r"min_utilization asks for 0.9 of 16 compute units"):
        map_problem(make_problem(conv2d_shape(), {"M": 4, "C": 2}), make_dataflow("weight_stationary"), energies, constraints)


def test_minimum_utilization_is_kept(energies: EnergyTable) -> None:
    problem, architecture = make_problem(conv2d_shape(), {"M": 8, "C": 8, "P": 4}), make_dataflow("weight_stationary")
    constraints = load_constraints({"min_utilization": 0.99, "targets": []})
    found = map_problem(problem, architecture, energies, constraints, objective=lambda costs: costs.utilization)
    assert found.cost.components["mac"].instances == 16


@pytest.mark.parametrize(("size", "even"), [({"C": 61, "M": 115}, {"C": 64, "M": 116}), ({"C": 13, "M": 7}, {"C": 16, "M": 8})])
@pytest.mark.parametrize("objective", ["edp", "cycles"])
def test_awkward_sizes_do_not_fall_off_a_cliff(
    size: dict[str, int], even: dict[str, int], objective: str, energies: EnergyTable
) -> None:
    """A pruned layer costs about what the next size that fits the array does; a prime left whole costs several times that."""
    architecture = make_dataflow("weight_stationary", 4096, bandwidth=16)
    plane = {"P": 4, "Q": 4}
    found, padded = (
        map_problem(make_problem(conv2d_shape(), {**n, **plane}), architecture, energies, objective=objective)
        for n in (size, even)
    )
    assert found.value <= padded.value * 1.15
    assert check(found.mapping, make_problem(conv2d_shape(), {**size, **plane}), architecture) == []
    assert found.padding
    for p in found.padding:
        assert size[p.dimension] == p.size < p.covered <= even[p.dimension]


def test_free_bypass_is_searched(energies: EnergyTable) -> None:
    problem = make_problem(conv2d_shape(), {"C": 8, "M": 8, "P": 4, "Q": 4, "R": 3, "S": 3})
    free = make_dataflow(
        "weight_stationary", 64, glb="keep: []", reg="keep: []", temporal="permutation: []", spatial="factors: []"
    )
    fixed = make_dataflow("weight_stationary", 64)
    found = map_problem(problem, free, energies)
    assert found.value <= map_problem(problem, fixed, energies).value
    assert check(found.mapping, problem, free) == []


CONSTRAINTS = st.fixed_dictionaries(
    {
        "glb_factors": st.lists(
            st.sampled_from(["C=2", "M<=2", "P>=2", "R=3", "Q=0", "S=7"]), unique_by=lambda f: f[0], max_size=3
        ),
        "glb_order": st.sampled_from([[], ["P", "C"], ["*", "M"], ["R", "*", "C", "M"], ["M"]]),
        "reg_factors": st.lists(st.sampled_from(["R=3", "C<=4", "M=1", "P<=2"]), unique_by=lambda f: f[0], max_size=2),
        "order": st.sampled_from([None, ["C", "M"], ["M", "*"], ["C", "N", "P", "Q", "R", "S", "M"]]),
        "split": st.sampled_from([None, 0, 1, 4, 6]),
        "spatial_factors": st.lists(st.sampled_from(["C<=2", "M=4", "P=1", "Q=2"]), unique_by=lambda f: f[0], max_size=2),
        "keep": st.lists(st.sampled_from(["Weights", "Inputs", "Outputs"]), unique=True, max_size=2),
        "bypass": st.lists(st.sampled_from(["Weights", "Inputs", "Outputs"]), unique=True, max_size=2),
        "min_utilization": st.sampled_from([0.0, 0.2, 0.5]),
    }
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(drawn=CONSTRAINTS)
def test_no_constraint_is_ever_broken(drawn: dict[str, Any]) -> None:
    spatial: dict[str, Any] = {"target": "inter_PE_spatial", "type": "spatial", "factors": drawn["spatial_factors"]}
    spatial |= {} if drawn["order"] is None else {"permutation": drawn["order"]}
    spatial |= {} if drawn["split"] is None else {"split": drawn["split"]}
    document = {
            "min_utilization": drawn["min_utilization"],
            "targets": [
                {"target": "glb", "type": "temporal", "factors": drawn["glb_factors"], "permutation": drawn["glb_order"]},
                {"target": "reg", "type": "temporal", "factors": drawn["reg_factors"]},
                spatial,
                {"target": "glb", "type": "dataspace", "keep": drawn["keep"],
                 "bypass": [s for s in drawn["bypass"] if s not in drawn["keep"]]},
                {"target": "reg", "type": "dataspace", "keep": [], "bypass": []},
            ],
        }  # fmt: skip
    constraints = load_constraints(document)
    problem = make_problem(conv2d_shape(), {"C": 8, "M": 8, "P": 5, "Q": 4, "R": 3})
    architecture = replace(make_dataflow("weight_stationary", 64), constraints=Constraints())
    try:
        found = map_problem(problem, architecture, load_energy_table(ENERGIES), constraints, effort="quick")
    except InfeasibleMappingError:
        return  # the reasons are tested above
    assert check(found.mapping, problem, architecture, constraints) == []
    fan_outs = {level.name: architecture.fanout[i] for i, level in enumerate(architecture.storage)}
    least_used = drawn["min_utilization"] * architecture.compute.instances
    assert broken(document["targets"], found.mapping.to_list(), problem.sizes, fan_outs, least_used) == []


def test_the_independent_reading_sees_what_is_broken() -> None:
    mapping = [
        {"target": "glb", "type": "temporal", "factors": "C2 M4", "permutation": "CM"},
        {"target": "pe", "type": "spatial", "factors": "P4", "permutation": "P", "split": 1},
        {"target": "glb", "type": "bypass", "keep": ["Weights"], "bypass": []},
    ]
    rules = [
        {"target": "glb", "type": "temporal", "factors": ["C=4", "M<=4"], "permutation": ["M", "C"]},
        {"target": "pe", "type": "spatial", "permutation": ["C", "M", "P"], "split": 2},
        {"target": "glb", "type": "dataspace", "keep": [], "bypass": ["Weights"]},
    ]
    found = broken(rules, mapping, {"C": 4, "M": 4, "P": 4}, {"pe": (2, 1)}, 8)
    for said in ("C is not covered", "fan-out", "C=4", "order", "split at 2", "not in bypass", "too few"):
        assert any(said in text for text in found), said
    assert len(found) == 7


def test_timeloops_best_is_beaten_or_met(shared) -> None:
    folder = shared / "reference" / "mapper"
    lines = (folder / "best_found.jsonl").read_text(encoding="utf-8").splitlines()
    for line in lines[:12]:
        record = json.loads(line)
        architecture = hwloop.load_architecture(folder / f"{record['arch']}.yaml")
        problem, table = hwloop.load_problem(record["problem"]), hwloop.load_energy_table(record["ert"])
        theirs = Simulator(problem, architecture, table).run(hwloop.load_mapping(record["mapping"]))
        assert (theirs.cycles, theirs.energy_pj) == (record["cycles"], pytest.approx(record["energy_pj"], rel=1e-4))
        ours = map_problem(problem, architecture, table)
        assert ours.value <= theirs.edp, (record["arch"], record["layer"])
        assert check(ours.mapping, problem, architecture) == []
