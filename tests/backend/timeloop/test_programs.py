from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hwloop
from hwloop import InfeasibleMappingError, SimulatorError
from hwloop.backend.timeloop.inputs import model_input
from hwloop.backend.timeloop.programs import Timeloop
from hwloop.backend.timeloop.stats import parse_stats
from hwloop.spec.batch import MappingBatch
from hwloop.validate.compare import compare_costs, compare_stats

MakeProgram = Callable[[str, str], str]


def test_without_the_program_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SimulatorError, match="timeloop-model is not on PATH: build Timeloop"):
        Timeloop.find()


def test_every_recorded_case_costs_what_hwloop_says(recorded: Any, replayed: str) -> None:
    real = Timeloop.find().simulate(*recorded.arguments)
    ours = hwloop.simulate(*recorded.arguments)
    assert [d for equal, d in compare_costs(ours, real) if not equal] == []


def test_the_version_is_the_program(make_program: MakeProgram) -> None:
    make_program("timeloop-model", "print(1)")
    first = Timeloop.find()
    other = make_program("timeloop-model", "print(2)")
    assert Timeloop.find().model == other
    assert len(first.version) == 12
    assert first.mapper is None


def test_a_refusal_is_an_infeasible_mapping(recorded_run: Callable[[str], Any], make_program: MakeProgram) -> None:
    make_program("timeloop-model", 'print("ERROR: couldn\'t map level buffer: mapped tile size 9 exceeds buffer capacity 8")')
    with pytest.raises(
        InfeasibleMappingError, match=r"buffer: mapped tile size 9 exceeds buffer capacity 8 \(timeloop\)"
    ) as caught:
        Timeloop.find().simulate(*recorded_run("shidiannao_depthwise").arguments)
    assert caught.value.level == "buffer"


def test_silence_is_an_error_with_the_end_of_the_log(recorded_run: Callable[[str], Any], make_program: MakeProgram) -> None:
    make_program("timeloop-model", "print('cannot parse'); raise SystemExit(1)")
    with pytest.raises(SimulatorError, match="printed no statistics") as caught:
        Timeloop.find().simulate(*recorded_run("shidiannao_depthwise").arguments)
    assert (caught.value.returncode, caught.value.log_tail) == (1, "cannot parse")


def test_a_time_out(recorded_run: Callable[[str], Any], make_program: MakeProgram) -> None:
    make_program("timeloop-model", "import time; time.sleep(60)")
    with pytest.raises(SimulatorError, match=r"timeloop-model took over 0\.5 s"):
        Timeloop.find(timeout_s=0.5).simulate(*recorded_run("shidiannao_depthwise").arguments)


def test_files_are_kept_only_when_asked(recorded_run: Callable[[str], Any], replayed: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    timeloop = Timeloop.find(keep_files=kept)
    timeloop.simulate(*recorded_run("shidiannao_depthwise").arguments)
    [run] = kept.iterdir()
    assert {"input.yaml", "timeloop-model.stats.txt", "timeloop-model.log"} <= {file.name for file in run.iterdir()}
    replace(timeloop, keep_files=None).simulate(*recorded_run("shidiannao_depthwise").arguments)
    assert len(list(kept.iterdir())) == 1


def test_the_mapper_must_be_there_and_know_the_objective(recorded_run: Callable[[str], Any], make_program: MakeProgram) -> None:
    case = recorded_run("shidiannao_depthwise")
    make_program("timeloop-model", "")
    with pytest.raises(SimulatorError, match="timeloop-mapper is not on PATH beside timeloop-model"):
        Timeloop.find().map_problem(case.problem, case.architecture, case.table)
    make_program("timeloop-mapper", "print('MAPPER: no valid mappings found within search criteria.')")
    with pytest.raises(SimulatorError, match="not 'beauty'"):
        Timeloop.find().map_problem(case.problem, case.architecture, case.table, objective="beauty")
    with pytest.raises(InfeasibleMappingError, match="found no valid mapping"):
        Timeloop.find().map_problem(case.problem, case.architecture, case.table)


@pytest.mark.timeloop
def test_the_real_one_costs_what_hwloop_says(recorded: Any) -> None:
    real = Timeloop.find().simulate(*recorded.arguments)
    ours = hwloop.simulate(*recorded.arguments)
    assert [d for equal, d in compare_costs(ours, real) if not equal] == []


@pytest.mark.timeloop
def test_the_real_mapper_finds_mappings_that_cost_what_it_says(recorded_run: Callable[[str], Any]) -> None:
    case = recorded_run("eyeriss_alexnet_c1")
    mapping, cost = Timeloop.find().map_problem(case.problem, case.architecture, case.table, victory_condition=50)
    again = hwloop.simulate(case.problem, case.architecture, mapping, case.table)
    assert again.cycles == cost.cycles
    assert again.energy_pj == pytest.approx(cost.energy_pj, rel=1e-6)


@pytest.mark.timeloop
def test_the_real_one_completes_a_mapping_s_order_behind() -> None:
    """Dimensions that a mapping's permutation does not name are its outermost loops and lie on Y."""
    architecture = """
architecture:
  version: 0.4
  nodes:
  - !Container {name: system, attributes: {technology: "45nm", global_cycle_seconds: 1e-9}}
  - !Component {name: DRAM, class: DRAM, attributes: {width: 64, datawidth: 16}}
  - !Container {name: PE, spatial: {meshX: 4, meshY: 3}}
  - !Component {name: mac, class: intmac, attributes: {datawidth: 16}}
"""
    dims = ["M", "N", "K"]
    spaces = [
        {"name": "A", "projection": [[["M"]], [["K"]]]},
        {"name": "B", "projection": [[["K"]], [["N"]]]},
        {"name": "Z", "projection": [[["M"]], [["N"]]], "read_write": True},
    ]
    problem = {
        "version": 0.4,
        "instance": {"M": 12, "N": 5, "K": 2},
        "shape": {"name": "mm", "dimensions": dims, "data_spaces": spaces},
    }
    mapping = [
        {"target": "DRAM", "type": "temporal", "factors": "M=3 N=5", "permutation": "N"},
        {"target": "inter_PE_spatial", "type": "spatial", "factors": "M=4 K=2", "permutation": "M", "split": 1},
        {"target": "inter_PE_spatial", "type": "bypass", "keep": [], "bypass": ["A", "B", "Z"]},
    ]
    loaded = hwloop.load_problem(problem), hwloop.load_architecture(architecture), hwloop.load_mapping(mapping)
    table = hwloop.load_energy_table({"DRAM": {"read": 1.0, "write": 1.0}, "mac": {"compute": 1.0}})
    timeloop = Timeloop.find()
    document = _document(*loaded, table)
    raw = dict(document, mapping=mapping)  # as a user would write it, not as hwloop completes it
    ours = hwloop.simulate(*loaded, table)
    assert [d for equal, d in compare_stats(ours, parse_stats(timeloop.run_model(raw))) if not equal] == []


def _document(problem: Any, architecture: Any, mapping: Any, table: Any) -> dict[str, Any]:
    batch = MappingBatch.from_mappings([mapping], problem.shape, problem.bounds, architecture)
    return model_input(problem, architecture, batch.to_mapping(0, problem.shape, architecture), table)
