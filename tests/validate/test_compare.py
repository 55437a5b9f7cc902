from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import hwloop
from hwloop.backend.timeloop.stats import parse_stats
from hwloop.simulator import ComponentCost, DataSpaceCost, LayerCost
from hwloop.validate.compare import compare_costs, compare_stats

from ..backend.timeloop.test_stats import STATS

WEIGHTS = DataSpaceCost(8, 8, 1, 24, 0, 0, 0, 240.0, 24, 0, 0)
COST = LayerCost(
    247.5, 24, 1.0, 24, {"mac": ComponentCost(6.0, 0.0, 24, 1), "DRAM": ComponentCost(241.5, 1.5, 24, 1, {"Weights": WEIGHTS})},
    24,
)  # fmt: skip


def test_names_what_differs(recorded_run: Callable[[str], Any]) -> None:
    cost = hwloop.simulate(*recorded_run("eyeriss_alexnet_c1").arguments)
    assert all(equal for equal, _ in compare_costs(cost, cost))
    dram = cost.components["DRAM"]
    weights = replace(dram.dataspaces["Weights"], reads=dram.dataspaces["Weights"].reads + 1)
    spaces = {**dram.dataspaces, "Weights": weights}
    other = replace(cost, cycles=cost.cycles + 1, components={**cost.components, "DRAM": replace(dram, dataspaces=spaces)})
    wrong = [(d.quantity, d.where, d.found - d.expected) for equal, d in compare_costs(other, cost) if not equal]
    assert wrong == [("cycles", "", 1), ("reads", "DRAM.Weights", 1)]


def test_energies_are_compared_as_far_as_they_are_printed(recorded_run: Callable[[str], Any]) -> None:
    cost = hwloop.simulate(*recorded_run("shidiannao_depthwise").arguments)
    for shift, equal in ((0.004, True), (5.0, False)):
        moved = replace(cost, energy_pj=cost.energy_pj + shift)
        [verdict] = [same for same, d in compare_costs(moved, cost) if d.quantity == "energy"]
        assert verdict is equal


def test_missing_components_and_data_spaces_differ(recorded_run: Callable[[str], Any]) -> None:
    cost = hwloop.simulate(*recorded_run("eyeriss_alexnet_c1").arguments)
    poorer = dict(cost.components)
    del poorer["ifmap_spad"]
    poorer["shared_glb"] = replace(poorer["shared_glb"], dataspaces={})
    wrong = {(d.quantity, d.where) for equal, d in compare_costs(replace(cost, components=poorer), cost) if not equal}
    assert wrong == {
        ("components", "ifmap_spad"), ("kept data spaces", "shared_glb.Inputs"), ("kept data spaces", "shared_glb.Outputs"),
    }  # fmt: skip


def test_equal_costs_have_no_difference() -> None:
    compared = compare_stats(COST, parse_stats(STATS))
    assert [d for equal, d in compared if not equal] == []
    assert {d.quantity for _, d in compared} >= {"cycles", "energy", "reads", "capacity", "leakage", "data space energy"}


def test_a_difference_says_what_and_where() -> None:
    dram = replace(COST.components["DRAM"], dataspaces={"Weights": replace(WEIGHTS, reads=25)})
    wrong = replace(COST, cycles=30, components={**COST.components, "DRAM": dram})
    found = [d for equal, d in compare_stats(wrong, parse_stats(STATS)) if not equal]
    assert [(d.quantity, d.where, d.expected, d.found) for d in found] == [
        ("cycles", "", 24, 30), ("reads", "DRAM.Weights", 24, 25),
    ]  # fmt: skip
    slack = [d.quantity for equal, d in compare_stats(wrong, parse_stats(STATS), count_slack=1) if not equal]
    assert slack == ["cycles"]
