from __future__ import annotations

import sqlite3
from pathlib import Path

import hwloop.backend.solve
import pytest

from hwloop.backend.request import MapRequest
from hwloop.energy import estimate_energy_table
from hwloop.errors import InfeasibleMappingError, MemoError
from hwloop.mapper.mapper import map_problem
from hwloop.memo import Memo, Store, check
from hwloop.spec.problem import Problem, conv2d_shape, make_problem
from hwloop.spec.resources import open_architecture, open_mapping

ARCH = open_architecture("eyeriss_168")
FLOW = open_mapping("row_stationary")
ERT = estimate_energy_table(ARCH)


def layer(m: int = 8) -> Problem:
    return make_problem(conv2d_shape(), {"C": 4, "M": m, "R": 3, "S": 3, "P": 8, "Q": 8}, name=f"conv{m}")


@pytest.fixture
def memo(tmp_path: Path) -> Memo:
    return Memo(tmp_path / "memo.sqlite")


@pytest.fixture
def calls(monkeypatch) -> list[Problem]:
    """Every problem the mapper is asked for."""
    seen: list[Problem] = []

    def spy(problem, *args, **kwargs):
        seen.append(problem)
        return map_problem(problem, *args, **kwargs)

    monkeypatch.setattr(hwloop.backend.solve, "map_problem", spy)
    return seen


def test_the_second_time_it_is_read_and_the_same(memo: Memo, calls: list[Problem]) -> None:
    first = memo.map_problem(layer(), ARCH, ERT, FLOW, effort="quick", layer="conv8", network="net")
    again = Memo(memo.store.path).map_problem(layer(), ARCH, ERT, FLOW, effort="quick")
    assert len(calls) == 1
    assert again == first
    assert again.cost.to_dict() == first.cost.to_dict()
    direct = map_problem(layer(), ARCH, ERT, FLOW, effort="quick")
    assert (direct.mapping, direct.cost) == (first.mapping, first.cost)
    memo.map_problem(layer(), ARCH, ERT, FLOW, effort="quick")
    assert (memo.statistics.hits, memo.statistics.misses) == (1, 1)


def test_an_infeasible_outcome_is_remembered_with_its_reason(memo: Memo, calls: list[Problem]) -> None:
    full = open_mapping("row_stationary")
    impossible = type(full)(full.loops, full.data_spaces, min_utilization=1.0)
    reasons = []
    for _ in range(2):
        with pytest.raises(InfeasibleMappingError, match=r".+") as caught:
            memo.map_problem(layer(), ARCH, ERT, impossible, effort="quick")
        reasons.append((str(caught.value), caught.value.level, caught.value.data_space))
    assert len(calls) == 1
    assert reasons[0] == reasons[1]
    [row] = memo.store.query("SELECT feasible, reason, energy_pj, mapping FROM results")
    assert (row["feasible"], row["reason"], row["energy_pj"], row["mapping"]) == (0, reasons[0][0], None, None)


def test_a_network_is_one_query_and_equal_layers_are_asked_once(memo: Memo, calls: list[Problem], monkeypatch) -> None:
    requests = [MapRequest(layer(m), ARCH, ERT, FLOW, effort="quick", layer=f"l{i}") for i, m in enumerate((8, 4, 8, 8))]
    memo.map_many(requests[:2])
    assert len(calls) == 2
    queries: list[str] = []
    real = Store.query
    monkeypatch.setattr(Store, "query", lambda self, sql, *rest: queries.append(sql) or real(self, sql, *rest))
    outcomes = memo.map_many(requests)
    assert len(calls) == 2
    assert len(queries) == 1
    assert outcomes[0] == outcomes[2] == outcomes[3]
    assert outcomes[1] != outcomes[0]


def test_results_that_are_there_survive_a_failure_later(memo: Memo) -> None:
    def fails(requests, on_outcome) -> None:
        on_outcome(0, requests[0], hwloop.backend.solve.solve(requests[0]))
        raise KeyboardInterrupt

    requests = [MapRequest(layer(m), ARCH, ERT, FLOW, effort="quick") for m in (8, 4)]
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        memo.map_many(requests, fails)
    assert [outcome is not None for outcome in Memo(memo.store.path).lookup(requests)] == [True, False]


def test_reading_only_finds_but_does_not_store(memo: Memo, calls: list[Problem]) -> None:
    memo.map_problem(layer(), ARCH, ERT, FLOW, effort="quick")
    reader = Memo(memo.store.path, read_only=True)
    reader.map_problem(layer(), ARCH, ERT, FLOW, effort="quick")
    reader.map_problem(layer(4), ARCH, ERT, FLOW, effort="quick")
    assert len(calls) == 2
    assert memo.store.query("SELECT count(*) FROM results")[0][0] == 1


def test_an_objective_that_is_a_function_is_refused(memo: Memo) -> None:
    with pytest.raises(MemoError, match="has no canonical form"):
        memo.map_problem(layer(), ARCH, ERT, FLOW, objective=lambda costs: costs.energy_pj)  # type: ignore[arg-type]


def test_check_simulates_rows_again_and_finds_what_was_tampered_with(memo: Memo) -> None:
    for m in (4, 8):
        memo.map_problem(layer(m), ARCH, ERT, FLOW, effort="quick", bits={"Weights": 8, "Inputs": 8}, network="net")
    found = check(memo.store)
    assert (found.rows, found.simulated, found.faults) == (2, 2, ())
    memo.close()
    with sqlite3.connect(memo.store.path) as db:
        db.execute("UPDATE results SET energy_pj = energy_pj * 1.01 WHERE layer = 'conv8'")
        db.execute("UPDATE results SET simulator = 'hwloop 0.0.0' WHERE layer = 'conv4'")
    found = check(memo.store)
    assert (found.rows, found.other_versions, found.simulated) == (2, 1, 1)
    assert len(found.faults) == 1
    assert "energy_pj is" in found.faults[0]
