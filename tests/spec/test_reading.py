"""Specs as people write them: read as the real program reads them, with its figures; what has no effect is said."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import hwloop
from hwloop.errors import SpecError, SpecWarning
from hwloop.spec.architecture import Architecture

from .reading_cases import CASES, ENERGIES, FIGURES, MAPPING, NODES, PROBLEM, TREE


def changed(text: str, replacements: list[tuple[str, str]]) -> str:
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new)
    return text


def quietly(source: Any, **options: Any) -> Architecture:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecWarning)
        return hwloop.load_architecture(source, **options)


@pytest.mark.filterwarnings("ignore::hwloop.SpecWarning")
@pytest.mark.parametrize("name", CASES)
def test_the_figures_are_the_real_programs(name: str) -> None:
    form, in_architecture, in_mapping = CASES[name]
    arch = changed(TREE if form == "tree" else NODES, in_architecture)
    mapping = changed(MAPPING, in_mapping).replace("SPREAD", "glb" if form == "tree" else "PE")
    cost = hwloop.simulate(PROBLEM, arch, mapping, {**ENERGIES, "wrf": ENERGIES["rf"]})
    cycles, per_compute_fj = FIGURES[name]
    assert cost.cycles == cycles
    assert cost.energy_pj * 1e3 / cost.computes == pytest.approx(per_compute_fj, abs=0.0051)


@pytest.mark.parametrize("name", [name for name, (_, in_architecture, _) in CASES.items() if in_architecture])
def test_every_accelerator_survives_being_written(name: str) -> None:
    form, in_architecture, _ = CASES[name]
    arch = quietly(changed(TREE if form == "tree" else NODES, in_architecture))
    assert quietly(arch.to_yaml()) == arch


def test_a_storage_without_a_datawidth_is_refused_in_nodes_and_named_in_the_tree() -> None:
    with pytest.raises(SpecError, match=r"nodes\[1\]\.attributes\.datawidth: expected the bits of a word, found nothing"):
        hwloop.load_architecture(NODES.replace("{width: 64, datawidth: 16}", "{width: 64}"))
    with pytest.warns(SpecWarning, match=r"local\[0\]\.attributes\.datawidth: not given; 16 bits"):
        arch = hwloop.load_architecture(TREE.replace("{width: 64, datawidth: 16}}", "{width: 64}}"))
    assert arch.level("DRAM").word_bits == 16


def test_attributes_that_nobody_reads_are_kept_and_said_in_one_line() -> None:
    text = changed(TREE, CASES["attributes that nobody reads"][1])
    with pytest.warns(SpecWarning, match=r"kept for the estimator: nports, did you mean 'n_ports'\? \(glb\)") as said:
        arch = hwloop.load_architecture(text)
    assert len(said) == 1
    assert arch.level("glb").values["nbanks"] == 4


@pytest.mark.parametrize("slip", ["detph: 4096", "dept: 4096", "entires: 4096"])
def test_a_misspelt_capacity_is_refused(slip: str) -> None:
    with pytest.raises(SpecError, match=r"attributes\.\w+: expected a known attribute, found 4096; did you mean"):
        hwloop.load_architecture(TREE.replace("depth: 4096", slip))


def test_hyphenated_keywords_are_named() -> None:
    with pytest.warns(SpecWarning, match="hyphenated keywords are deprecated, read with underscores: block-size, word-bits"):
        hwloop.load_architecture(changed(TREE, CASES["hyphenated keywords"][1]))


def test_hyphens_that_the_real_program_misses_say_nothing() -> None:
    """Checked on the real program: `payload-word-bits: 9` changes nothing, `payload_word_bits: 9` is refused as too wide."""
    text = TREE.replace("depth: 4096}", "depth: 4096, network-word-bits: 4}")
    with pytest.warns(SpecWarning, match="network-word-bits: no effect with hyphens, as in the real program; write underscores"):
        arch = hwloop.load_architecture(text)
    assert arch.level("glb").network.word_bits == 16
    assert hwloop.load_architecture(text.replace("network-word-bits", "network_word_bits")).level("glb").network.word_bits == 4


def test_a_component_of_no_class_that_counts_is_left_out() -> None:
    with pytest.warns(SpecWarning, match=r"adder \(intadder\): neither a storage nor a compute unit nor a network"):
        arch = hwloop.load_architecture(changed(TREE, CASES["a component of another class"][1]))
    assert [level.name for level in arch.levels] == ["DRAM", "glb", "rf", "mac"]


def test_mesh_and_instances_that_contradict_are_refused() -> None:
    text = TREE.replace("{width: 16, datawidth: 16, depth: 256}", "{width: 16, datawidth: 16, depth: 256, meshX: 3}")
    with pytest.raises(SpecError, match=r"meshX x meshY to be the 16 instances of the name, found '3 x 5'"):
        hwloop.load_architecture(text)


def test_power_gating_passes_to_the_level_below_the_one_that_has_it_and_not_past_a_container() -> None:
    text = NODES.replace("depth: 4096}", "depth: 4096, has_power_gating: true}")
    with pytest.warns(SpecWarning, match="has_power_gating: no effect after a container, as in the front end"):
        arch = hwloop.load_architecture(text)
    assert all(level.values.get("power_gated_at") is None for level in arch.levels)
    bare = hwloop.load_architecture(
        """
architecture:
  nodes:
  - !Component {name: DRAM, class: DRAM, attributes: {datawidth: 16, has_power_gating: true}}
  - !Component {name: glb, class: SRAM, attributes: {datawidth: 16, depth: 64}}
  - !Component {name: rf, class: regfile, attributes: {datawidth: 16, depth: 8}}
  - !Component {name: mac, class: intmac}
"""
    )
    gates = {level.name: level.values.get("power_gated_at") for level in bare.levels}
    assert gates == {"DRAM": None, "glb": None, "rf": "glb", "mac": None}


FLAT = """
arch:
  arithmetic: {instances: 16, word-bits: 16}
  storage:
  - {name: rf, instances: 16, entries: 256, word-bits: 16}
  - {name: glb, instances: 1, sizeKB: 32, word-bits: 16, block-size: 4}
  - {name: DRAM, technology: DRAM, instances: 1, word-bits: 16, block-size: 4}
"""


def test_the_oldest_form_is_the_same_accelerator() -> None:
    flat, tree = quietly(FLAT), hwloop.load_architecture(TREE)
    shown = [(level.name, level.instances, level.word_bits, level.block_size, level.entries) for level in flat.levels[:-1]]
    assert shown == [
        (level.name, level.instances, level.word_bits, level.block_size, level.entries) for level in tree.levels[:-1]
    ]
    assert (flat.compute.name, flat.compute.instances) == ("__ARITH__", 16)
    mapping = MAPPING.replace("SPREAD", "glb")
    energies = {**ENERGIES, "__ARITH__": ENERGIES["mac"]}
    assert hwloop.simulate(PROBLEM, flat, mapping, energies).cycles == FIGURES["tree"][0]
    assert quietly(flat.to_yaml()) == flat


def test_networks_and_reuse_flags_are_read(tmp_path: Path) -> None:
    text = TREE.replace("depth: 4096}}", "depth: 4096, energy_per_hop: 0.5, router_energy: 0.25, network_read: noc}}").replace(
        "      local:\n", "      local:\n      - {name: noc, class: XY_NoC, attributes: {network_type: 1:N, wire_energy: 0.1}}\n"
    )
    arch = hwloop.load_architecture(text)
    (noc,) = arch.networks
    assert (noc.name, noc.kind, noc.sharing, noc.wire_pj, noc.hop_pj) == ("noc", "legacy", "1:N", 0.1, None)
    glb = arch.level("glb")
    assert (glb.network.hop_pj, glb.network.router_pj, glb.network.word_bits, glb.network_name("network_read")) == (
        0.5, 0.25, 16, "noc",
    )  # fmt: skip
    assert hwloop.load_architecture(arch.to_yaml()) == arch
    with pytest.raises(SpecError, match=r"glb\.attributes\.network_read: expected a network among \[\], found 'noc'"):
        hwloop.load_architecture(TREE.replace("depth: 4096}}", "depth: 4096, network_read: noc}}"))
    mapping = hwloop.load_mapping(
        [
            {"target": "glb", "type": "spatial", "factors": "C2", "no_reuse": ["Inputs"], "no_link_transfer": "Weights"},
            {
                "target": "glb",
                "type": "temporal",
                "factors": "C2",
                "no_temporal_reuse": ["Inputs"],
                "rmw_first_update": ["Outputs"],
            },
            {"target": "glb", "type": "bypass", "keep": ["Inputs"], "no_coalesce": ["Inputs"]},
        ]
    )
    spatial, temporal = mapping.find("glb", "spatial"), mapping.find("glb", "temporal")
    assert spatial is not None
    assert temporal is not None
    assert (spatial.no_reuse, spatial.no_link_transfer) == (("Inputs",), ("Weights",))
    assert (temporal.no_reuse, temporal.rmw_first_update) == (("Inputs",), ("Outputs",))
    assert mapping.bypass[0].no_coalesce == ("Inputs",)
    assert hwloop.load_mapping(mapping.to_yaml()) == mapping
    with pytest.warns(SpecWarning, match=r"no_multicast_no_reduction: no effect in a mapping"):
        hwloop.load_mapping([{"target": "glb", "type": "spatial", "factors": "C2", "no_multicast_no_reduction": ["Inputs"]}])


def test_scales_of_a_component_are_kept() -> None:
    text = TREE.replace(
        "class: SRAM, attributes: {width: 64, datawidth: 16, depth: 4096}",
        "class: SRAM, energy_scale: 0.5, area_scale: 2,\n       attributes: {width: 64, datawidth: 16, depth: 4096,"
        " per_dataspace_bandwidth_consumption_scale: {Inputs: 0.5}, vector_access_energy: 3}",
    )
    arch = hwloop.load_architecture(text)
    glb = arch.level("glb")
    assert (glb.energy_scale, glb.area_scale, glb.bandwidth_scale, glb.vector_access_pj) == (0.5, 2.0, (("Inputs", 0.5),), 3.0)
    assert hwloop.load_architecture(arch.to_yaml()) == arch


@pytest.mark.parametrize("shape", ["", "\n  shape: cnn_layer", "\n  shape: cnn-layer", "\n  shape: CNN_Layer"])
@pytest.mark.filterwarnings("ignore::hwloop.SpecWarning")
def test_shapes_by_name_and_the_default_one(shape: str) -> None:
    problem = hwloop.load_problem(f"problem:\n  instance: {{R: 3, S: 3, P: 4, Q: 4, C: 2, K: 5, N: 1}}{shape}\n")
    assert problem.shape.dimensions == tuple("RSPQCKN")
    assert (problem.tensor_size("Inputs"), problem.shape.output.name) == (72, "Outputs")
    flat = hwloop.load_problem("problem: {shape: gemm-ABZ, M: 3, N: 4, K: 5}")
    assert (flat.computes, flat.tensor_size("Z")) == (60, 12)
    with pytest.raises(SpecError, match=r"problem\.shape: expected a shape, or the name of one: cnn_layer, gemm, gemm_ABZ"):
        hwloop.load_problem("problem: {shape: attention, M: 3}")


def test_what_stands_beside_the_sizes_of_a_problem_is_said() -> None:
    with pytest.warns(SpecWarning, match=r"problem\.instance\.stride, H: no effect: neither dimensions nor coefficients"):
        hwloop.load_problem(PROBLEM.replace("Q: 14}", "Q: 14, stride: 2, H: 16}"))
    with pytest.warns(SpecWarning, match=r"commonDensity\.Weights: a plain number is `fixed_structured`"):
        common = hwloop.load_problem(PROBLEM.replace("Q: 14}", "Q: 14, commonDensity: 0.5}"))
    assert common.density("Weights").distribution == "fixed_structured"
    assert {name: d.density for name, d in common.densities} == {"Weights": 0.5, "Inputs": 0.5, "Outputs": 0.5}


def test_old_energy_tables_and_several_tables() -> None:
    old = hwloop.load_energy_table(
        "ERT:\n  version: 0.2\n  tables:\n    chip.glb:\n      read: [{energy: 1.5, arguments: {bits: 8}}, {energy: 2.5}]\n"
        "      write: {energy: 3}\n    chip.wire:\n      transfer_random: {energy: 0.1}\n"
    )
    assert old.component("glb").actions == (("read", 2.5), ("write", 3.0))
    assert old.component("glb").by_argument == (("read", (("bits", 8),), 1.5), ("read", (), 2.5))
    assert old.wire_pj == 0.1
    assert hwloop.load_energy_table(old.to_yaml()) == old
    several = hwloop.load_energy_table(
        {"ERT": [{"version": 0.4, "tables": [{"name": n, "actions": [{"name": "read", "energy": "1e-3"}]}]} for n in ("a", "b")]}
    )
    assert [c.name for c in several.components] == ["a", "b"]
    assert several.component("b").energies_pj == {"read": 0.001}


@pytest.mark.parametrize(
    ("entry", "per_compute_fj"),
    [({"rf": {"access": 1.0}}, 11119.15), ({"glb": {"idle": 0.5}}, 11464.18), ({"DRAM": {"idle": 0.5}}, 17334.61)],
)
def test_a_table_without_any_access_leaves_the_programs_own_estimate(entry: dict[str, Any], per_compute_fj: float) -> None:
    with pytest.warns(SpecWarning, match="has no read and no write, only .*; the real program's own estimate counts"):
        cost = hwloop.simulate(PROBLEM, TREE, MAPPING.replace("SPREAD", "glb"), {**ENERGIES, **entry})
    assert cost.energy_pj * 1e3 / cost.computes == pytest.approx(per_compute_fj, abs=0.0051)


def test_a_dummy_storage_that_the_front_end_did_not_make_stores_like_any_other() -> None:
    level = "- {name: mine, class: dummy_storage, attributes: {width: 16, datawidth: 16, depth: 64%s}}\n    subtree:"
    kinds = [
        hwloop.load_architecture(TREE.replace('subtree:\n    - name: "PE', (level % extra) + '\n    - name: "PE'))
        .level("mine")
        .kind
        for extra in ("", ", technology: -1")
    ]
    assert kinds == ["storage", "spatial"]


def test_repeated_keys_and_a_list_of_dicts() -> None:
    with pytest.warns(SpecWarning, match="stands twice, the first counts, as in the real program: depth"):
        arch = hwloop.load_architecture(TREE.replace("depth: 4096", "depth: 4096, depth: 1"))
    assert arch.level("glb").depth == 4096
    parts = hwloop.load_architecture(NODES.replace("depth: 4096", "depth: lines") + "variables: [{lines: 64}, {other: 2}]\n")
    assert parts.level("glb").depth == 64
    with pytest.raises(SpecError, match=r"variables\.lines: expected one value in all parts of the list, found 65"):
        hwloop.load_architecture(NODES + "variables: [{lines: 64}, {lines: 65}]\n")
