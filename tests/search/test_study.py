from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwloop.errors import DataError, HwloopError, SpecError
from hwloop.search.log import EvaluationLog
from hwloop.search.method import run_method
from hwloop.search.records import LayerRecord
from hwloop.search.seams import BudgetSpent, SearchBudget
from hwloop.search.study import training_name

from .toy_method import Climb
from .toys import ToyHardware, ToyScorer, Training, make_study, paper_space

SPACE = paper_space()
PLANS = [SPACE.plan(row) for row in ([0, 9, 9, 9], [8, 4, 4, 4], [9, 2, 2, 2])]


def test_records_have_accuracy_totals_and_the_layers_costs() -> None:
    record = make_study().evaluate(PLANS[1:2])[0]
    metrics = {"accuracy": 0.7, "energy_pj": 2.4, "cycles": 40.0, "edp": 96.0, "size_bits": 12.0, "macs": 20.0}
    assert record.metrics == pytest.approx(metrics)
    assert [(layer.name, layer.cycles) for layer in record.layers] == [("a", 10), ("b", 10), ("c", 10), ("c#2", 10)]
    assert sum(layer.energy_pj for layer in record.layers) == pytest.approx(2.4)


def test_costs_alone_are_free() -> None:
    scorer, study = ToyScorer(), make_study(limit=SearchBudget(evaluations=1))
    record = study.costs(PLANS[1:2])[0]
    assert set(record.metrics) == {"energy_pj", "cycles", "edp", "size_bits", "macs"}
    assert [layer.name for layer in record.layers] == ["a", "b", "c", "c#2"]
    assert (scorer.asked, study.records, study.images_used, study.evaluations_left) == ([], [], 0, 1)
    assert study.evaluate(PLANS[1:2])[0].layers == record.layers
    assert make_study(hardware=ToyHardware(most=0.5)).costs(PLANS[2:])[0].layers == ()


def test_features_are_the_layers_with_what_they_cost_when_nothing_is_changed() -> None:
    layers = make_study().layers
    assert [(f.layer.name, f.changes, f.energy_pj, f.cycles) for f in layers] == [
        ("a", True, 16.0, 10), ("b", True, 16.0, 10), ("c", True, 16.0, 10), ("c#2", False, 0.0, 10),
    ]  # fmt: skip


def test_hardware_is_asked_for_all_new_plans_at_once_and_nothing_is_asked_twice() -> None:
    hardware, scorer = ToyHardware(), ToyScorer()
    study = make_study(hardware=hardware, scorer=scorer)
    first = study.evaluate([*PLANS[:2], PLANS[0]])
    again = study.evaluate(PLANS)
    assert hardware.batches == [2, 1]
    assert [p.key for p in scorer.asked] == [p.key for p in PLANS]
    assert [first[0], first[1]] == again[:2]
    assert first[2] is first[0]
    assert study.records == again


def test_the_budget_stops_after_what_it_allows_and_known_candidates_are_free() -> None:
    study = make_study(limit=SearchBudget(evaluations=2))
    with pytest.raises(BudgetSpent, match="budget of 2 evaluations is used up"):
        study.evaluate(PLANS)
    assert [record.plan for record in study.records] == PLANS[:2]
    assert study.evaluations_left == 0
    assert study.evaluate(PLANS[:2]) == study.records
    assert make_study().evaluations_left is None
    for wrong in ({"evaluations": 0}, {"images": -1}):
        with pytest.raises(SpecError, match=r"expected 1 or more"):
            SearchBudget(**wrong)


def test_training_is_another_candidate_and_its_images_count() -> None:
    scorer, study = ToyScorer(), make_study(limit=SearchBudget(images=500))
    plain, trained = study.evaluate(PLANS[1:2])[0], study.evaluate(PLANS[1:2], Training(2))[0]
    assert (plain.how, trained.how) == ("", training_name(Training(2)))
    assert trained.metrics["accuracy"] > plain.metrics["accuracy"]
    assert study.images_used == 10 + 10 + 2 * scorer.train_images
    assert study.network(plain) is None
    assert study.network(trained) == ("network", PLANS[1].key, Training(2))
    study.materialise(PLANS[0], Training(2))
    with pytest.raises(BudgetSpent, match="500 images"):
        study.materialise(PLANS[0], Training(1))
    with pytest.raises(BudgetSpent, match="500 images"):
        study.evaluate(PLANS[:1], Training(1))
    assert study.images_left == 80
    study.spend(80)
    with pytest.raises(BudgetSpent, match="used up"):
        study.spend(1)


def test_a_network_of_the_methods_own_is_scored_once_and_made_again_for_the_report(tmp_path: Path) -> None:
    made: list[str] = []

    def make() -> str:
        made.append("again")
        return "a network"

    log = EvaluationLog(tmp_path / "log.jsonl")
    study = make_study(log)
    record = study.score(PLANS[1], make, "distilled 1")
    assert study.score(PLANS[1], make, "distilled 1") is record
    assert made == ["again"]
    assert record.metrics["accuracy"] > study.evaluate(PLANS[1:2])[0].metrics["accuracy"]
    assert study.network(record) == "a network"
    log.close()
    later = make_study(EvaluationLog(tmp_path / "log.jsonl"))
    assert later.score(PLANS[1], make, "distilled 1") == record
    assert made == ["again"] * 2, "the log knew the answer"
    with pytest.raises(HwloopError, match="its method must make it again"):
        make_study().network(record)
    with pytest.raises(ValueError, match="needs a name"):
        study.score(PLANS[1], make, "")
    spent = make_study(limit=SearchBudget(evaluations=1))
    spent.evaluate(PLANS[:1])
    with pytest.raises(BudgetSpent, match="1 evaluations"):
        spent.score(PLANS[1], make, "distilled 1")


def test_steps_keep_what_is_held_and_watchers_are_told() -> None:
    study, told, steps = make_study(EvaluationLog()), [], []
    study.watch(lambda record, known: told.append(known), steps.append)
    records = study.evaluate(PLANS)
    study.step(records[:2], 5)
    study.step(records)
    assert told == [False] * 3
    assert [(step.number, step.steps, step.F.shape, step.G.shape) for step in steps] == [
        (1, 5, (2, 2), (2, 1)),
        (2, 0, (3, 2), (3, 1)),
    ]
    assert study.steps == steps


def test_a_method_goes_on_from_what_it_kept_and_not_from_the_beginning(tmp_path: Path) -> None:
    log = EvaluationLog(tmp_path / "log.jsonl")
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        run_method(Climb(), make_study(log, scorer=ToyScorer(stop_after=12), folder=tmp_path), SPACE)
    study, known = make_study(log, folder=tmp_path), []
    study.watch(lambda record, was: known.append(was))
    assert study.kept() is not None
    assert len(study.records) == len(known) == 12
    assert all(known)
    before = len(study.steps)
    run_method(Climb(), make_study(log, folder=tmp_path), SPACE)
    assert (tmp_path / "state").exists()
    assert before > 5
    assert make_study().kept() is None
    make_study().keep(b"nothing is written without a folder")
    (tmp_path / "state").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="delete it to start the method again"):
        study.kept()


def test_a_candidate_without_a_mapping_has_no_hardware_numbers() -> None:
    study = make_study(hardware=ToyHardware(most=0.5), budgets=("energy<=10pJ",))
    good, none = study.evaluate([PLANS[0], PLANS[2]])
    assert none.layers == ()
    assert set(none.metrics) == {"accuracy", "size_bits", "macs"}
    assert (study.to_g([none]) > 0).all()
    assert np.isfinite(study.to_f([good, none])).all()
    assert good.layers[0] == LayerRecord("a", 9.0, 10)
