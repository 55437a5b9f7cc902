from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hwloop import InfeasibleMappingError, SimulatorError, SpecError
from hwloop.backend.embedded import Embedded
from hwloop.backend.request import MapRequest
from hwloop.backend.target import Target
from hwloop.simulator import LayerCost
from hwloop.validate.against import LiveCase, LiveSettings, make_cases, run_against, verify_live


class Wrong(Embedded):
    """Says what `change` makes of the truth."""

    name = "wrong"

    def __init__(self, change: Callable[[LayerCost], LayerCost]) -> None:
        super().__init__(1)
        object.__setattr__(self, "change", change)

    def simulate(self, request: MapRequest, mapping: Any) -> LayerCost:
        return self.change(super().simulate(request, mapping))  # type: ignore[attr-defined,no-any-return]


def live(case: Any, name: str = "case") -> LiveCase:
    return LiveCase(name, MapRequest(case.problem, case.architecture, case.table, bits=case.bits), case.mapping)


def test_the_same_simulator_agrees(recorded: Any) -> None:
    seen: list[str] = []
    report = run_against(Embedded(), {"group": [live(recorded)]}, seen.append)
    assert report.agrees
    assert seen == ["case"]
    assert report.energy_gap == {"group": 0.0}
    assert report.groups["group"].quantities["cycles"].equal == 1
    assert set(report.seconds) == {"embedded"}


def test_a_wrong_one_does_not(recorded_run: Callable[[str], Any]) -> None:
    case = live(recorded_run("shidiannao_depthwise"))
    slow = Wrong(lambda cost: replace(cost, cycles=cost.cycles + 1, energy_pj=cost.energy_pj * 1.01))
    report = run_against(slow, {"a": [case], "b": []})
    assert not report.agrees
    assert report.groups["b"].agrees
    assert set(report.groups["a"].quantities["cycles"].cases) == {"case"}
    assert 0.009 < report.energy_gap["a"] < 0.011


def test_refusals_and_crashes(recorded_run: Callable[[str], Any]) -> None:
    case = live(recorded_run("shidiannao_depthwise"))

    def refuse(_: LayerCost) -> LayerCost:
        raise InfeasibleMappingError("buffer: too small")

    def crash(_: LayerCost) -> LayerCost:
        raise SimulatorError("it crashed\nwith a long log")

    refused = run_against(Wrong(refuse), {"a": [case]})
    assert refused.groups["a"].quantities["feasibility"].cases == {"case": "wrong refuses: buffer: too small (unexplained)"}
    crashed = run_against(Wrong(crash), {"a": [case]})
    assert crashed.unanswered["case"].startswith("it crashed: with a long log; hwloop: ")
    assert crashed.agrees  # nothing was compared, and that is said


def test_cases_are_every_layer_density_and_width(recorded_run: Callable[[str], Any]) -> None:
    case = recorded_run("shidiannao_depthwise")
    asked = []

    target = Target("acc", case.architecture, None, lambda _widths: case.table)

    def find(problem: Any, widths: dict[str, int]) -> Any:
        asked.append((problem.name, widths["Weights"]))
        return case.mapping

    layers = [replace(case.problem, name="one"), replace(case.problem, name="two")]
    cases = make_cases(target, layers, [1.0, 0.5], [8, 4], find)
    assert len(cases) == 8
    assert asked == [("one", 8), ("one", 4), ("two", 8), ("two", 4)]
    assert cases[1].id == "acc one density 0.5 bits 8"
    assert cases[1].request.problem.density("Weights").density == 0.5
    assert cases[0].request.problem.densities == ()
    assert cases[2].request.bits == {"Weights": 4, "Inputs": 4}
    assert Embedded().simulate(cases[0].request, cases[0].mapping).computes


def test_the_whole_check_is_one_call() -> None:
    settings = LiveSettings(("tpu_like",), ("mobilenet",), (1.0, 0.5), (8,), most=1)
    steps: list[str] = []
    report = verify_live(Embedded(1), settings, steps.append)
    assert report.agrees
    assert report.to_dict()["groups"]["tpu_like"]["cases"] == 2
    assert steps == ["map conv1 on tpu_like", "tpu_like conv1 density 1 bits 8", "tpu_like conv1 density 0.5 bits 8"]
    assert settings.steps == len(steps)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"densities": (0.0,)}, "densities: expected numbers above 0 up to 1"),
        ({"bits": (65,)}, "bits: expected numbers above 0 up to 64"),
        ({"networks": ("lenet",)}, "networks among alexnet"),
        ({"most": 0}, "most: expected 1 layer or more"),
    ],
)
def test_settings_that_make_no_sense(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        LiveSettings(**change)
