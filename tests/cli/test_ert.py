"""`hwloop ert` as a user runs it."""

from __future__ import annotations

import json

import pytest

from hwloop.cli.main import main


def test_prints_every_action_with_its_owner(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ert", "eyeriss_168"]) == 0
    out = capsys.readouterr().out
    for text in ("pJ/access", "pJ/word", "weights_spad x168", "Horowitz ISSCC 2014", "hwcomponents-cacti", "mm^2"):
        assert text in out


def test_json_is_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ert", "flexible", "--bits", "W=4,I=8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    lines = {(line["component"], line["action"]): line for line in found["lines"]}
    assert lines["DRAM", "read"]["energy_pj"] == 512
    assert lines["DRAM", "read"]["word_pj"] == 128
    assert 0 < lines["mac", "compute"]["energy_pj"] < 0.2
    assert found["area_mm2"] > 1


def test_compares_two_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ert", "tpu_like", "--compare", "table"]) == 0
    assert "entries agree within 5%; the largest difference is 0.0%" in capsys.readouterr().out
    assert main(["ert", "tpu_like", "--compare", "table", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["largest"] < 1e-4


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["ert", "eyeris_168"], 1, "did you mean 'eyeriss_168'"),
        (["ert", "eyeriss_168", "--energy", "nobody"], 1, "neither a file nor one of"),
        (["ert", "eyeriss_168", "--bits", "X=3"], 2, "expected W=8,I=8"),
    ],
)
def test_mistakes_end_in_one_line(arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == code
    assert message in capsys.readouterr().err
