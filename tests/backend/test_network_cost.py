"""A network: identical layers once, in any number of processes, and a description of each."""

from __future__ import annotations

import pytest

from hwloop.backend.network_cost import Item, map_network
from hwloop.errors import InfeasibleMappingError
from hwloop.mapper import MapResult, describe, level_table, loop_nest, map_problem
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.mapping import load_mapping
from hwloop.spec.problem import conv2d_shape, make_problem

from ..mapper.conftest import make_dataflow

ONE = make_problem(conv2d_shape(), {"C": 8, "M": 16, "P": 4, "Q": 4, "R": 3, "S": 3}, name="one")
TWO = make_problem(conv2d_shape(), {"C": 16, "M": 8}, name="two")


def test_identical_layers_are_mapped_once(energies: EnergyTable) -> None:
    calls = []

    def counting(problem, *args, **kwargs):
        calls.append(problem)
        return map_problem(problem, *args, **kwargs)

    seen = []
    items = [Item("a", ONE), Item("b", TWO, count=3), Item("c", ONE)]
    net = map_network(
        items, make_dataflow("weight_stationary", 512), energies, effort="quick", workers=1, mapper=counting,
        progress=lambda done, total, name, outcome: seen.append((done, total, name)),
    )  # fmt: skip
    assert len(calls) == net.mapped == 2
    assert seen == [(1, 2, "a"), (2, 2, "b")]
    a, b, c = net.outcomes
    assert a is c
    assert net.energy_pj == pytest.approx(2 * a.cost.energy_pj + 3 * b.cost.energy_pj)
    assert net.cycles == 2 * a.cost.cycles + 3 * b.cost.cycles


def test_workers_do_not_change_the_answer(energies: EnergyTable) -> None:
    items = [Item("a", ONE), Item("b", TWO)]
    architecture = make_dataflow("row_stationary", 512)
    alone, together = (map_network(items, architecture, energies, effort="quick", workers=n) for n in (1, 2))
    assert [o.mapping for o in alone.outcomes] == [o.mapping for o in together.outcomes]


def test_an_interrupt_stops_the_workers(energies: EnergyTable) -> None:
    def interrupt(done: int, total: int, name: str, outcome: object) -> None:
        raise KeyboardInterrupt

    items = [Item(str(i), make_problem(conv2d_shape(), {"C": 8 + i, "M": 8})) for i in range(6)]
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        map_network(items, make_dataflow("weight_stationary", 512), energies, effort="quick", workers=2, progress=interrupt)


def test_a_layer_without_a_mapping_does_not_stop_the_others(energies: EnergyTable) -> None:
    wide = make_problem(conv2d_shape(), {"C": 4, "M": 4, "R": 11}, name="wide")
    architecture = make_dataflow("weight_stationary", 512, temporal="factors: [R=11, C=1, M=1]")
    net = map_network([Item("wide", wide), Item("two", TWO)], architecture, energies, effort="quick", workers=1)
    assert isinstance(net.outcomes[0], InfeasibleMappingError)
    assert isinstance(net.outcomes[1], MapResult)
    assert net.energy_pj == float("inf")


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
