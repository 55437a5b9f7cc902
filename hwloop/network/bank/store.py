"""Compressed layers on disk: two small files each, made once, shared by processes, made anew when they are damaged.

An entry is named by a digest of all that it depends on: `KEY.pt` holds its numbers and `KEY.json` says what they are, with the
digest of the first file and one of its own. The second is written last, each in one go, so that a kill leaves a whole entry or
none. Who makes an entry holds a lock; another who wants the same one waits and reads it.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hwloop.errors import DataError
from hwloop.files import write_file
from hwloop.network.bank.layer import Compressed
from hwloop.network.identity import digest_of
from hwloop.network.locks import locked
from hwloop.network.weights_file import ADVICE, read_state, write_state
from hwloop.reading import read_text

DISK_BYTES = 4 * 2**30
_LOCKS = 1  # first characters of a key that choose its lock file: 16 of them
_FACTS_BYTES = 2**20
_ROOM = 0.9  # what is left of the limit once the oldest entries have gone


class Store:
    """Entries by key in a folder.

    Args:
        folder: made when something is written.
        limit_bytes: of all entries; those read or written longest ago go first. What one process writes between two looks at the
            folder, at most a twentieth of the limit, may come on top.

    Attributes:
        made: how many entries this object had to make.
        found: how many it read.
    """

    def __init__(self, folder: str | Path, limit_bytes: int = DISK_BYTES) -> None:
        self.folder, self.limit_bytes = Path(folder), limit_bytes
        self.made = self.found = 0
        self._since = limit_bytes  # bytes written since the last look: look at the first chance

    def get(self, key: str, make: Callable[[], Compressed], about: Mapping[str, Any] | None = None) -> Compressed:
        """The entry of `key`, made now when it is not there or damaged; another process that makes it now is waited for.

        Args and errors as in `ask`.
        """
        found = self.ask(key, make, about, True)
        assert found is not None
        return found

    def ask(
        self, key: str, make: Callable[[], Compressed], about: Mapping[str, Any] | None = None, wait: bool = False
    ) -> Compressed | None:
        """The entry of `key`, made now when it is not there or damaged; None where another process is making it or its like.

        Args:
            key: hexadecimal digest of all that the entry depends on.
            make: makes it.
            about: plain data, written beside it for people.
            wait: wait for another process in place of giving None.

        Raises:
            DataError: the folder cannot be written to.
        """
        found = self.read(key)
        if found is None:
            with locked(self.folder / f".lock-{key[:_LOCKS]}", wait=wait) as held:
                if not held:
                    return None
                found = self.read(key, quiet=True)  # the one before may have made it meanwhile
                if found is None:
                    self.made += 1
                    found = make()
                    self._write(key, found, dict(about or {}))
                    return found
        self.found += 1
        return found

    def read(self, key: str, quiet: bool = False) -> Compressed | None:
        """The entry of `key`; None where there is none, or, with a warning unless `quiet`, where its files are damaged."""
        facts = self._facts(key)
        if not os.path.lexists(facts):
            return None
        try:
            told = json.loads(read_text(facts, _FACTS_BYTES))
            checksum = told.pop("checksum")
            if digest_of(told) != checksum or told["key"] != key:
                return _damaged(facts, "it is not what was written", quiet)
            if not self._numbers(key).is_file():
                return _damaged(facts, "its numbers are not there", quiet)
            state = read_state(self._numbers(key), told["sha256"])
            found = Compressed(
                state["levels"].float(), state.get("step"), told["method"], told["error"], told["plain_error"], state.get("shift")
            )
        except (DataError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            return _damaged(facts, error, quiet)
        with suppress(OSError):  # somebody else's folder
            facts.touch()
        return found

    def _write(self, key: str, entry: Compressed, about: dict[str, Any]) -> None:
        state: dict[str, Tensor] = {"levels": _narrow(entry.levels) if entry.step is not None else entry.levels}
        state |= {name: value for name, value in (("step", entry.step), ("shift", entry.shift)) if value is not None}
        sha256 = write_state(self._numbers(key), state)
        told = {
            "key": key, "sha256": sha256, "method": entry.method, "error": entry.error, "plain_error": entry.plain_error,
            "about": about,
        }  # fmt: skip
        text = json.dumps({**told, "checksum": digest_of(told)}, indent=1)
        write_file(self._facts(key), text, ADVICE)
        self._since += self._numbers(key).stat().st_size + len(text)
        if self._since >= self.limit_bytes / 20:
            self._make_room()

    def _make_room(self) -> None:
        """Deletes the entries used longest ago, once all of them take more than the limit."""
        with locked(self.folder / ".lock-room"):
            there = []
            for numbers in self.folder.glob("??/*.pt"):
                with suppress(OSError):  # gone meanwhile
                    facts, size = numbers.with_suffix(".json"), numbers.stat().st_size
                    status = facts.stat() if facts.exists() else numbers.stat()  # one that was never finished counts too
                    there.append((status.st_mtime_ns, size + status.st_size, facts))
            total = sum(size for _, size, _ in there)
            if total > self.limit_bytes:
                for _, size, facts in sorted(there)[:-1]:  # the newest is the one just made
                    facts.unlink(missing_ok=True)
                    facts.with_suffix(".pt").unlink(missing_ok=True)
                    total -= size
                    if total <= _ROOM * self.limit_bytes:
                        break
            self._since = 0

    def _facts(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[:40]}.json"

    def _numbers(self, key: str) -> Path:
        return self._facts(key).with_suffix(".pt")


def _damaged(path: Path, why: object, quiet: bool) -> Compressed | None:
    if not quiet:
        warnings.warn(f"{path}: this entry of the bank is damaged ({why}); it is made anew", RuntimeWarning, stacklevel=3)
    return None


def _narrow(levels: Tensor) -> Tensor:
    """Whole numbers in as few bytes as hold them."""
    most = float(levels.abs().max()) if levels.numel() else 0.0
    return levels.to(torch.int8 if most < 2**7 else torch.int16 if most < 2**15 else torch.int32)
