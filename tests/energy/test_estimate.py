"""Where a table comes from, and what it must hold."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from hwloop.energy import area_um2, check_covers, estimate_energy_table
from hwloop.energy.hwcomponents_source import PACKAGES
from hwloop.energy.listing import action_lines, differences
from hwloop.errors import EnergyTableError
from hwloop.spec.architecture import load_architecture
from hwloop.spec.energy_table import load_energy_table
from hwloop.spec.resources import open_architecture, open_table
from hwloop.spec.shipped import find_table

SMALL = """
architecture:
  version: 0.4
  nodes:
  - !Container
    name: system
    attributes: {technology: '"45nm"', global_cycle_seconds: 1e-9}
  - !Component
    name: DRAM
    class: DRAM
    attributes: {type: '"LPDDR4"', width: 64, datawidth: 8}
  - !Container
    name: PE
    spatial: {meshX: 4, meshY: 1}
  - !Component
    name: buffer
    class: %s
    attributes: {depth: 1024, width: 32, datawidth: 8}
  - !Component
    name: mac
    class: intmac
    attributes: {multiplier_width: 8, adder_width: 16}
"""


def test_shipped_table_has_every_component_with_an_owner() -> None:
    arch = open_architecture("eyeriss_168")
    table = estimate_energy_table(arch)
    assert [c.name for c in table.components] == ["DRAM", "shared_glb", "ifmap_spad", "weights_spad", "psum_spad", "mac"]
    assert all(c.source and c.area_um2 is not None for c in table.components)
    assert all("leak" in c.energies_pj for c in table.components)


def test_bits_change_the_mac_and_nothing_else() -> None:
    arch = open_architecture("eyeriss_168")
    full, narrow = estimate_energy_table(arch), estimate_energy_table(arch, bits={"Weights": 4, "Inputs": 8, "Outputs": 8})
    changed = [(d.component, d.quantity) for d in differences(arch, full, narrow) if d.relative != 0]
    assert changed == [("mac", "compute")]
    assert narrow.component("mac").energy_pj("compute") < full.component("mac").energy_pj("compute") / 4


def test_leakage_follows_the_clock() -> None:
    arch = load_architecture(SMALL % "SRAM")
    slow = load_architecture((SMALL % "SRAM").replace("1e-9", "4e-9"))
    fast_leak = estimate_energy_table(arch).component("buffer").energy_pj("leak")
    assert estimate_energy_table(slow).component("buffer").energy_pj("leak") == pytest.approx(4 * fast_leak)


def test_a_table_of_your_own_is_taken_as_it_is(tmp_path: Path) -> None:
    arch = load_architecture(SMALL % "SRAM")
    mine = {"DRAM": {"read": 1, "write": 2}, "buffer": {"read": 3, "write": 4}, "mac": {"compute": 5}}
    for source in (mine, load_energy_table(mine)):
        assert estimate_energy_table(arch, source, bits={"Weights": 2}).component("mac").energy_pj("compute") == 5
    file = tmp_path / "mine.yaml"
    file.write_text(load_energy_table(mine).to_yaml(), encoding="utf-8")
    assert estimate_energy_table(arch, str(file)).component("buffer").energy_pj("read") == 3
    assert estimate_energy_table(arch, file).component("DRAM").energy_pj("write") == 2


def test_a_table_that_lacks_a_component_says_which() -> None:
    arch = load_architecture(SMALL % "SRAM")
    with pytest.raises(EnergyTableError, match="no entry for buffer, mac of accelerator 'system'"):
        check_covers(load_energy_table({"DRAM": {"read": 1}}), arch)


@pytest.mark.parametrize("source", ["shiped", "no/such/file.yaml"])
def test_an_unknown_source_names_those_there_are(source: str) -> None:
    with pytest.raises(EnergyTableError, match="neither a file nor one of shipped, hwcomponents, accelergy, table"):
        estimate_energy_table(load_architecture(SMALL % "SRAM"), source)


def test_an_unknown_class_is_refused_not_guessed() -> None:
    with pytest.raises(EnergyTableError, match="component 'buffer': no estimator knows the class 'memristor'"):
        estimate_energy_table(load_architecture(SMALL % "memristor"))


def test_area_sums_instances() -> None:
    arch = load_architecture(SMALL % "SRAM")
    table = estimate_energy_table(arch)
    expected = 4 * (table.component("buffer").area_um2 or 0) + 4 * (table.component("mac").area_um2 or 0)
    assert area_um2(arch, table) == pytest.approx(expected)
    with pytest.raises(EnergyTableError, match="component 'DRAM' has no area"):
        area_um2(arch, load_energy_table({"DRAM": {"read": 1}}))


def test_lines_price_words_by_the_row() -> None:
    arch = open_architecture("eyeriss_168")
    lines = {(line.component, line.action): line for line in action_lines(arch, estimate_energy_table(arch))}
    glb = lines["shared_glb", "read"]
    assert glb.word_pj == pytest.approx(glb.energy_pj / 4)  # 64-bit rows of 16-bit words
    assert lines["mac", "leak"].word_pj is None
    assert lines["weights_spad", "read"].instances == 168


def test_eyeriss_ratios_are_of_the_order_the_chips_authors_published() -> None:
    """ISCA 2016, table IV: a MAC 1, register file 1, global buffer 6, DRAM 200 (65 nm, 16 bits, with their own memories)."""
    arch = open_architecture("eyeriss_168")
    lines = {(line.component, line.action): line for line in action_lines(arch, estimate_energy_table(arch))}
    mac = lines["mac", "compute"].energy_pj
    ratios = {name: (lines[name, "read"].word_pj or 0) / mac for name in ("weights_spad", "shared_glb", "DRAM")}
    assert 0.5 < ratios["weights_spad"] < 2
    assert 3 < ratios["shared_glb"] < 15
    assert 60 < ratios["DRAM"] < 250


@pytest.mark.skipif(find_spec("hwcomponents_cacti") is not None, reason="hwcomponents is installed here")
def test_without_hwcomponents_the_message_says_how_to_get_it() -> None:
    with pytest.raises(EnergyTableError, match=r"not installed: hwcomponents.*pip install 'hwloop\[hwcomponents\]'"):
        estimate_energy_table(open_architecture("eyeriss_168"), "hwcomponents")


@pytest.mark.skipif(
    any(find_spec(p) is None for p in PACKAGES),
    reason=f"not all of {', '.join(PACKAGES)} are installed",
)
def test_shipped_agrees_with_hwcomponents_run_live() -> None:
    arch = open_architecture("eyeriss_168")
    found = differences(arch, estimate_energy_table(arch), estimate_energy_table(arch, "hwcomponents"))
    assert max(abs(d.relative) for d in found if d.relative is not None) < 0.05


def test_the_table_beside_an_accelerator_is_found_and_covers_it() -> None:
    arch = open_architecture("tpu_like")
    file, table = find_table("tpu_like"), open_table("tpu_like")
    assert file is not None
    assert file.name == "tpu_like.ert.yaml"
    assert table is not None
    assert check_covers(table, arch) is table


def test_a_component_is_priced_times_its_own_scales() -> None:
    plain = estimate_energy_table(load_architecture(SMALL % "SRAM")).component("buffer")
    text = (SMALL % "SRAM").replace("class: SRAM", "class: SRAM\n    energy_scale: 0.5\n    area_scale: 3")
    scaled = estimate_energy_table(load_architecture(text)).component("buffer")
    assert scaled.energies_pj == {action: pytest.approx(0.5 * energy) for action, energy in plain.energies_pj.items()}
    assert scaled.area_um2 == pytest.approx(3 * (plain.area_um2 or 0))
    assert "energy times 0.5 (energy_scale); area times 3 (area_scale)" in scaled.source
