"""`--set` and `--include`, and what is said of a spec's fields that have no effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwloop.cli.main import main

ARCH = """
architecture:
  nodes:
  - !Container {name: chip, attributes: {technology: '"45nm"', global_cycle_seconds: 1e-9}}
  - !Component {name: DRAM, class: DRAM, attributes: {type: '"LPDDR4"', width: 64, datawidth: 8}}
  - !Component
    name: glb
    class: SRAM
    attributes: {width: 64, datawidth: 8, depth: {{ depth }}, n_rdwr_ports: 1, n_banks: 4, nbanks: 2}
  - !Component {name: mac, class: intmac, spatial: {meshX: 8}, attributes: {multiplier_width: 8, adder_width: 16}}
"""


def test_a_template_is_rendered_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "arch.yaml"
    file.write_text(ARCH)
    assert main(["ert", str(file), "--set", "depth=1024"]) == 0
    shown = capsys.readouterr()
    assert "glb" in shown.out
    assert shown.err.count("hwloop: warning: ") == 1
    assert "attributes that no simulator reads, kept for the estimator: nbanks, did you mean 'n_banks'? (glb)" in shown.err
    assert main(["ert", str(file)]) == 1
    assert "'depth' is undefined" in capsys.readouterr().err
    for bad in ("depth", "=3", "a-b=3"):
        assert main(["ert", str(file), "--set", bad]) == 2
        assert "--set: expected NAME=VALUE" in capsys.readouterr().err


def test_dataflows_of_another_accelerator_are_said_to_be_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--arch", "tpu_like", "--model", "lenet5", "--channels", "1", "--dataflow", "row_stationary"]) == 1
    assert "these constraints are of another accelerator" in capsys.readouterr().err
