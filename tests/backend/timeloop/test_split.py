from __future__ import annotations

from typing import Any

import pytest

import hwloop
from hwloop import InfeasibleMappingError
from hwloop.backend.timeloop.split import check_fit, share_bandwidth, split_levels
from hwloop.simulator.packing import pack
from hwloop.spec.levels import Level
from hwloop.spec.mapping import Bypass

ARCHITECTURE = """
architecture:
  version: 0.4
  nodes:
  - !Container {name: system, attributes: {technology: "45nm", global_cycle_seconds: 1e-9}}
  - !Component {name: DRAM, class: DRAM, attributes: {width: 64, datawidth: 16}}
  - !Component
    name: buffer
    class: SRAM
    attributes: {width: 32, datawidth: 16, depth: 64, read_bandwidth: 2, network_fill_latency: 3}
    sparse_optimizations:
      action_optimization:
      - {type: gating, options: [{target: Inputs, condition_on: [Weights]}]}
      - {type: gating, options: [{target: Outputs, condition_on: [Weights]}]}
  - !Component {name: mac, class: intmac, attributes: {datawidth: 16}}
"""
CONV = {
    "version": 0.4,
    "instance": {"C": 2, "M": 4, "R": 3, "P": 8},
    "shape": {
        "name": "conv1d",
        "dimensions": ["C", "M", "R", "P"],
        "data_spaces": [
            {"name": "Weights", "projection": [[["C"]], [["M"]], [["R"]]]},
            {"name": "Inputs", "projection": [[["C"]], [["R"], ["P"]]]},
            {"name": "Outputs", "projection": [[["M"]], [["P"]]], "read_write": True},
        ],
    },
}
MAPPING = [
    {"target": "DRAM", "type": "temporal", "factors": "M=4", "permutation": "CMRP"},
    {"target": "buffer", "type": "temporal", "factors": "C=2 R=3 P=8", "permutation": "PRCM"},
    {"target": "DRAM", "type": "bypass", "keep": ["Weights", "Inputs", "Outputs"], "bypass": []},
    {"target": "buffer", "type": "bypass", "keep": ["Weights", "Inputs"], "bypass": ["Outputs"]},
]
TABLE = {
    "DRAM": {"read": 100.0, "write": 100.0},
    "buffer": {"read": 2.0, "write": 3.0, "leak": 0.25, "metadata_read": 7.0},
    "mac": {"compute": 1.0},
}


def split(bits: dict[str, int]) -> Any:
    return split_levels(
        hwloop.load_problem(CONV),
        hwloop.load_architecture(ARCHITECTURE),
        hwloop.load_mapping(MAPPING),
        hwloop.load_energy_table(TABLE),
        bits,
    )


def buffer_level() -> Level:
    return hwloop.load_architecture(ARCHITECTURE).level("buffer")


def test_a_level_becomes_one_for_each_data_space_it_keeps_the_sliding_one_outermost() -> None:
    system = split({"Weights": 4, "Inputs": 8})
    dram = ["DRAM_Inputs", "DRAM_Weights", "DRAM_Outputs"]
    assert [level.name for level in system.architecture.levels] == [*dram, "buffer_Inputs", "buffer_Weights", "mac"]
    assert system.origin == {**dict.fromkeys(dram, "DRAM"), "buffer_Inputs": "buffer", "buffer_Weights": "buffer"}
    assert [level.word_bits for level in system.architecture.storage] == [8, 4, 16, 8, 4]
    assert [level.block_size for level in system.architecture.storage] == [8, 16, 4, 4, 8]


def test_levels_whose_words_keep_their_width_stay_whole() -> None:
    system = split({"Outputs": 8, "Weights": 16})
    assert [level.name for level in system.architecture.levels] == [
        "DRAM_Inputs",
        "DRAM_Weights",
        "DRAM_Outputs",
        "buffer",
        "mac",
    ]
    assert "buffer" not in system.origin.values()
    assert not system.throttled


def test_the_innermost_part_carries_loops_leakage_area_and_latency() -> None:
    system = split({"Weights": 4, "Inputs": 8})
    assert [loops.target for loops in system.mapping.loops] == ["DRAM_Outputs", "buffer_Weights"]
    assert Bypass("buffer_Inputs", ("Inputs",), ("Weights", "Outputs")) in system.mapping.bypass
    assert dict(system.table.component("buffer_Weights").actions)["leak"] == 0.25
    assert "leak" not in dict(system.table.component("buffer_Inputs").actions)
    outer, inner = system.architecture.level("buffer_Inputs"), system.architecture.level("buffer_Weights")
    assert "network_fill_latency" not in outer.values
    assert inner.values["network_fill_latency"] == 3


def test_savings_go_with_their_target_or_stay_on_its_way() -> None:
    system = split({"Weights": 4, "Inputs": 8})
    targets = {
        level.name: [o.target for action in level.sparse.actions for o in action.options] for level in system.architecture.levels
    }
    assert targets["buffer_Inputs"] == ["Inputs", "Outputs"]  # outputs are kept farther out
    assert targets["buffer_Weights"] == []


@pytest.mark.parametrize(
    ("bits", "row_words", "word_rows", "rows_of_five"),
    [(16, 2, 1, 3), (8, 4, 1, 2), (5, 6, 1, 1), (32, 1, 1, 5), (33, 1, 2, 10), (64, 1, 2, 10), (65, 1, 3, 15)],
)
def test_packing(bits: int, row_words: int, word_rows: int, rows_of_five: int) -> None:
    packing = pack(buffer_level(), 1.0, bits)  # rows of 32 bits
    assert (packing.row_words, packing.word_rows) == (row_words, word_rows)
    assert packing.rows(5) == rows_of_five


def test_words_wider_than_a_row_pay_for_every_row_but_not_their_metadata() -> None:
    system = split({"Weights": 64, "Inputs": 16})
    actions = dict(system.table.component("buffer_Weights").actions)
    assert (actions["read"], actions["write"]) == (4.0, 6.0)
    assert (actions["metadata_read"], actions["leak"]) == (7.0, 0.25)
    assert system.architecture.level("buffer_Weights").entries == 32


def counted(bits: dict[str, int]) -> Any:
    """What the embedded simulator counts on the split accelerator."""
    system = split(bits)
    return system, hwloop.simulate(CONV, system.architecture, system.mapping, system.table)


def test_bandwidth_is_shared_by_the_rows_that_are_moved() -> None:
    system, cost = counted({"Weights": 4, "Inputs": 8})
    shared = share_bandwidth(system, hwloop.load_architecture(ARCHITECTURE), cost)
    reads = {space: cost.components[f"buffer_{space}"].dataspaces[space].reads for space in ("Weights", "Inputs")}
    rows = {"Weights": reads["Weights"] / 8, "Inputs": reads["Inputs"] / 4}
    for space, words in (("Weights", 8), ("Inputs", 4)):
        given = shared.level(f"buffer_{space}").number("read_bandwidth", 0.0) / words  # rows a cycle
        assert given == pytest.approx(1.0 * rows[space] / sum(rows.values()), rel=1e-9)  # 2 words of 16 bits are one row


def test_split_levels_cost_what_one_level_of_mixed_words_costs() -> None:
    bits = {"Weights": 4, "Inputs": 8}
    system, cost = counted(bits)
    shared = share_bandwidth(system, hwloop.load_architecture(ARCHITECTURE), cost)
    apart = hwloop.simulate(CONV, shared, system.mapping, system.table)
    whole = hwloop.simulate(CONV, ARCHITECTURE, MAPPING, TABLE, bits)
    assert apart.cycles == whole.cycles
    assert apart.energy_pj == pytest.approx(whole.energy_pj, rel=1e-12)


def test_together_the_parts_must_fit_the_rows() -> None:
    cost = hwloop.simulate(CONV, ARCHITECTURE, MAPPING, TABLE)  # buffer: 6 weights, 20 inputs
    small = hwloop.load_architecture(ARCHITECTURE.replace("depth: 64", "depth: 6"))
    fitting = check_fit(small, cost, {"Weights": 5, "Inputs": 8})
    rows = {space: part.capacity for space, part in fitting.components["buffer"].dataspaces.items()}
    assert rows == {"Weights": 1, "Inputs": 5}


def test_parts_that_do_not_fit_together_are_refused() -> None:
    cost = hwloop.simulate(CONV, ARCHITECTURE, MAPPING, TABLE)
    small = hwloop.load_architecture(ARCHITECTURE.replace("depth: 64", "depth: 6"))
    with pytest.raises(InfeasibleMappingError, match=r"buffer: Weights 3, Inputs 5 need 8 rows, 6 rows fit"):
        check_fit(small, cost, {"Weights": 16, "Inputs": 8})


@pytest.mark.parametrize(("bits", "block", "read_pj"), [(8, 4, 2.0), (5, 1, 2.0 / 6), (64, 1, 4.0)])
def test_compressed_rows_that_timeloop_has_no_figures_for_move_word_by_word(bits: int, block: int, read_pj: float) -> None:
    formats = "representation_format: {data_spaces: [{name: Weights, ranks: [{format: RLE}]}]}\n      action_optimization:"
    text = ARCHITECTURE.replace("action_optimization:", formats)
    text = text.replace("depth: 64", "depth: 64, metadata_storage_width: 8, metadata_datawidth: 4")
    problem, mapping = hwloop.load_problem(CONV), hwloop.load_mapping(MAPPING)
    table = hwloop.load_energy_table(TABLE)
    system = split_levels(problem, hwloop.load_architecture(text), mapping, table, {"Weights": bits})
    assert system.architecture.level("buffer_Weights").block_size == block
    assert dict(system.table.component("buffer_Weights").actions)["read"] == pytest.approx(read_pj)
