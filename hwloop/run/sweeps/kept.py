"""The rows of a sweep on disk: a line each, written as soon as it is known; a sweep that was killed goes on from them."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from math import isfinite
from pathlib import Path
from typing import IO, Any

from hwloop.errors import DataError
from hwloop.reading import read_bytes
from hwloop.report.sweeps import SweepRow

ROWS = "evaluations-rows.jsonl"  # a run folder is taken up again where there are evaluations
_BYTES = 4_000_000_000
_COUNTED = ("area_um2", "energy_pj", "cycles", "latency_s", "utilization")
_NAMES = {field.name for field in fields(SweepRow)} - {"failed"}
_KEPT = "every row so far is kept; fix this, then run the same command again"


class KeptRows:
    """Rows by place, in memory and, with a path, on disk.

    Args:
        path: a JSON-lines file; a last line cut short by a kill is dropped. None keeps everything in memory.

    Raises:
        DataError: the file is damaged or cannot be read or written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._rows: dict[tuple[Any, ...], SweepRow] = {}
        self._file: IO[str] | None = None
        if path is not None and path.exists():
            self._read(path)
        self.resumed = len(self._rows)

    def __contains__(self, place: tuple[Any, ...]) -> bool:
        return place in self._rows

    def __getitem__(self, place: tuple[Any, ...]) -> SweepRow:
        return self._rows[place]

    def add(self, row: SweepRow) -> None:
        """Adds one; it is handed to the system when this returns. One that failed is not written, and so is asked again."""
        self._rows[row.place] = row
        if self.path is None or row.failed:
            return
        entry = asdict(row)
        del entry["failed"]
        try:
            if self._file is None:
                self._file = self.path.open("a", encoding="utf-8")
            self._file.write(json.dumps(entry, separators=(",", ":")) + "\n")
            self._file.flush()
        except OSError as error:
            raise _refused(self.path, error) from error

    def close(self) -> None:
        """Writes everything through to the disk and closes the file."""
        if self._file is not None:
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
            except OSError as error:
                assert self.path is not None
                raise _refused(self.path, error) from error
            finally:
                self._file = None

    def _read(self, path: Path) -> None:
        whole = 0
        content = read_bytes(path, _BYTES)
        for number, line in enumerate(content.splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                break  # cut short by a kill: that row is asked again
            try:
                row = _row(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise DataError(
                    f"{path}: line {number} is damaged ({error}); delete that line, and the sweep asks for it again"
                ) from error
            self._rows[row.place] = row
            whole += len(line)
        if whole < len(content):
            try:
                os.truncate(path, whole)
            except OSError as error:
                raise _refused(path, error) from error


def _row(entry: Any) -> SweepRow:
    if not isinstance(entry, dict) or set(entry) != _NAMES:
        raise ValueError("not the fields of a row")
    for name in _COUNTED:
        _check(entry[name], name, entry[name] is None)
    parts = entry["component_energy_pj"]
    for name, energy in parts.items():
        _check(energy, str(name), False)
    if (entry["energy_pj"] is None) == (not entry["problem"]):
        raise ValueError("neither numbers nor a reason why there are none")
    row = SweepRow(**(entry | {"fields": tuple((str(path), value) for path, value in entry["fields"])}))
    hash(row.place)
    return row


def _check(value: Any, name: str, empty: bool) -> None:
    if not empty and (isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value) or value < 0):
        raise ValueError(f"{name} is {value!r}")


def _refused(path: Path, error: OSError) -> DataError:
    return DataError(f"cannot write {path} ({error.strerror or error}); {_KEPT}")
