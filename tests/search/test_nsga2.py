from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwloop.errors import DataError, SpecError
from hwloop.pareto import non_dominated
from hwloop.search.archive import front, nearest_to_feasible
from hwloop.search.checkpoint import EvaluationLog
from hwloop.search.genotype import Candidate, Genotype
from hwloop.search.method import SearchBudget, Step
from hwloop.search.methods import find_method
from hwloop.search.objectives import find_objectives, read_budget
from hwloop.search.stages import corners, evolve

SPACE = Genotype(tuple(i / 10 for i in range(10)), ("a", "b", "c"), (2, 9))
OBJECTIVES = find_objectives(["accuracy", "energy"])
NEED = {"a": 6, "b": 4, "c": 3}  # bits below which a layer loses accuracy


def toy(candidate: Candidate) -> dict[str, float]:
    """Accuracy falls with pruning above 0.6 and with bits below what a layer needs; energy grows with bits and density."""
    loss = max(candidate.p - 0.6, 0) + 0.05 * sum(max(NEED[k] - v, 0) for k, v in candidate.weight_bits.items())
    energy = (1 - candidate.p) * sum(candidate.weight_bits.values())
    return {"accuracy": 1 - loss, "energy_pj": energy, "cycles": energy, "size_bits": energy, "macs": energy}


def run(log: EvaluationLog, generations: int = 12, budgets: tuple[str, ...] = (), seed: int = 3) -> list:
    limits = [read_budget(text) for text in budgets]
    return evolve(SPACE, toy, OBJECTIVES, limits, find_method("nsga2"), SearchBudget(24, generations), seed, log)


def test_finds_the_true_front_of_a_space_small_enough_to_try_out() -> None:
    grid = np.stack(np.meshgrid(np.arange(10), *[np.arange(2, 10)] * 3, indexing="ij"), -1).reshape(-1, 4)
    every = [toy(SPACE.decode(x)) for x in grid]
    points = np.array([[-m["accuracy"], m["energy_pj"]] for m in every])
    true = {tuple(p) for p in points[non_dominated(points)].round(9).tolist()}
    found = front(run(EvaluationLog(), generations=30), OBJECTIVES, [])
    got = {(round(-e.metrics["accuracy"], 9), round(e.metrics["energy_pj"], 9)) for e in found}
    assert len(got & true) >= 0.8 * len(true), f"{len(got & true)} of {len(true)}"
    best = [e for e in found if e.metrics["accuracy"] >= 1.0]
    assert [e.x for e in best] == [(6, 6, 4, 3)]


def test_the_same_seed_asks_for_the_same_candidates_and_another_for_others() -> None:
    first, again, other = (run(EvaluationLog(), seed=s) for s in (1, 1, 2))
    assert first == again
    assert [e.x for e in first] != [e.x for e in other]


def test_a_killed_run_resumes_to_the_same_front(tmp_path: Path) -> None:
    whole = run(EvaluationLog())
    path = tmp_path / "evaluations.jsonl"
    log = EvaluationLog(path)
    run(log, generations=5)
    log.close()
    path.write_bytes(path.read_bytes()[:-20])  # as a kill would leave it
    resumed = EvaluationLog(path)
    assert 0 < resumed.resumed < len(whole)
    assert run(resumed) == whole
    resumed.close()
    assert EvaluationLog(path).evaluations() == resumed.evaluations()


def test_budgets_bound_the_front_and_an_impossible_one_leaves_the_nearest() -> None:
    log = EvaluationLog()
    limits = [read_budget("energy<=8"), read_budget("accuracy>=0.7")]
    found = front(run(log, budgets=("energy<=8", "accuracy>=0.7")), OBJECTIVES, limits)
    assert found
    assert all(e.metrics["energy_pj"] <= 8 and e.metrics["accuracy"] >= 0.7 for e in found)
    hopeless = [read_budget("energy<=0.001")]
    evaluations = run(EvaluationLog(), budgets=("energy<=0.001",))
    assert front(evaluations, OBJECTIVES, hopeless) == []
    nearest = nearest_to_feasible(evaluations, hopeless)
    assert nearest is not None
    assert nearest.metrics["energy_pj"] == min(e.metrics["energy_pj"] for e in evaluations)


def test_steps_report_every_generation() -> None:
    steps: list[Step] = []
    evolve(SPACE, toy, OBJECTIVES, [], find_method("nsga2"), SearchBudget(8, 4), 0, EvaluationLog(), on_step=steps.append)
    assert [s.generation for s in steps] == [1, 2, 3, 4]
    assert all(s.F.shape == (8, 2) for s in steps)


def test_an_unmappable_candidate_is_never_on_the_front() -> None:
    def half(candidate: Candidate) -> dict[str, float]:
        return {"accuracy": 1.0} if candidate.p > 0.5 else toy(candidate)

    evaluations = evolve(SPACE, half, OBJECTIVES, [], find_method("nsga2"), SearchBudget(16, 6), 0, EvaluationLog())
    assert all("energy_pj" in e.metrics for e in front(evaluations, OBJECTIVES, []))


def test_corners_are_far_apart_and_legal() -> None:
    found = corners(SPACE)
    assert {c.p for c in found} == {0.0, 0.4, 0.9}
    assert all(2 <= b <= 9 for c in found for b in c.weight_bits.values())


def test_damage_in_the_middle_of_a_log_is_named(tmp_path: Path) -> None:
    path = tmp_path / "evaluations.jsonl"
    path.write_text('{"x": [1], "metrics": {}}\nnonsense\n{"x": [2], "metrics": {}}\n')
    with pytest.raises(DataError, match="line 2 is damaged"):
        EvaluationLog(path)


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(SpecError, match="one of nsga2"):
        find_method("annealing")
