"""Writing files in one go."""

from __future__ import annotations

import os
from pathlib import Path
from threading import get_ident

from hwloop.errors import DataError


def write_file(path: str | Path, content: str | bytes, advice: str = "what was there before is kept") -> Path:
    """Writes a file with its folders, so that under its name there is the old content or the new, never a part.

    Args:
        path: of the file.
        content: text (UTF-8) or bytes.
        advice: the end of the error's sentence: what is kept, and what to do.

    Returns:
        The path.

    Raises:
        DataError: the disk is full or refuses; nothing is left behind.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.{get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror or error}); {advice}") from error
    finally:
        if aside.exists():
            aside.unlink()
    return path
