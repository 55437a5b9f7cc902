"""A lock that processes on one machine (or one shared file system) hold on a file while they work; it goes when they die."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hwloop.errors import DataError

try:
    import fcntl
except ImportError:  # not on Windows; two processes are not told apart there
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(path: Path, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Holds the lock on `path` while the block runs, after whoever holds it has let go.

    Args:
        path: of the lock file; made when missing, and left behind, since deleting it could let two in.
        on_wait: called once, with who holds it, before waiting.

    Raises:
        DataError: the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot lock {path} ({error.strerror or error}); make the folder writable, or choose another") from error
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if on_wait is not None:
                    on_wait(_owner(path))
                fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        yield


def _owner(path: Path) -> str:
    """Who wrote into the lock file; the writing may not have reached it yet."""
    return path.read_text(encoding="utf-8") or "another process"
