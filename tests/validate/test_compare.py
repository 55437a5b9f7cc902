from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import hwloop
from hwloop.validate.compare import compare_costs


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
