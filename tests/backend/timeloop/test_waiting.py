"""Results that wait for their reader, on a program that has one width a level and one density a data space."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import hwloop
from hwloop import InfeasibleMappingError, SimulatorError
from hwloop.backend.timeloop.costing import Costing
from hwloop.backend.timeloop.inputs import model_input
from hwloop.backend.timeloop.split import check_fit, share_bandwidth, split_levels
from hwloop.backend.timeloop.waiting import Waiting, find_waiting, moved, recompose, refuse_coded_sums
from hwloop.simulator import simulate
from hwloop.spec.batch import MappingBatch
from hwloop.spec.bits import Bits
from hwloop.spec.density import Density
from hwloop.spec.mapping import Mapping
from hwloop.spec.problem import Problem, conv2d_shape, make_problem

CODED = """    sparse_optimizations:
      representation_format:
        data_spaces:
        - name: Outputs
          ranks: [{format: UOP, flattened_rankIDs: [[C, M]]}, {format: RLE, flattened_rankIDs: [[C, M]]}]
"""
ARCHITECTURE = """
architecture:
  version: 0.4
  nodes:
  - !Component
    name: memory
    class: DRAM
    attributes: {width: 64, datawidth: 16, write_bandwidth: 1, read_bandwidth: 1, metadata_datawidth: 5,
                 metadata_storage_width: 60}
FORMAT  - !Component
    name: buffer
    class: SRAM
    attributes: {width: 64, datawidth: 16, depth: 4096, decompression_supported: true, compression_supported: true}
  - !Component
    name: mac
    class: intmac
    attributes: {datawidth: 16}
"""
PROBLEM = make_problem(conv2d_shape(), {"C": 8, "M": 12})
TABLE = hwloop.load_energy_table(
    {
        "memory": {"read": 3.0, "write": 5.0, "leak": 0.5},
        "buffer": {"read": 0.1, "write": 0.2, "compression_count": 0.8},
        "mac": {"compute": 0.3},
    }
)
WAITING_4: Bits = {"Outputs": {"memory": 4}}


def architecture(text: str = ARCHITECTURE, coded: bool = False) -> Any:
    return hwloop.load_architecture(text.replace("FORMAT", CODED if coded else ""))


def mapping(order: str, on_chip: bool = False) -> Mapping:
    """M and C outside, innermost first; partial sums are spilled where C is the outermost loop."""
    outer = ["Weights", "Inputs"] if on_chip else ["Weights", "Inputs", "Outputs"]
    written = hwloop.load_mapping([
        {"target": "memory", "type": "temporal", "factors": "C=2 M=3", "permutation": order},
        {"target": "buffer", "type": "temporal", "factors": "C=4 M=4"},
        {"target": "memory", "type": "dataspace", "keep": outer, "bypass": ["Outputs"] if on_chip else []},
        {"target": "buffer", "type": "dataspace", "keep": ["Weights", "Inputs", "Outputs"], "bypass": []},
    ])  # fmt: skip
    arch = architecture()
    return MappingBatch.from_mappings([written], PROBLEM.shape, PROBLEM.bounds, arch).to_mapping(0, PROBLEM.shape, arch)


def coded_problem(level: str = "memory") -> Problem:
    return PROBLEM.with_densities({"Inputs": 0.5, "Outputs": Density("hypergeometric", 0.25, level=level)})


def waits(bits: Bits = WAITING_4, problem: Problem = PROBLEM, coded: bool = False, **how: bool) -> Waiting:
    found = find_waiting(problem, architecture(coded=coded), mapping("MC", **how), bits)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "bits",
    [{}, {"Outputs": 4}, {"Outputs": {"*": 4}}, {"Outputs": {"buffer": 4}}, {"Outputs": {"memory": 16}},
     {"Inputs": {"memory": 4}}, {"Outputs": {"memory": 4, "*": 4}}],
)  # fmt: skip
def test_where_all_values_are_of_one_width_nothing_waits(bits: Bits) -> None:
    assert find_waiting(PROBLEM, architecture(), mapping("MC"), bits) is None


def test_the_outermost_level_that_keeps_the_result_is_where_it_waits() -> None:
    outside, inside = waits(), waits({"Outputs": {"buffer": 4, "*": 20}}, on_chip=True)
    assert (outside.level.name, inside.level.name) == ("memory", "buffer")
    assert [packing.bits for packing in outside.packings()] == [16, 4]
    assert [packing.bits for packing in inside.packings()] == [20, 4]
    assert inside.partial == {"Outputs": {"buffer": 20, "*": 20}}


@pytest.mark.parametrize(("level", "coded"), [("memory", False), ("buffer", True)])
def test_a_density_counts_where_a_format_holds_the_finished_values(level: str, coded: bool) -> None:
    assert find_waiting(coded_problem(level), architecture(coded=coded), mapping("MC"), {}) is None


def test_the_run_with_their_density_has_it_everywhere_and_the_others_nowhere() -> None:
    waiting = waits({}, coded_problem(), coded=True)
    assert waiting.coded is not None
    written = [
        model_input(problem, architecture(coded=True), mapping("MC"), TABLE)["problem"]["instance"]["densities"]
        for problem in (waiting.coded, coded_problem())
    ]
    inputs = {"Inputs": {"distribution": "hypergeometric", "density": 0.5}}
    assert written == [{**inputs, "Outputs": {"distribution": "hypergeometric", "density": 0.25}}, inputs]


def test_every_word_is_finished_once_unless_instances_share_it() -> None:
    waiting = waits()
    assert waiting.words == 12
    assert (waiting.done(24, 12), waiting.done(8, 12)) == (12, 8)
    many = replace(waiting, level=replace(waiting.level, instances=4))
    assert replace(many, shared=2).done(24, 6) == 6  # each has half of the words
    assert replace(many, shared=2).done(24, 12) == 0  # each adds up its part of all sums


@pytest.mark.parametrize("bits", [{"Outputs": {"memory": 4}}, {"Outputs": {"memory": 40, "*": 3}}, {"Outputs": {"memory": 1}}])
def test_two_runs_together_cost_what_the_embedded_simulator_says(bits: Bits) -> None:
    arch, loops, waiting = architecture(), mapping("MC"), waits(bits)
    sums, values = (
        simulate(PROBLEM, arch, loops, TABLE, run).components["memory"].dataspaces["Outputs"]
        for run in ({"Outputs": waiting.packings()[0].bits}, {"Outputs": waiting.packings()[1].bits})
    )
    both = simulate(PROBLEM, arch, loops, TABLE, bits).components["memory"].dataspaces["Outputs"]
    found = recompose(waiting, sums, values, waiting.done(24, 12), TABLE)
    assert found.finished_updates == both.finished_updates == 12
    assert found.energy_pj == pytest.approx(both.energy_pj, rel=1e-12)


def test_runs_that_count_different_accesses_are_no_answer() -> None:
    space = simulate(PROBLEM, architecture(), mapping("MC"), TABLE).components["memory"].dataspaces["Outputs"]
    with pytest.raises(SimulatorError, match=r"memory: updates of Outputs differ .* Let the embedded simulator cost"):
        recompose(waits(), space, replace(space, updates=23), 12, TABLE)


@pytest.mark.parametrize("density", [1.0, 0.25])
def test_partial_sums_in_a_format_are_the_embedded_simulator_s(density: float) -> None:
    waiting = waits(WAITING_4, coded_problem() if density < 1 else PROBLEM, coded=True)
    with pytest.raises(SimulatorError, match=r"memory: partial sums of Outputs come by .* Let the embedded simulator cost this"):
        refuse_coded_sums(waiting)
    refuse_coded_sums(waits())


def test_bandwidth_is_shared_by_what_partial_and_finished_words_take() -> None:
    arch, loops, waiting = architecture(), mapping("MC"), waits()
    system = split_levels(PROBLEM, arch, loops, TABLE, waiting.partial, "memory")
    counted = simulate(PROBLEM, system.architecture, system.mapping, system.table)
    part = counted.components["memory_Outputs"].dataspaces["Outputs"]
    moves = moved(waiting, system, "memory_Outputs", part, 12)
    assert moves == {"read_bandwidth": 12.0, "write_bandwidth": 12 + 12 / 4, "shared_bandwidth": 27.0}
    shared = share_bandwidth(system, arch, counted, {"memory_Outputs": moves})
    apart = simulate(PROBLEM, shared, system.mapping, system.table)
    assert apart.cycles == simulate(PROBLEM, arch, loops, TABLE, WAITING_4).cycles


def test_there_must_be_room_for_values_of_either_width() -> None:
    arch, loops = architecture(ARCHITECTURE.replace("depth: 4096", "depth: 9")), mapping("CM", on_chip=True)
    counted = simulate(PROBLEM, architecture(), loops, TABLE)
    fine: Bits = {"Weights": 8, "Inputs": 8, "Outputs": {"buffer": 1}}  # 16 weights, 4 inputs, 4 outputs
    assert check_fit(arch, counted, fine).components["buffer"].dataspaces["Outputs"].capacity == 1
    both = check_fit(arch, counted, fine, {**fine, "Outputs": {"buffer": 20}})
    assert both.components["buffer"].dataspaces["Outputs"].capacity == 2
    with pytest.raises(InfeasibleMappingError, match="Outputs 12 need 15 rows, 9 rows fit"):
        check_fit(arch, counted, fine, {**fine, "Outputs": {"buffer": 192}})


def test_levels_without_widths_are_counted_in_words() -> None:
    counted = simulate(PROBLEM, architecture(), mapping("MC"), TABLE)
    assert check_fit(architecture(), counted, WAITING_4).components["buffer"] == counted.components["buffer"]
    small = architecture(ARCHITECTURE.replace("depth: 4096", "depth: 5"))
    with pytest.raises(InfeasibleMappingError, match="buffer: Weights 16, Inputs 4, Outputs 4 need 24 words, 20 words fit"):
        check_fit(small, counted, WAITING_4)


def test_a_run_without_the_density_codes_no_more_than_arrives() -> None:
    asked: list[Any] = []

    def refuse(document: Any) -> str:
        asked.append(document)
        raise SimulatorError("stop")

    arch = architecture(coded=True)
    costing = Costing(refuse, coded_problem(), arch, mapping("CM"), TABLE)
    with pytest.raises(SimulatorError, match="stop"):
        costing.cost({})
    assert asked[0]["problem"]["instance"]["densities"]["Outputs"] == {"distribution": "hypergeometric", "density": 0.25}
    values = simulate(coded_problem(), arch, mapping("CM"), TABLE).components["memory"].dataspaces["Outputs"]
    table = costing._coding(waits({}, coded_problem(), coded=True), values)
    assert table.component("buffer").energy_pj("compression_count") == pytest.approx(0.8 * 3 / 12)
    assert table.component("memory") == TABLE.component("memory")
