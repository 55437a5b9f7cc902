"""What must hold of sparse accelerators, on random problems and mappings; what is refused, and why."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import hwloop
from hwloop import InfeasibleMappingError, SpecError
from hwloop.simulator import BatchSimulator, LayerCost, Simulator
from hwloop.simulator.numeric import unsigned
from hwloop.spec.architecture import Architecture
from hwloop.spec.batch import MappingBatch
from hwloop.spec.density import Density
from hwloop.spec.problem import Problem
from hwloop.spec.sparsity import (
    ActionOptimization,
    ActionOption,
    RankFormat,
    RepresentationFormat,
    SparseOptimizations,
)

SEEDS = st.integers(0, 2**32 - 1)
METADATA = {
    "metadata_storage_width": 32, "metadata_storage_depth": 10**6, "metadata_datawidth": 8,
    "decompression_supported": True, "compression_supported": True,
}  # fmt: skip


def with_sparse(architecture: Architecture, sparse: Mapping[str, SparseOptimizations]) -> Architecture:
    """The accelerator with these optimisations, and room for metadata everywhere."""
    levels = tuple(
        replace(level, sparse=sparse.get(level.name, SparseOptimizations()), attributes=(*level.attributes, *METADATA.items()))
        for level in architecture.levels
    )
    return replace(architecture, levels=levels)


def action(kind: str, target: str, *leaders: str) -> SparseOptimizations:
    return SparseOptimizations(actions=(ActionOptimization(kind, (ActionOption(target, leaders),)),))


def run(case: Any, architecture: Architecture, problem: Problem) -> LayerCost | None:
    try:
        return Simulator(problem, architecture, case.energy_table).run(case.mapping)
    except InfeasibleMappingError:
        return None


def draw(case: Any, seed: int, kinds: tuple[str, ...] = ("gating", "skipping")) -> tuple[str, SparseOptimizations, str, str]:
    """(level, action, target, leader) of one random optimisation."""
    rng = random.Random(seed)
    operands = [d.name for d in case.problem.shape.data_spaces if not d.read_write]
    level = rng.choice([level for level in case.architecture.storage if level.kind != "spatial"]).name
    target, leader = rng.sample(operands, 2)
    if rng.random() < 0.3:
        target = case.problem.shape.output.name
    return level, action(rng.choice(kinds), target, leader), target, leader


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_density_alone_changes_nothing(random_case: Callable[..., Any], seed: int) -> None:
    case = random_case(seed)
    densities = {
        d.name: random.Random(seed).choice([0.1, 0.5, Density("fixed_structured", 0.3)]) for d in case.problem.shape.data_spaces
    }
    assert run(case, case.architecture, case.problem.with_densities(densities)) == run(case, case.architecture, case.problem)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_density_one_without_formats_is_dense(random_case: Callable[..., Any], seed: int) -> None:
    case = random_case(seed)
    level, saving, *_ = draw(case, seed)
    distribution = random.Random(seed).choice(["hypergeometric", "fixed_structured"])
    problem = case.problem.with_densities({d.name: Density(distribution, 1.0) for d in case.problem.shape.data_spaces})
    compute = SparseOptimizations(compute=("gating", "skipping"))
    sparse = with_sparse(case.architecture, {level: saving, case.architecture.compute.name: compute})
    dense, found = run(case, case.architecture, case.problem), run(case, sparse, problem)
    if dense is None or found is None:
        assert dense is found
        return
    assert (found.cycles, found.energy_pj) == (dense.cycles, pytest.approx(dense.energy_pj, rel=1e-12))
    for name, component in dense.components.items():
        for space, counts in component.dataspaces.items():
            other = found.components[name].dataspaces[space]
            assert (other.reads, other.fills, other.updates, other.capacity) == (
                counts.reads, counts.fills, counts.updates, counts.capacity,
            )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_what_is_saved_and_what_is_done_add_up(random_case: Callable[..., Any], seed: int) -> None:
    case = random_case(seed)
    level, saving, target, leader = draw(case, seed)
    problem = case.problem.with_densities({leader: random.Random(seed).uniform(0.05, 0.95)})
    cost = run(case, with_sparse(case.architecture, {level: saving}), problem)
    assume(cost is not None)
    assert cost is not None
    names = [level.name for level in case.architecture.storage]
    for name in names[: names.index(level) + 1]:  # further in, what was saved here never arrives
        counts = cost.components[name].dataspaces.get(target) if name in cost.components else None
        if counts is not None:
            assert counts.reads + counts.gated_reads + counts.skipped_reads == counts.algorithmic_reads
            assert counts.updates + counts.gated_updates + counts.skipped_updates == counts.algorithmic_updates
            assert counts.fills == counts.algorithmic_fills
    assert cost.actual_computes + cost.gated_computes + cost.skipped_computes <= cost.computes
    assert cost.cycles * case.architecture.compute.instances >= cost.actual_computes + cost.gated_computes


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_a_lower_density_never_costs_more_under_skipping(random_case: Callable[..., Any], seed: int) -> None:
    case = random_case(seed)
    level, saving, _, leader = draw(case, seed, kinds=("skipping",))
    low, high = sorted(random.Random(seed).choices([0.05, 0.2, 0.4, 0.6, 0.8, 1.0], k=2))
    accelerator = with_sparse(case.architecture, {level: saving})
    cheap = run(case, accelerator, case.problem.with_densities({leader: low}))
    dear = run(case, accelerator, case.problem.with_densities({leader: high}))
    if cheap is None or dear is None:
        assert cheap is dear
        return
    assert cheap.cycles <= dear.cycles + 1  # a bandwidth that throttles is rounded up
    spent = [sum(c.energy_pj - c.leakage_pj for c in cost.components.values()) for cost in (cheap, dear)]
    assert spent[0] <= spent[1] * (1 + 1e-12)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from(["CP", "B", "RLE"]))
def test_compression_moves_the_expected_nonzeros(random_case: Callable[..., Any], seed: int, kind: str) -> None:
    """One flattened rank at the outermost level: of everything it sends, the density is left."""
    case = random_case(seed)
    space = next(d.name for d in case.problem.shape.data_spaces if not d.read_write)
    rank = RankFormat(kind, flattened_rank_ids=(case.problem.shape.dimensions,))
    ranks = (RankFormat("UOP", flattened_rank_ids=(case.problem.shape.dimensions,)), rank)
    outer = case.architecture.storage[0].name
    sparse = SparseOptimizations((RepresentationFormat(space, ranks),))
    problem = case.problem.with_densities({space: 0.5})
    cost = run(case, with_sparse(case.architecture, {outer: sparse}), problem)
    assume(cost is not None and space in cost.components[outer].dataspaces)
    assert cost is not None
    counts = cost.components[outer].dataspaces[space]
    density = -(-problem.tensor_size(space) // 2) / problem.tensor_size(space)
    assert counts.reads == pytest.approx(density * counts.algorithmic_reads, abs=1)
    assert counts.capacity == -(-problem.tensor_size(space) // 2)
    assert cost.energy_pj > 0


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_a_batch_gives_the_numbers_of_single_runs(random_case: Callable[..., Any], seed: int) -> None:
    case = random_case(seed, depth=60 if seed % 3 == 0 else 10**5)
    level, saving, _, leader = draw(case, seed)
    space = next(d.name for d in case.problem.shape.data_spaces if not d.read_write)
    ranks = tuple(RankFormat(kind, flattened_rank_ids=(case.problem.shape.dimensions,)) for kind in ("UOP", "UOP", "CP"))
    outer = case.architecture.storage[0].name
    sparse = {level: saving}
    sparse[outer] = replace(sparse.get(outer, SparseOptimizations()), representation=(RepresentationFormat(space, ranks),))
    accelerator = with_sparse(case.architecture, sparse)
    problem = case.problem.with_densities({leader: 0.3, space: 0.6})
    others = [random_case(s) for s in range(seed, seed + 30)]
    mappings = [case.mapping, *(o.mapping for o in others if o.problem == case.problem and o.architecture is case.architecture)]
    simulator = BatchSimulator(problem, accelerator, case.energy_table)
    found = simulator.run(MappingBatch.from_mappings(mappings * 2, problem.shape, problem.bounds, accelerator))
    for row, mapping in enumerate(mappings):
        cost = run(replace(case, mapping=mapping), accelerator, problem)
        assert found.feasible[row] == (cost is not None)
        if cost is not None:
            assert found.cycles[row] == cost.cycles
            assert found.energy_pj[row] == pytest.approx(cost.energy_pj, rel=1e-12)


def test_negative_counts_wrap_as_in_the_real_program() -> None:
    assert unsigned(7) == 7
    assert unsigned(-4096) == 2**64 - 4096
    assert unsigned(np.array([7.0, -4096.0])).tolist() == [7.0, 2.0**64 - 4096]


ARCHITECTURE = """
architecture:
  version: 0.4
  nodes:
  - !Container {name: system, attributes: {technology: "45nm"}}
  - !Component
    name: DRAM
    class: DRAM
    attributes: {width: 64, datawidth: 16, metadata_storage_width: 32, metadata_storage_depth: 1024, metadata_datawidth: 8}
    sparse_optimizations: %s
  - !Component
    name: glb
    class: SRAM
    attributes:
      {width: 64, datawidth: 16, depth: 512, metadata_storage_width: 32, metadata_storage_depth: 2, metadata_datawidth: 8}
    sparse_optimizations: %s
  - !Component {name: mac, class: intmac, attributes: {datawidth: 16}}
"""
TABLE = {"DRAM": {"read": 100.0, "write": 100.0}, "glb": {"read": 2.0, "write": 2.0}, "mac": {"compute": 1.0}}
MATMUL = {
    "version": 0.4,
    "instance": {"M": 8, "N": 8, "K": 8, "densities": {"A": 0.5}},
    "shape": {
        "name": "matmul", "dimensions": ["M", "N", "K"],
        "data_spaces": [
            {"name": "A", "projection": [[["M"]], [["K"]]]},
            {"name": "B", "projection": [[["K"]], [["N"]]]},
            {"name": "Z", "projection": [[["M"]], [["N"]]], "read_write": True},
        ],
    },
}  # fmt: skip
MAPPING = [
    {"target": "DRAM", "type": "temporal", "factors": "M=2 N=4 K=2", "permutation": "MNK"},
    {"target": "glb", "type": "temporal", "factors": "M=4 N=2 K=4", "permutation": "MNK"},
]


def compressed(*kinds: str) -> str:
    ranks = ", ".join(f"{{format: {kind}, flattened_rankIDs: [[M, N, K]]}}" for kind in kinds)
    return f"{{representation_format: {{data_spaces: [{{name: A, ranks: [{ranks}]}}]}}}}"


def skipping(target: str, leader: str, kind: str = "skipping") -> str:
    return f"{{action_optimization: [{{type: {kind}, options: [{{target: {target}, condition_on: [{leader}]}}]}}]}}"


TWO_OPTIONS = (
    "{action_optimization: [{type: skipping, options: [{target: B, condition_on: [A]}, {target: A, condition_on: [B]}]}]}"
)


@pytest.mark.parametrize(
    ("dram", "glb", "message"),
    [
        (compressed("UOP", "CP"), "{}", r"glb: decompression of A is needed, but decompression_supported is not set"),
        (compressed("CP"), compressed("CP"), r"DRAM: more compression ranks of A are needed than its format's 1"),
        (compressed("UOP", "CP"), compressed("RLE"), r"DRAM: the ranks of A do not line up with those in glb"),
        (compressed("UOP", "CP"), compressed("UOP", "UOP", "CP"), r"glb: A has 3 ranks here and 2 in the level above"),
        ("{}", compressed("CP"), r"glb: A is compressed below DRAM, which holds it uncompressed"),
    ],
)
def test_formats_that_do_not_line_up_are_refused(dram: str, glb: str, message: str) -> None:
    simulator = Simulator(
        hwloop.load_problem(MATMUL), hwloop.load_architecture(ARCHITECTURE % (dram, glb)), hwloop.load_energy_table(TABLE)
    )
    with pytest.raises(InfeasibleMappingError, match=message):
        simulator.run(hwloop.load_mapping(MAPPING))


def test_metadata_has_to_fit() -> None:
    text = ARCHITECTURE.replace("depth: 2, metadata_datawidth", "depth: 1, metadata_datawidth")
    accelerator = hwloop.load_architecture(text % (compressed("UOP", "CP"), compressed("CP")))
    with pytest.raises(InfeasibleMappingError, match=r"glb: metadata needs 64 bits, 32 bits fit"):
        hwloop.simulate(MATMUL, accelerator, MAPPING, TABLE)


@pytest.mark.parametrize(
    ("dram", "message"),
    [
        (skipping("A", "Q"), r"condition_on: expected a data space among \['A', 'B', 'Z'\]"),
        (compressed("CP", "UOP"), r"expected compressed ranks \(CP, B, RLE\) below uncompressed ones"),
        ("{compute_optimization: [{type: gating}]}", r"DRAM\.sparse_optimizations: expected no compute_optimization"),
        (compressed("CP").replace("format: CP", "format: CP, metadata_word_bits: 64"), r"at least the 128 bits of a CP"),
        (
            TWO_OPTIONS.replace("skipping", "skipping_spatial"),
            r"expected one option for skipping_spatial",
        ),
    ],
)
def test_optimizations_that_no_level_can_have_are_refused(dram: str, message: str) -> None:
    accelerator = hwloop.load_architecture(ARCHITECTURE % (dram, "{}"))
    with pytest.raises(SpecError, match=message):
        hwloop.simulate(MATMUL, accelerator, MAPPING, TABLE)


def test_overbooking_is_refused_rather_than_ignored() -> None:
    text = ARCHITECTURE.replace("depth: 512,", "depth: 512, allow_overbooking: true,")
    text = text % (compressed("UOP", "CP"), compressed("CP"))
    with pytest.raises(SpecError, match=r"glb\.attributes\.allow_overbooking: expected false at a level with a format"):
        hwloop.simulate(MATMUL, hwloop.load_architecture(text), MAPPING, TABLE)


def test_actual_data_is_refused_with_the_way_out() -> None:
    problem = hwloop.load_problem(MATMUL).with_densities({"A": Density("actual_data", 0.5, filename="a.txt")})
    accelerator = hwloop.load_architecture(ARCHITECTURE % (skipping("B", "A"), "{}"))
    with pytest.raises(SpecError, match=r"densities\.A\.distribution.*give it as hypergeometric"):
        hwloop.simulate(problem, accelerator, MAPPING, TABLE)


def test_the_better_of_two_options_is_taken() -> None:
    problem = hwloop.load_problem(MATMUL).with_densities({"A": 0.1, "B": 0.9})
    cost = hwloop.simulate(problem, hwloop.load_architecture(ARCHITECTURE % ("{}", TWO_OPTIONS)), MAPPING, TABLE)
    assert cost.components["glb"].dataspaces["B"].skipped_reads > 0
    assert cost.components["glb"].dataspaces["A"].skipped_reads == 0


def test_compressed_sparse_rows_by_hand() -> None:
    """Half of A's 8 x 8 values: at the buffer a tile of 4 x 4 is one rank with 8 coordinates of 8 bits, sent 2 x 4 x 2 times."""
    accelerator = hwloop.load_architecture(ARCHITECTURE % (compressed("UOP", "CP"), compressed("CP")))
    cost = hwloop.simulate(MATMUL, accelerator, MAPPING, TABLE)
    counts = cost.components["glb"].dataspaces["A"]
    assert counts.capacity == 8
    assert counts.metadata_capacity_bits == 8 * 8
    assert counts.algorithmic_fills == 256
    assert counts.fills == counts.metadata["fill"][-1][0] == 128
