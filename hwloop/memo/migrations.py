"""The tables of a memo file, made and changed by named migrations, each in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from hwloop.memo.rows import checksum

_CREATE_MIGRATIONS = """
    CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)
"""
APPLICATION_ID = 0x68776C70  # "hwlp": tells a memo table from any other SQLite file


def _create_results(db: sqlite3.Connection) -> None:
    db.execute(
        """
        CREATE TABLE documents (
            digest TEXT PRIMARY KEY,
            kind TEXT NOT NULL,              -- architecture, energy_table
            name TEXT NOT NULL,
            document TEXT NOT NULL           -- JSON
        ) WITHOUT ROWID
        """
    )
    db.execute(
        """
        CREATE TABLE results (
            key TEXT PRIMARY KEY,            -- SHA-256 of the canonical request
            feasible INTEGER NOT NULL,       -- 0: no mapping fits, and `reason` says why
            reason TEXT NOT NULL,
            energy_pj REAL,
            cycles INTEGER,
            utilization REAL,                -- 0-1
            computes INTEGER,
            network TEXT NOT NULL,
            layer TEXT NOT NULL,
            arch TEXT NOT NULL,
            dataflow TEXT NOT NULL,          -- name of the constraint set
            objective TEXT NOT NULL,
            effort TEXT NOT NULL,
            seed INTEGER NOT NULL,
            weight_bits INTEGER,
            activation_bits INTEGER,
            weight_density REAL NOT NULL,
            input_density REAL NOT NULL,
            evaluated INTEGER NOT NULL,      -- mappings the mapper looked at
            seconds REAL NOT NULL,           -- that it took
            simulator TEXT NOT NULL,
            created TEXT NOT NULL,           -- UTC, ISO 8601
            architecture TEXT NOT NULL REFERENCES documents(digest),
            energy_table TEXT NOT NULL REFERENCES documents(digest),
            problem TEXT NOT NULL,           -- JSON
            bits TEXT,                       -- JSON, {data space: bits}
            mapping TEXT,                    -- JSON, a list of targets
            cost TEXT,                       -- JSON
            details TEXT NOT NULL            -- JSON, what else the mapper said, or where an infeasible one does not fit
        )
        """
    )
    db.execute("CREATE INDEX results_by_layer ON results (network, layer, arch, dataflow)")


def _add_checksums(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE results ADD COLUMN checksum TEXT NOT NULL DEFAULT ''")  # SHA-256 over the other columns
    rows = db.execute("SELECT * FROM results")
    names = [column[0] for column in rows.description]
    sums = [(checksum(row), row["key"]) for row in (dict(zip(names, values, strict=True)) for values in rows)]
    db.executemany("UPDATE results SET checksum = ? WHERE key = ?", sums)


MIGRATIONS: tuple[tuple[str, Callable[[sqlite3.Connection], None]], ...] = (
    ("0001_results", _create_results),
    ("0002_checksums", _add_checksums),
)
SCHEMA_VERSION = len(MIGRATIONS)


def migrate(db: sqlite3.Connection) -> None:
    """Brings an open file to `SCHEMA_VERSION`. Several processes may do so at once; the second finds it done.

    Raises:
        sqlite3.Error: nothing has changed then.
    """
    if _version(db) == SCHEMA_VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute(_CREATE_MIGRATIONS)
        done = {name for (name,) in db.execute("SELECT name FROM migrations")}
        for name, change in MIGRATIONS:
            if name not in done:
                change(db)
                db.execute("INSERT INTO migrations (name) VALUES (?)", (name,))
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])
