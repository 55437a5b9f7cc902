from __future__ import annotations

import numpy as np
import pytest

from hwloop.errors import SpecError
from hwloop.search.objectives import WORST, find_objectives, read_budget, to_f, to_g


@pytest.mark.parametrize(
    ("text", "metric", "bound"),
    [
        ("energy<=2.5uJ", "energy_pj", 2.5e6),
        ("energy <= 300 pJ", "energy_pj", 300.0),
        ("latency<=1e6", "cycles", 1e6),
        ("size<=40kB", "size_bits", 320e3),
        ("size<=4KiB", "size_bits", 32768.0),
        ("accuracy>=97%", "accuracy", 0.97),
        ("accuracy>=0.97", "accuracy", 0.97),
    ],
)
def test_budgets_with_units(text: str, metric: str, bound: float) -> None:
    budget = read_budget(text)
    assert (budget.objective.metric, budget.bound) == (metric, pytest.approx(bound))


def test_violation_is_negative_inside_and_relative() -> None:
    assert read_budget("energy<=100pJ").violation(150) == pytest.approx(0.5)
    assert read_budget("energy<=100pJ").violation(100) == 0
    assert read_budget("accuracy>=0.9").violation(0.81) == pytest.approx(0.1)
    assert read_budget("accuracy>=0.9").violation(0.99) < 0


def test_accuracy_is_turned_and_the_unmappable_is_infeasible_and_finite() -> None:
    metrics = [{"accuracy": 0.9, "energy_pj": 5.0}, {"accuracy": 0.8}]
    objectives = find_objectives(["accuracy", "energy"])
    assert to_f(metrics, objectives).tolist() == [[-0.9, 5.0], [-0.8, WORST]]
    G = to_g(metrics, [read_budget("energy<=10pJ")])
    assert (G[0] <= 0).all()
    assert (G[1] > 0).all()
    assert np.isfinite(G).all()


def test_what_cannot_be_read_is_named() -> None:
    with pytest.raises(SpecError, match="did you mean 'energy'"):
        find_objectives(["enrgy"])
    with pytest.raises(SpecError, match="distinct names"):
        find_objectives(["latency", "cycles"])
    with pytest.raises(SpecError, match="an objective, <= or >="):
        read_budget("energy=3")
    with pytest.raises(SpecError, match="a unit of energy"):
        read_budget("energy<=3kWh")
    with pytest.raises(SpecError, match=r"a unit of energy \(pj, nj, uj, mj\), found 'energy<=20'; e\.g\. energy<=2\.5uJ"):
        read_budget("energy<=20")
    with pytest.raises(SpecError, match="a unit of size"):
        read_budget("size<=40")
    with pytest.raises(SpecError, match=r"a unit of latency \(no unit\), found 'ms'"):
        read_budget("latency<=3ms")
    with pytest.raises(SpecError, match="an accuracy of at most 1 or 100%"):
        read_budget("accuracy>=97")
    with pytest.raises(SpecError, match=r"a number, found '1\.2\.3'"):
        read_budget("latency<=1.2.3")
