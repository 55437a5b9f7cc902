"""Recorded runs of the real Timeloop, and a stand-in that replays them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import hwloop
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.levels import Architecture
from hwloop.spec.mapping import Mapping
from hwloop.spec.problem import Problem

RUNS = Path(__file__).resolve().parent / "data" / "timeloop_runs"
RUN_NAMES = tuple(sorted(path.name for path in RUNS.iterdir()))

# What timeloop-model does when its input is a recorded one: the same answer. Anything else is refused loudly.
_REPLAY = """#!{python}
import pathlib, sys, yaml
asked = yaml.safe_load(open(sys.argv[1]))
for run in pathlib.Path({runs!r}).glob("*/run*"):
    if yaml.safe_load((run / "input.yaml").read_text()) == asked:
        pathlib.Path("timeloop-model.stats.txt").write_text((run / "stats.txt").read_text())
        sys.exit(0)
print("no recorded run has this input; record again with tools/record_timeloop_runs.py")
sys.exit(3)
"""


@dataclass(frozen=True)
class Recorded:
    """What hwloop was given when a run was recorded."""

    problem: Problem
    architecture: Architecture
    mapping: Mapping
    table: EnergyTable
    bits: dict[str, int] | None
    folder: Path

    @property
    def arguments(self) -> tuple[Any, ...]:
        return self.problem, self.architecture, self.mapping, self.table, self.bits


def read_recorded(name: str) -> Recorded:
    case = json.loads((RUNS / name / "case.json").read_text())
    return Recorded(
        hwloop.load_problem(case["problem"]),
        hwloop.load_architecture(case["architecture"]),
        hwloop.load_mapping(case["mapping"]),
        hwloop.load_energy_table(case["ert"]),
        case["bits"],
        RUNS / name,
    )


@pytest.fixture(params=RUN_NAMES)
def recorded(request: pytest.FixtureRequest) -> Recorded:
    return read_recorded(request.param)


@pytest.fixture
def recorded_run() -> Callable[[str], Recorded]:
    return read_recorded


@pytest.fixture
def make_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Puts a Python script on PATH under a name."""

    def make(name: str, body: str) -> str:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        path = folder / name
        path.write_text(body if body.startswith("#!") else f"#!{sys.executable}\n{body}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        return str(path)

    return make


@pytest.fixture
def replayed(make_program: Callable[[str, str], str]) -> str:
    """A `timeloop-model` on PATH that knows the recorded runs."""
    return make_program("timeloop-model", _REPLAY.format(python=sys.executable, runs=str(RUNS)))
