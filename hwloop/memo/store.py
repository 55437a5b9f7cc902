"""The file: SQLite in WAL mode, opened by many processes at once, every failure as a `MemoError` that says what to do."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from hwloop.errors import MemoError
from hwloop.memo.migrations import APPLICATION_ID, SCHEMA_VERSION, migrate

BUSY_TIMEOUT_S = 20.0
_RETRIES = 3
_ROOM_BYTES = 1 << 20  # less than this free on a disk counts as full
_CHUNK = 500  # keys in one query
_STRANGE = "SELECT 1 FROM sqlite_master WHERE type = 'trigger' OR (type = 'view' AND name IN ('results', 'documents'))"
Row = Mapping[str, Any]
T = TypeVar("T")


class Store:
    """Rows by key. Safe for many processes at once; one object for one thread at a time.

    A connection is opened when first needed and never carried over a fork. Writes are transactions: after a kill there is the
    whole row or none.

    Args:
        path: the file; made with its folders when missing, unless `read_only`.
        read_only: never write; the file must be there.
        busy_timeout_s: how long to wait for another writer before giving up, times a few retries.

    Raises:
        MemoError: (on first use) not a memo table, written by a newer version, cannot be opened.
    """

    def __init__(self, path: str | Path, read_only: bool = False, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.path = Path(path)
        self.read_only = read_only
        self._timeout = busy_timeout_s
        self._db: sqlite3.Connection | None = None
        self._pid = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "read_only": self.read_only, "_timeout": self._timeout, "_db": None, "_pid": 0}

    def close(self) -> None:
        """Closes the connection; the next use opens it again."""
        if self._db is not None and self._pid == os.getpid():
            self._db.close()
        self._db = None

    def get_many(self, keys: Sequence[str]) -> dict[str, sqlite3.Row]:
        """The rows there are of `keys`, in one query for up to 500 of them."""
        found: dict[str, sqlite3.Row] = {}
        for at in range(0, len(keys), _CHUNK):
            part = keys[at : at + _CHUNK]
            marks = ",".join("?" * len(part))
            for row in self.query(f"SELECT * FROM results WHERE key IN ({marks})", part):
                found[row["key"]] = row
        return found

    def put_many(self, rows: Sequence[Row], documents: Sequence[Row] = (), replace: bool = False) -> int:
        """Writes rows, and the documents they refer to, in one transaction; a key that is there keeps its row.

        Args:
            rows: of `results`.
            documents: of `documents`.
            replace: a key that is there gets the new row, as its own is damaged.

        Returns:
            How many rows are new.
        """
        if not rows and not documents:
            return 0

        def write(db: sqlite3.Connection) -> int:
            for document in documents:
                db.execute(_insert("documents", document), tuple(document.values()))
            before = db.total_changes
            for row in rows:
                db.execute(_insert("results", row, "REPLACE" if replace else "IGNORE"), tuple(row.values()))
            return db.total_changes - before

        return self._transaction(write)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Rows of a SELECT.

        Raises:
            MemoError: the file cannot be read, or the SQL is wrong or no SELECT.
        """
        if not sql.lstrip().upper().startswith(("SELECT", "WITH", "EXPLAIN", "PRAGMA")):
            raise MemoError(f"{self.path}: a query reads: give a SELECT, not {sql.strip()[:60]!r}")
        return self._retried(lambda: list(self._open().execute(sql, tuple(parameters))))

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Runs one statement that writes, in a transaction, and returns how many rows it changed."""
        return self._transaction(lambda db: db.execute(sql, tuple(parameters)).rowcount)

    def size_bytes(self) -> int:
        """Of the file and its write-ahead log."""
        files = [self.path, self.path.with_name(self.path.name + "-wal")]
        return sum(file.stat().st_size for file in files if file.exists())

    def _retried(self, work: Callable[[], T]) -> T:
        for attempt in range(_RETRIES):
            try:
                with _explained(self.path):
                    return work()
            except _LockedError:
                time.sleep(0.05 * 2**attempt)
        with _explained(self.path):
            return work()

    def _transaction(self, work: Callable[[sqlite3.Connection], int]) -> int:
        if self.read_only:
            raise MemoError(f"{self.path}: opened for reading only, so nothing can be stored; open it without read_only")
        return self._retried(lambda: self._try(work))

    def _try(self, work: Callable[[sqlite3.Connection], int]) -> int:
        db = self._open()
        db.execute("BEGIN IMMEDIATE")
        try:
            changed = work(db)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return changed

    def _open(self) -> sqlite3.Connection:
        if self._db is not None and self._pid == os.getpid():
            return self._db
        self._db = None  # of the parent process: not ours to use or to close
        if self.read_only and not self.path.is_file():
            raise MemoError(f"{self.path}: there is no memo table here; check the path")
        if self.path.is_dir():
            raise MemoError(f"{self.path}: is a folder; give the path of the memo file in it, e.g. {self.path / 'memo.sqlite'}")
        if not self.read_only:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise MemoError(f"{self.path}: its folder cannot be made ({error.strerror}); choose another path") from None
        db = self._connect()
        try:
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        self._db, self._pid = db, os.getpid()
        return db

    def _connect(self) -> sqlite3.Connection:
        address = self.path.absolute().as_uri()
        if not self.read_only:
            db = sqlite3.connect(address, uri=True, timeout=self._timeout, isolation_level=None)
        else:
            # A write-ahead log can only be shared in a folder that can be written to; elsewhere nobody writes either.
            frozen = "" if os.access(self.path.parent, os.W_OK) else "&immutable=1"
            db = sqlite3.connect(f"{address}?mode=ro{frozen}", uri=True, timeout=self._timeout, isolation_level=None)
        db.row_factory = sqlite3.Row
        db.text_factory = lambda raw: raw.decode("utf-8", "replace")  # a damaged text fails its row's checksum, not the query
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        # In this order: another process may be making the table, and makes it and its mark in one transaction.
        tables = int(db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
        application = int(db.execute("PRAGMA application_id").fetchone()[0])
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if application != APPLICATION_ID and (tables or application):
            raise MemoError(f"{self.path}: is an SQLite database, but no memo table of hwloop; choose another path")
        if version > SCHEMA_VERSION:
            raise MemoError(
                f"{self.path}: has schema {version}, this hwloop knows up to {SCHEMA_VERSION}; "
                "update hwloop, or choose another memo file"
            )
        if db.execute(_STRANGE).fetchone() is not None:
            raise MemoError(
                f"{self.path}: has triggers or views in place of its tables, which may do anything; start a new table"
            )
        if self.read_only:
            if version < SCHEMA_VERSION:
                raise MemoError(f"{self.path}: has schema {version}, older than {SCHEMA_VERSION}; open it once for writing")
            return
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        migrate(db)


class _LockedError(MemoError):
    """Another process holds the file; worth another try."""


def _insert(table: str, row: Row, where_there: str = "IGNORE") -> str:
    return f"INSERT OR {where_there} INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into one sentence each."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(path, error) from error
    except OSError as error:
        raise MemoError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:  # SQLite's own words quote what is damaged
        raise MemoError(f"{path}: is damaged (text that is not UTF-8); move it away and start a new one") from error


def _explain(path: Path, error: sqlite3.Error) -> MemoError:
    text = str(error)
    if "not a database" in text:
        return MemoError(f"{path}: is not a memo table (not an SQLite database); choose another path or move the file away")
    if "malformed" in text or "corrupt" in text:
        return MemoError(f"{path}: is damaged ({text}); move it away and start a new one, sqlite3's .recover may save its rows")
    if "locked" in text or "busy" in text:
        return _LockedError(
            f"{path}: another process holds it locked; wait for that one to finish, or give each its own memo file"
        )
    if "readonly" in text or "read-only" in text:
        return MemoError(f"{path}: cannot be written to (read-only); change its permissions or choose another memo file")
    if "full" in text or "disk I/O" in text:  # the write-ahead log that cannot grow says the latter
        if "disk I/O" in text and shutil.disk_usage(path.parent).free > _ROOM_BYTES:
            return MemoError(f"{path}: the disk failed ({text}); the rows stored before this one are kept; look to the disk")
        return MemoError(f"{path}: the disk is full; the rows stored before this one are kept; make room and run again")
    if "unable to open" in text:
        return MemoError(f"{path}: cannot be opened; check that its folder is there and that both can be read and written")
    return MemoError(f"{path}: {text}")
