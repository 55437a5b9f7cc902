"""The shipped accelerators and dataflows: whole, priced, able to fill their arrays, the same machine dense and sparse."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import prod

import pytest

from hwloop.energy import area_um2, estimate_energy_table
from hwloop.energy.listing import differences
from hwloop.spec.architecture import load_architecture
from hwloop.spec.constraints import Constraints
from hwloop.spec.levels import Architecture
from hwloop.spec.problem import conv2d_shape
from hwloop.spec.resources import open_architecture, open_mapping, open_table
from hwloop.spec.shipped import architecture_names, mapping_names
from hwloop.spec.sparsity import SparseOptimizations

ARCHITECTURES = architecture_names()
BASES = ("eyeriss_168", "flexible", "shidiannao_like", "tpu_like")
LAYER = {"N": 1, "C": 64, "M": 64, "R": 3, "S": 3, "P": 14, "Q": 14, "G": 1}
WIDE = LAYER | {"P": 32, "Q": 32}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_loads_and_survives_a_round_trip(name: str) -> None:
    arch = open_architecture(name)
    again = load_architecture(arch.to_yaml())
    assert again.levels == arch.levels
    assert again.constraints == arch.constraints


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_table_beside_it_is_what_the_shipped_figures_say(name: str) -> None:
    arch, table = open_architecture(name), open_table(name)
    assert table is not None, "make it: python tools/make_energy_tables.py tables"
    assert all(c.source for c in table.components)
    for d in differences(arch, table, estimate_energy_table(arch)):
        assert d.relative is not None, d
        assert abs(d.relative) < 1e-4, d


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_technology_and_clock_are_stated(name: str) -> None:
    arch = open_architecture(name)
    assert dict(arch.attributes)["technology"] in ("65nm", "45nm")
    assert all(level.values["technology"] for level in arch.levels if level.kind != "spatial")
    assert arch.cycle_s in (1e-9, 5e-9)


@pytest.mark.parametrize("name", [n for n in ARCHITECTURES if n not in BASES])
def test_a_sparse_version_is_its_dense_machine_with_sparse_optimisations(name: str) -> None:
    base = open_architecture(next(b for b in BASES if name.startswith(b)))
    arch = open_architecture(name)
    added = ("metadata_", "decompression_supported", "compression_supported")
    plain = tuple(
        replace(
            level,
            sparse=SparseOptimizations(),
            attributes=tuple((k, v) for k, v in level.attributes if not k.startswith(added)),
        )
        for level in arch.levels
    )
    assert plain == base.levels
    assert arch.constraints == base.constraints
    assert any(level.sparse for level in arch.levels)
    assert not any(level.sparse for level in base.levels)


def _fill(arch: Architecture, constraints: Constraints, sizes: dict[str, int]) -> int:
    """The most compute units that spatial factors allowed by the constraints can use; each must divide its dimension."""
    used, left = 1, dict(sizes)
    for level, (x, y) in zip(arch.levels[:-1], arch.fanout, strict=True):
        if level.kind != "spatial":
            continue
        loop = constraints.loop(level.name, "spatial")
        assert loop is not None
        assert loop.permutation is not None
        assert loop.split is not None
        fixed = {d for d, relation, bound in loop.factors if relation == "=" and bound == 1}
        for mesh, dimensions in ((x, loop.permutation[: loop.split]), (y, loop.permutation[loop.split :])):
            free = [d for d in dimensions if d not in fixed]
            choices = product(*([f for f in range(1, mesh + 1) if left[d] % f == 0] for d in free))
            best = max((c for c in choices if prod(c) <= mesh), key=prod, default=())
            used *= prod(best)
            for d, factor in zip(free, best, strict=True):
                left[d] //= factor
    return used


@pytest.mark.parametrize(
    "arch_name, mapping_name, sizes, expected",
    [
        ("eyeriss_168", None, LAYER, 168),
        ("eyeriss_168", "row_stationary", LAYER, 168),
        ("tpu_like", None, WIDE, 256),
        ("shidiannao_like", None, WIDE, 64),
        ("flexible", "row_stationary", WIDE, 256),
        ("flexible", "weight_stationary", WIDE, 256),
        ("flexible", "output_stationary", WIDE, 256),
        ("flexible", "output_stationary", LAYER | {"M": 256, "P": 1, "Q": 1, "R": 1, "S": 1}, 256),  # linear
        ("flexible", "weight_stationary", LAYER | {"P": 1, "Q": 1, "R": 1, "S": 1}, 256),
        ("flexible", "row_stationary", LAYER | {"C": 16, "M": 16, "P": 1, "Q": 1, "R": 1, "S": 1}, 256),
        ("flexible", "xy", WIDE, 256),
        ("flexible", "cico", WIDE, 256),
        ("flexible", "xfx", WIDE, 48),
        ("flexible", "fxfy", WIDE, 9),
        ("flexible", "fxfy", WIDE | {"R": 11, "S": 11}, 121),
    ],
)
def test_a_dataflow_can_fill_the_array(arch_name: str, mapping_name: str | None, sizes: dict[str, int], expected: int) -> None:
    arch = open_architecture(arch_name)
    constraints = arch.constraints if mapping_name is None else open_mapping(mapping_name)
    assert _fill(arch, constraints, sizes) == expected


@pytest.mark.parametrize("name", mapping_names())
def test_a_dataflow_names_only_levels_and_dimensions_there_are(name: str) -> None:
    constraints = open_mapping(name)
    assert constraints.name == name
    assert constraints.description
    for arch_name in ("flexible", "eyeriss_168"):
        names = {level.name for level in open_architecture(arch_name).storage}
        assert {c.target for c in (*constraints.loops, *constraints.data_spaces)} <= names
    for loop in constraints.loops:
        assert {d for d, _, _ in loop.factors} <= set(LAYER)
        if loop.permutation and "*" not in loop.permutation:
            assert set(loop.permutation) == set(LAYER), "one left out would be put in front and count towards split"


def test_dimensions_that_a_layer_lacks_are_dropped() -> None:
    constraints = open_mapping("row_stationary")
    depthwise = conv2d_shape(depthwise=True).dimensions
    dropped = constraints.for_dimensions(depthwise)
    for loop in dropped.loops:
        assert set(loop.permutation or ()) <= set(depthwise)
        assert {d for d, _, _ in loop.factors} <= set(depthwise)
    every = constraints.for_dimensions(LAYER)
    assert every == constraints


def test_dataflows_share_one_machine_of_one_area() -> None:
    arch = open_architecture("flexible")
    assert not arch.constraints.loops, "the machine itself prefers no dataflow"
    table = estimate_energy_table(arch)
    areas = set()
    for name in mapping_names():
        constrained = arch.with_constraints(open_mapping(name))
        assert constrained.levels == arch.levels
        areas.add(area_um2(constrained, estimate_energy_table(constrained)))
    assert areas == {area_um2(arch, table)}


def test_eyeriss_is_the_chip() -> None:
    """Sizes of JSSC 2017, table III."""
    arch = open_architecture("eyeriss_168")
    assert arch.compute.instances == 168
    assert {name: arch.level(name).entries for name in ("ifmap_spad", "weights_spad", "psum_spad")} == {
        "ifmap_spad": 12, "weights_spad": 224, "psum_spad": 24,
    }  # fmt: skip
    assert (arch.level("shared_glb").entries or 0) * 16 == 108 * 1024 * 8
    assert arch.cycle_s == pytest.approx(1 / 200e6)
