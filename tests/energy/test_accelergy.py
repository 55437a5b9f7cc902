"""Accelergy as an energy source: a stand-in program answers as the real one does; the real one is run with --timeloop."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from hwloop.energy import accelergy_source as accelergy
from hwloop.energy import estimate_energy_table
from hwloop.energy.listing import differences
from hwloop.errors import EnergyTableError, SimulatorError
from hwloop.spec.resources import open_architecture

# Answers with the form of a recorded run (Accelergy 0.4): one table a primitive, the plug-in in the summary.
STAND_IN = """#!%(python)s
import json, os, sys
tree = json.load(open(sys.argv[1]))["architecture"]["subtree"][0]
assert tree["attributes"]["technology"].endswith("nm") and sys.argv[2:] == ["-o", "out", "-f", "ERT", "ART", "ERT_summary"]
energies = {"read": 64.0, "write": 128.0, "leak": 1.0, "compare": 3.2, "add": 6.4, "multiply": 1024.0}
ert, art, summary = [], [], []
for c in tree["local"]:
    name = "system." + c["name"]
    actions = [{"name": a, "arguments": {"global_cycle_seconds": 1e-09}, "energy": energies[a]} for a in c["required_actions"]]
    ert.append({"name": name, "actions": actions})
    art.append({"name": name, "area": 1024.0})
    summary.append({"name": name, "primitive_estimation(s)": [{"name": name, "estimator": %(plug_in)r}]})
if %(fail)r:
    print("Traceback: no estimator found for", tree["local"][0]["class"])
    sys.exit(255)
os.makedirs("out")
json.dump({"ERT": {"version": "0.4", "tables": ert}}, open("out/ERT.yaml", "w"))
json.dump({"ART": {"version": "0.4", "tables": art}}, open("out/ART.yaml", "w"))
json.dump({"ERT_summary": {"version": "0.4", "table_summary": summary}}, open("out/ERT_summary.yaml", "w"))
"""


@pytest.fixture(autouse=True)
def fresh_answers() -> None:
    accelergy._run.cache_clear()


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, plug_in: str = "CactiSRAM", fail: bool = False) -> None:
    program = folder / "accelergy"
    program.write_text(STAND_IN % {"python": sys.executable, "plug_in": plug_in, "fail": fail}, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_every_primitive_is_priced_in_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch)
    arch = open_architecture("eyeriss_168")
    table = estimate_energy_table(arch, "accelergy")
    glb = table.component("shared_glb")
    assert (glb.energy_pj("read"), glb.energy_pj("write"), glb.area_um2) == (64, 128, 1024)
    assert glb.energy_pj("leak") == pytest.approx(5)  # 1 pJ in 1 ns is 5 pJ in the chip's cycle of 5 ns
    assert glb.source == "Accelergy, plug-in CactiSRAM: sram, 65 nm, 32 banks"
    assert table.component("DRAM").energy_pj("read") == 64  # asked for 64 bits, a row of 64 bits
    psum = table.component("psum_spad").energy_pj("read")
    assert psum == pytest.approx(16 * 64 / 32 + 24 * 5 * 3.2 / 32)  # 16 register bits, 24 comparators of 5 bits


def test_bits_reach_the_mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch)
    arch = open_architecture("tpu_like")
    full, narrow = (estimate_energy_table(arch, "accelergy", bits) for bits in (None, {"Weights": 4, "Inputs": 4}))
    assert narrow.component("mac").energy_pj("compute") < full.component("mac").energy_pj("compute")


def test_a_placeholder_is_not_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, plug_in="dummy")
    with pytest.raises(EnergyTableError, match="only a placeholder prices dram LPDDR4; install the plug-in"):
        estimate_energy_table(open_architecture("eyeriss_168"), "accelergy")


def test_a_failure_shows_the_end_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, fail=True)
    with pytest.raises(SimulatorError, match=r"gave no energy table[\s\S]*exit status: 255[\s\S]*no estimator found for DRAM"):
        estimate_energy_table(open_architecture("eyeriss_168"), "accelergy")


def test_without_the_program_one_line_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SimulatorError, match="accelergy is not on PATH; install it with its CACTI, Library and Aladdin plug-ins"):
        estimate_energy_table(open_architecture("eyeriss_168"), "accelergy")


@pytest.mark.timeloop
@pytest.mark.parametrize("name", ["eyeriss_168", "tpu_like"])
def test_the_real_accelergy_agrees_with_the_shipped_table(name: str) -> None:
    """CACTI, DRAM and the MAC agree. Its Library plug-in scales 40 nm logic a tenth higher and prices no register write."""
    arch = open_architecture(name)
    registers = {level.name for level in arch.levels if level.class_name == "regfile"}
    for d in differences(arch, estimate_energy_table(arch), estimate_energy_table(arch, "accelergy")):
        if d.component not in registers and (d.component, d.quantity) != ("mac", "leak"):
            assert d.relative == pytest.approx(0, abs=0.05), d
        elif d.quantity in ("read", "leak"):
            assert d.relative == pytest.approx(0.1, abs=0.01), d
