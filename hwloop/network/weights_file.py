"""Checkpoint files: the tensors in one by name. Nothing in the file is executed."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hwloop.errors import DataError

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")  # keys under which training scripts put the weights
_PREFIXES = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put in front


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, without the prefixes that wrappers add.

    Raises:
        DataError: no such file, or not a checkpoint that can be read without executing what is in it.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: no such checkpoint file; check the path")
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path}: is no checkpoint, or holds objects other than tensors, which hwloop does not load; "
            "save the weights alone with torch.save(model.state_dict(), path)"
        ) from error
    except (RuntimeError, EOFError, OSError, zipfile.BadZipFile, ValueError, KeyError) as error:
        raise DataError(f"{path}: cannot be read as a checkpoint: {type(error).__name__}: {error}") from error
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        expected = f"a state dict (name -> tensor), alone or under one of {_WRAPPERS}"
        raise DataError(f"{path}: expected {expected}; found {_kind(content)}")
    return {_bare(str(key)): value for key, value in content.items()}


def _kind(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"a mapping with the keys {[str(key) for key in content][:5]}" if content else "an empty mapping"
    return f"a {type(content).__name__}"


def _bare(key: str) -> str:
    while prefix := next((p for p in _PREFIXES if key.startswith(p)), ""):
        key = key.removeprefix(prefix)
    return key
