"""Every energy is the sum of its entries, and every entry can be reckoned again by hand."""

from __future__ import annotations

import pytest

import hwloop
from hwloop.mapper import map_problem
from hwloop.simulator.ledger import open_cost, open_streams
from hwloop.simulator.streams import Stream, Streams
from hwloop.spec.problem import conv2d_shape, make_problem

LAYER = make_problem(conv2d_shape(), {"C": 16, "M": 101, "P": 13, "Q": 13, "R": 3, "S": 3})  # 101: incomplete passes
CASES = [
    ("flexible", "row_stationary", {}, None),
    ("flexible", "weight_stationary", {}, {"Weights": 4, "Inputs": 9}),
    ("eyeriss_168_skipping", None, {"Weights": 0.3, "Inputs": 0.4}, {"Weights": 8, "Inputs": 8, "Outputs": {"DRAM": 8}}),
    ("tpu_like_compressed", None, {"Weights": 0.3, "Inputs": 0.4}, None),
    ("shidiannao_like_gating", None, {"Inputs": 0.5}, {"Weights": 40}),
]


@pytest.mark.parametrize(("name", "flow", "densities", "bits"), CASES)
@pytest.mark.parametrize("energy", ["shipped", "shipped+wires"])
def test_entries_add_up(name: str, flow: str | None, densities: dict, bits: dict | None, energy: str) -> None:
    arch = hwloop.load_architecture(name)
    table = hwloop.estimate_energy_table(arch, energy, bits)
    layer = LAYER.with_densities(densities)
    constraints = None if flow is None else hwloop.load_constraints(flow)
    mapping = map_problem(layer, arch, table, constraints=constraints, bits=bits, effort="quick").mapping
    cost = hwloop.simulate(layer, arch, mapping, table, bits)
    ledger = open_cost(layer, arch, mapping, table, bits)
    assert ledger.cost == cost
    assert sum(entry.energy_pj for entry in ledger.entries) == pytest.approx(cost.energy_pj, rel=1e-12)
    for part, component in cost.components.items():
        for space, counts in component.dataspaces.items():
            own = ledger.of(part, space)
            assert sum(entry.energy_pj for entry in own) == pytest.approx(counts.energy_pj, rel=1e-12, abs=1e-9)
            by_access = {entry.access: entry for entry in own}
            for access, words in (("read", counts.reads), ("fill", counts.fills), ("update", counts.updates)):
                assert (by_access[access].words if access in by_access else 0) == words
        assert sum(entry.energy_pj for entry in ledger.of(part, "leakage")) == pytest.approx(component.leakage_pj, rel=1e-12)
    for entry in ledger.entries:
        assert entry.energy_pj == pytest.approx(entry.accesses * entry.instances * entry.entry_pj, rel=1e-12)
        assert entry.source
        if entry.component in cost.components and entry.entry in table.component(entry.component).energies_pj:
            assert entry.entry_pj == table.component(entry.component).energies_pj[entry.entry]
    assert bool(cost.networks) == (energy == "shipped+wires")
    for link, wires in cost.networks.items():
        assert sum(entry.energy_pj for entry in ledger.of(link)) == pytest.approx(wires.energy_pj, rel=1e-12)


def test_rows_are_words_over_words_a_row() -> None:
    arch = hwloop.load_architecture("flexible")
    table = hwloop.estimate_energy_table(arch)
    mapping = map_problem(LAYER, arch, table, constraints=hwloop.load_constraints("row_stationary"), effort="quick").mapping
    for bits, expected in ((None, "4"), ({"Weights": 16, "Inputs": 9}, "7"), ({"Weights": 16, "Inputs": 8}, "8")):
        [entry] = [e for e in open_cost(LAYER, arch, mapping, table, bits).of("DRAM", "Inputs") if e.access == "read"]
        assert entry.words_per_row == expected
        assert entry.accesses == -(-entry.words // int(expected))


def test_streams_between_layers_open_too() -> None:
    for name in ("flexible", "eyeriss_168_coded"):
        arch = hwloop.load_architecture(name)
        table = hwloop.estimate_energy_table(arch)
        streams = [Stream("DRAM", 1000, 8, 0.3), Stream("DRAM", 500, None, 0.3, True)]
        entries = open_streams(arch, table, streams)
        expected = Streams(arch, table).cost(streams).energy_pj["DRAM"]
        assert sum(entry.energy_pj for entry in entries) == pytest.approx(expected, rel=1e-12)
        assert {"read", "update"} <= {entry.access for entry in entries}
        assert ("metadata read" in {entry.access for entry in entries}) == (name == "eyeriss_168_coded")
