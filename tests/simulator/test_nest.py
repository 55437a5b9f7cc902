"""Tiles, reuse and traffic against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

import hwloop
from hwloop import InfeasibleMappingError, SpecError
from hwloop.simulator import DataSpaceCost, LayerCost, simulate
from hwloop.simulator.reuse import Mesh, linked, multicast, new_words, steps, words_over_time

HEAD = """
architecture:
  version: 0.4
  nodes:
  - !Container {name: system}
  - !Component {name: DRAM, class: DRAM, attributes: {width: 16, datawidth: 16}}
"""
BUFFER = "  - !Component {name: buffer, class: SRAM, attributes: {width: 16, datawidth: 16, depth: 1000}}\n"
MAC = "  - !Component {name: mac, class: intmac, attributes: {datawidth: 16}}\n"
ROW = "  - !Container {name: PE, spatial: {meshX: 4, meshY: 1}}\n"
REG = "  - !Component {name: reg, class: regfile, attributes: {width: 16, datawidth: 16, depth: 64}}\n"
TWO_LEVELS = HEAD + BUFFER + MAC
ARRAY = HEAD + BUFFER + ROW + REG + MAC
ENERGY = {name: {"read": 1.0, "write": 1.0} for name in ("DRAM", "buffer", "reg")} | {"mac": {"compute": 1.0}}

CONV1D = {
    "name": "conv1d",
    "dimensions": ["K", "R", "P"],
    "coefficients": [{"name": "stride", "default": 1}],
    "data_spaces": [
        {"name": "Weights", "projection": [[["K"]], [["R"]]]},
        {"name": "Inputs", "projection": [[["R"], ["P", "stride"]]]},
        {"name": "Outputs", "projection": [[["K"]], [["P"]]], "read_write": True},
    ],
}
MATMUL = {
    "name": "matmul",
    "dimensions": ["M", "N", "K"],
    "data_spaces": [
        {"name": "A", "projection": [[["M"]], [["K"]]]},
        {"name": "B", "projection": [[["K"]], [["N"]]]},
        {"name": "Z", "projection": [[["M"]], [["N"]]], "read_write": True},
    ],
}


def run(architecture: str, shape: dict[str, Any], sizes: dict[str, int], *targets: dict[str, Any]) -> LayerCost:
    return simulate({"version": 0.4, "instance": sizes, "shape": shape}, architecture, list(targets), ENERGY)


def temporal(target: str, factors: str, permutation: str = "") -> dict[str, Any]:
    return {"target": target, "type": "temporal", "factors": factors, "permutation": permutation}


def spatial(target: str, factors: str) -> dict[str, Any]:
    return {"target": target, "type": "spatial", "factors": factors}


def traffic(cost: LayerCost, component: str, data_space: str) -> tuple[int, int, int]:
    found: DataSpaceCost = cost.components[component].dataspaces[data_space]
    return found.reads, found.fills, found.updates


def test_a_tile_stays_while_only_other_dimensions_move() -> None:
    cost = run(
        TWO_LEVELS, MATMUL, {"M": 4, "N": 6, "K": 8}, temporal("DRAM", "M4"), temporal("buffer", "N6 K8", "KN")
    )  # fmt: skip
    assert traffic(cost, "buffer", "A") == (192, 4 * 8, 0)
    assert traffic(cost, "buffer", "B") == (192, 6 * 8, 0)  # fetched once
    assert traffic(cost, "DRAM", "Z") == (0, 0, 24)  # each result goes out once, none comes back
    assert traffic(cost, "buffer", "Z") == (192 - 24, 0, 192)
    assert cost.cycles == cost.computes == 192


def test_partial_sums_come_back_when_the_reduction_is_outside() -> None:
    cost = run(
        TWO_LEVELS, MATMUL, {"M": 4, "N": 6, "K": 8}, temporal("DRAM", "M4 K8", "MK"), temporal("buffer", "N6")
    )  # fmt: skip
    assert traffic(cost, "DRAM", "Z") == (8 * 24 - 24, 0, 8 * 24)
    assert traffic(cost, "buffer", "Z") == (192 - 24, 8 * 24 - 24, 192)


@pytest.mark.parametrize(("stride", "fills"), [(1, 3 + 3 * 1), (2, 3 + 3 * 2), (3, 3 * 4), (4, 3 * 4)])
def test_sliding_windows_keep_their_overlap(stride: int, fills: int) -> None:
    cost = run(
        TWO_LEVELS, CONV1D, {"K": 1, "R": 3, "P": 4, "stride": stride}, temporal("DRAM", "P4"), temporal("buffer", "R3")
    )  # fmt: skip
    assert traffic(cost, "buffer", "Inputs")[1] == fills


def test_a_move_off_the_pattern_sends_the_whole_tile_again() -> None:
    # Four inputs slide by one over R (two steps, in each of two passes of K); going back for the next K sends all four.
    cost = run(TWO_LEVELS, CONV1D, {"K": 2, "R": 3, "P": 4}, temporal("DRAM", "R3 K2", "RK"), temporal("buffer", "P4"))
    assert traffic(cost, "buffer", "Inputs")[1] == 4 + 2 * 2 * 1 + 4


def test_what_is_equal_for_several_children_is_sent_once() -> None:
    cost = run(ARRAY, CONV1D, {"K": 4, "R": 3, "P": 2}, spatial("inter_PE_spatial", "K4"), temporal("reg", "R3 P2"))
    assert traffic(cost, "buffer", "Inputs")[0] == 4  # to all four
    assert traffic(cost, "buffer", "Weights")[0] == 4 * 3
    assert traffic(cost, "reg", "Inputs") == (6, 4, 0)
    assert cost.components["reg"].dataspaces["Outputs"].instances == 4
    assert cost.cycles == 6
    assert cost.utilization == 1.0


def test_neighbours_hand_on_what_they_received_in_the_step_before() -> None:
    # Output p needs input p + r: what the right neighbour had one step ago. Only the last unit asks the buffer.
    cost = run(
        ARRAY, CONV1D, {"K": 1, "R": 3, "P": 4}, spatial("inter_PE_spatial", "P4"), temporal("inter_PE_spatial", "R3")
    )  # fmt: skip
    assert traffic(cost, "buffer", "Inputs")[0] == 4 + 2
    assert traffic(cost, "reg", "Inputs")[1] == 3


def test_spatial_reduction_updates_the_level_above_once() -> None:
    cost = run(ARRAY, MATMUL, {"M": 1, "N": 2, "K": 4}, spatial("inter_PE_spatial", "K4"), temporal("reg", "N2"))
    assert traffic(cost, "buffer", "Z") == (0, 0, 2)


def test_a_bypassed_level_passes_requests_on() -> None:
    bypass = {"target": "buffer", "type": "bypass", "keep": ["A", "Z"], "bypass": ["B"]}
    cost = run(
        TWO_LEVELS, MATMUL, {"M": 4, "N": 6, "K": 8}, temporal("DRAM", "M4"), temporal("buffer", "N6 K8", "KN"), bypass
    )  # fmt: skip
    assert "B" not in cost.components["buffer"].dataspaces
    assert traffic(cost, "DRAM", "B")[0] == 192


def test_imperfect_factors_count_the_last_pass_short() -> None:
    # 7 = 2 x 4 with 3 in the last pass.
    cost = run(
        TWO_LEVELS, MATMUL, {"M": 7, "N": 1, "K": 2}, temporal("DRAM", "M2"), temporal("buffer", "M4,3 K2", "KM")
    )  # fmt: skip
    assert cost.components["buffer"].dataspaces["A"].tile_size == 8
    assert traffic(cost, "buffer", "A")[1] == 7 * 2
    assert cost.computes == 14
    assert cost.cycles == 16  # the real program counts whole passes


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        ([temporal("DRAM", "M4 N6")], r"dimension K: the factors 1 \(outermost first\) cover 1, the problem has 8"),
        ([temporal("DRAM", "M4 N6 K8"), temporal("buffer", "M2")], r"dimension M: the factors 4 x 2 .* cover 8"),
        ([temporal("DRAM", "M4 N6 K4"), spatial("buffer", "K2")], r"buffer: has no fan-out to the level below.* K2"),
    ],
)
def test_loops_that_do_not_make_the_problem_are_refused(targets: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(InfeasibleMappingError, match=reason):
        run(TWO_LEVELS, MATMUL, {"M": 4, "N": 6, "K": 8}, *targets)


def test_a_data_space_that_no_level_keeps_is_refused() -> None:
    nowhere = [{"target": t, "type": "bypass", "keep": [], "bypass": ["B"]} for t in ("DRAM", "buffer")]
    with pytest.raises(InfeasibleMappingError, match=r"B: no level keeps it"):
        run(TWO_LEVELS, MATMUL, {"M": 4, "N": 6, "K": 8}, temporal("DRAM", "M4 N6 K8"), *nowhere)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (temporal("cache", "M4"), r"target: expected a level among"),
        (temporal("DRAM", "X4"), r"DRAM\.factors: expected a dimension among"),
        ({"target": "DRAM", "type": "temporal", "factors": "M4", "permutation": "XY"}, r"DRAM\.permutation: expected dimensions"),
        ({"target": "buffer", "type": "bypass", "keep": ["C"]}, r"buffer\.keep/bypass: expected a data space among"),
        ({"target": "inter_PE_spatial", "type": "bypass", "keep": ["A"]}, r"inter_PE_spatial\.keep: expected nothing"),
    ],
)
def test_names_that_are_not_there_are_named(target: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        run(ARRAY, MATMUL, {"M": 1, "N": 1, "K": 1}, target)


def test_a_spread_wider_than_the_mesh_is_refused() -> None:
    text = HEAD + BUFFER + ROW + "  - !Container {name: lane, spatial: {meshX: 2, meshY: 1}}\n" + REG + MAC
    with pytest.raises(InfeasibleMappingError, match=r"mac: spatial loops spread over 16 instances along X, the mesh has 8"):
        run(text, MATMUL, {"M": 4, "N": 4, "K": 1}, spatial("inter_PE_spatial", "M4"), spatial("inter_lane_spatial", "N4"))


def test_the_building_blocks() -> None:
    assert new_words((4, 3), (1, 0)) == 3
    assert new_words((4, 3), (1, -1)) == 12 - 3 * 2
    assert new_words((4, 3), (4, 0)) == 12
    loops = [(3, (1,)), (2, (0,))]
    assert steps((4,), loops, points=False) == [(1, 4, (0,)), (4, 1, (1,)), (1, 4, (-1,))]
    assert words_over_time((4,), loops, simple=False) == 4 + 4 + 4
    assert multicast(Mesh([(3, (1,)), (3, (1,))], 3, 3)) == {1: 2, 2: 2, 3: 1}
    assert linked(Mesh([(4, (1,))], 4, 1), (1,)) == ({0, 1, 2}, {1: 1})
    assert linked(Mesh([(4, (1,))], 4, 1), (2,)) == (set(), {1: 4})


def test_the_package_is_called_like_the_function() -> None:
    problem = {"version": 0.4, "instance": {"M": 4, "N": 6, "K": 8}, "shape": MATMUL}
    mapping = [temporal("DRAM", "M4 N6 K8")]
    assert hwloop.simulate(problem, TWO_LEVELS, mapping, ENERGY) == simulate(problem, TWO_LEVELS, mapping, ENERGY)
