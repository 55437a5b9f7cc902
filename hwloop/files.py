"""Writing files in one go."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from threading import get_ident

from hwloop.errors import DataError


def write_file(path: str | Path, content: str | bytes, advice: str = "what was there before is kept") -> Path:
    """Writes a file with its folders, so that under its name there is the old content or the new, never a part.

    A file that is there keeps its mode and, where the system allows it, its owner; a symbolic link stays and what it points to
    is written. Devices, pipes, sockets and folders are left alone.

    Args:
        path: of the file.
        content: text (UTF-8) or bytes.
        advice: the end of the error's sentence: what is kept, and what to do.

    Returns:
        The path.

    Raises:
        DataError: it is there and no regular file, or the disk is full or refuses; nothing is left behind.
    """
    try:
        place = Path(os.path.realpath(path))
        there = _regular(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = place.with_name(f".hwloop-{os.getpid()}-{get_ident()}.tmp")  # no longer than any name may be
        try:
            with aside.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            if there is not None:
                _take_over(aside, there)
            aside.replace(place)
        finally:
            with suppress(FileNotFoundError):
                aside.unlink()
    except (OSError, ValueError) as error:  # a name with a null byte is a ValueError
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"cannot write {path} ({reason}); {advice}") from error
    return Path(path)


def _regular(place: Path) -> os.stat_result | None:
    """What is known of a file that is there, None where there is none.

    Raises:
        OSError: it is no regular file, or may not be written.
    """
    try:
        there = place.stat()
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(there.st_mode):
        raise OSError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(there.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    if not os.access(place, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only")
    return there


def _take_over(aside: Path, there: os.stat_result) -> None:
    own = aside.stat()
    if (own.st_uid, own.st_gid) != (there.st_uid, there.st_gid):
        with suppress(PermissionError):
            os.chown(aside, there.st_uid, there.st_gid)
    aside.chmod(stat.S_IMODE(there.st_mode))
