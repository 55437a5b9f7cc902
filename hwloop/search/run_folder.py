"""The run folder: what was asked for, what it ran on, every evaluation as it happened, and the fronts.

A run that was killed is started again with the same settings: the method runs from its beginning (or from the state it kept)
with the same seed, and evaluations that the log has are read from it. Since a method depends on its seed and on the numbers
alone, it asks the same questions and ends with the same front as a run that was never stopped.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any

from hwloop.errors import DataError
from hwloop.files import write_file
from hwloop.reading import own_file, read_text
from hwloop.search.json_lines import KEPT
from hwloop.search.log import EvaluationLog

try:
    import fcntl
except ImportError:  # not on Windows; two runs in one folder are not told apart there
    fcntl = None  # type: ignore[assignment]

JSON_BYTES = 100_000_000
_FILES = (".json", ".jsonl", ".csv", ".lock")
CONFIG, VERSIONS, IDENTITY = "config.json", "versions.json", "identity.json"


class RunFolder:
    """A folder of one run, locked while it is open.

    Args:
        path: made when missing.
        config: everything the front depends on, as plain data.
        versions: of the software, for the record.
        resume: continue the run that is there, if its config is the same.

    Raises:
        DataError: there is a run and `resume` is off, its config is another, another process has it open, or the disk refuses.
    """

    def __init__(self, path: str | Path, config: Mapping[str, Any], versions: Mapping[str, str], resume: bool = False) -> None:
        self.path = Path(path)
        plain: dict[str, Any] = json.loads(json.dumps(config))
        for file in _entries(self.path):
            own_file(file)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / ".lock").open("a")
        except OSError as error:
            raise DataError(f"cannot write {self.path} ({error.strerror or error}); choose another folder") from error
        try:
            self._claim(plain, versions, resume)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Lets another process have the folder."""
        self._lock.close()

    def log(self, name: str, fractions: bool = True) -> EvaluationLog:
        """The log of one search in this run; `fractions` as in `EvaluationLog`."""
        return EvaluationLog(self.path / f"evaluations-{name}.jsonl", fractions)

    def method_folder(self, name: str) -> Path:
        """Where the method of one search keeps what it needs to go on; made when first written to."""
        return self.path / f"method-{name}"

    def pin(self, data: Mapping[str, Any]) -> None:
        """Writes what the evaluations depend on, or checks that it is still the same.

        Raises:
            DataError: it is not, so the run cannot be resumed.
        """
        plain: dict[str, Any] = json.loads(json.dumps(data))
        there = self.path / IDENTITY
        if there.exists() and self._evaluated():
            differ = _differences(_read_json(there), plain)
            if differ:
                raise DataError(
                    f"{self.path}: cannot be resumed, as its evaluations depend on something that has changed "
                    f"({'; '.join(differ[:3])}); start a new run in another folder"
                )
        self.write_json(IDENTITY, plain)

    def write_json(self, name: str, data: Any, indent: int | None = 1) -> Path:
        """Writes a JSON file in one go."""
        return write_file(self.path / name, json.dumps(data, indent=indent) + "\n", KEPT)

    def write_csv(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
        """Writes rows with the columns of all of them, in the order of first use."""
        text = StringIO()
        if rows:
            writer = csv.DictWriter(text, list(dict.fromkeys(column for row in rows for column in row)), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        return write_file(self.path / name, text.getvalue(), KEPT)

    def _evaluated(self) -> bool:
        """Whether there is anything to continue: a start that failed before its search (no data, ...) leaves nothing."""
        return any(self.path.glob("evaluations-*.jsonl"))

    def _claim(self, config: dict[str, Any], versions: Mapping[str, str], resume: bool) -> None:
        if fcntl is not None:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise DataError(f"{self.path}: another process is running in this folder; choose another one") from None
        there = self.path / CONFIG
        if there.exists() and self._evaluated():
            if not resume:
                raise DataError(f"{self.path}: holds a run already; give --resume to continue it, or choose another folder")
            differ = _differences(_read_json(there), config)
            if differ:
                raise DataError(
                    f"{self.path}: the run there has other settings ({'; '.join(differ)}); "
                    "resume with the same settings, or choose another folder"
                )
        self.write_json(VERSIONS, dict(versions))
        self.write_json(CONFIG, config)


def _entries(folder: Path) -> list[Path]:
    """What stands in a run folder and is no folder itself; a method's own folder counts."""
    try:
        found = list(folder.iterdir()) if folder.is_dir() else []
        inside = [file for entry in found if entry.name.startswith("method-") and entry.is_dir() for file in entry.iterdir()]
        return [entry for entry in (*found, *inside) if entry.is_symlink() or not entry.is_dir() or entry.name.endswith(_FILES)]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror or error}); choose another folder") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(read_text(path, JSON_BYTES))
    except (DataError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}); choose another folder, or delete this one") from error
    return data if isinstance(data, dict) else {}


def _differences(then: Any, now: Any, path: str = "") -> list[str]:
    if isinstance(then, dict) and isinstance(now, dict):
        keys = [*then, *(key for key in now if key not in then)]
        return [d for key in keys for d in _differences(then.get(key), now.get(key), f"{path}.{key}" if path else key)]
    return [] if then == now else [f"{path}: {_short(then)} then, {_short(now)} now"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
