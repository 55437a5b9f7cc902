"""Results where they wait for their reader: finished values in a width and with a density of their own, partial sums as ever."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from hwloop import InfeasibleMappingError, SpecError
from hwloop.energy import estimate_energy_table
from hwloop.mapper import lower_bound, map_problem
from hwloop.simulator import LayerCandidate, LayerCost, LayerNests, simulate, simulate_batch
from hwloop.spec.architecture import Architecture, load_architecture
from hwloop.spec.batch import MappingBatch
from hwloop.spec.bits import Bits
from hwloop.spec.density import Density
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.mapping import Mapping, load_mapping
from hwloop.spec.problem import Problem, conv2d_shape, make_problem
from hwloop.spec.resources import open_architecture

LAYER = make_problem(conv2d_shape(), {"C": 16, "M": 32, "R": 3, "S": 3, "P": 16, "Q": 16})
ZEROS = {"Weights": 0.3, "Inputs": 0.5}
DESIGNS = ("eyeriss_168", "tpu_like", "shidiannao_like", "eyeriss_168_gating", "eyeriss_168_skipping", "flexible_gating")
OPERANDS = {"Weights": 4, "Inputs": 4}

# two storage levels and a compute unit; rows of 64 bits; an access of a row of the memory costs 1 pJ, all else nothing
SMALL = """
architecture:
  version: 0.4
  nodes:
  - !Component
    name: memory
    class: DRAM
    attributes: {width: 64, datawidth: 16, write_bandwidth: 4, read_bandwidth: 4}
  - !Component
    name: buffer
    class: SRAM
    attributes: {width: 64, datawidth: 16, depth: 4096}
  - !Component
    name: mac
    class: intmac
    attributes: {datawidth: 16}
"""
PRODUCT = make_problem(conv2d_shape(), {"C": 8, "M": 12})
TABLE = {"memory": {"read": 1.0, "write": 1.0}, "buffer": {"read": 0.0, "write": 0.0}, "mac": {"compute": 0.0}}


def small_mapping(outer: str, inner: str, order: str) -> Mapping:
    """Outer loops at the memory in this order (innermost first), the rest at the buffer."""
    every = {"keep": ["Weights", "Inputs", "Outputs"], "bypass": []}
    return load_mapping([
        {"target": "memory", "type": "temporal", "factors": outer, "permutation": order},
        {"target": "buffer", "type": "temporal", "factors": inner},
        {"target": "memory", "type": "dataspace", **every},
        {"target": "buffer", "type": "dataspace", **every},
    ])  # fmt: skip


@cache
def small() -> Architecture:
    return load_architecture(SMALL)


@cache
def design(name: str) -> tuple[Architecture, EnergyTable, Problem]:
    arch = open_architecture(name)
    sees_zeros = any(level.sparse for level in arch.levels)
    return arch, estimate_energy_table(arch, bits=OPERANDS), LAYER.with_densities(ZEROS) if sees_zeros else LAYER


@cache
def mapped(name: str) -> Mapping:
    arch, table, problem = design(name)
    return map_problem(problem, arch, table, bits=OPERANDS, effort="quick").mapping


def outputs(cost: LayerCost, level: str) -> tuple[int, int, int, float]:
    space = cost.components[level].dataspaces["Outputs"]
    return space.updates, space.finished_updates, space.reads, space.energy_pj


def waiting_bits(arch: Architecture, width: int) -> Bits:
    return {**OPERANDS, "Outputs": {arch.storage[0].name: width}}


def with_density(problem: Problem, arch: Architecture, density: float) -> Problem:
    own = Density("hypergeometric", density, level=arch.storage[0].name)
    return problem.with_densities({**dict(problem.densities), "Outputs": own})


def test_every_output_is_finished_once_and_only_that_arrival_is_narrow() -> None:
    # C outside: every output comes to the memory twice and is read back once between
    cost = simulate(PRODUCT, small(), small_mapping("C=2 M=3", "C=4 M=4", "MC"), TABLE, {"Outputs": {"memory": 4}})
    updates, finished, reads, energy = outputs(cost, "memory")
    assert (updates, finished, reads) == (24, 12, 12)
    partial_rows, finished_rows = 12 / 4, 12 / 16  # 4 words of 16 bits a row, 16 of 4 bits
    assert energy == math.ceil(partial_rows + finished_rows) + math.ceil(12 / 4)


def test_partial_sums_have_the_width_of_the_levels_not_named() -> None:
    mapping = small_mapping("C=2 M=3", "C=4 M=4", "MC")
    cost = simulate(PRODUCT, small(), mapping, TABLE, {"Outputs": {"memory": 4, "*": 32}})
    assert outputs(cost, "memory")[3] == math.ceil(12 / 2 + 12 / 16) + math.ceil(12 / 2)


def test_without_partial_sums_all_is_narrow() -> None:
    cost = simulate(PRODUCT, small(), small_mapping("C=2 M=3", "C=4 M=4", "CM"), TABLE, {"Outputs": {"memory": 4}})
    assert outputs(cost, "memory") == (12, 12, 0, math.ceil(12 / 16))


def test_where_a_level_farther_out_keeps_the_result_all_its_values_have_the_width() -> None:
    mapping = small_mapping("C=2 M=3", "C=4 M=4", "MC")
    inside = simulate(PRODUCT, small(), mapping, TABLE, {"Outputs": {"buffer": 8}})
    assert inside.components["buffer"].dataspaces["Outputs"].finished_updates == 0
    assert inside.components["buffer"].dataspaces["Outputs"].capacity == math.ceil(4 / 8)


def test_what_is_gated_of_finished_values_is_as_wide_as_they_are() -> None:
    sparse = "sparse_optimizations: {action_optimization: [{type: gating, options: [{target: Outputs, condition_on: [Inputs]}]}]}"
    wide = "attributes: {width: 64, datawidth: 16, write_bandwidth: 0.25"
    arch = load_architecture(SMALL.replace("read_bandwidth: 4}", f"read_bandwidth: 4}}\n    {sparse}", 1).replace(
        "attributes: {width: 64, datawidth: 16, write_bandwidth: 4", wide))  # fmt: skip
    table = {**TABLE, "memory": {"read": 1.0, "write": 1.0, "gated_write": 0.5}}
    problem = make_problem(conv2d_shape(), {"M": 12, "P": 8}, {"Inputs": 0.5})
    mapping = small_mapping("M=12 P=8", "", "MP")
    waits = simulate(problem, arch, mapping, table, {"Outputs": {"memory": 4}})
    everywhere = simulate(problem, arch, mapping, table, {"Outputs": 4})
    ours, theirs = (cost.components["memory"].dataspaces["Outputs"] for cost in (waits, everywhere))
    assert (ours.gated_updates, ours.energy_pj, waits.cycles) == (theirs.gated_updates, theirs.energy_pj, everywhere.cycles)
    assert ours.gated_updates > 0


def test_bandwidth_counts_finished_words_by_their_width() -> None:
    problem = make_problem(conv2d_shape(), {"M": 64})
    mapping = small_mapping("M=64", "", "M")
    wide = simulate(problem, small(), mapping, TABLE, {"Weights": 1, "Outputs": {"memory": 64}})
    assert wide.cycles == 64  # 64 words of four each, four a cycle
    assert simulate(problem, small(), mapping, TABLE, {"Weights": 1, "Outputs": {"memory": 128}}).cycles == 128


def test_a_level_with_room_for_finished_values_alone_refuses_partial_sums() -> None:
    bits: Bits = {"Weights": 1, "Inputs": 1, "Outputs": {"memory": 4}}
    whole, spilled = small_mapping("C=2 M=3", "C=4 M=4", "CM"), small_mapping("C=2 M=3", "C=4 M=4", "MC")
    least = load_architecture(SMALL.replace("datawidth: 16, write", "datawidth: 16, depth: 5, write"))
    fits = simulate(PRODUCT, least, whole, TABLE, bits)  # 2 rows of weights, 1 of inputs, 1 of outputs
    assert fits.components["memory"].dataspaces["Outputs"].capacity == 1
    with pytest.raises(InfeasibleMappingError, match="Outputs 3"):
        simulate(PRODUCT, least, spilled, TABLE, bits)
    batch = MappingBatch.from_mappings([whole, spilled], PRODUCT.shape, PRODUCT.bounds, least)
    assert simulate_batch(PRODUCT, least, batch, TABLE, bits).feasible.tolist() == [True, False]


@pytest.mark.parametrize("name", DESIGNS)
def test_at_the_level_s_own_width_it_costs_what_it_does_without(name: str) -> None:
    arch, table, problem = design(name)
    same = simulate(problem, arch, mapped(name), table, waiting_bits(arch, arch.storage[0].word_bits))
    assert same == simulate(problem, arch, mapped(name), table, OPERANDS)


@pytest.mark.parametrize("name", DESIGNS)
def test_fewer_bits_and_lower_densities_never_cost_more(name: str) -> None:
    arch, table, problem = design(name)
    last = (math.inf, math.inf)
    for width in (32, 20, 16, 12, 8, 6, 5, 4, 3, 2, 1):
        cost = simulate(problem, arch, mapped(name), table, waiting_bits(arch, width))
        assert (cost.energy_pj, cost.cycles) <= last
        assert cost.energy_pj <= last[0]
        last = cost.energy_pj, cost.cycles
    energies = [
        simulate(with_density(problem, arch, d), arch, mapped(name), table, waiting_bits(arch, 4)).energy_pj
        for d in (1.0, 0.9, 0.6, 0.3, 0.1)
    ]
    assert energies == sorted(energies, reverse=True)


@pytest.mark.parametrize("name", ["eyeriss_168_gating", "flexible_gating"])
def test_a_density_of_finished_values_leaves_the_accumulation_alone(name: str) -> None:
    arch, table, problem = design(name)
    outer = arch.storage[0].name
    dense = simulate(problem, arch, mapped(name), table, OPERANDS)
    coded = simulate(with_density(problem, arch, 0.25), arch, mapped(name), table, OPERANDS)
    for level in dense.components:
        if level != outer:
            for before, after in zip(*(c.components[level].dataspaces.values() for c in (dense, coded)), strict=True):
                assert replace(after, energy_pj=0.0) == replace(before, energy_pj=0.0)
                assert after.energy_pj <= before.energy_pj  # fewer words are coded on their way out
    assert (coded.actual_computes, coded.gated_computes) == (dense.actual_computes, dense.gated_computes)
    before, after = (c.components[outer].dataspaces["Outputs"] for c in (dense, coded))
    assert after.updates == math.ceil(0.25 * before.updates)
    assert after.metadata_updates < before.metadata_updates
    assert coded.components[outer].dataspaces["Inputs"] == dense.components[outer].dataspaces["Inputs"]


def test_a_density_where_no_format_is_changes_nothing() -> None:
    arch, table, problem = design("eyeriss_168_skipping")  # its DRAM codes no outputs
    assert simulate(with_density(problem, arch, 0.2), arch, mapped("eyeriss_168_skipping"), table, OPERANDS) == simulate(
        problem, arch, mapped("eyeriss_168_skipping"), table, OPERANDS
    )


@pytest.mark.parametrize("name", DESIGNS)
def test_batches_and_candidates_cost_what_single_mappings_do(name: str) -> None:
    arch, table, problem = design(name)
    rng = random.Random(name)
    found = [map_problem(problem, arch, table, bits=OPERANDS, effort="quick", seed=seed).mapping for seed in range(2)]
    batch = MappingBatch.from_mappings(found, problem.shape, problem.bounds, arch)
    outer = arch.storage[0].name
    cases = [(rng.choice([0.1, 0.5, 1.0]), rng.choice([2, 5, 8, 16, 20]), rng.choice([8, 16, 24])) for _ in range(6)]
    asked = [
        LayerCandidate(
            table,
            {"Outputs": Density("hypergeometric", density, level=outer)},
            {**OPERANDS, "Inputs": {"*": 4, outer: 8}, "Outputs": {outer: width, "*": full}},
        )
        for density, width, full in cases
    ]
    together = LayerNests(problem, arch, batch).cost(asked)
    for i, case in enumerate(asked):
        own = problem.with_densities({**dict(problem.densities), **case.densities})
        many = simulate_batch(own, arch, batch, table, case.bits)
        np.testing.assert_array_equal(many.feasible, together.feasible[i])
        np.testing.assert_allclose(many.energy_pj, together.energy_pj[i], rtol=1e-12)
        for k, mapping in enumerate(found):
            if many.feasible[k]:
                cost = simulate(own, arch, mapping, table, case.bits)
                assert (cost.cycles, cost.cycles) == (many.cycles[k], together.cycles[i, k])
                assert cost.energy_pj == pytest.approx(many.energy_pj[k], rel=1e-12)


@pytest.mark.parametrize("name", ["eyeriss_168", "tpu_like", "eyeriss_168_gating"])
@pytest.mark.parametrize("objective", ["energy", "cycles"])
def test_the_mapper_uses_it_and_the_bound_holds(name: str, objective: str) -> None:
    arch, table, problem = design(name)
    bits, asked = waiting_bits(arch, 4), with_density(problem, arch, 0.3)
    found = map_problem(asked, arch, table, bits=bits, objective=objective, effort="quick")
    known = simulate(asked, arch, mapped(name), table, bits)
    assert found.value <= (known.energy_pj if objective == "energy" else known.cycles)
    bound = lower_bound(asked, arch, table, None, objective, bits, found, nodes=20)
    assert 0 < bound.value <= found.value * (1 + 1e-9)


def test_an_operand_may_be_wider_where_it_waits() -> None:
    arch, table, problem = design("eyeriss_168")
    narrow = simulate(problem, arch, mapped("eyeriss_168"), table, OPERANDS)
    stored = simulate(problem, arch, mapped("eyeriss_168"), table, {"Weights": 4, "Inputs": {"*": 4, "DRAM": 8}})
    inputs = [c.components["DRAM"].dataspaces["Inputs"].energy_pj for c in (narrow, stored)]
    assert inputs[1] == pytest.approx(2 * inputs[0], rel=1e-3)
    for level in ("shared_glb", "ifmap_spad"):
        assert stored.components[level] == narrow.components[level]


@pytest.mark.parametrize(
    ("bits", "problem", "message"),
    [
        ({"Outputs": {"dram": 4}}, LAYER, "bits: Outputs.dram: expected a storage level among"),
        ({"Outputs": {"DRAM": 0}}, LAYER, "bits: Outputs.DRAM: expected a whole number of at least 1"),
        ({"Outputs": {"*": 1.5}}, LAYER, r"bits: Outputs.\*: expected a whole number"),
        ({"Sums": {"DRAM": 4}}, LAYER, "bits: Sums: expected a data space among"),
        (None, LAYER.with_densities({"Outputs": Density("hypergeometric", 0.5, level="dram")}), "Outputs.level: expected a stor"),
        (None, LAYER.with_densities({"Inputs": Density("hypergeometric", 0.5, level="DRAM")}), "Inputs.level: expected no level"),
    ],
)
def test_what_cannot_be(bits: Bits | None, problem: Problem, message: str) -> None:
    arch, table, _ = design("eyeriss_168")
    with pytest.raises(SpecError, match=message):
        simulate(problem, arch, mapped("eyeriss_168"), table, bits)
