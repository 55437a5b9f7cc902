"""Both forms of an architecture give the same chain of levels; mistakes are named with their field."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwloop.errors import SpecError
from hwloop.spec.architecture import load_architecture

NODES = """
variables: {word: 16}
architecture:
  version: 0.4
  nodes:
  - !Container
    name: system
    attributes: {technology: '"65nm"', global_cycle_seconds: 1e-9}
  - !Component
    name: DRAM
    class: DRAM
    attributes: {width: word * 4, datawidth: word}
  - !Component
    name: glb
    class: SRAM
    attributes: {depth: 13824, width: 64, datawidth: word, read_bandwidth: 16}
    constraints: {dataspace: {keep: [Inputs, Outputs], bypass: [Weights]}}
  - !Container
    name: column
    spatial: {meshX: 14}
    constraints: {spatial: {permutation: [N, C, P, R, S, Q, M], factors: [N=1, C=1], split: 7}}
  - !Container
    name: PE
    spatial: {meshY: 12}
  - !Parallel
    nodes:
    - !Component {name: wspad, class: SRAM, attributes: {depth: 224, width: 16, datawidth: 8}}
    - !Component
      name: pspad
      class: SRAM
      attributes: {depth: 24, width: 16, datawidth: 16}
      sparse_optimizations:
        action_optimization: [{type: gating, options: [{target: Outputs, condition_on: [Inputs]}]}]
  - !Component {name: mac, class: intmac}
"""


def test_nodes_become_a_chain_with_a_spatial_level_for_each_fan_out() -> None:
    arch = load_architecture(NODES)
    assert [(level.name, level.kind, level.instances) for level in arch.levels] == [
        ("DRAM", "storage", 1),
        ("glb", "storage", 1),
        ("inter_column_spatial", "spatial", 1),
        ("inter_PE_spatial", "spatial", 14),
        ("wspad", "storage", 168),
        ("pspad", "storage", 168),
        ("mac", "compute", 168),
    ]
    assert arch.fanout == ((1, 1), (1, 1), (14, 1), (1, 12), (1, 1), (1, 1))
    assert arch.cycle_s == 1e-9


def test_rows_hold_width_over_datawidth_words() -> None:
    arch = load_architecture(NODES)
    dram, glb, wspad = arch.level("DRAM"), arch.level("glb"), arch.level("wspad")
    assert (dram.width, dram.word_bits, dram.block_size, dram.entries) == (64, 16, 4, None)
    assert (glb.block_size, glb.entries) == (4, 13824 * 4)
    assert (wspad.block_size, wspad.entries) == (2, 448)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("block_size: 2", r"attributes\.width: expected .*16 x 2 x 1 = 32 bits, found 64; give cluster_size"),
        ("block_size: 2, cluster_size: 4", r"attributes\.width: expected .*16 x 2 x 4 = 128 bits, found 64$"),
        ("block_size: 2, cluster_size: 2", ""),
        ("block_size: 4", ""),
        ("cluster_size: 2", ""),
    ],
)
def test_a_row_is_as_wide_as_its_words(more: str, message: str) -> None:
    text = NODES.replace("depth: 13824", f"depth: 13824, {more}")
    assert text != NODES
    if message:
        with pytest.raises(SpecError, match=message):
            load_architecture(text)
    else:
        assert load_architecture(text).level("glb").width == 64


def test_a_fan_out_carries_the_spatial_constraint_of_its_container() -> None:
    constraint = load_architecture(NODES).constraints.loop("inter_column_spatial", "spatial")
    assert constraint is not None
    assert constraint.factors == (("N", "=", 1), ("C", "=", 1))
    assert constraint.split == 7


def test_round_trip_through_the_tree_form() -> None:
    arch = load_architecture(NODES)
    assert load_architecture(arch.to_yaml()) == arch
    assert load_architecture(arch.to_dict()) == arch


def test_a_component_with_a_fan_out_gets_its_own_spatial_level() -> None:
    arch = load_architecture(
        """
architecture:
  nodes:
  - !Component {name: mem, class: DRAM, attributes: {datawidth: 16}}
  - !Component {name: mac, class: intmac, spatial: {meshX: 4, meshY: 2}}
"""
    )
    assert [(level.name, level.mesh_x, level.mesh_y) for level in arch.levels] == [
        ("mem", 1, 1),
        ("inter_mac_spatial", 1, 1),
        ("mac", 4, 2),
    ]


def test_all_upstream_inputs_load_and_round_trip(shared: Path) -> None:
    files = sorted((shared / "reference").glob("upstream/*/input.yaml")) + sorted((shared / "reference").glob("mapper/*.yaml"))
    assert len(files) >= 24
    for file in files:
        arch = load_architecture(file)
        assert load_architecture(arch.to_yaml()) == arch, file


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("depth: 13824", "detph: 13824", r"architecture\.nodes\[2\]\.attributes\.detph: .*did you mean 'depth'"),
        (
            "depth: 13824",
            "depth: -3",
            r"architecture\.nodes\[2\]\.attributes\.depth: expected a whole number of at least 0, found -3",
        ),
        ("depth: 13824", "depth: open('x')", r"nodes\[2\]\.attributes\.depth: expected a number.*unknown function 'open'"),
        ("width: word * 4", "width: wrod * 4", r"nodes\[1\]\.attributes\.width: .*unknown name 'wrod'"),
        (
            "class: SRAM\n    attributes: {depth: 138",
            "clas: SRAM\n    attributes: {depth: 138",
            r"nodes\[2\]\.class: .*did you mean 'class'",
        ),
        ("!Parallel", "!Paralel", r"nodes\[5\]\.\(tag\): expected one of"),
        ("name: glb", "name: DRAM", "expected distinct names"),
        (
            "type: gating",
            "type: gaiting",
            r"sparse_optimizations\.action_optimization\[0\]\.type: expected one of .*found 'gaiting'",
        ),
        ("split: 7", "splitt: 7", r"constraints\.spatial\.splitt: expected a known field.*did you mean 'split'"),
        ("bypass: [Weights]", "bypass: [Inputs]", r"dataspace\.keep: expected no data space that is also in bypass"),
        (
            "nodes:\n  - !Container\n    name: system",
            "node:\n  - !Container\n    name: system",
            r"architecture\.nodes: expected `nodes`",
        ),
        ("  version: 0.4", "  version: [0.4", "expected valid YAML"),
    ],
)
def test_mistakes_are_named_with_their_field(old: str, new: str, message: str) -> None:
    assert old in NODES
    with pytest.raises(SpecError, match=message):
        load_architecture(NODES.replace(old, new, 1))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(SpecError, match=r"nowhere\.yaml: \(file\): expected a readable YAML file"):
        load_architecture("nowhere.yaml")
