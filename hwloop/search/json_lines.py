"""A file of JSON lines that grows while a search runs and outlives a kill at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from hwloop.errors import DataError, SpecError

KEPT = "every evaluation so far is kept; fix this, then run again with --resume"
T = TypeVar("T")


class JsonLines:
    """Entries on disk, a line each, written out at once.

    Args:
        path: of the file; made, with its folder, when first written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def read(self, parse: Callable[[Any], T]) -> list[T]:
        """Every entry, by `parse`; a last line that a kill cut short is cut off the file.

        Args:
            parse: may raise ValueError, KeyError, TypeError, AttributeError or SpecError for an entry that makes no sense.

        Raises:
            DataError: a damaged line, or the disk refuses.
        """
        out, whole, size = self.look(parse)
        if whole < size:
            try:
                os.truncate(self.path, whole)
            except OSError as error:
                raise self._refused(error) from error
        return out

    def look(self, parse: Callable[[Any], T]) -> tuple[list[T], int, int]:
        """Every whole entry of a file that stays as it is, as another process may be writing it; see `read`.

        Returns:
            The entries, the bytes that they take, and the file's.

        Raises:
            DataError: a damaged line.
        """
        out: list[T] = []
        if not self.path.is_file():
            return out, 0, 0
        content, whole = self.path.read_bytes(), 0
        for number, line in enumerate(content.splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                break  # what it said is found out again
            try:
                out.append(parse(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SpecError) as error:
                raise DataError(
                    f"{self.path}: line {number} is damaged ({error}); delete it and what follows, then resume"
                ) from error
            whole += len(line)
        return out, whole, len(content)

    def append(self, entry: Any) -> None:
        """Adds one; it is on disk when this returns.

        Raises:
            DataError: the disk refuses.
        """
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("a", encoding="utf-8")
            self._file.write(json.dumps(entry, separators=(",", ":")) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Writes everything through to the disk and closes the file; it may be written to again.

        Raises:
            DataError: the disk refuses.
        """
        if self._file is not None:
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
            except OSError as error:
                raise self._refused(error) from error
            finally:
                self._file = None

    def _refused(self, error: OSError) -> DataError:
        return DataError(f"cannot write {self.path} ({error.strerror or error}); {KEPT}")
