"""Requests that name an outside simulator."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hwloop
from hwloop import InfeasibleMappingError, SimulatorError
from hwloop.backend import outside as module
from hwloop.backend.request import MapRequest
from hwloop.memo import Memo
from hwloop.memo.key import request_key, simulator_version

ARCHITECTURE = """
architecture:
  version: 0.4
  nodes:
  - !Container {name: system, attributes: {technology: "45nm", global_cycle_seconds: 1e-9}}
  - !Component {name: DRAM, class: DRAM, attributes: {width: 64, datawidth: 16}}
  - !Component {name: buffer, class: SRAM, attributes: {width: 16, datawidth: 16, depth: 64}}
  - !Component {name: mac, class: intmac, attributes: {datawidth: 16}}
"""
TABLE = {"DRAM": {"read": 100.0, "write": 100.0}, "buffer": {"read": 2.0, "write": 3.0}, "mac": {"compute": 1.0}}
SPACES = [
    {"name": "A", "projection": [[["M"]], [["K"]]]},
    {"name": "B", "projection": [[["K"]], [["N"]]]},
    {"name": "Z", "projection": [[["M"]], [["N"]]], "read_write": True},
]
MATMUL = {
    "version": 0.4,
    "instance": {"M": 8, "N": 8, "K": 8},
    "shape": {"name": "mm", "dimensions": ["M", "N", "K"], "data_spaces": SPACES},
}


class Dearer:
    """The truth with twice the energy."""

    name, version = "timeloop", "abc"

    def simulate(self, *arguments: Any) -> hwloop.LayerCost:
        cost = hwloop.simulate(*arguments)
        return replace(cost, energy_pj=2 * cost.energy_pj)


@pytest.fixture
def request_of() -> MapRequest:
    return MapRequest(
        hwloop.load_problem(MATMUL), hwloop.load_architecture(ARCHITECTURE), hwloop.load_energy_table(TABLE), effort="quick"
    )


@pytest.fixture
def fresh_versions() -> Iterator[None]:
    simulator_version.cache_clear()
    yield
    simulator_version.cache_clear()


def test_our_mapping_at_the_outside_cost(request_of: MapRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_simulator", lambda name: Dearer())
    own = hwloop.map_problem(MATMUL, ARCHITECTURE, TABLE, effort="quick")
    found = module.solve_outside(replace(request_of, simulator="timeloop"))
    assert found.mapping == own.mapping
    assert found.cost.energy_pj == 2 * own.cost.energy_pj
    assert found.value == found.cost.edp


def test_their_mapping_at_their_cost(request_of: MapRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = hwloop.map_problem(MATMUL, ARCHITECTURE, TABLE, objective="cycles", effort="quick")
    monkeypatch.setattr(module, "map_with_timeloop", lambda *arguments: (theirs.mapping, theirs.cost))
    found = module.solve_outside(replace(request_of, simulator="timeloop-mapper", objective="energy"))
    assert (found.mapping, found.cost, found.value) == (theirs.mapping, theirs.cost, theirs.cost.energy_pj)


def test_the_key_names_the_outside_program(
    request_of: MapRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_versions: None
) -> None:
    asked = replace(request_of, simulator="timeloop")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SimulatorError, match="timeloop-model is not on PATH"):
        request_key(asked)
    keys = {request_key(request_of)}
    for content in ("one", "two"):
        program = tmp_path / content / "timeloop-model"
        program.parent.mkdir()
        program.write_text(content)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))
        simulator_version.cache_clear()
        keys.add(request_key(replace(asked, seed=0)))
    assert len(keys) == 3


def test_a_refusal_outside_is_remembered(
    request_of: MapRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_versions: None
) -> None:
    program = tmp_path / "timeloop-model"
    program.write_text(f'#!{sys.executable}\nprint("ERROR: couldn\'t map level buffer: no")\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    asked = replace(request_of, simulator="timeloop")
    with Memo(tmp_path / "memo.sqlite") as memo:
        for _ in range(2):
            [outcome] = memo.map_many([asked])
            assert isinstance(outcome, InfeasibleMappingError)
            assert outcome.reason == "buffer: no (timeloop)"
        assert (memo.statistics.hits, memo.statistics.misses) == (1, 1)
