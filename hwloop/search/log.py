"""The evaluation log: every record as it was made, by plan."""

from __future__ import annotations

from math import inf, isfinite
from pathlib import Path
from typing import Any

from hwloop.errors import DataError
from hwloop.search.json_lines import JsonLines
from hwloop.search.objectives import AT_MOST, BOUNDED
from hwloop.search.records import LayerRecord, Record
from hwloop.spec.plan import load_plan

Key = tuple[str, str]
COUNTED = ("energy_pj", "cycles", "edp", "size_bits", "macs", "area_um2")  # metrics that are never below 0


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
        self._lines = None if path is None else JsonLines(path)
        read = [] if self._lines is None else self._lines.read(lambda entry: _from_dict(entry, fractions))
        self._records: dict[Key, Record] = {record.key: record for record in read}
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
        if self._lines is not None:
            self._lines.append(_to_dict(record))

    def close(self) -> None:
        """Writes everything through to the disk and closes the file."""
        if self._lines is not None:
            self._lines.close()


def read_records(path: Path, fractions: bool = True) -> list[Record]:
    """The records of a log, which stays as it is: another process may be writing it.

    Raises:
        DataError: it is damaged or cannot be read.
    """
    try:
        records, _, _ = JsonLines(path).look(lambda entry: _from_dict(entry, fractions))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
    return list({record.key: record for record in records}.values())


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
    least, most = (0.0, 1.0) if name in (BOUNDED, AT_MOST) and fractions else (0.0 if name in COUNTED else -inf, inf)
    if isinstance(value, (bool, str)) or not isfinite(number) or not least <= number <= most:
        raise ValueError(f"{name} is {value!r}")
    return number
