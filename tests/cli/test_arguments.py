"""Arguments that cannot be meant are refused before any work, with exit code 2 and one line."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from hwloop.cli.arguments import why_not
from hwloop.cli.main import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["map", "p.yaml", "--arch", "eyeriss_168", "--workers", "99999999999999"],
        "--workers: expected a whole number from 1 to 1024"),
        (["map", "p.yaml", "--arch", "eyeriss_168", "--seed", "-1"], "--seed: expected a whole number from 0"),
        (["map", "p.yaml", "--arch", "eyeriss_168", "--weight-bits", "-3"],
        "--weight-bits: expected a whole number from 1 to 64"),
        (["map", "--model", "lenet5", "--arch", "eyeriss_168", "--channels", "-1"], "--channels: expected a whole number from 1"),
        (["map", "--model", "lenet5", "--arch", "eyeriss_168", "--batch", "0"], "--batch: expected a whole number from 1"),
        (["map", "p.yaml", "--arch", "eyeriss_168", "--output", "a" * 256], "--output: .*the name is too long"),
        (["map", "p.yaml", "--arch", "eyeriss_168", "--memo", "/dev/null"], "--memo: .*neither a file nor a folder"),
        (["train", "--model", "lenet5", "--out", "/dev/null/x"], "--out: .*/dev/null is no folder"),
    ],
)  # fmt: skip
def test_refused_before_work(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err
    assert re.search(message, said)
    assert len(said.splitlines()) == 1


def test_a_place_that_can_be_written_is_taken(tmp_path: Path) -> None:
    assert why_not(str(tmp_path / "new" / "folder" / "file.yaml")) == ""
    assert why_not(str(tmp_path)) == ""
    os.mkfifo(tmp_path / "pipe")
    assert why_not(str(tmp_path / "pipe")) == "it is neither a file nor a folder"
    assert why_not("a\0b") != ""
    assert why_not("") == "it is empty"
