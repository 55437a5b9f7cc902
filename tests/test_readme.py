"""Every command and every program in the README and the guide runs in a fresh clone."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from hwloop.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SLOW = ("hwloop codesign", "hwloop compress", "hwloop export", "hwloop report", "hwloop train", "hwloop verify")
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.M | re.S)


def blocks(text: str, *languages: str) -> list[str]:
    return [body for language, body in _BLOCK.findall(text) if language in languages]


def commands(text: str) -> list[str]:
    """The lines of shell blocks, and those behind a `$` in sessions, without comments."""
    lines = [line for body in blocks(text, "sh") for line in body.splitlines()]
    lines += [line[2:] for body in blocks(text, "console") for line in body.splitlines() if line.startswith("$ ")]
    return [line.partition("#")[0].strip() for line in lines if line.partition("#")[0].strip()]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what git holds."""
    files = subprocess.run(
        ["git", "ls-files", "examples", "tests/data", "docs"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if files.returncode or not files.stdout:
        pytest.skip("not a git checkout")
    for name in files.stdout.splitlines():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_has_no_command_but_ours_and_make() -> None:
    found = commands(README)
    assert len(found) > 10
    assert [line for line in found if not line.startswith(("hwloop ", "make "))] == []


def run_all(lines: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    printed = {}
    for line in lines:
        assert main([*shlex.split(line)[1:]]) == 0, (line, capsys.readouterr().err)
        printed[line] = capsys.readouterr().out
    return printed


def test_quick_commands_of_the_readme_run_in_their_order(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = [line for line in commands(README) if line.startswith("hwloop ") and not line.startswith(SLOW)]
    printed = run_all(ours, capsys)
    for body in blocks(README, "console"):  # what the README shows is what is printed
        line, *shown = body.splitlines()
        if line.removeprefix("$ ") in printed:
            for text in shown:
                assert text == "..." or text in printed[line.removeprefix("$ ")].splitlines(), text


@pytest.mark.slow
def test_slow_commands_of_the_readme_run(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_all([line for line in commands(README) if line.startswith(SLOW)], capsys)


@pytest.mark.parametrize("number", range(len(blocks(README, "python"))))
def test_programs_of_the_readme_run(number: int, clone: Path) -> None:
    program = blocks(README, "python")[number]
    if "compress" in program:
        pytest.skip("trains for a minute; tests/test_run.py compresses a network of one's own")
    exec(compile(program, f"README.md, program {number}", "exec"), {})
