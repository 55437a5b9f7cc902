"""Odd names, full disks, no home, few files, little memory: one line and exit code 1 or 2, or all is well; nothing is lost."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hwloop.cli.main import main

PROBLEM = """
problem:
  version: 0.4
  instance: {C: 4, M: 4, R: 3, S: 3, P: 4, Q: 4, N: 1}
  shape:
    name: conv
    dimensions: [C, M, R, S, P, Q, N]
    data_spaces:
    - {name: Weights, projection: [[[C]], [[M]], [[R]], [[S]]]}
    - {name: Inputs, projection: [[[N]], [[C]], [[R], [P]], [[S], [Q]]]}
    - {name: Outputs, projection: [[[N]], [[M]], [[Q]], [[P]]], read_write: true}
"""
MAP = ["map", "p.yaml", "--effort", "quick"]
NETWORK = ["map", "--model", "lenet5", "--image-size", "28", "--channels", "1", "--arch", "flexible", "--effort", "quick"]
NAMES = {
    "blank": "a b", "quotes": "a'b\"c", "line break": "a\nb", "longest": "x" * 255, "two bytes a letter": "é" * 127,
    "not UTF-8": "\udcff", "escape": "a\x1b[31mb", "braces": "{x}", "percent": "%s%n",
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "p.yaml").write_text(PROBLEM)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("what", sorted(NAMES))
def test_any_name_that_a_file_can_have(what: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = NAMES[what]
    assert main([*MAP, "--output", name]) == 0
    assert sorted(os.listdir(place)) == sorted(["p.yaml", name])
    os.rename("p.yaml", name)
    assert main([MAP[0], name, *MAP[2:]]) == 0
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    for argv in (["memo", name, "stats"], ["ert", name], ["compress", "--model", "lenet5", "--out", f"{name}/x"]):
        assert main(argv) in (1, 2)
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1
        assert "\x1b" not in said


@pytest.mark.parametrize("option", ["--output", "--memo"])
def test_a_name_that_no_file_can_have(option: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("x" * 256, "é" * 128, "a/" * 2100, "p.yaml/x", "", "a\0b"):
        assert main([*MAP, option, name]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert os.listdir(place) == ["p.yaml"]


def test_control_characters_of_a_table_are_not_printed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from hwloop.memo import Store
    from hwloop.memo.rows import CHECKSUM, checksum

    assert main([*MAP, "--memo", "m.sqlite"]) == 0
    store = Store("m.sqlite")
    [row] = [dict(row) for row in store.query("SELECT * FROM results")]
    row["network"] = "a\x1b[2Jb"
    store.put_many([row | {CHECKSUM: checksum(row)}], replace=True)
    store.close()
    capsys.readouterr()
    for words in (["show"], ["stats"], ["check"], ["query", "SELECT network FROM results"]):
        assert main(["memo", "m.sqlite", *words]) == 0
        printed = capsys.readouterr().out
        assert "\x1b" not in printed
        assert words == ["check"] or "\\x1b[2J" in printed


def limit(what: int, most: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(what, (most, most))


Done = subprocess.CompletedProcess[str]


def run(place: Path, argv: list[str], before: Callable[[], None] | None = None, **changed: str) -> Done:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **changed}
    return subprocess.run(
        [sys.executable, "-m", "hwloop", *argv], cwd=place, env=environment, preexec_fn=before, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip


def complaint(done: Done) -> str:
    """The one line of a command that failed."""
    assert done.returncode in (1, 2), done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("hwloop: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def files(place: Path) -> set[str]:
    return {str(file.relative_to(place)) for file in place.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("most", "argv", "message"),
    [
        (0, [*MAP, "--output", "m.yaml"], r"cannot write m.yaml (File too large); "),
        (9000, [*MAP, "--memo", "memo.sqlite"], "memo.sqlite: the disk "),
        (20_000, ["train", "--model", "lenet5", "--epochs", "0", "--out", "w.pt"], "cannot write w.pt (File too large); "),
    ],
)
def test_a_disk_that_takes_no_more_keeps_what_was_there(most: int, argv: list[str], message: str, place: Path) -> None:
    for name in ("m.yaml", "w.pt"):
        (place / name).write_text("before")
    assert message in complaint(run(place, argv, limit(resource.RLIMIT_FSIZE, most)))
    assert {file for file in files(place) if not file.startswith("memo.sqlite")} == {"m.yaml", "p.yaml", "w.pt"}
    assert [(place / name).read_text() for name in ("m.yaml", "w.pt")] == ["before", "before"]


def test_no_home(place: Path) -> None:
    done = run(place, [*NETWORK, "--workers", "2", "--output", "maps"], HOME="/nonexistent")
    assert done.returncode == 0, done.stderr
    assert len(list((place / "maps").iterdir())) == 5


def test_few_open_files(place: Path) -> None:
    done = run(place, [*NETWORK, "--workers", "4", "--memo", "memo.sqlite"], limit(resource.RLIMIT_NOFILE, 20))
    if done.returncode:
        assert "Too many open files" in complaint(done)


def test_little_memory(place: Path) -> None:
    done = run(place, [*MAP, "--output", "m.yaml"], limit(resource.RLIMIT_AS, 300 << 20))
    if done.returncode:
        complaint(done)
    assert files(place) <= {"p.yaml", "m.yaml"}


@pytest.mark.parametrize("argv", [["ert", "eyeriss_168"], ["memo", "nothing.sqlite", "stats"]])
def test_an_output_that_is_full_or_closed(argv: list[str], place: Path) -> None:
    with open("/dev/full", "w") as full:
        code = [sys.executable, "-m", "hwloop", *argv]
        done = subprocess.run(code, cwd=place, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert complaint(done)
    closed = run(place, argv, lambda: os.close(1))
    assert "Traceback" not in closed.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to folders without write permission")
def test_a_folder_that_may_not_be_written(place: Path) -> None:
    place.chmod(0o500)
    for argv in ([*MAP, "--output", "m.yaml"], [*MAP, "--memo", "memo.sqlite"], ["train", "--model", "lenet5", "--out", "w.pt"]):
        assert "cannot be written to" in complaint(run(place, argv))
    place.chmod(0o700)
    assert files(place) == {"p.yaml"}
