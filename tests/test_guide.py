"""The guide from a blank file to an accelerator of one's own: its files, commands and mistakes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from hwloop.cli.main import main

GUIDE = (Path(__file__).resolve().parents[1] / "docs" / "bring-your-own.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.M | re.S)
BLOCKS = [(language, title.strip(), body) for language, title, body in _BLOCK.findall(GUIDE)]
MISTAKES = [(title.removeprefix("mistake: "), body) for language, title, body in BLOCKS if title.startswith("mistake: ")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guide")
    for _, title, body in BLOCKS:
        if re.fullmatch(r"\w+\.(yaml|py)", title):
            (folder / title).write_text(body)
    return folder


def test_every_step_runs_and_prints_what_the_guide_shows(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place)
    ran = 0
    for language, title, body in BLOCKS:
        if language == "python" and not title:
            exec(compile(body, "guide", "exec"), {})
        if language != "console":
            continue
        out = ""
        for line in body.splitlines():
            if line.startswith("$ "):
                assert main(shlex.split(line[2:])[1:]) == 0, (line, capsys.readouterr().err)
                out, ran = capsys.readouterr().out, ran + 1
            elif line != "...":
                assert line in out.splitlines()
    assert ran >= 10
    assert (place / "my_mapping.yaml").exists()


def test_the_guide_has_five_mistakes() -> None:
    assert len(MISTAKES) == 5


@pytest.mark.parametrize(("mistake", "said"), MISTAKES, ids=[mistake[:40] for mistake, _ in MISTAKES])
def test_each_mistake_is_said(
    mistake: str, said: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in place.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    if not (tmp_path / "my_mapping.yaml").exists():
        assert main(["map", "my_layer.yaml", "--arch", "my_arch.yaml", "--effort", "quick", "--output", "my_mapping.yaml"]) == 0
    name, change = mistake.split(": ", 1)
    before, after = change.split(" -> ")
    text = (tmp_path / name).read_text()
    assert text.count(before) == 1
    (tmp_path / name).write_text(text.replace(before, after))
    files = ["my_arch.yaml", "my_layer.yaml", "my_mapping.yaml"] + ([name] if name == "my_dataflow.yaml" else [])
    capsys.readouterr()
    code = main(["check", *files])
    out = capsys.readouterr().out
    assert any(line.startswith(said.strip()) for line in out.splitlines()), out
    assert code == (1 if ": error: " in said else 0)
