"""Reuse that a mapping or the accelerator's constraints forbid: by hand, and the same in batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hwloop
from hwloop import InfeasibleMappingError, SpecError
from hwloop.simulator import BatchSimulator, DataSpaceCost, LayerCandidate, LayerNests, Simulator
from hwloop.spec.architecture import Architecture
from hwloop.spec.batch import MappingBatch
from hwloop.spec.constraints import Constraints, DataSpaceConstraint, LoopConstraint
from hwloop.spec.mapping import Mapping

ARCH = """
architecture:
  version: 0.4
  nodes:
  - !Container {name: system, attributes: {technology: "45nm", global_cycle_seconds: 1e-9}}
  - !Component {name: DRAM, class: DRAM, attributes: {width: 16, datawidth: 16}}
  - !Component {name: glb, class: SRAM, attributes: {width: 16, datawidth: 16, depth: 4096}}
  - !Container {name: PE, spatial: {meshX: 4, meshY: 1}}
  - !Component {name: rf, class: SRAM, attributes: {width: 16, datawidth: 16, depth: 64}}
  - !Component {name: mac, class: intmac, attributes: {datawidth: 16}}
"""
CONV = {
    "version": 0.4, "instance": {"P": 4, "R": 2, "K": 3},
    "shape": {"name": "conv", "dimensions": ["P", "R", "K"], "data_spaces": [
        {"name": "W", "projection": [[["R"]], [["K"]]]}, {"name": "I", "projection": [[["P"], ["R"]]]},
        {"name": "O", "projection": [[["P"]], [["K"]]], "read_write": True}]},
}  # fmt: skip
TABLE = {name: {"read": 1.0, "write": 1.0} for name in ("DRAM", "glb", "rf")} | {"mac": {"compute": 1.0}}
FLAGS = ("no_reuse", "no_link_transfer", "rmw_first_update")


def counts(**flags: dict[str, list[str]]) -> dict[tuple[str, str], DataSpaceCost]:
    """By level and data space, of a mapping with P over the children, whose inputs slide from neighbour to neighbour.

    Args:
        flags: by target (`glb`, `rf`, `PE`), what it forbids.
    """
    mapping = [
        {"target": "glb", "type": "temporal", "factors": "K=3 R=2", "permutation": "RKP", **flags.get("glb", {})},
        {"target": "inter_PE_spatial", "type": "spatial", "factors": "P=4", "permutation": "PRK", "split": 3,
         **flags.get("PE", {})},
        {"target": "rf", "type": "temporal", "factors": "", **flags.get("rf", {})},
    ]  # fmt: skip
    cost = hwloop.simulate(CONV, ARCH, mapping, TABLE)
    return {(name, space): c for name, part in cost.components.items() for space, c in part.dataspaces.items()}


def test_children_that_each_get_their_own() -> None:
    """Six steps (R, then K): W is one word for all four children; without multicast it is four."""
    assert counts()["glb", "W"].reads == 6
    assert counts(PE={"no_reuse": ["W"]})["glb", "W"].reads == 24
    alone = counts(PE={"no_reuse": ["O"]})
    assert alone["glb", "O"].updates == counts()["glb", "O"].updates  # nothing of it was added up in space


def test_neighbours_that_pass_nothing_on() -> None:
    """In each of the 5 steps after the first (R goes on, or back to 0) three children find their word at their neighbour's."""
    passed, fetched = counts(), counts(PE={"no_link_transfer": ["I"]})
    assert passed["glb", "I"].reads == 4 + 5 * 1
    assert fetched["glb", "I"].reads == 6 * 4


def test_tiles_that_are_sent_again_in_every_step() -> None:
    """O stays in the children while R runs: 12 words leave once; without reuse over time each of 6 steps sends 4."""
    assert counts()["rf", "O"].updates == 6
    assert counts()["glb", "O"].updates == 12
    assert counts(rf={"no_reuse": ["O"]})["glb", "O"].updates == 24


def test_first_updates_that_are_read_as_well() -> None:
    plain, reading = counts()["glb", "O"], counts(glb={"rmw_first_update": ["O"]})["glb", "O"]
    assert (plain.reads, plain.temporal_reductions) == (0, 0)
    assert reading.reads == reading.temporal_reductions == reading.updates == plain.updates


def test_unknown_names_are_refused() -> None:
    with pytest.raises(SpecError, match=r"inter_PE_spatial\.no_reuse.*a data space among"):
        counts(PE={"no_reuse": ["Ghost"]})


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
def test_batches_forbid_what_the_constraints_do(random_case: Callable[..., Any], seed: int, rng: Any) -> None:
    case = random_case(seed, imperfect=seed % 3 == 0)
    spaces = [d.name for d in case.problem.shape.data_spaces]
    some = tuple(s for s in spaces if rng.random() < 0.6)
    loops = tuple(
        LoopConstraint(level.name, kind, **{flag: some for flag in flags if rng.random() < 0.5})
        for i, level in enumerate(case.architecture.storage)
        for kind, flags in (("spatial", FLAGS[:2]), ("temporal", (FLAGS[0], FLAGS[2])))
        if kind == "temporal" or case.architecture.fanout[i] != (1, 1)
    )
    middle = next((level.name for level in case.architecture.storage[1:] if level.kind != "spatial"), "")
    passing = (DataSpaceConstraint(middle, no_coalesce=some),) if middle and rng.random() < 0.3 else ()
    architecture = case.architecture.with_constraints(Constraints(loops, passing))
    mappings = [case.mapping, *(random_case(seed + i, like=case).mapping for i in range(1, 3))]
    batch = MappingBatch.from_mappings(mappings, case.problem.shape, case.problem.bounds, architecture)
    found = BatchSimulator(case.problem, architecture, case.energy_table).run(batch)
    costs = LayerNests(case.problem, architecture, batch).cost([LayerCandidate(case.energy_table)])
    for row in range(len(batch)):
        expected = alone(case, architecture, batch.to_mapping(row, case.problem.shape, architecture))
        assert [found.energy_pj[row], costs.energy_pj[0, row]] == [pytest.approx(expected, rel=1e-12)] * 2


def alone(case: Any, architecture: Architecture, mapping: Mapping) -> float:
    try:
        return Simulator(case.problem, architecture, case.energy_table).run(mapping).energy_pj
    except InfeasibleMappingError:
        return float("inf")


def test_a_mapping_that_forbids_more_than_its_batch_is_refused(random_case: Callable[..., Any]) -> None:
    case = random_case(3)
    space = case.problem.shape.data_spaces[0].name
    loops = tuple(replace(entry, no_reuse=(space,)) for entry in case.mapping.loops)
    with pytest.raises(SpecError, match=r"no_reuse.*what the accelerator's constraints say too"):
        MappingBatch.from_mappings(
            [replace(case.mapping, loops=loops)], case.problem.shape, case.problem.bounds, case.architecture
        )  # fmt: skip
