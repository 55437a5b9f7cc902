from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import hwloop
from hwloop import SimulatorError
from hwloop.backend.timeloop.read_back import cost_from_stats, merge_split_levels
from hwloop.simulator import ComponentCost, LayerCost
from hwloop.validate.compare import compare_costs


def read(recorded: Any, run: str = "run1") -> LayerCost:
    architecture = hwloop.load_architecture(recorded.folder / run / "input.yaml")
    problem = hwloop.load_problem(recorded.folder / run / "input.yaml")
    return cost_from_stats((recorded.folder / run / "stats.txt").read_text(), architecture, problem)


def test_a_recorded_run_reads_back_as_what_hwloop_says(recorded_run: Callable[[str], Any]) -> None:
    for name in ("eyeriss_alexnet_c1", "tpu_compressed_pointwise", "shidiannao_depthwise"):
        case = recorded_run(name)
        ours = hwloop.simulate(*case.arguments)
        assert [d for equal, d in compare_costs(ours, read(case)) if not equal] == []


def test_energies_are_sums_of_what_is_printed_finely(recorded_run: Callable[[str], Any]) -> None:
    cost = read(recorded_run("eyeriss_alexnet_c1"))
    assert cost.energy_pj == sum(c.energy_pj for c in cost.components.values())
    dram = cost.components["DRAM"]
    assert dram.energy_pj == pytest.approx(dram.leakage_pj + sum(s.energy_pj for s in dram.dataspaces.values()))
    assert set(cost.components) == {"DRAM", "shared_glb", "ifmap_spad", "weights_spad", "psum_spad", "mac"}  # no fan-outs


def test_sparse_runs_have_actual_and_algorithmic_counts(recorded_run: Callable[[str], Any]) -> None:
    cost = read(recorded_run("tpu_compressed_pointwise"))
    assert cost.actual_computes < cost.computes
    weights = cost.components["DRAM"].dataspaces["Weights"]
    assert weights.reads < weights.algorithmic_reads
    assert weights.metadata["read"][-1][0] > 0


def test_text_that_is_no_statistics(recorded_run: Callable[[str], Any]) -> None:
    case = recorded_run("eyeriss_alexnet_c1")
    with pytest.raises(SimulatorError, match="not a complete stats"):
        cost_from_stats("ERROR: nothing", case.architecture, case.problem)


def test_merging_puts_the_parts_of_a_level_together(recorded_run: Callable[[str], Any]) -> None:
    case = recorded_run("eyeriss_vgg_4_bits")
    apart = read(case, "run2")
    origin = {n: "DRAM" for n in apart.components if n.startswith("DRAM_")}
    merged = merge_split_levels(apart, origin).components["DRAM"]
    parts = [apart.components[name] for name in origin]
    assert len(parts) == 3
    assert set(merged.dataspaces) == {"Weights", "Inputs", "Outputs"}
    assert merged.energy_pj == pytest.approx(sum(part.energy_pj for part in parts))
    assert merged.cycles == max(part.cycles for part in parts)


def test_merging_leaves_whole_levels_alone() -> None:
    cost = LayerCost(3.0, 5, 0.5, 2, {"a": ComponentCost(3.0, 0.0, 5, 1)}, 2)
    assert merge_split_levels(cost, {}) == cost
    assert replace(cost, components={"b": cost.components["a"]}) == merge_split_levels(cost, {"a": "b"})


NETWORKS = """
Networks
--------
Network 0
---------
glb <==> rf

    SPECS
    -----
        Type            : Legacy

    STATS
    -----
    Weights:
        Fanout                                  : 16
            @multicast 1 @scatter 16: 20.00
        Energy (per-hop)                        : 640.00 fJ
        Energy (per-instance)                   : 30.00 pJ
        Energy (total)                          : 60.50 pJ
        Link transfer energy (total)            : 1.25 pJ
        Spatial Reduction Energy (total)        : 0.00 pJ
    Outputs:
        Energy (total)                          : 2.00 pJ

Network 1
---------
rf <==> mac

    STATS
    -----
    Weights:
        Energy (total)                          : 0.00 pJ


Summary Stats
-------------
"""


def test_networks_that_cost_something_are_read(recorded_run: Callable[[str], Any]) -> None:
    case = recorded_run("eyeriss_alexnet_c1")
    text = (case.folder / "run1" / "stats.txt").read_text()
    head, _, tail = text.partition("\nNetworks\n")
    rest = tail[tail.index("Summary Stats\n-------------\n") + len("Summary Stats\n-------------\n") :]
    cost = cost_from_stats(head + NETWORKS + rest, case.architecture, case.problem)
    assert {name: network.dataspaces for name, network in cost.networks.items()} == {
        "glb <==> rf": {"Weights": 61.75, "Outputs": 2.0}
    }
    assert cost.energy_pj == pytest.approx(read(case).energy_pj + 63.75)
