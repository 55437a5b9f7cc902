"""A lock that processes on one machine (or one shared file system) hold on a file while they work; it goes when they die."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from hwloop.errors import DataError

try:
    import fcntl
except ImportError:  # not on Windows; two processes are not told apart there
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(path: Path, on_wait: Callable[[str], None] | None = None, wait: bool = True) -> Iterator[bool]:
    """Holds the lock on `path` while the block runs, after whoever holds it has let go; gives whether it holds it.

    Args:
        path: of the lock file; made when missing, and left behind, since deleting it could let two in.
        on_wait: called once, with who holds it, before waiting.
        wait: False runs the block without the lock where another holds it.

    Raises:
        DataError: the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot lock {path} ({error.strerror or error}); make the folder writable, or choose another") from error
    with file:
        try:
            held = _take(file, on_wait, wait)
            if held:
                file.truncate(0)
                file.write(f"process {os.getpid()} on {platform.node()}")
                file.flush()
        except OSError as error:
            raise DataError(f"cannot lock {path} ({error.strerror or error}); choose a folder on another file system") from error
        yield held


def _take(file: IO[str], on_wait: Callable[[str], None] | None, wait: bool) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            return False
        if on_wait is not None:
            file.seek(0)
            on_wait(file.read() or "another process")  # it may not have written its name yet
        fcntl.flock(file, fcntl.LOCK_EX)
    return True
