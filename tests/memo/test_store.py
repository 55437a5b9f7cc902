from __future__ import annotations

import multiprocessing
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from hwloop.errors import MemoError
from hwloop.memo.migrations import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION
from hwloop.memo.rows import checksum
from hwloop.memo.store import Store


def row(key: str, **changes: Any) -> dict[str, Any]:
    return {
        "key": key, "feasible": 1, "reason": "", "energy_pj": 2.5, "cycles": 10, "utilization": 0.5, "computes": 100,
        "network": "net", "layer": "conv", "arch": "eyeriss", "dataflow": "", "objective": "edp", "effort": "normal", "seed": 0,
        "weight_bits": 8, "activation_bits": None, "weight_density": 1.0, "input_density": 1.0, "evaluated": 7, "seconds": 0.1,
        "simulator": "test", "created": "2026-01-01T00:00:00+00:00", "architecture": "a", "energy_table": "e", "problem": "{}",
        "bits": None, "mapping": "[]", "cost": "{}", "details": "{}",
    } | changes  # fmt: skip


def test_rows_come_back_and_the_first_one_stays(tmp_path: Path) -> None:
    store = Store(tmp_path / "folder" / "memo.sqlite")
    assert store.put_many([row("k1"), row("k2", energy_pj=1.0)]) == 2
    assert store.put_many([row("k1", energy_pj=99.0)]) == 0
    found = store.get_many(["k1", "k2", "k3"])
    assert {key: r["energy_pj"] for key, r in found.items()} == {"k1": 2.5, "k2": 1.0}
    assert len(store.get_many([f"k{i}" for i in range(1200)])) == 2


def test_the_sqlite3_program_reads_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "memo.sqlite")
    store.put_many([row("k1")])
    store.close()
    with sqlite3.connect(tmp_path / "memo.sqlite") as db:
        assert db.execute("SELECT layer, energy_pj, cycles FROM results").fetchall() == [("conv", 2.5, 10)]
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert [name for (name,) in db.execute("SELECT name FROM migrations")] == [
            "0001_results", "0002_checksums",
        ]  # fmt: skip


def _write(path: Path, worker: int, count: int) -> None:
    store = Store(path)
    for i in range(count):
        store.put_many([row(f"shared-{i}"), row(f"own-{worker}-{i}")])
    store.close()


def test_many_processes_make_and_fill_one_file(tmp_path: Path) -> None:
    path, count = tmp_path / "memo.sqlite", 25
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write, args=(path, w, count)) for w in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    store = Store(path)
    assert store.query("SELECT count(*) FROM results")[0][0] == count + 4 * count
    assert [r[0] for r in store.query("PRAGMA integrity_check")] == ["ok"]


def test_a_connection_is_not_carried_over_a_fork(tmp_path: Path) -> None:
    store = Store(tmp_path / "memo.sqlite")
    store.put_many([row("parent")])
    child = multiprocessing.get_context("fork").Process(target=lambda: store.put_many([row("child")]))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert set(store.get_many(["parent", "child"])) == {"parent", "child"}


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "memo.sqlite")
    store.put_many([row("before")])
    with pytest.raises(MemoError, match="no column named"):
        store.put_many([row("k1"), row("k2", nonsense=1)])
    assert set(store.get_many(["before", "k1", "k2"])) == {"before"}


def test_what_is_no_memo_table_is_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database at all, just some words to fill a page" * 20)
    with pytest.raises(MemoError, match="not an SQLite database"):
        Store(text).get_many(["k"])
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE mine (x)")
    before = other.read_bytes()
    with pytest.raises(MemoError, match="no memo table of hwloop"):
        Store(other).get_many(["k"])
    assert other.read_bytes() == before
    with pytest.raises(MemoError, match="is a folder"):
        Store(tmp_path).get_many(["k"])


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "memo.sqlite"
    Store(path).put_many([row("k")])
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(MemoError, match=f"has schema {SCHEMA_VERSION + 1}.*update hwloop"):
        Store(path).get_many(["k"])


def test_reading_only(tmp_path: Path) -> None:
    path = tmp_path / "memo.sqlite"
    Store(path).put_many([row("k")])
    reader = Store(path, read_only=True)
    assert set(reader.get_many(["k"])) == {"k"}
    with pytest.raises(MemoError, match="opened for reading only"):
        reader.put_many([row("k2")])
    with pytest.raises(MemoError, match="no memo table here"):
        Store(tmp_path / "none.sqlite", read_only=True).get_many(["k"])


def test_a_locked_file_is_named_after_the_wait(tmp_path: Path) -> None:
    path = tmp_path / "memo.sqlite"
    Store(path).put_many([row("k")])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(MemoError, match="another process holds it locked"):
        Store(path, busy_timeout_s=0.01).put_many([row("k2")])
    other.execute("ROLLBACK")
    assert Store(path, busy_timeout_s=0.01).put_many([row("k2")]) == 1


def test_a_full_disk_is_named_and_keeps_the_rows_before(tmp_path: Path) -> None:
    path = tmp_path / "memo.sqlite"
    store = Store(path)
    store.put_many([row("k")])
    store.query("PRAGMA max_page_count = 1")  # SQLite's own way to a full disk
    with pytest.raises(MemoError, match="the disk is full"):
        store.put_many([row(f"k{i}", cost="x" * 5000) for i in range(50)])
    assert set(Store(path).get_many(["k", "k0"])) == {"k"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to files without write permission")
def test_a_file_without_write_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "memo.sqlite"
    Store(path).put_many([row("k")])
    path.chmod(0o444)
    with pytest.raises(MemoError, match="read-only"):
        Store(path).put_many([row("k2")])


def test_the_application_id_marks_the_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "memo.sqlite")
    assert store.query("PRAGMA application_id")[0][0] == APPLICATION_ID
    assert store.size_bytes() > 0


def test_a_query_only_reads(tmp_path: Path) -> None:
    with pytest.raises(MemoError, match="a query reads: give a SELECT, not 'DELETE FROM results'"):
        Store(tmp_path / "memo.sqlite").query("DELETE FROM results")


def test_a_query_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MemoError, match="a query reads"):
        Store(tmp_path / "memo.sqlite").query(" ")


def test_a_table_of_the_first_version_gets_its_checksums(tmp_path: Path) -> None:
    path = tmp_path / "memo.sqlite"
    with sqlite3.connect(path) as db:
        MIGRATIONS[0][1](db)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
        db.execute("CREATE TABLE migrations (name TEXT PRIMARY KEY, applied TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)")
        db.execute("INSERT INTO migrations (name) VALUES ('0001_results')")
        old = {name: value for name, value in row("k1").items() if name != "checksum"}
        db.execute(f"INSERT INTO results ({', '.join(old)}) VALUES ({', '.join('?' * len(old))})", tuple(old.values()))
    store = Store(path)
    [found] = store.query("SELECT * FROM results")
    assert found["checksum"] == checksum(dict(found))
    assert store.query("PRAGMA user_version")[0][0] == SCHEMA_VERSION


def test_a_row_is_replaced_only_when_asked(tmp_path: Path) -> None:
    store = Store(tmp_path / "memo.sqlite")
    store.put_many([row("k1")])
    store.put_many([row("k1", energy_pj=99.0)], replace=True)
    assert store.get_many(["k1"])["k1"]["energy_pj"] == 99.0
