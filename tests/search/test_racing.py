from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwloop.search.log import EvaluationLog
from hwloop.search.method import find_method, run_method
from hwloop.search.objectives import AT_MOST, find_objectives, read_budget, to_f
from hwloop.search.racing import Hopeless, may_race
from hwloop.search.records import Record, front, is_exact
from hwloop.search.seams import SearchBudget
from hwloop.search.study import Study
from hwloop.spec.plan import Plan, make_plan

from .toys import OBJECTIVES, ToyHardware, ToyScorer, make_study, paper_space, workload

IMAGES = 40


class Racer(ToyScorer):
    """Looks at one image of each candidate after the other; those that are wrong come first."""

    images = IMAGES

    def __init__(self) -> None:
        super().__init__()
        self.looked = 0

    def prepare(self, plans: Sequence[Plan]) -> None: ...

    def accuracies(self, plans: Sequence[Plan], hopeless: Any = None) -> list[tuple[float, bool]]:
        right = np.array([round(self.accuracy(plan) * IMAGES) for plan in plans])
        seen = np.zeros(len(plans), int)
        for image in range(IMAGES):
            so_far = np.maximum(seen - (IMAGES - right), 0)
            least, most = so_far / IMAGES, (so_far + IMAGES - seen) / IMAGES
            go_on = seen == image if hopeless is None else (seen == image) & ~hopeless(least, most)
            seen += go_on
            self.looked += int(go_on.sum())
        so_far = np.maximum(seen - (IMAGES - right), 0)
        return [(float(s + IMAGES - n) / IMAGES, bool(n == IMAGES)) for s, n in zip(so_far, seen, strict=True)]


def searched(race: bool, seed: int, method: str = "nsga2", **options: Any) -> tuple[Study, Racer]:
    scorer = Racer()
    study = Study(scorer, ToyHardware(most=0.8), ToyHardware().cost(scorer.complete(Plan())), OBJECTIVES, seed=seed, race=race)
    run_method(find_method(method, {"population": 12, "generations": 10, **options}), study, paper_space())
    return study, scorer


@pytest.mark.parametrize("seed", range(6))
def test_nsga2_goes_the_same_way_whether_all_accuracies_are_known_or_not(seed: int) -> None:
    (whole, all_images), (raced, some_images) = searched(False, seed, drawn=1), searched(True, seed, drawn=1)
    assert [record.key for record in raced.records] == [record.key for record in whole.records]
    assert [step.F.tolist() for step in raced.steps] == [step.F.tolist() for step in whole.steps]
    assert front(raced.records, OBJECTIVES, ()) == front(whole.records, OBJECTIVES, ())
    assert raced.images_used == whole.images_used
    assert some_images.looked < all_images.looked
    for bounded, exact in zip(raced.records, whole.records, strict=True):
        if is_exact(bounded.metrics):
            assert bounded == exact
        else:
            assert exact.metrics["accuracy"] <= bounded.metrics[AT_MOST]
    assert not all(is_exact(record.metrics) for record in raced.records)


def test_a_filter_that_learns_from_accuracies_knows_them_all() -> None:
    (whole, _), (raced, _) = searched(False, 1, drawn=4), searched(True, 1, drawn=4)
    assert raced.records == whole.records
    assert all(is_exact(record.metrics) for record in raced.records)


CANDIDATES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 8)), min_size=1, max_size=12)


@given(CANDIDATES, CANDIDATES, st.integers(0, 8))
def test_nobody_on_the_front_is_ever_hopeless(known, fresh, seen) -> None:
    """Accuracies are eighths; of each candidate `seen` images were looked at, the wrong ones first."""
    objectives = find_objectives(["accuracy", "energy", "size"])

    def metrics(entry: tuple[int, int, int], accuracy: bool = True) -> dict[str, float]:
        out = {"energy_pj": float(entry[0]), "size_bits": float(entry[1])}
        return out | {"accuracy": entry[2] / 8} if accuracy else out

    wrong = np.array([8 - entry[2] for entry in fresh])
    most = (8 - np.minimum(wrong, seen)) / 8
    least = np.maximum(seen - wrong, 0) / 8
    hopeless = Hopeless([metrics(entry, False) for entry in fresh], [metrics(entry) for entry in known], objectives, ())
    F = to_f([metrics(entry) for entry in (*known, *fresh)], objectives)
    for row, out in zip(F[len(known) :], hopeless(least, most), strict=True):
        assert not out or ((row >= F).all(axis=1) & (row > F).any(axis=1)).any()


def test_a_bound_becomes_exact_when_it_is_asked_for_and_counts_as_nothing_new(tmp_path) -> None:
    scorer = Racer()
    log = EvaluationLog(tmp_path / "log.jsonl")
    study = make_study(log, scorer=scorer, limit=SearchBudget(evaluations=2))
    space = paper_space()
    good, bad = space.plan([5, 6, 4, 3]), space.plan([5, 6, 3, 4])  # as dear, one bit too few
    study.evaluate([good], race=True)
    [bounded] = study.evaluate([bad], race=True)
    assert "accuracy" not in bounded.metrics
    assert study.to_f([bounded])[0, 0] == -bounded.metrics[AT_MOST]
    assert bounded.metrics[AT_MOST] < study.records[0].metrics["accuracy"]
    assert front(study.records, OBJECTIVES, ()) == study.records[:1]
    log.close()
    assert make_study(EvaluationLog(log.path), scorer=ToyScorer(0)).evaluate([bad], race=True) == [bounded]
    [exact] = study.evaluate([bad])
    assert exact.metrics["accuracy"] == ToyScorer().accuracy(bad)
    assert (study.evaluations_left, study.images_used, len(study.records)) == (0, 2 * IMAGES, 2)
    log.close()
    assert EvaluationLog(log.path)[bad.key, ""] == exact
    assert study.evaluate([bad], race=True) == [exact]


def test_where_accuracy_bounds_something_nothing_is_left_open() -> None:
    assert may_race(OBJECTIVES, [read_budget("energy<=3pJ")])
    assert not may_race(OBJECTIVES, [read_budget("accuracy>=90%")])
    assert not may_race(find_objectives(["energy", "size"]), ())


def test_candidates_that_fit_no_mapping_are_left_to_be_known() -> None:
    plan = make_plan(workload())
    known = Record(plan, {"accuracy": 1.0, "energy_pj": 0.0})
    hopeless = Hopeless([{"size_bits": 1.0}, {"energy_pj": 1.0}], [known.metrics], OBJECTIVES, ())
    assert hopeless(np.zeros(2), np.full(2, 0.9)).tolist() == [False, True]
