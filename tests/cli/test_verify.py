from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from hwloop.cli.main import main

RUNS = Path(__file__).resolve().parents[1] / "data" / "timeloop_runs"


def test_agreement_of_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(RUNS), "--quiet"]) == 0
    out = capsys.readouterr().out
    assert f"{RUNS}: agrees" in out
    assert f"{len(list(RUNS.glob('*/run*')))} runs, 0 of them refused by both" in out
    assert "data space energy" in out


def test_json_and_exit_code_of_a_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    run.mkdir()
    source = RUNS / "shidiannao_depthwise" / "run1"
    (run / "input.yaml").write_text((source / "input.yaml").read_text())
    text = (source / "stats.txt").read_text()
    cycles = next(line for line in text.splitlines() if line.startswith("Cycles: "))
    (run / "stats.txt").write_text(text.replace(cycles, "Cycles: 7"))
    assert main(["verify", str(tmp_path), "--json", "--quiet"]) == 1
    [report] = json.loads(capsys.readouterr().out).values()
    assert report["agrees"] is False
    said = f"Timeloop 7, hwloop {cycles.split()[1]} (unexplained)"
    assert report["quantities"]["cycles"]["differ"] == {f"{tmp_path.name}/run": said}


@pytest.mark.parametrize("arguments", [[], ["somewhere", "--silicon"], ["--against", "timeloop", "--silicon"]])
def test_one_thing_at_a_time(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *arguments]) == 2
    assert "PATHs, --against timeloop or --silicon" in capsys.readouterr().err


def test_a_path_that_holds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path)]) == 1
    assert "no folder in it has a stats.txt" in capsys.readouterr().err


def test_without_timeloop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["verify", "--against", "timeloop"]) == 1
    assert "timeloop-model is not on PATH" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["--densities=2", "--bits=x"])
def test_numbers_that_make_no_sense(what: str, make_timeloop: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--against", "timeloop", "--most", "1", what]) == 2
    assert "numbers above 0" in capsys.readouterr().err


@pytest.fixture
def make_timeloop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timeloop-model that refuses everything."""
    program = tmp_path / "timeloop-model"
    program.write_text(f'#!{sys.executable}\nprint("ERROR: couldn\'t map level DRAM: no")\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_against_a_timeloop_that_says_otherwise(make_timeloop: None, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--arch", "tpu_like", "--layers", "mobilenet", "--most", "1", "--densities", "1", "--bits", "8", "--quiet"]
    assert main(["verify", "--against", "timeloop", *arguments]) == 1
    out = capsys.readouterr().out
    assert "tpu_like" in out
    assert "feasibility of tpu_like conv1 density 1 bits 8: timeloop refuses: DRAM: no (timeloop)" in out


def test_silicon(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--silicon", "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["layers"]) == 18
    assert found["layers"][1]["active_pes"]["ratio"] == pytest.approx(1.0)
    assert len(found["causes"]) == 6


@pytest.mark.timeloop
def test_against_the_real_one(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--arch", "tpu_like_compressed", "--layers", "mobilenet", "--most", "3", "--bits", "8", "--json", "--quiet"]
    assert main(["verify", "--against", "timeloop", *arguments]) == 0
    [group] = json.loads(capsys.readouterr().out)["groups"].values()
    assert group["agrees"]
    assert group["energy_gap"] < 1e-4
