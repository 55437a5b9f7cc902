"""Reading files that may be anything: bounded in size, and never a device, a pipe or a folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hwloop.errors import DataError


def read_bytes(path: str | Path, most: int) -> bytes:
    """The content of a regular file.

    Args:
        path: of the file; a symbolic link is followed.
        most: bytes that it may have.

    Raises:
        DataError: it is not there, no regular file (a pipe would make the reader wait for ever), or larger than `most`.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            kind = os.fstat(handle).st_mode
            if not stat.S_ISREG(kind):
                raise DataError("it is a folder" if stat.S_ISDIR(kind) else "it is not a regular file")
            with os.fdopen(handle, "rb", closefd=False) as file:
                content = file.read(most + 1)
        finally:
            os.close(handle)
    except OSError as error:
        raise DataError(error.strerror or str(error)) from None
    except ValueError as error:  # a name with a null byte or a lone surrogate
        raise DataError(f"not a name that a file can have ({error})") from None
    if len(content) > most:
        raise DataError(f"it has more than {most} bytes")
    return content


def read_text(path: str | Path, most: int) -> str:
    """The content of a regular file as UTF-8 text.

    Raises:
        DataError: as `read_bytes`, or it is not UTF-8.
    """
    try:
        return read_bytes(path, most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"it is not UTF-8 text: byte {error.start} {error.reason}") from None


def own_file(path: str | Path) -> None:
    """Holds a file that hwloop made to being one: what is written to it must not land elsewhere.

    Raises:
        DataError: it is a symbolic link, a pipe, a device or a folder.
    """
    try:
        kind = os.lstat(path).st_mode
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    if not stat.S_ISREG(kind):
        what = "a symbolic link" if stat.S_ISLNK(kind) else "a folder" if stat.S_ISDIR(kind) else "no regular file"
        raise DataError(f"{path}: is {what}, and a run writes to files of its own alone; move it away, or choose another folder")


def is_file(path: str | Path) -> bool:
    """Whether something with this name is there that is not a folder; False for what no file can be called."""
    try:
        return os.path.exists(path) and not os.path.isdir(path)
    except (OSError, ValueError):
        return False
