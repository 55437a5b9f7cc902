"""Holds arguments to what can be meant, before any work: one place for all commands."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from hwloop.errors import SpecError
from hwloop.spec.bits import MAX_BITS, MIN_BITS

# Least and greatest of the options that are whole numbers, by their name in the namespace.
RANGES: dict[str, tuple[int, int]] = {
    "workers": (1, 1024), "seed": (0, 2**32 - 1), "batch": (1, 2**20), "batch_size": (1, 2**20), "channels": (1, 2**16),
    "classes": (1, 10**6), "image_size": (1, 2**14), "images": (1, 10**9),
    "train_images": (1, 10**12), "validation_images": (1, 10**12),
    "epochs": (0, 10**6), "library_epochs": (0, 10**6), "generations": (1, 10**6), "population": (2, 10**6),
    "evaluations": (1, 10**9), "weight_bits": (MIN_BITS, MAX_BITS), "activation_bits": (MIN_BITS, MAX_BITS),
    "limit": (0, 10**9), "sample": (0, 10**9),
    "most": (0, 10**9),
}  # fmt: skip
WRITTEN = ("out", "output", "memo", "library")
_NAME_BYTES, _PATH_BYTES = 255, 4095


def check_arguments(args: argparse.Namespace) -> None:
    """Checks the numbers in `RANGES` and the places in `WRITTEN`.

    Raises:
        SpecError: of `<arguments>`: a number out of range, or a place that cannot be written to.
    """
    for name, (least, most) in RANGES.items():
        value = getattr(args, name, None)
        if isinstance(value, int) and not isinstance(value, bool) and not least <= value <= most:
            raise SpecError("<arguments>", f"--{name.replace('_', '-')}", f"a whole number from {least} to {most}", value)
    for name in WRITTEN:
        value = getattr(args, name, None)
        if isinstance(value, str):
            reason = why_not(value)
            if reason:
                raise SpecError("<arguments>", f"--{name}", "a place that can be written to", value, reason)


def why_not(place: str) -> str:
    """Why a file or folder of this name cannot be made or written; empty when it looks as if it could."""
    if not place.strip():
        return "it is empty"
    if "\0" in place:
        return "no name holds a null byte"
    try:
        if any(len(os.fsencode(part)) > _NAME_BYTES for part in Path(place).parts) or len(os.fsencode(place)) > _PATH_BYTES:
            return "the name is too long"
        path = Path(os.path.abspath(place))
        at = next(p for p in (path, *path.parents) if os.path.lexists(p))
        if at == path:
            return "" if path.is_dir() or path.is_file() else "it is neither a file nor a folder"
        if not at.is_dir():
            return f"{at} is no folder"
        return "" if os.access(at, os.W_OK | os.X_OK) else f"{at} cannot be written to"
    except (OSError, ValueError) as error:  # a null byte, a part of the path that may not be read
        return str(error)
