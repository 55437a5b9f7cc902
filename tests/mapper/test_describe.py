"""What a mapping and its cost look like to people."""

from __future__ import annotations

import pytest

from hwloop.energy import estimate_energy_table
from hwloop.mapper import describe, level_table, loop_nest, map_problem
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.mapping import load_mapping
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.resources import open_architecture

from .conftest import make_dataflow

ONE = make_problem(conv2d_shape(), {"C": 8, "M": 16, "P": 4, "Q": 4, "R": 3, "S": 3}, name="one")


def test_the_nest_reads_as_timeloops_does(energies: EnergyTable) -> None:
    architecture = make_dataflow("weight_stationary", 512)
    problem = make_problem(conv2d_shape(), {"C": 8, "M": 4, "P": 6})
    mapping = load_mapping(
        [
            {"target": "DRAM", "type": "temporal", "factors": "C2", "permutation": "CMPRSNQ"},
            {"target": "inter_PE_spatial", "type": "spatial", "factors": "C4 M4", "permutation": "CMPRSNQ", "split": 1},
            {"target": "glb", "type": "temporal", "factors": "P2", "permutation": "PCMRSNQ"},
            {"target": "reg", "type": "temporal", "factors": "P3", "permutation": "PCMRSNQ"},
        ]
    )
    assert loop_nest(mapping, problem, architecture).splitlines() == [
        "DRAM [ Weights, Inputs, Outputs ]",
        "---------------------------------",
        "| for C in [0:2)",
        "",
        "glb [ Weights, Inputs, Outputs ]",
        "--------------------------------",
        "|   for P in [0:2)",
        "",
        "|     for M in [0:4) (Spatial-Y)",
        "|       for C in [0:4) (Spatial-X)",
        "",
        "reg [ Weights, Inputs, Outputs ]",
        "--------------------------------",
        "|         for P in [0:3)",
        "",
        "          mac: << Compute >>",
    ]


def test_table_and_ceiling(energies: EnergyTable) -> None:
    architecture = make_dataflow("weight_stationary", 512)
    found = map_problem(ONE, architecture, energies, effort="quick")
    rows = level_table(found.cost, architecture)
    assert rows[-1].level == "mac"
    assert sum(r.energy_pj for r in rows) <= found.cost.energy_pj
    assert sum(r.share for r in rows) == pytest.approx(1.0, abs=0.05)
    text = describe(found, ONE, architecture)
    assert "bound by" in text
    assert str(found.cost.cycles) in text
    slowest = max(r.cycles for r in rows)
    assert found.ceiling.cycles == slowest == found.cost.cycles


def test_wires_that_cost_something_have_a_line() -> None:
    architecture = open_architecture("flexible")
    table = estimate_energy_table(architecture, "shipped+wires")
    found = map_problem(ONE, architecture, table, effort="quick")
    rows = level_table(found.cost, architecture)
    wires = [row for row in rows if row.level.startswith("wires ")]
    assert {row.level.removeprefix("wires ") for row in wires} == {n for n, w in found.cost.networks.items() if w.energy_pj}
    parts = [component.energy_pj for component in found.cost.components.values()] + [row.energy_pj for row in wires]
    assert wires
    assert sum(parts) == pytest.approx(found.cost.energy_pj)
