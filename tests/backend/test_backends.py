"""Every backend through the one protocol: hwloop's own, the real Timeloop, and what stands before them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hwloop
from hwloop import InfeasibleMappingError, SimulatorError, SpecError
from hwloop.backend.distinct import Distinct
from hwloop.backend.embedded import Embedded
from hwloop.backend.find import SIMULATORS, find_backend
from hwloop.backend.request import MapperSettings, MapRequest
from hwloop.backend.timeloop.backend import TimeloopBackend, TimeloopMapperBackend
from hwloop.backend.timeloop.programs import Timeloop
from hwloop.mapper.result import MapResult
from hwloop.memo import Memo
from hwloop.memo.key import request_key
from hwloop.simulator import LayerCandidate

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


class Dearer(Timeloop):
    """In place of the programs: the truth with twice the energy."""

    def simulate(self, *arguments: Any) -> hwloop.LayerCost:
        cost = hwloop.simulate(*arguments)
        return replace(cost, energy_pj=2 * cost.energy_pj)

    def map_problem(self, problem: Any, architecture: Any, table: Any, *rest: Any, **more: Any) -> Any:
        found = hwloop.map_problem(problem, architecture, table, objective="cycles", effort="quick")
        return found.mapping, found.cost


DEARER = Dearer("timeloop-model", None, "abc")


def asked(case: Any) -> MapRequest:
    return MapRequest(case.problem, case.architecture, case.table, bits=case.bits)


def refused(*_: Any) -> Any:
    raise InfeasibleMappingError("too small", "buffer")


def figures(cost: hwloop.LayerCost) -> tuple[float, int, float]:
    return cost.energy_pj, cost.cycles, cost.utilization


@pytest.fixture
def request_of() -> MapRequest:
    return MapRequest(
        hwloop.load_problem(MATMUL), hwloop.load_architecture(ARCHITECTURE), hwloop.load_energy_table(TABLE),
        settings=MapperSettings(effort="quick"),
    )  # fmt: skip


def test_the_embedded_one_is_hwloop_simulate_and_map_problem(recorded_run: Callable[[str], Any], request_of: MapRequest) -> None:
    case = recorded_run("eyeriss_vgg_4_bits")
    assert find_backend().simulate(asked(case), case.mapping) == hwloop.simulate(*case.arguments)
    [found] = find_backend("embedded", 1).map([request_of])
    assert isinstance(found, MapResult)
    assert found.mapping == hwloop.map_problem(MATMUL, ARCHITECTURE, TABLE, effort="quick").mapping


def test_timeloop_answers_the_same_calls(recorded_run: Callable[[str], Any], replayed: str) -> None:
    backend = find_backend("timeloop")
    assert isinstance(backend, TimeloopBackend)
    assert (backend.name, len(backend.programs.version)) == ("timeloop", 12)
    case = recorded_run("eyeriss_vgg_4_bits")
    cost = hwloop.simulate(*case.arguments)
    assert backend.simulate(asked(case), case.mapping).cycles == cost.cycles
    cases = [LayerCandidate(case.table, bits=case.bits)]
    best = backend.short_list(case.problem, case.architecture, [case.mapping]).cheapest(cases)
    assert (best.at.tolist(), best.cycles.tolist()) == ([0], [cost.cycles])
    assert best.energy_pj == pytest.approx([cost.energy_pj], rel=1e-4)
    assert sum(part[0] for part in best.component_energy_pj.values()) == pytest.approx(best.energy_pj[0])


def test_unknown_names_and_missing_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="simulator: expected one of embedded, timeloop, timeloop-mapper, found 'sparseloop'"):
        find_backend("sparseloop")
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in set(SIMULATORS) - {"embedded"}:
        with pytest.raises(SimulatorError, match="not on PATH"):
            find_backend(name)


def test_mapping_with_timeloop_needs_its_mapper(request_of: MapRequest, replayed: str) -> None:
    backend = find_backend("timeloop-mapper", 1)
    with pytest.raises(SimulatorError, match="timeloop-mapper is not on PATH"):
        backend.map([request_of])
    with pytest.raises(SimulatorError, match="timeloop-mapper is not on PATH"):
        backend.identity  # noqa: B018
    settings = replace(request_of.settings, objective=lambda costs: costs.energy_pj)
    with pytest.raises(SimulatorError, match="not a function"):
        backend.map([replace(request_of, settings=settings)])


def test_our_mapping_at_the_outside_cost(request_of: MapRequest) -> None:
    own = hwloop.map_problem(MATMUL, ARCHITECTURE, TABLE, effort="quick")
    [found] = TimeloopBackend(DEARER, 1).map([request_of])
    assert isinstance(found, MapResult)
    assert found.mapping == own.mapping
    assert found.cost.energy_pj == 2 * own.cost.energy_pj
    assert found.value == found.cost.edp


def test_their_mapping_at_their_cost(request_of: MapRequest) -> None:
    theirs = hwloop.map_problem(MATMUL, ARCHITECTURE, TABLE, objective="cycles", effort="quick")
    backend, energy = TimeloopMapperBackend(DEARER, 1), replace(request_of, settings=MapperSettings("energy", "quick"))
    [found] = backend.map([energy])
    assert isinstance(found, MapResult)
    assert (found.mapping, found.cost, found.value) == (theirs.mapping, theirs.cost, theirs.cost.energy_pj)
    [mixed] = backend.map([replace(energy, bits={"A": 8})])
    assert isinstance(mixed, MapResult)
    assert mixed.cost == DEARER.simulate(energy.problem, energy.arch, theirs.mapping, energy.ert, {"A": 8})


def test_the_cheapest_of_a_short_list_is_what_single_runs_say(request_of: MapRequest) -> None:
    problem, arch, table = request_of.problem, request_of.arch, request_of.ert
    mappings = [hwloop.map_problem(problem, arch, table, objective=o, effort="quick").mapping for o in ("energy", "cycles")]
    mappings.append(hwloop.map_problem(problem, arch, table, objective=lambda c: -c.energy_pj, effort="quick").mapping)
    wide = [LayerCandidate(table, bits=bits) for bits in ({}, {"A": 4, "B": 4}, {"A": 16, "B": 64})]
    for objective in ("energy", "cycles", "edp"):
        best = Embedded().short_list(problem, arch, mappings).cheapest(wide, objective)
        assert len(best) == 3
        for i, case in enumerate(wide):
            values = []
            for mapping in mappings:
                try:
                    values.append(hwloop.simulate(problem, arch, mapping, table, bits=case.bits))
                except InfeasibleMappingError:
                    values.append(None)
            score = [
                np.inf if v is None else {"energy": v.energy_pj, "cycles": v.cycles, "edp": v.edp}[objective] for v in values
            ]
            if np.isinf(min(score)):
                assert best.at[i] == -1
                assert np.isinf(best.energy_pj[i])
                continue
            assert score[best.at[i]] == pytest.approx(min(score))
            chosen = values[best.at[i]]
            assert chosen is not None
            assert (best.energy_pj[i], best.cycles[i]) == (pytest.approx(chosen.energy_pj), chosen.cycles)
            assert best.utilization[i] == pytest.approx(chosen.utilization)
            for name, parts in best.component_energy_pj.items():
                assert parts[i] == pytest.approx(chosen.components[name].energy_pj)


def test_what_timeloop_refuses_fits_nothing(request_of: MapRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dearer, "simulate", refused)
    backend = TimeloopBackend(DEARER, 1)
    mapping = hwloop.map_problem(MATMUL, ARCHITECTURE, TABLE, effort="quick").mapping
    best = backend.short_list(request_of.problem, request_of.arch, [mapping]).cheapest([LayerCandidate(request_of.ert)])
    assert (best.at.tolist(), best.energy_pj.tolist(), best.cycles.tolist()) == ([-1], [np.inf], [np.inf])
    [outcome] = backend.map([request_of])
    assert isinstance(outcome, InfeasibleMappingError)
    assert outcome.level == "buffer"


def test_what_stands_before_a_backend_says_who_answers(request_of: MapRequest, tmp_path: Path) -> None:
    for backend in (Embedded(1), TimeloopBackend(DEARER, 1)):
        with Memo(tmp_path / "memo.sqlite") as memo:
            wrapped = Distinct(memo.remember(backend))
            assert (wrapped.name, wrapped.identity) == (backend.name, backend.identity)
            [plain], [kept] = backend.map([request_of]), wrapped.map([request_of])
            assert isinstance(plain, MapResult)
            assert isinstance(kept, MapResult)
            assert (kept.mapping, kept.cost) == (plain.mapping, plain.cost)
            assert memo.statistics.misses == 1  # what one simulator said is no answer for the other
            assert wrapped.simulate(request_of, plain.mapping) == backend.simulate(request_of, plain.mapping)
            best = wrapped.short_list(request_of.problem, request_of.arch, [plain.mapping]).cheapest(
                [LayerCandidate(request_of.ert)]
            )
            assert best.energy_pj == pytest.approx([plain.cost.energy_pj])


def test_the_key_names_the_outside_program(request_of: MapRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keys = {request_key(request_of, Embedded().identity)}
    for content in ("one", "two"):
        for name in ("timeloop-model", "timeloop-mapper"):
            program = tmp_path / content / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(content)
            program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path / content))
        keys |= {request_key(request_of, find_backend(name).identity) for name in ("timeloop", "timeloop-mapper")}
    assert len(keys) == 5


def test_a_refusal_outside_is_remembered(request_of: MapRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "timeloop-model"
    program.write_text(f'#!{sys.executable}\nprint("ERROR: couldn\'t map level buffer: no")\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with Memo(tmp_path / "memo.sqlite") as memo:
        for _ in range(2):
            [outcome] = memo.remember(find_backend("timeloop", 1)).map([request_of])
            assert isinstance(outcome, InfeasibleMappingError)
            assert outcome.reason == "buffer: no (timeloop)"
        assert (memo.statistics.hits, memo.statistics.misses) == (1, 1)
