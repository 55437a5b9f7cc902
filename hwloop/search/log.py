"""The evaluation log: every record as it was made, by plan."""

from __future__ import annotations

import json
import os
from math import inf, isfinite
from pathlib import Path
from typing import IO, Any

from hwloop.errors import DataError, SpecError
from hwloop.search.records import LayerRecord, Record
from hwloop.spec.plan import load_plan

Key = tuple[str, str]
COUNTED = ("energy_pj", "cycles", "edp", "size_bits", "macs", "area_um2")  # metrics that are never below 0
KEPT = "every evaluation so far is kept; fix this, then run again with --resume"


class EvaluationLog:
    """Records by plan, in memory and, with a path, on disk: a line each, written out at once.

    Args:
        path: a JSON-lines file; a last line cut short by a kill is dropped. None keeps everything in memory.
        fractions: accuracies lie between 0 and 1, and others are refused; a caller's own score may be any number.

    Raises:
        DataError: the file is damaged or cannot be written.
    """

    def __init__(self, path: Path | None = None, fractions: bool = True) -> None:
        self.path = path
        self._fractions = fractions
        self._records: dict[Key, Record] = {}
        self._file: IO[str] | None = None
        if path is not None and path.is_file():
            self._read(path)
        self.resumed = len(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, key: Key) -> bool:
        return key in self._records

    def __getitem__(self, key: Key) -> Record:
        return self._records[key]

    def records(self) -> list[Record]:
        """All of them, in the order they were made."""
        return list(self._records.values())

    def append(self, record: Record) -> None:
        """Adds one; it is on disk when this returns."""
        self._records[record.key] = record
        if self.path is None:
            return
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("a", encoding="utf-8")
            self._file.write(json.dumps(_to_dict(record), separators=(",", ":")) + "\n")
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
        content = path.read_bytes()
        for number, line in enumerate(content.splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                break  # cut short by a kill: that candidate is evaluated again
            try:
                record = _from_dict(json.loads(line), self._fractions)
            except (ValueError, KeyError, TypeError, AttributeError, SpecError) as error:
                raise DataError(f"{path}: line {number} is damaged ({error}); delete it and what follows, then resume") from error
            self._records[record.key] = record
            whole += len(line)
        if whole < len(content):
            try:
                os.truncate(path, whole)
            except OSError as error:
                raise _refused(path, error) from error


def _to_dict(record: Record) -> dict[str, Any]:
    out: dict[str, Any] = {"plan": record.plan.to_dict()}
    if record.how:
        out["how"] = record.how
    out["metrics"] = dict(record.metrics)
    return out | {"layers": [[layer.name, layer.energy_pj, layer.cycles] for layer in record.layers]}


def _from_dict(entry: Any, fractions: bool) -> Record:
    layers = tuple(
        LayerRecord(str(name), _number(energy, "energy_pj"), int(_number(cycles, "cycles")))
        for name, energy, cycles in entry["layers"]
    )
    metrics = {str(name): _number(value, str(name), fractions) for name, value in entry["metrics"].items()}
    return Record(load_plan(entry["plan"]), metrics, layers, str(entry.get("how", "")))


def _number(value: Any, name: str, fractions: bool = True) -> float:
    number = float(value)
    least, most = (0.0, 1.0) if name == "accuracy" and fractions else (0.0 if name in COUNTED else -inf, inf)
    if isinstance(value, (bool, str)) or not isfinite(number) or not least <= number <= most:
        raise ValueError(f"{name} is {value!r}")
    return number


def _refused(path: Path, error: OSError) -> DataError:
    return DataError(f"cannot write {path} ({error.strerror or error}); {KEPT}")
