"""`hwloop train`: what is refused before any work, and trainings that were killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwloop.cli.main import main

COMMAND = ("train", "--model", "lenet5", "--batch-size", "16", "--quiet")


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--hours", "1", "--epochs", "2"], "--hours: expected one of --epochs and --hours"),
        (["--hours", "0"], "training.hours: expected a number above 0"),
        (["--hours", "inf"], "training.hours: expected a number above 0"),
        (["--sizes", "24;32"], "--sizes: expected auto, none, or pixels such as 24,32"),
        (["--sizes", "0,28"], "training.sizes: expected pixels, each 1 or more"),
        (["--device", "abacus"], "--device: expected auto or one of those here: cpu"),
        (["--precision", "int4"], "--precision: invalid choice: 'int4'"),
        (["--label-smoothing", "1"], "training.label_smoothing: expected from 0 to below 1"),
        (["--optimizer", "lion"], "--optimizer: invalid choice: 'lion'"),
    ],
)
def test_recipes_that_make_no_sense(words: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([*COMMAND, *words, "--out", str(tmp_path / "w.pt")]) == 2
    assert expected in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_killed_for_good_and_resumed_the_file_is_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    whole, killed, state = tmp_path / "whole.pt", tmp_path / "killed.pt", tmp_path / "killed.pt.state"
    words = [*COMMAND, "--epochs", "4", "--json", "--out"]
    assert main([*words, str(whole)]) == 0
    first = json.loads(capsys.readouterr().out)
    process = subprocess.Popen(
        [sys.executable, "-m", "hwloop", *words, str(killed)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    while process.poll() is None and not state.exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not killed.exists()
    assert main([*words, str(killed)]) == 1
    assert "killed.pt.state: holds a training that was stopped after epoch" in capsys.readouterr().err
    assert main([*words, str(killed), "--resume", "--rate", "0.01"]) == 1
    assert "its training.learning_rate is 0.05, asked for is 0.01" in capsys.readouterr().err
    assert main([*words, str(killed), "--resume"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert whole.read_bytes() == killed.read_bytes()
    assert [epoch["loss"] for epoch in first["epochs"]] == [epoch["loss"] for epoch in second["epochs"]]
    assert first["precision"] == second["precision"] == "float32"
    assert main([*words, str(killed)]) == 0  # it was finished: trained anew
    assert whole.read_bytes() == killed.read_bytes()


def test_hours_end_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([*COMMAND, "--hours", "0.0005", "--json", "--out", str(tmp_path / "w.pt")]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["training"]["hours"] == 0.0005
    assert sum(epoch["seconds"] for epoch in outcome["epochs"]) >= 1.8
    assert all(epoch["epochs"] == 0 for epoch in outcome["epochs"])
