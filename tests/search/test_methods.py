"""The contract of search methods, run over every registered one and a user's own."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwloop.errors import DataError, SpecError
from hwloop.pareto import non_dominated
from hwloop.search.log import EvaluationLog
from hwloop.search.method import METHODS, describe_method, find_method, run_method
from hwloop.search.options import plain_options
from hwloop.search.records import Record, front, nearest_to_feasible
from hwloop.search.seams import SearchBudget
from hwloop.search.space import Space
from hwloop.search.study import Study

from .toys import OBJECTIVES, ToyHardware, ToyScorer, make_study, paper_space

OPTIONS: dict[str, dict[str, Any]] = {
    "nsga2": {"population": 12, "generations": 8},
    "nsga3": {"population": 12, "generations": 8},
    "random": {"evaluations": 90, "batch": 7},
}
TOY = "toy_method:Climb"
DRAW_NOTHING = {"knapsack"}


@pytest.fixture(autouse=True)
def _toys_are_found(monkeypatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)


@pytest.mark.parametrize("name", [*METHODS, TOY])
class TestContract:
    """What the study and the run folder rely on."""

    def search(self, name: str, log: EvaluationLog | None = None, space: Space | None = None, **arguments: Any) -> Study:
        study = make_study(log, **arguments)
        run_method(find_method(name, OPTIONS.get(name)), study, space or paper_space())
        return study

    def test_repeats_with_the_seed(self, name: str) -> None:
        first, again, other = (self.search(name, seed=seed) for seed in (1, 1, 2))
        assert first.records == again.records
        assert [s.F.tolist() for s in first.steps] == [s.F.tolist() for s in again.steps]
        assert ([r.key for r in first.records] == [r.key for r in other.records]) == (name in DRAW_NOTHING)

    def test_evaluates_nothing_twice(self, name: str) -> None:
        scorer = ToyScorer()
        study = self.search(name, scorer=scorer)
        assert max(Counter(plan.key for plan in scorer.asked).values()) == 1
        assert len(scorer.asked) == len(study.records) > 1

    def test_stays_in_the_space(self, name: str) -> None:
        space = paper_space()
        for record in self.search(name, space=space).records:
            assert space.plan(space.row(record.plan)) == record.plan

    @pytest.mark.parametrize("limit", [SearchBudget(evaluations=17), SearchBudget(images=5000), SearchBudget(1)])
    def test_keeps_the_budget(self, name: str, limit: SearchBudget) -> None:
        scorer = ToyScorer()
        study = self.search(name, scorer=scorer, limit=limit)
        assert len(scorer.asked) == len(study.records) <= (limit.evaluations or 500)
        assert study.evaluations_left in (None, 0)
        assert study.images_used == 10 * len(scorer.asked) + sum(images for _, images in scorer.seen)
        assert study.images_used <= (limit.images or 10**9)

    def test_stops_in_the_middle_where_the_images_are_used_up(self, name: str) -> None:
        whole = self.search(name, scorer=(scorer := ToyScorer()))
        spent = sum(images for _, images in scorer.seen)
        if not spent:
            assert len(self.search(name, limit=SearchBudget(images=170)).records) == 17
        half = self.search(name, limit=SearchBudget(images=4 * spent + 10 * (len(whole.records) // 2)))
        assert half.records == whole.records[: len(half.records)]
        assert len(half.records) >= len(whole.records) // 2

    @pytest.mark.parametrize("cut", [0, 1, 25])
    def test_resumes_from_a_cut_log_to_the_same_end(self, name: str, cut: int, tmp_path: Path) -> None:
        whole = self.search(name)
        path, folder = tmp_path / "evaluations.jsonl", tmp_path / "method"
        log = EvaluationLog(path)
        stopped = ToyScorer(stop_after=len(whole.records) // 2)
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            self.search(name, log, scorer=stopped, folder=folder)
        log.close()
        content = path.read_bytes()
        if cut:
            path.write_bytes(content[:-cut])  # as a kill while writing would leave it
        resumed = EvaluationLog(path)
        measured, scorer = set(stopped.seen), ToyScorer()
        if cut and (folder / "state").exists():  # a state that is ahead of its log is refused, as the disk lost what it stands on
            with pytest.raises(DataError, match="does not fit the evaluations"):
                self.search(name, resumed, scorer=scorer, folder=folder)
            (folder / "state").unlink()
        again = self.search(name, resumed, scorer=scorer, folder=folder)
        resumed.close()
        assert again.records == whole.records
        assert [s.F.tolist() for s in again.steps] == [s.F.tolist() for s in whole.steps]
        assert again.images_used == whole.images_used
        assert len(scorer.asked) == len(whole.records) - resumed.resumed < len(whole.records)
        assert not measured & set(scorer.seen), "divergences are kept in the method's folder"
        assert EvaluationLog(path).records() == whole.records

    def test_says_how_much_it_will_ask_and_what_it_is(self, name: str) -> None:
        method = find_method(name, OPTIONS.get(name))
        assert len(self.search(name).records) <= method.expected() * 2
        assert set(OPTIONS.get(name, {}).items()) <= set(plain_options(method).items())
        assert type(method).name in (name, "climb")


def test_nsga2_finds_the_true_front_of_a_space_small_enough_to_try_out() -> None:
    space, study = paper_space(), make_study()
    grid = np.stack(np.meshgrid(np.arange(10), *[np.arange(2, 10)] * 3, indexing="ij"), -1).reshape(-1, 4)
    every = make_study().to_f(make_study().evaluate([space.plan(x) for x in grid]))
    true = {tuple(p) for p in every[non_dominated(every)].round(9).tolist()}
    run_method(find_method("nsga2", {"population": 24, "generations": 20}), study, space)
    found = front(study.records, OBJECTIVES, [])
    got = {tuple(p) for p in study.to_f(found).round(9).tolist()}
    assert len(got & true) >= 0.8 * len(true), f"{len(got & true)} of {len(true)}"
    best = [record for record in found if record.metrics["accuracy"] >= 1.0]
    assert [space.row(record.plan) for record in best] == [(6, 6, 4, 3)]


def test_budgets_bound_the_front_and_an_impossible_one_leaves_the_nearest() -> None:
    def records(*budgets: str) -> tuple[Study, list[Record]]:
        study = make_study(budgets=budgets)
        run_method(find_method("nsga2", {"population": 24, "generations": 12}), study, paper_space())
        return study, front(study.records, OBJECTIVES, study.budgets)

    _, found = records("energy<=8pJ", "accuracy>=0.7")
    assert found
    assert all(r.metrics["energy_pj"] <= 8 and r.metrics["accuracy"] >= 0.7 for r in found)
    hopeless, none = records("energy<=0.001pJ")
    assert none == []
    nearest = nearest_to_feasible(hopeless.records, hopeless.budgets)
    assert nearest is not None
    assert nearest.metrics["energy_pj"] == min(r.metrics["energy_pj"] for r in hopeless.records)


def test_a_candidate_that_fits_no_mapping_is_never_on_the_front() -> None:
    study = make_study(hardware=ToyHardware(most=0.5))
    run_method(find_method("nsga2", {"population": 16, "generations": 6}), study, paper_space())
    assert any(not record.layers and "energy_pj" not in record.metrics for record in study.records)
    assert all("energy_pj" in record.metrics for record in front(study.records, OBJECTIVES, []))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("annealing", {}, "method: expected one of nsga2, nsga3, knapsack, random, found 'annealing'; a class of your own is"),
        ("nsga4", {}, "did you mean 'nsga3'"),
        ("nsga2", {"populaton": 3}, "method option populaton: .*did you mean 'population'"),
        ("nsga2", {"population": "many"}, "method option population: expected a value of type int, found 'many'"),
        ("nsga2", {"population": 2}, "method option population: expected 4 or more, found 2"),
        ("nsga2", {"exchange": "1.5"}, "method option exchange: expected from 0 to 1"),
        ("random", {"anchored": "perhaps"}, "method option anchored: expected a value of type bool"),
        ("random", {"batch": 0}, "method option batch: expected 1 or more"),
    ],
)
def test_what_a_method_does_not_take_is_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        find_method(name, options)


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match=r"method 'nowhere:Best': cannot import 'nowhere': ModuleNotFoundError"):
        find_method("nowhere:Best")
    with pytest.raises(DataError, match=r"toy_method has no class or function 'Clim'; did you mean 'Climb'"):
        find_method("toy_method:Clim")


def test_settings_are_described_with_their_defaults() -> None:
    assert describe_method("random") == "evaluations=1000, batch=40, anchored=True"


def test_settings_studies_and_spaces_load_no_heavy_library() -> None:
    code = (
        "import sys\n"
        "import hwloop.run.tuning, hwloop.run.demo, hwloop.search.run_folder\n"
        "from hwloop.run.settings import Settings\n"
        "Settings(method='random').to_dict(), Settings().to_dict()\n"
        "print([name for name in ('torch', 'pymoo', 'matplotlib', 'networkx') if name in sys.modules])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
