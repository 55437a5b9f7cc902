"""Networks: hops by hand, energies by hand, and batches and candidates beside single mappings."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import hwloop
from hwloop import InfeasibleMappingError
from hwloop.backend.timeloop.stats import parse_stats
from hwloop.simulator import BatchSimulator, LayerCandidate, LayerNests, Simulator
from hwloop.simulator.reuse import Mesh, group_hops, mesh_hops
from hwloop.spec.architecture import Architecture
from hwloop.spec.batch import MappingBatch
from hwloop.spec.energy_table import ComponentEnergy, EnergyTable
from hwloop.validate.compare import compare_stats

SEEDS = st.integers(0, 2**32 - 1)
ARCH = """
architecture:
  version: 0.4
  nodes:
  - !Container {name: system, attributes: {technology: "45nm", global_cycle_seconds: 1e-9}}
  - !Component {name: DRAM, class: DRAM, attributes: {width: 16, datawidth: 16}}
  - !Component {name: glb, class: SRAM, attributes: {width: 16, datawidth: 16, depth: 4096}}
  - !Container {name: PE, spatial: {meshX: 4, meshY: 1}, attributes: {network_word_bits: 16, %s}}
  - !Component {name: rf, class: SRAM, attributes: {width: 16, datawidth: 16, depth: 64}}
  - !Component {name: mac, class: intmac, attributes: {datawidth: 16}}
"""
MATMUL = {
    "version": 0.4, "instance": {"M": 2, "N": 2, "K": 6},
    "shape": {"name": "mm", "dimensions": ["M", "N", "K"], "data_spaces": [
        {"name": "A", "projection": [[["M"]], [["K"]]]}, {"name": "B", "projection": [[["K"]], [["N"]]]},
        {"name": "Z", "projection": [[["M"]], [["N"]]], "read_write": True}]},
}  # fmt: skip
MAPPING = [
    {"target": "glb", "type": "temporal", "factors": "K=6", "permutation": "KMN"},
    {"target": "inter_PE_spatial", "type": "spatial", "factors": "M=2 N=2", "permutation": "MNK", "split": 3},
]
TABLE = {name: {"read": 1.0, "write": 1.0} for name in ("DRAM", "glb", "rf")} | {"mac": {"compute": 1.0}}


def test_hops_from_the_middle_of_the_left_edge() -> None:
    assert [group_hops([i], 4, 1) for i in range(4)] == [0, 1, 2, 3]
    assert [group_hops([i], 1, 4) for i in range(4)] == [1.5, 0.5, 0.5, 1.5]
    assert group_hops(range(16), 4, 4) == 3 + 4 * 3  # along X once, and up and down every column
    assert group_hops([0, 4], 4, 4) == 1.5  # the higher one lies on the way
    assert group_hops([0, 12], 4, 4) == 3


def test_hops_of_groups_and_of_each_alone() -> None:
    rows = Mesh([(4, (0,)), (4, (1,))], 4, 4)  # the same data along X
    assert mesh_hops(rows) == {4: sum(3 + 4 * up for up in (1.5, 0.5, 0.5, 1.5))}
    alone = replace(rows, apart=True)
    assert mesh_hops(alone) == {1: sum(group_hops([i], 4, 4) for i in range(16))}
    assert mesh_hops(rows, without=range(4, 16)) == {4: 3 + 4 * 1.5}


def energies(attributes: str, table: Any = TABLE, areas: dict[str, float] | None = None) -> dict[str, dict[str, float]]:
    """Energy of each network by data space, for MAPPING on ARCH."""
    read = hwloop.load_energy_table(table)
    read = EnergyTable(tuple(replace(c, area_um2=(areas or {}).get(c.name)) for c in read.components))
    cost = hwloop.simulate(MATMUL, ARCH.replace("%s", attributes), MAPPING, read)
    parts = sum(c.energy_pj for c in cost.components.values()) + sum(n.energy_pj for n in cost.networks.values())
    assert cost.energy_pj == pytest.approx(parts, rel=1e-12)
    return {name: network.dataspaces for name, network in cost.networks.items()}


def test_a_hop_costs_what_the_level_says() -> None:
    """Children 0-3 are (m, n) = (0, 0), (1, 0), (0, 1), (1, 1). In each of 6 steps A's row m goes to {0, 2} and {1, 3}, B's
    column n to {0, 1} and {2, 3}; Z leaves each once.
    """
    found = energies("energy_per_hop: 0.5")["inter_PE_spatial <==> rf"]
    steps = 0.5 * 6
    assert found == {"A": steps * (2 + 3), "B": steps * (1 + 3), "Z": 0.5 * (0 + 1 + 2 + 3)}


def test_routers_and_ingresses() -> None:
    """A word with h hops on average touches 1 + floor(h) routers."""
    found = energies("router_energy: 2.0")["inter_PE_spatial <==> rf"]
    assert found == {"A": 2.0 * 12 * (1 + 2), "B": 2.0 * 12 * (1 + 2), "Z": 2.0 * 4 * (1 + 1)}


def test_wires_are_as_long_as_what_lies_below_them() -> None:
    table = {**TABLE, "wire": {"transfer_random": 0.25}}
    found = energies("x: 1", table, {"rf": 3600.0, "mac": 6400.0})
    hop = 16 * 0.1 * 0.25  # 16 bits over the side of a square of 10,000 um^2
    assert found["inter_PE_spatial <==> rf"]["A"] == pytest.approx(hop * 6 * (2 + 3))
    assert found["rf <==> mac"] == {"A": 0.0, "B": 0.0, "Z": 0.0}  # no fan-out, no way to go
    assert energies("tile_width: 50.0", table, {"rf": 3600.0})["inter_PE_spatial <==> rf"]["A"] == pytest.approx(hop / 2 * 30)
    assert energies("x: 1") == {}


def test_a_dram_that_cannot_add_is_asked_twice() -> None:
    """Z enters three times at DRAM's network, but for the first time; one router each."""
    arch = ARCH.replace(
        "name: DRAM, class: DRAM, attributes: {", "name: DRAM, class: DRAM, attributes: {energy-per-ingress: 1.0, "
    )
    mapping = [{"target": "DRAM", "type": "temporal", "factors": "K=3 M=2 N=2", "permutation": "MNK"}, {
        "target": "glb", "type": "temporal", "factors": "K=2", "permutation": "KMN"}]  # fmt: skip
    once = arch.replace("energy-per-ingress: 1.0", "energy-per-ingress: 1.0, reduction_supported: true")
    found, adding = (hwloop.simulate(MATMUL, a.replace("%s", "x: 1"), mapping, TABLE) for a in (arch, once))
    assert found.networks["DRAM <==> glb"].dataspaces["Z"] == 2 * 12 - 4
    assert adding.networks["DRAM <==> glb"].dataspaces["Z"] == 12


def with_networks(rng: random.Random, architecture: Architecture, linear: bool) -> Architecture:
    """The accelerator with network energies at some levels."""
    kinds = ("energy_per_hop", "wire_energy", "tile_width") + (() if linear else ("router_energy",))
    levels = tuple(
        replace(level, attributes=(*level.attributes, *((kind, rng.uniform(0.1, 9)) for kind in kinds if rng.random() < 0.5)))
        for level in architecture.levels
    )
    return replace(architecture, levels=levels)


def with_wires(table: EnergyTable) -> EnergyTable:
    """The table with a wire and areas."""
    sized = tuple(replace(c, area_um2=1000.0) for c in table.components)
    return EnergyTable((*sized, ComponentEnergy("wire", (("transfer_random", 0.3),))))


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.booleans())
def test_batches_and_candidates_pay_for_networks_as_single_mappings_do(
    random_case: Callable[..., Any], seed: int, linear: bool
) -> None:
    rng = random.Random(seed)
    case = random_case(seed, imperfect=seed % 3 == 0)
    architecture = with_networks(rng, case.architecture, linear)
    table = with_wires(case.energy_table) if rng.random() < 0.5 else case.energy_table
    mappings = [case.mapping, *(random_case(seed + i, like=case).mapping for i in range(1, 5))]
    batch = MappingBatch.from_mappings(mappings, case.problem.shape, case.problem.bounds, architecture)
    found = BatchSimulator(case.problem, architecture, table).run(batch)
    costs = LayerNests(case.problem, architecture, batch).cost([LayerCandidate(table), LayerCandidate(case.energy_table)])
    for row, mapping in enumerate(mappings):
        for priced, energy, parts in (
            (table, found.energy_pj[row], {name: e[row] for name, e in found.component_energy_pj.items()}),
            (table, costs.energy_pj[0, row], {name: e[0, row] for name, e in costs.component_energy_pj.items()}),
            (case.energy_table, costs.energy_pj[1, row], {name: e[1, row] for name, e in costs.component_energy_pj.items()}),
        ):
            try:
                cost = Simulator(case.problem, architecture, priced).run(mapping)
            except InfeasibleMappingError:
                assert energy == float("inf")
                continue
            assert energy == pytest.approx(cost.energy_pj, rel=1e-12)
            for name, network in cost.networks.items():
                assert parts[name] == pytest.approx(network.energy_pj, rel=1e-12)


def probes(shared: Path) -> list[dict[str, Any]]:
    path = shared / "reference" / "probes.jsonl.gz"
    if not path.exists():
        pytest.skip(f"needs {path}")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


WANTED = ("wire", "hop", "router", "tile_width", "vector_access", "XY_NoC", "multicast", "link", "reuse", "rmw", "latency")


@pytest.mark.filterwarnings("ignore::hwloop.errors.SpecWarning")
def test_features_that_the_real_program_was_asked_about(shared: Path) -> None:
    """Networks, reuse flags and energies of a level, one at a time."""
    seen = 0
    for probe in probes(shared):
        if not probe["answered"] or not any(word in probe["probe"] for word in WANTED):
            continue
        seen += 1
        document = yaml.safe_load(probe["input"])
        cost = hwloop.simulate(
            {"problem": document["problem"]}, hwloop.load_architecture(probe["input"]), {"mapping": document["mapping"]},
            hwloop.load_energy_table(probe["input"]),
        )  # fmt: skip
        wrong = [difference for equal, difference in compare_stats(cost, parse_stats(probe["stats"])) if not equal]
        assert not wrong, f"{probe['probe']}: {wrong}"
    assert seen > 10
