from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

import hwloop
from hwloop import DataError
from hwloop.energy import estimate_energy_table
from hwloop.spec.mapping import Mapping
from hwloop.spec.problem import Problem
from hwloop.spec.resources import open_architecture
from hwloop.validate.eyeriss_figures import ALEXNET, COLUMNS, QUANTITIES, ROW_STATIONARY
from hwloop.validate.layers import network_layers
from hwloop.validate.silicon import (
    Machine,
    gaps,
    measured,
    modelled,
    row_stationary_mapping,
)


@pytest.fixture(scope="module")
def machines() -> tuple[Machine, Machine]:
    dense, gating = (open_architecture(name) for name in ("eyeriss_168", "eyeriss_168_gating"))
    return Machine(dense, estimate_energy_table(dense)), Machine(gating, estimate_energy_table(gating))


@pytest.mark.parametrize("layer", sorted(ROW_STATIONARY))
def test_the_papers_mapping_covers_the_layer_and_fits_the_chip(layer: str, machines: tuple[Machine, Machine]) -> None:
    [problem] = [p for p in network_layers("alexnet") if p.name == layer]
    mapping = row_stationary_mapping(problem, (*ROW_STATIONARY[layer][:1], 1, *ROW_STATIONARY[layer][2:]), ("M", "N", "Q"))
    cost = hwloop.simulate(problem, machines[0].architecture, mapping, machines[0].table)
    assert cost.computes == pytest.approx(problem.computes, rel=2e-3)  # Timeloop rounds the average of a partly used array
    assert cost.components["psum_spad"].dataspaces["Outputs"].capacity == 16  # p filters
    e, q, r, t = (ROW_STATIONARY[layer][i] for i in (2, 4, 5, 6))
    assert cost.components["ifmap_spad"].dataspaces["Inputs"].capacity == problem.sizes["R"] * q
    used = cost.components["psum_spad"].dataspaces["Outputs"].instances
    assert used <= problem.sizes["S"] * e * r * t + 14  # sets of S x e PEs, r x t of them


def test_alexnet_without_tuning(machines: tuple[Machine, Machine]) -> None:
    chip = measured()[:5]

    def none(problem: Problem) -> Mapping:
        raise AssertionError("the paper gives AlexNet's mappings")

    model = tuple(modelled(chip, *machines, none))
    entries = gaps(chip, model)
    assert [e["layer"] for e in entries] == ["C1", "C2", "C3", "C4", "C5"]
    for entry in entries:
        assert 0.97 < entry["active_pes"]["ratio"] <= 1.001
        assert 0.8 < entry["processing_ms"]["ratio"] <= 1.0  # the chip fills and drains besides
        assert 0.85 < entry["dram_mb"]["ratio"] < 1.15
        assert entry["power_mw"]["ratio"] < 0.5  # no clock network in the model


def test_figures_from_a_file_are_the_built_in_ones(tmp_path: Path) -> None:
    file = tmp_path / "chip.json"
    rows = [list(line) for line in ALEXNET]
    file.write_text(json.dumps({"columns": list(COLUMNS), "alexnet_batch4": rows, "vgg16_batch3": rows[:1]}))
    assert measured(file)[:5] == measured()[:5]
    assert len(measured(file)) == 6


def test_the_shared_figures_are_the_built_in_ones(shared: Path) -> None:
    assert measured(shared / "reference" / "eyeriss_silicon.json") == measured()


@pytest.mark.parametrize("text", ["not json", "{}", '{"columns": [], "alexnet_batch4": 3}'])
def test_a_file_of_something_else(tmp_path: Path, text: str) -> None:
    file = tmp_path / "chip.json"
    file.write_text(text)
    with pytest.raises(DataError, match="not the chip's figures"):
        measured(file)


def test_orders_off_chip_cost_differently_but_compute_the_same(machines: tuple[Machine, Machine]) -> None:
    [problem] = [p for p in network_layers("alexnet") if p.name == "C1"]

    def energies() -> Iterator[float]:
        for order in permutations(("M", "N", "Q")):
            mapping = row_stationary_mapping(problem, ROW_STATIONARY["C1"], order)
            yield hwloop.simulate(problem, machines[0].architecture, mapping, machines[0].table).energy_pj

    assert len(set(QUANTITIES)) == 6
    assert all(energy > 0 for energy in energies())
