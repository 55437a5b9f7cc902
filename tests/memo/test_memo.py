from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

import hwloop.backend.embedded
from hwloop.backend.embedded import Embedded, map_one
from hwloop.backend.request import MapperSettings, MapRequest
from hwloop.energy import estimate_energy_table
from hwloop.errors import InfeasibleMappingError, MemoError, SpecError
from hwloop.mapper.mapper import map_problem
from hwloop.memo import Memo, Store, check
from hwloop.memo.key import request_key
from hwloop.memo.queries import find_rows, summary
from hwloop.memo.rows import checksum
from hwloop.spec.problem import Problem, conv2d_shape, make_problem
from hwloop.spec.resources import open_architecture, open_mapping

ARCH = open_architecture("eyeriss_168")
FLOW = open_mapping("row_stationary")
ERT = estimate_energy_table(ARCH)
QUICK = MapperSettings(effort="quick")


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

    monkeypatch.setattr(hwloop.backend.embedded, "map_problem", spy)
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
    requests = [MapRequest(layer(m), ARCH, ERT, FLOW, settings=QUICK, layer=f"l{i}") for i, m in enumerate((8, 4, 8, 8))]
    memo.remember(Embedded(1)).map(requests[:2])
    assert len(calls) == 2
    queries: list[str] = []
    real = Store.query
    monkeypatch.setattr(Store, "query", lambda self, sql, *rest: queries.append(sql) or real(self, sql, *rest))
    told = []
    outcomes = memo.remember(Embedded(1)).map(requests, lambda at, _request, _outcome: told.append(at))
    assert sorted(told) == [0, 1, 2, 3]
    assert len(calls) == 2
    assert len(queries) == 1
    assert outcomes[0] == outcomes[2] == outcomes[3]
    assert outcomes[1] != outcomes[0]


class Stopped(Embedded):
    """Answers one request, then somebody presses Ctrl-C."""

    def map(self, requests, on_outcome=None):
        on_outcome(0, requests[0], map_one(requests[0]))
        raise KeyboardInterrupt


def test_results_that_are_there_survive_a_failure_later(memo: Memo) -> None:
    requests = [MapRequest(layer(m), ARCH, ERT, FLOW, settings=QUICK) for m in (8, 4)]
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        memo.remember(Stopped()).map(requests)
    kept, damaged = Memo(memo.store.path).lookup(requests, Embedded().identity)
    assert set(kept) == {request_key(requests[0], Embedded().identity)}
    assert not damaged


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


def tamper(memo: Memo, sql: str, *values: object) -> None:
    memo.close()
    with sqlite3.connect(memo.store.path) as db:
        db.execute(sql, values)


def test_check_simulates_rows_again_and_finds_what_was_tampered_with(memo: Memo) -> None:
    for m in (4, 8):
        memo.map_problem(layer(m), ARCH, ERT, FLOW, effort="quick", bits={"Weights": 8, "Inputs": 8}, network="net")
    found = check(memo.store)
    assert (found.rows, found.simulated, found.others, found.faults) == (2, 2, 0, ())
    tamper(memo, "UPDATE results SET energy_pj = 1.0 WHERE layer = 'conv8'")
    found = check(memo.store)
    assert (found.rows, found.simulated, len(found.damaged), found.removed) == (2, 1, 1, 0)
    assert [fault.split(": ", 1)[1] for fault in found.faults] == ["its checksum does not match what it holds"]
    mended = check(memo.store, repair=True)
    assert mended.removed == 1
    found = check(memo.store)
    assert (found.rows, found.faults) == (1, ())
    with pytest.raises(SpecError, match="sample: expected a number of rows, 0 or more, found -1"):
        check(memo.store, -1)


def test_a_row_that_costs_something_else_is_found_though_its_checksum_fits(memo: Memo) -> None:
    memo.map_problem(layer(), ARCH, ERT, FLOW, effort="quick", network="net")
    [row] = memo.store.query("SELECT * FROM results")
    wrong = dict(row) | {"cost": row["cost"].replace('"energy_pj": ', '"energy_pj": 1', 1)}
    tamper(memo, "UPDATE results SET cost = ?, checksum = ?", wrong["cost"], checksum(wrong))
    [fault] = check(memo.store).faults
    assert "energy_pj is" in fault
    assert "served" in fault


def test_rows_of_another_model_are_told_apart(memo: Memo) -> None:
    memo.map_problem(layer(), ARCH, ERT, FLOW, effort="quick")
    [row] = memo.store.query("SELECT * FROM results")
    other = dict(row) | {"simulator": "embedded: mapper 0, simulator 0"}
    tamper(memo, "UPDATE results SET simulator = ?, checksum = ?", other["simulator"], checksum(other))
    found = check(memo.store)
    assert (found.rows, found.others, found.simulated, found.faults) == (1, 1, 0, ())


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("cost", "{"), ("cost", None), ("cost", "[1]"), ("mapping", '"/etc/hostname"'), ("details", "{}"),
        ("reason", b"\xff\xfe"), ("energy_pj", "much"), ("feasible", 0), ("checksum", ""), ("mapping", "[" * 5000),
    ],
)  # fmt: skip
def test_a_damaged_row_is_not_served_but_found_anew(memo: Memo, calls: list[Problem], column: str, value: object) -> None:
    first = memo.map_problem(layer(), ARCH, ERT, FLOW, effort="quick")
    tamper(memo, f"UPDATE results SET {column} = ?", value)
    again = memo.map_problem(layer(), ARCH, ERT, FLOW, effort="quick")
    assert (again.mapping, again.cost) == (first.mapping, first.cost)
    assert len(calls) == 2
    assert (memo.statistics.damaged, memo.statistics.misses) == (1, 2)
    assert check(memo.store).faults == ()
    memo.map_problem(layer(), ARCH, ERT, FLOW, effort="quick")
    assert len(calls) == 2


@pytest.mark.parametrize("mapping", ['"/etc/hostname"', "3", '{"targets": []}'])
def test_a_mapping_that_names_a_file_is_not_read_though_its_checksum_fits(memo: Memo, mapping: str) -> None:
    memo.map_problem(layer(), ARCH, ERT, FLOW, effort="quick")
    [row] = memo.store.query("SELECT * FROM results")
    forged = dict(row) | {"mapping": mapping}
    tamper(memo, "UPDATE results SET mapping = ?, checksum = ?", mapping, checksum(forged))
    [fault] = check(memo.store).faults
    assert "its mapping is not a list of targets" in fault


def test_rows_and_sums_for_people(memo: Memo) -> None:
    for m in (4, 8):
        memo.map_problem(layer(m), ARCH, ERT, FLOW, effort="quick", network="net")
    [entry] = summary(memo.store)
    assert (entry["network"], entry["rows"], entry["infeasible"]) == ("net", 2, 0)
    assert [row["layer"] for row in find_rows(memo.store, {"layer": "conv4"})] == ["conv4"]
    assert find_rows(memo.store, {"network": "other"}) == find_rows(memo.store, infeasible=True) == []
    assert len(find_rows(memo.store, limit=1)) == 1
    with pytest.raises(SpecError, match="limit: expected 1 row or more"):
        find_rows(memo.store, limit=0)
    with pytest.raises(SpecError, match="filters: expected one of"):
        find_rows(memo.store, {"key": "1"})
