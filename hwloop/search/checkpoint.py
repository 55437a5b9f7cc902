"""The run folder: what was asked for, what it ran on, every evaluation as it happened, and the fronts.

A run that was killed is started again with the same settings: the method runs from its first generation with the same seed,
and whatever the log has is answered from it. Since a method depends on its seed and the numbers alone, it takes the same way
and ends with the same front as a run that was never stopped.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from hwloop.errors import DataError
from hwloop.search.archive import Evaluation

try:
    import fcntl
except ImportError:  # not on Windows; two runs in one folder are not told apart there
    fcntl = None  # type: ignore[assignment]

CONFIG, VERSIONS = "config.json", "versions.json"


class EvaluationLog:
    """Evaluations by genotype, in memory and, with a path, on disk: a line each, written out at once.

    Args:
        path: a JSON-lines file; a last line cut short by a kill is dropped. None keeps everything in memory.

    Raises:
        DataError: the file is damaged or cannot be written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._entries: dict[tuple[int, ...], Evaluation] = {}
        self._file: IO[str] | None = None
        if path is not None and path.is_file():
            self._read(path)
        self.resumed = len(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, x: tuple[int, ...]) -> bool:
        return x in self._entries

    def __getitem__(self, x: tuple[int, ...]) -> Evaluation:
        return self._entries[x]

    def evaluations(self) -> list[Evaluation]:
        """All of them, in the order they were made."""
        return list(self._entries.values())

    def append(self, evaluation: Evaluation) -> None:
        """Adds one; it is on disk when this returns."""
        self._entries[evaluation.x] = evaluation
        if self.path is None:
            return
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("a", encoding="utf-8")
            self._file.write(json.dumps({"x": list(evaluation.x), "metrics": dict(evaluation.metrics)}) + "\n")
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
                entry = json.loads(line)
                x = tuple(int(v) for v in entry["x"])
                self._entries[x] = Evaluation(x, {str(k): float(v) for k, v in entry["metrics"].items()})
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(f"{path}: line {number} is damaged ({error}); delete it and what follows, then resume") from error
            whole += len(line)
        if whole < len(content):
            try:
                os.truncate(path, whole)
            except OSError as error:
                raise _refused(path, error) from error


class RunFolder:
    """A folder of one run, locked while it is open.

    Args:
        path: made when missing.
        config: everything the front depends on, as plain data.
        versions: of the software, for the record.
        resume: go on with the run that is there, if its config is the same.

    Raises:
        DataError: there is a run and `resume` is off, its config is another, another process has it open, or the disk refuses.
    """

    def __init__(self, path: str | Path, config: Mapping[str, Any], versions: Mapping[str, str], resume: bool = False) -> None:
        self.path = Path(path)
        plain: dict[str, Any] = json.loads(json.dumps(config))
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / ".lock").open("a")
        except OSError as error:
            raise _refused(self.path, error) from error
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

    def log(self, name: str) -> EvaluationLog:
        """The log of one search in this run."""
        return EvaluationLog(self.path / f"evaluations-{name}.jsonl")

    def pin(self, name: str, data: Mapping[str, Any]) -> None:
        """Writes what the evaluations stand on, or checks that it is still the same.

        Raises:
            DataError: it is not, so the run cannot be gone on with.
        """
        plain: dict[str, Any] = json.loads(json.dumps(data))
        if (self.path / name).exists() and self._evaluated():
            differ = _differences(_read_config(self.path / name), plain)
            if differ:
                raise DataError(
                    f"{self.path}: what its evaluations stand on has changed ({'; '.join(differ[:3])}); "
                    "start a new run in another folder"
                )
        self.write_json(name, plain)

    def write_json(self, name: str, data: Any) -> Path:
        """Writes a JSON file in one go: under its name there is the old content or the new."""
        return write_whole(self.path / name, json.dumps(data, indent=1) + "\n")

    def write_csv(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
        """Writes rows with the columns of the first one."""
        text = StringIO()
        if rows:
            writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        return write_whole(self.path / name, text.getvalue())

    def _evaluated(self) -> bool:
        """Whether there is anything to go on with: a start that failed before its search (no data, ...) claims nothing."""
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
                raise DataError(f"{self.path}: holds a run already; give --resume to go on with it, or choose another folder")
            differ = _differences(_read_config(there), config)
            if differ:
                raise DataError(
                    f"{self.path}: the run there was asked for something else ({'; '.join(differ)}); "
                    "resume with the same settings, or choose another folder"
                )
        self.write_json(VERSIONS, dict(versions))
        self.write_json(CONFIG, config)


def write_whole(path: Path, text: str) -> Path:
    """Writes a text file in one go.

    Raises:
        DataError: the disk is full or refuses; the old file is still there.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        if aside.exists():
            aside.unlink()
    return path


def _refused(path: Path, error: OSError) -> DataError:
    what = error.strerror or error
    return DataError(f"cannot write {path} ({what}); everything evaluated before is kept: put it right, then go on with --resume")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
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
