from __future__ import annotations

import json
import re
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from hwloop.cli.main import main
from hwloop.memo import Memo
from hwloop.run import map_layer
from hwloop.spec.problem import conv2d_shape, make_problem


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "memo.sqlite"
    with Memo(path) as memo:
        for m in (4, 8):
            problem = make_problem(conv2d_shape(), {"C": 4, "M": m, "P": 4, "Q": 4}, name=f"conv{m}")
            map_layer(problem, "flexible", "row_stationary", effort="quick", memo=memo)
    return str(path)


def test_check_finds_damage_and_repair_removes_it(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memo", table, "check"]) == 0
    assert "2 rows simulated again: all equal" in capsys.readouterr().out
    with sqlite3.connect(table) as db:
        db.execute("UPDATE results SET cost = replace(cost, '1', '2') WHERE layer = 'conv8'")
    assert main(["memo", table, "check", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["simulated"], len(found["damaged"]), found["removed"]) == (2, 1, 1, 0)
    assert main(["memo", table, "check", "--repair"]) == 1
    out = capsys.readouterr().out
    assert "1 rows damaged, 1 of them removed" in out
    assert "conv8 on flexible) is damaged: its checksum does not match" in out
    assert main(["memo", table, "check"]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["check", "--sample", "-1"], 2, "sample: expected a whole number from 0 to 1000000000, found -1"),
        (["show", "--limit", "0"], 2, "limit: expected 1 row or more"),
        (["query"], 2, "query: expected a SELECT"),
        (["query", " "], 1, "a query reads: give a SELECT"),
        (["query", "DELETE FROM results"], 1, "a query reads: give a SELECT"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(
    table: str, arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["memo", table, *arguments]) == code
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_table_that_lacks_a_column_is_all_damaged(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(table) as db:
        db.execute("ALTER TABLE results RENAME COLUMN network TO other")
    assert main(["memo", table, "check"]) == 1
    assert "(None conv8 on flexible) is damaged: its checksum" in capsys.readouterr().out


@pytest.mark.parametrize("value", ["NULL", "'x'", "x'ff00'", "9e999"])
def test_damaged_rows_are_not_shown_as_if_they_were_none(table: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(table) as db:
        for column in ("energy_pj", "weight_density", "seconds", "evaluated"):
            with suppress(sqlite3.IntegrityError):  # a column that takes no NULL
                db.execute(f"UPDATE results SET {column} = {value}")
    for words in (["show"], ["stats"], ["show", "--json"], ["stats", "--json"]):
        code, printed = main(["memo", table, *words]), capsys.readouterr()
        assert code == 0 or re.search("holds rows that are damaged; `hwloop memo FILE check` says which", printed.err)
        assert code == 0 or len(printed.err.splitlines()) == 1
    assert main(["memo", table, "check"]) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER t AFTER DELETE ON results BEGIN SELECT 1; END",
        "DROP TABLE results; CREATE VIEW results AS WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k FROM n) SELECT k FROM n",
    ],
)
def test_a_table_that_does_things_is_refused(table: str, sql: str, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(table) as db:
        db.executescript(sql)
    assert main(["memo", table, "stats"]) == 1
    assert "has triggers or views in place of its tables" in capsys.readouterr().err


def test_bytes_in_a_query_are_printed_as_text(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memo", table, "query", "SELECT CAST('ab' AS BLOB) AS raw", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"raw": "6162"}]
