"""Tables of single layers, the paths over them, and what they propose and expect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hwloop.backend.network_cost import NetworkCost
from hwloop.errors import DataError, SpecError
from hwloop.search.guide import make_guide
from hwloop.search.knapsack import sweep
from hwloop.search.measured_tables import CAP, FLOOR, _filled, _next, measure_tables
from hwloop.search.objectives import find_objectives, read_budget
from hwloop.search.paths import cost_metrics, explore, measure_bases, path, table_images, weightings
from hwloop.search.predictor import Predictor, falling
from hwloop.search.proposals import Proposer, unit_crossover
from hwloop.search.seams import SearchBudget
from hwloop.search.spaces.layerwise import Layerwise
from hwloop.search.study import DIVERGENCES
from hwloop.search.unit_tables import UnitTables
from hwloop.search.units import base_columns, canonical
from hwloop.spec.plan import Plan

from .toy_space import OneBitWidth
from .toys import ToyHardware, ToyScorer, choices, make_study, paper_space

SPACE = Layerwise(choices(), "0.2:0.8:0.2")


def tables(**arguments: object) -> UnitTables:
    return measure_tables(make_study(**arguments), SPACE, SPACE.mildest, ["energy_pj", "cycles"], 7)


def test_damages_are_those_of_single_choices_and_rise() -> None:
    found, scorer, start = tables(), ToyScorer(), SPACE.plan(SPACE.mildest)
    for at, unit in enumerate(SPACE.units):
        assert found.damages[at][0] == 0
        assert found.choices[at][0].tolist() == SPACE.mildest[list(unit.columns)].tolist()
        for choice, damage in enumerate(found.damages[at]):
            row = SPACE.mildest.copy()
            row[unit.columns[1]] = found.choices[at][choice][1]  # bits alone
            if found.choices[at][choice][0] == 0 and damage > FLOOR:
                assert damage == pytest.approx(scorer.divergence(SPACE.plan(row), start, 7))


def test_costs_are_what_the_target_says_of_each_choice_alone() -> None:
    found, study = tables(), make_study()
    start = SPACE.plan(SPACE.mildest)
    base = study.layer_costs([start], start)[0].metrics["energy_pj"]
    assert found.base_costs["energy_pj"] == base == 3 * 9.0
    for at, choices_of in enumerate(found.choices):
        for choice in range(len(choices_of)):
            record = study.layer_costs([SPACE.plan(found.chosen(at, choice))], start)[0]
            assert found.costs["energy_pj"][at][choice] == pytest.approx(record.metrics["energy_pj"] - base)
    picks = found.picks(SPACE.anchors())
    assert np.array_equal(found.rows(picks), found.on_base(SPACE.anchors()))
    exact = [r.metrics["energy_pj"] for r in study.layer_costs([SPACE.plan(row) for row in found.rows(picks)], start)]
    assert found.cost("energy_pj", picks) == pytest.approx(exact), "costs add up"
    assert found.cost("edp", picks) == pytest.approx(np.array(exact) * 40)


def test_a_layer_that_does_not_fit_makes_that_choice_alone_impossible() -> None:
    class Narrow(ToyHardware):
        """Layer b fits no mapping below 4 bits."""

        def cost(self, plan: Plan) -> NetworkCost | None:
            return None if (plan.of("b").weight_bits or 16) < 4 else super().cost(plan)

    found = tables(hardware=Narrow())
    b = [unit.name for unit in SPACE.units].index("b")
    assert (np.isinf(found.costs["energy_pj"][b]) == (found.choices[b][:, 1] < 4)).all()
    assert all(np.isfinite(found.costs["energy_pj"][at]).all() for at in range(3) if at != b)
    assert found.choices[b][sweep(found.weighted({"energy_pj": 1.0}), found.damages)[-1][b]][1] == 4


def test_measuring_begins_in_the_middle_and_stops_where_nothing_or_too_much_happens() -> None:
    truth, seen = [0.0, FLOOR / 9, FLOOR / 2, 0.01, 0.1, 2 * CAP, 5.0, 9.0], {}
    while positions := _next(seen, len(truth)):
        seen |= {at: truth[at] for at in positions}
    assert sorted(seen) == [2, 3, 4, 5], "not the ends"
    filled = _filled(seen, len(truth))
    assert filled[2:6].tolist() == truth[2:6]
    assert 0 == filled[0] < filled[1] < filled[2]
    assert filled[5] < filled[6] < filled[7]
    assert _filled({2: 0.5, 3: 0.2}, 4).tolist() == [0, 0.125, 0.5, 0.5], "a damage never falls"
    assert _next({}, 1) == []


def test_images_of_damages_count_once_and_what_is_kept_is_not_measured_again(tmp_path: Path) -> None:
    scorer = ToyScorer()
    study = make_study(scorer=scorer, folder=tmp_path)
    plans = [SPACE.plan(row) for row in SPACE.anchors()[:3]]
    first = study.divergences([*plans, plans[0]], Plan(), 5)
    assert study.divergences(plans, Plan(), 5) == first[:3]
    assert (study.images_used, len(scorer.seen)) == (15, 3)
    study.keep(b"state")
    content = (tmp_path / DIVERGENCES).read_bytes()
    (tmp_path / DIVERGENCES).write_bytes(content[:-4])  # as a kill while writing would leave it
    again = make_study(scorer=(later := ToyScorer()), folder=tmp_path)
    again.kept()
    assert again.divergences(plans, Plan(), 5) == first[:3]
    assert len(later.seen) == 1
    assert again.images_used == 15, "they counted before the stop"
    (tmp_path / DIVERGENCES).write_bytes(b"nonsense\n" + content)
    with pytest.raises(DataError, match="line 1 is damaged"):
        make_study(folder=tmp_path).divergences(plans, Plan(), 5)


def test_paths_lead_from_little_damage_to_little_cost_and_are_explored_where_it_pays() -> None:
    study, found = make_study(), tables()
    way = path(found, {"energy_pj": 1.0})
    assert (np.diff(way.damage) >= 0).all()
    assert (np.diff(way.cost) <= 1e-12).all()
    assert np.array_equal(canonical(SPACE, way.rows), way.rows)
    rows = explore(study, SPACE, [way], 12)
    assert len(rows) == len(study.records) == 12
    energies = sorted((r.metrics["energy_pj"], r.metrics["accuracy"]) for r in study.records)
    best = max(energy for energy, accuracy in energies if accuracy < 1), min(e for e, a in energies if a == 1)
    assert best[1] < 9, "the whole network at 9 bits costs 27; the layers need 6, 4 and 3 bits at 0.4 of the weights"
    assert explore(make_study(), SPACE, [way], 1).shape == (1, len(SPACE.lower))
    assert explore(make_study(), SPACE, [], 5).shape == (0, len(SPACE.lower))


def test_tables_take_a_quarter_of_the_images_at_most() -> None:
    def images(limit: int | None) -> int:
        return table_images(make_study(limit=SearchBudget(images=limit)), SPACE, 1, 100)

    assert images(None) == 100
    assert 16 <= 4 * images(9000) * 42 <= 9000, "3 layers with 4 amounts and 7 bits beside the mildest, 9 bases"
    assert images(100) == 0
    with pytest.raises(SpecError, match=r"images: expected \d+ or more, of which a quarter measure layers, found 100"):
        measure_bases(make_study(limit=SearchBudget(images=100)), SPACE, 1, 100)


def test_costs_are_the_objectives_and_budgets_besides_accuracy() -> None:
    assert cost_metrics(find_objectives(["accuracy", "size"]), [read_budget("energy<=1uJ")]) == ("size_bits", "energy_pj")
    assert cost_metrics(find_objectives(["accuracy"]), []) == ("energy_pj",)
    assert weightings(["a", "b"]) == [{"a": 0.5, "b": 0.5}, {"a": 1.0}, {"b": 1.0}]


def test_proposals_stay_in_the_space_on_their_base_and_repeat_with_the_seed() -> None:
    proposer = Proposer([tables()], weightings(["energy_pj"]))
    rng = np.random.default_rng(0)
    X = rng.integers(SPACE.lower, SPACE.upper + 1, (60, len(SPACE.lower)))
    moved = proposer.move(X, np.random.default_rng(1))
    assert np.array_equal(moved, proposer.move(X, np.random.default_rng(1)))
    assert ((moved >= SPACE.lower) & (moved <= SPACE.upper)).all()
    assert np.array_equal(moved[:, base_columns(SPACE)], X[:, base_columns(SPACE)])
    assert (moved != X).any(axis=1).mean() > 0.9
    table = tables()
    before, after = (np.stack([table.cost("energy_pj", table.picks(Y)), table.damage(table.picks(Y))]) for Y in (X, moved))
    better = (after <= before + 1e-9).all(axis=0)
    worse = (after >= before - 1e-9).all(axis=0) & (moved != X).any(axis=1)
    assert better.mean() > 0.3 > worse.mean(), "most random rows are far from the front, and moves lead towards it"


def test_children_take_units_whole() -> None:
    units, rest = [unit.columns for unit in SPACE.units], base_columns(SPACE)
    parents = np.stack([np.tile(SPACE.lower, (200, 1)), np.tile(SPACE.upper, (200, 1))])
    child = unit_crossover(parents, units, rest, np.random.default_rng(0))
    second = child == parents[1]
    assert all((second[:, list(columns)].all(axis=1) | ~second[:, list(columns)].any(axis=1)).all() for columns in units)
    assert 0.3 < second.mean() < 0.7


def test_isotonic_regression_pools_what_rises_and_reads_off_between() -> None:
    x, y = np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 0.6, 0.8, 0.2])
    assert falling(x, y, np.array([0.0, 1.5, 3.0, 9.0])) == pytest.approx([1.0, 0.7, 0.2, 0.2])
    assert falling(x, y, np.array([0.75])) == pytest.approx([0.85])
    assert falling(np.zeros(0), np.zeros(0), np.array([3.0])).tolist() == [-3.0]


def test_candidates_are_expected_to_be_about_what_they_are() -> None:
    study = make_study()
    proposer = Proposer([tables()], weightings(["energy_pj"]))
    predictor = Predictor(study, proposer, ["energy_pj"])
    rng = np.random.default_rng(0)
    X = rng.integers(SPACE.lower, SPACE.upper + 1, (90, len(SPACE.lower)))
    X[:, 0] = 0
    assert np.isfinite(predictor.predict(X)[0]).all(), "before anything is known"
    study.evaluate([SPACE.plan(row) for row in X[:60]])
    F, G = predictor.predict(X[60:])
    records = make_study().evaluate([SPACE.plan(row) for row in X[60:]])
    actual = study.to_f(records)
    assert np.corrcoef(F[:, 0], actual[:, 0])[0, 1] > 0.9
    assert F[:, 1] == pytest.approx(actual[:, 1], rel=0.01)
    assert np.array_equal(G, study.to_g(records))


def test_there_is_no_guide_where_there_are_no_units_images_or_mappings() -> None:
    assert make_guide(make_study(), OneBitWidth(choices()), 4, 1, 10) is None
    assert make_guide(make_study(limit=SearchBudget(images=100)), SPACE, 4, 1, 10) is None
    assert make_guide(make_study(hardware=Closed()), SPACE, 4, 1, 10) is None
    guide = make_guide(make_study(), paper_space(), 5, 2, 10)
    assert guide is not None
    assert 0 < len(guide.seeds) <= 5


class Closed(ToyHardware):
    """Nothing fits."""

    def costs(self, plans: Sequence[Plan]) -> list[NetworkCost | None]:
        return [None for _ in plans]
