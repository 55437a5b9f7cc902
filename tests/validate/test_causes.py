"""Known differences from the real program are named, on runs that it made, and nothing else is."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hwloop
from hwloop import InfeasibleMappingError, SimulatorError
from hwloop.backend.embedded import Embedded
from hwloop.backend.request import MapRequest
from hwloop.cli.main import main
from hwloop.simulator import LayerCost, Simulator
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.resources import open_architecture
from hwloop.validate.against import LiveCase, run_against
from hwloop.validate.agreement import lines_of
from hwloop.validate.causes import LARGE_TENSOR, LAST_BIT, UNEXPLAINED, WHOLE_ROWS, Explainer, _InexactSimulator
from hwloop.validate.compare import compare_costs
from hwloop.validate.verify import find_cases, verify

DATA = Path(__file__).resolve().parents[1] / "data"
FILE = DATA / "known_differences.jsonl.gz"


def records() -> dict[str, dict[str, Any]]:
    with gzip.open(FILE, "rt") as file:
        return {record["id"]: record for record in map(json.loads, file)}


class Replay(Embedded):
    """Answers what a record says that the real program answered, or raises."""

    name = "replay"

    def __init__(self, real: LayerCost | Exception) -> None:
        super().__init__(1)
        object.__setattr__(self, "real", real)

    def simulate(self, request: MapRequest, mapping: Any) -> LayerCost:
        if isinstance(self.real, Exception):  # type: ignore[attr-defined]
            raise self.real  # type: ignore[attr-defined]
        return self.real  # type: ignore[attr-defined,no-any-return]


def live(record: dict[str, Any]) -> LiveCase:
    problem, arch = hwloop.load_problem(record["problem"]), hwloop.load_architecture(record["arch"])
    request = MapRequest(problem, arch, hwloop.load_energy_table(record["ert"]), None, record["bits"])
    return LiveCase(record["id"], request, hwloop.load_mapping(record["mapping"]))


def explained(record: dict[str, Any], real: LayerCost) -> Counter[str]:
    case = live(record)
    ours = Embedded().simulate(case.request, case.mapping)
    pairs = list(compare_costs(ours, real))
    explainer = Explainer(case.request.problem, case.request.arch, case.mapping, case.request.ert, case.request.bits)
    return Counter(cause for cause in explainer.causes(pairs, lambda cost: compare_costs(cost, real)) if cause)


@pytest.mark.parametrize(
    ("name", "causes"),
    [
        ("eyeriss_168_skipping density 0.5", {LARGE_TENSOR}),
        ("tpu_like_compressed density 0.5", {LARGE_TENSOR}),
        ("eyeriss_168_skipping density 0.3 bits 5", {WHOLE_ROWS}),
        ("tpu_like_compressed density 0.1 bits 5", {WHOLE_ROWS}),
        ("eyeriss_168_skipping density 0.5 bits 5", {LARGE_TENSOR, WHOLE_ROWS}),
    ],
)
def test_every_number_that_differs_has_its_cause(name: str, causes: set[str]) -> None:
    record = records()[name]
    found = explained(record, LayerCost.from_dict(record["real"]))
    assert set(found) == causes
    assert sum(found.values()) > 0


@pytest.mark.parametrize("name", ["eyeriss_168_skipping density 0.5", "eyeriss_168_skipping density 0.3 bits 5"])
def test_a_difference_that_no_cause_makes_stays_unexplained(name: str) -> None:
    record = records()[name]
    real = LayerCost.from_dict(record["real"])
    assert explained(record, replace(real, cycles=real.cycles + 100)).get(UNEXPLAINED) == 1
    glb = real.components["shared_glb"]
    inputs = replace(glb.dataspaces["Inputs"], reads=glb.dataspaces["Inputs"].reads * 1.001)
    wrong = replace(
        real, components=real.components | {"shared_glb": replace(glb, dataspaces=glb.dataspaces | {"Inputs": inputs})}
    )
    assert explained(record, wrong).get(UNEXPLAINED) == 1


def test_a_tensor_without_chances_is_no_excuse() -> None:
    record = records()["tpu_like_compressed density 0.5"]
    case = live(record)
    structured = tuple((s, replace(d, distribution="fixed_structured")) for s, d in case.request.problem.densities)
    request = replace(case.request, problem=replace(case.request.problem, densities=structured))
    ours = Embedded().simulate(request, case.mapping)
    real = replace(ours, actual_computes=ours.actual_computes + 1)
    explainer = Explainer(request.problem, request.arch, case.mapping, request.ert, {})
    causes = explainer.causes(list(compare_costs(ours, real)), lambda cost: compare_costs(cost, real))
    assert {cause for cause in causes if cause} == {UNEXPLAINED}


def test_verify_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = [record for record in records().values() if "expected" in record]
    path = tmp_path / "large.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in chosen))
    report = verify(find_cases(path))
    assert report.agrees
    assert set(report.causes) == {LARGE_TENSOR}
    assert len(report.causes[LARGE_TENSOR]) == 2
    assert any(line.startswith(f"cause: {LARGE_TENSOR}, ") and "104,729" in line for line in lines_of(report))
    exact = verify(find_cases(path), exact=True)
    assert not exact.agrees  # named, and not let pass
    assert all(f"({LARGE_TENSOR})" in what for a in exact.quantities.values() for what in a.cases.values())
    assert main(["verify", str(path), "--json", "--quiet"]) == 0
    [document] = json.loads(capsys.readouterr().out).values()
    assert document["causes"][LARGE_TENSOR]


def test_the_whole_corpus_has_no_difference_without_a_cause(shared: Path) -> None:
    report = verify(find_cases(shared / "reference" / "corpus" / "sparse.jsonl.gz"), exact=True)
    assert UNEXPLAINED not in report.causes
    assert set(report.causes) <= {LARGE_TENSOR, LAST_BIT}
    assert report.causes


def test_crashes_say_what_hwloop_answers() -> None:
    case = live(records()["tpu_like_compressed density 0.1 bits 5"])
    crash = SimulatorError("timeloop-model crashed (SIGABRT)", ["timeloop-model"], -6, "reading\nwhat():  map::at")
    report = run_against(Replay(crash), {"a": [case]})
    ours = Embedded().simulate(case.request, case.mapping)
    [said] = report.unanswered.values()
    assert said.startswith("timeloop-model crashed (SIGABRT)")
    assert "map::at" in said
    assert f"hwloop: {ours.energy_pj:.6g} pJ, {ours.cycles} cycles" in said


def test_refusals_without_a_cause_are_unexplained() -> None:
    case = live(records()["tpu_like_compressed density 0.1 bits 5"])
    report = run_against(Replay(InfeasibleMappingError("DRAM: too small")), {"a": [case]})
    [said] = report.groups["a"].quantities["feasibility"].cases.values()
    assert said == f"replay refuses: DRAM: too small ({UNEXPLAINED})"
    assert not report.agrees


@pytest.mark.timeloop
def test_live_runs_have_the_same_causes() -> None:
    from hwloop.backend.find import find_backend

    cases = [live(record) for record in records().values()]
    report = run_against(find_backend("timeloop", timeout_s=60), {"known": cases})
    assert report.agrees, report.groups["known"].to_dict()
    assert {LARGE_TENSOR, WHOLE_ROWS} <= set(report.groups["known"].causes)
    assert UNEXPLAINED not in report.groups["known"].causes


def test_the_last_bit_is_named() -> None:
    """No recorded run of a small tensor shows it; here the real program's chances are ours with other last bits."""
    arch = open_architecture("eyeriss_168_skipping")
    table = hwloop.estimate_energy_table(arch)
    problem = make_problem(conv2d_shape(), {"C": 32, "M": 32, "P": 14, "Q": 14, "R": 3, "S": 3}, {"Weights": 0.5, "Inputs": 0.5})
    mapping = hwloop.map_problem(problem, arch, table, effort="quick").mapping
    ours = Simulator(problem, arch, table).run(mapping)
    off = {"Weights": (2.0**-51, 2.0**-51)}
    real = _InexactSimulator(problem, arch, table, None, off).run(mapping)
    pairs = list(compare_costs(ours, real))
    causes = Explainer(problem, arch, mapping, table).causes(pairs, lambda cost: compare_costs(cost, real))
    assert {cause for cause in causes if cause} == {LAST_BIT}
