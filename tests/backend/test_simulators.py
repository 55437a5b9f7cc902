from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hwloop.backend.simulators import SIMULATORS, find_simulator, map_with_timeloop

import hwloop
from hwloop import SimulatorError, SpecError


def test_the_embedded_one_is_hwloop_simulate(recorded_run: Callable[[str], Any]) -> None:
    case = recorded_run("eyeriss_vgg_4_bits")
    assert find_simulator("embedded").simulate(*case.arguments) == hwloop.simulate(*case.arguments)


def test_timeloop_answers_the_same_call(recorded_run: Callable[[str], Any], replayed: str) -> None:
    simulator = find_simulator("timeloop")
    assert (simulator.name, len(simulator.version)) == ("timeloop", 12)
    case = recorded_run("eyeriss_vgg_4_bits")
    assert simulator.simulate(*case.arguments).cycles == hwloop.simulate(*case.arguments).cycles


def test_unknown_names_and_missing_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="simulator: expected one of embedded, timeloop, timeloop-mapper, found 'sparseloop'"):
        find_simulator("sparseloop")
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in set(SIMULATORS) - {"embedded"}:
        with pytest.raises(SimulatorError, match="not on PATH"):
            find_simulator(name)


def test_mapping_with_timeloop_needs_its_mapper(recorded_run: Callable[[str], Any], replayed: str) -> None:
    case = recorded_run("shidiannao_depthwise")
    with pytest.raises(SimulatorError, match="timeloop-mapper is not on PATH"):
        map_with_timeloop(case.problem, case.architecture, case.table)
