"""The rows of a sweep on disk: a line each, written as soon as it is known; a sweep that was killed goes on from them."""

from __future__ import annotations

from dataclasses import asdict, fields
from math import isfinite
from pathlib import Path
from typing import Any

from hwloop.report.sweeps import SweepRow
from hwloop.search.json_lines import JsonLines

ROWS = "evaluations-rows.jsonl"  # a run folder is taken up again where there are evaluations
_COUNTED = ("area_um2", "energy_pj", "cycles", "latency_s", "utilization")
_NAMES = {field.name for field in fields(SweepRow)} - {"failed"}


class KeptRows:
    """Rows by place, in memory and, with a path, on disk.

    Args:
        path: a JSON-lines file; a last line cut short by a kill is dropped. None keeps everything in memory.

    Raises:
        DataError: the file is damaged or cannot be read or written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lines = None if path is None else JsonLines(path)
        self._rows = {row.place: row for row in (self._lines.read(_row) if self._lines is not None else ())}

    def __contains__(self, place: tuple[Any, ...]) -> bool:
        return place in self._rows

    def __getitem__(self, place: tuple[Any, ...]) -> SweepRow:
        return self._rows[place]

    def add(self, row: SweepRow) -> None:
        """Adds one; it is handed to the system when this returns. One that failed is not written, and so is asked again."""
        self._rows[row.place] = row
        if self._lines is not None and not row.failed:
            entry = asdict(row)
            del entry["failed"]
            self._lines.append(entry)

    def close(self) -> None:
        """Writes everything through to the disk and closes the file."""
        if self._lines is not None:
            self._lines.close()


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
