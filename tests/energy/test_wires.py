"""Wires: the published figures, and that broadcasting is paid for once they are switched on."""

from __future__ import annotations

from pathlib import Path

import pytest

import hwloop
from hwloop.energy import estimate_energy_table
from hwloop.energy.primitives import node_nm
from hwloop.energy.wires import WIRE, wire_pj, with_wires
from hwloop.errors import EnergyTableError
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.resources import open_architecture, open_mapping
from hwloop.spec.shipped import architecture_names


def test_published_points_with_half_of_the_bits_changing() -> None:
    assert wire_pj(40) == pytest.approx(0.120)
    assert wire_pj(10) == pytest.approx(0.075)
    assert wire_pj(65) > wire_pj(45) > wire_pj(40)
    with pytest.raises(EnergyTableError, match=r"technology node of 0 nm"):
        wire_pj(0)


@pytest.mark.parametrize("name", architecture_names())
def test_every_shipped_design_can_have_wires(name: str) -> None:
    arch = open_architecture(name)
    table, wired = estimate_energy_table(arch), estimate_energy_table(arch, "shipped+wires")
    assert wired.wire_pj == wire_pj(node_nm(arch.compute.values["technology"], "mac"))
    assert wired.components[:-1] == table.components
    assert wired.components[-1].source.startswith("Keckler")
    assert with_wires(wired, 10).component(WIRE).energies_pj == {"transfer_random": wire_pj(10)}
    problem = make_problem(conv2d_shape(), {"C": 8, "M": 16, "P": 8, "Q": 8, "R": 3, "S": 3})
    mapping = hwloop.map_problem(problem, arch, table, effort="quick").mapping
    free, paid = (hwloop.simulate(problem, arch, mapping, t) for t in (table, wired))
    assert not free.networks
    carried = {name: network for name, network in paid.networks.items() if network.energy_pj}
    assert all(name.startswith("inter_") for name in carried)  # words travel along the array alone
    assert paid.energy_pj == pytest.approx(free.energy_pj + sum(n.energy_pj for n in carried.values()), rel=1e-12)
    assert free.energy_pj < paid.energy_pj < 2 * free.energy_pj


def test_the_mapper_weighs_wires() -> None:
    arch = open_architecture("flexible")
    free, wired = estimate_energy_table(arch), estimate_energy_table(arch, "shipped+wires")
    problem = make_problem(conv2d_shape(), {"C": 32, "M": 32, "P": 16, "Q": 16, "R": 3, "S": 3})
    constraints = open_mapping("weight_stationary")
    first = hwloop.map_problem(problem, arch, free, constraints, objective="energy", effort="quick").mapping
    again = hwloop.map_problem(problem, arch, wired, constraints, objective="energy", effort="quick", start=(first,)).cost
    assert again.energy_pj <= hwloop.simulate(problem, arch, first, wired).energy_pj
    assert sum(network.energy_pj for network in again.networks.values()) > 0


def test_wires_need_areas(tmp_path: Path) -> None:
    arch = open_architecture("eyeriss_168")
    table = {c.name: dict(c.actions) for c in estimate_energy_table(arch).components}
    file = tmp_path / "table.yaml"
    file.write_text(hwloop.load_energy_table(table).to_yaml())
    with pytest.raises(EnergyTableError, match=r"no area"):
        estimate_energy_table(arch, f"{file}+wires")
