"""Files of weights: checkpoints that a caller brings, and those written here. Nothing in a file is executed."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hwloop.errors import DataError
from hwloop.files import write_file

ADVICE = "what was computed before it is kept: make room and run again"
_TYPES = frozenset({
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32,
    torch.int64,
})  # fmt: skip
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")  # keys under which training scripts put the weights
_PREFIXES = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put in front


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, without the prefixes that wrappers add.

    Raises:
        DataError: no such file, not a checkpoint that can be read without executing what is in it, or values that are not finite
            numbers.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: no such checkpoint file; check the path")
    _check_archive(Path(path))
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path}: is no checkpoint, or holds objects other than tensors, which hwloop does not load; "
            "save the weights alone with torch.save(model.state_dict(), path)"
        ) from error
    except Exception as error:  # a damaged file makes torch raise anything, MemoryError included
        raise DataError(f"{path}: cannot be read as a checkpoint: {type(error).__name__}: {error}") from error
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        expected = f"a state dict (name -> tensor), alone or under one of {_WRAPPERS}"
        raise DataError(f"{path}: expected {expected}; found {_kind(content)}")
    weights = {_bare(str(key)): value for key, value in content.items()}
    check_finite(weights, str(path))
    return weights


def _check_archive(path: Path) -> None:
    """Refuses a packed archive, which may unpack to more than the memory holds; torch packs nothing.

    Raises:
        DataError: its entries take more than the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # torch's old format, or what torch itself will refuse
    if unpacked > path.stat().st_size:
        raise DataError(
            f"{path}: is packed ({unpacked} bytes in {path.stat().st_size}); save it with torch.save, which packs nothing"
        )


def check_finite(weights: Mapping[str, Tensor], source: str) -> None:
    """Refuses weights that no training can mend.

    Raises:
        DataError: names the first tensor that holds values that are NaN or infinite, or what is no tensor.
    """
    for name, tensor in weights.items():
        if not isinstance(tensor, Tensor):
            raise DataError(f"{source}: {name} is a {type(tensor).__name__}; a file of weights holds tensors alone")
        if tensor.layout != torch.strided or tensor.is_nested or tensor.is_quantized or tensor.dtype not in _TYPES:
            raise DataError(
                f"{source}: {name} is no plain tensor of numbers ({tensor.dtype}, {tensor.layout}); save it as float32"
            )
        if tensor.is_meta:
            raise DataError(f"{source}: {name} holds no values; save the weights from a device that has them")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise DataError(f"{source}: {name} repeats values that it does not hold; save tensor.contiguous()")
        if not tensor.is_floating_point():
            continue
        bad = tensor.numel() - int(torch.isfinite(tensor).sum())
        if bad:
            raise DataError(f"{source}: {name} holds {bad} of {tensor.numel()} values that are NaN or infinite")


def write_state(path: Path, state: Mapping[str, Tensor]) -> str:
    """Writes a state dict in one go and returns the SHA-256 of the file.

    Raises:
        DataError: the disk refuses.
    """
    buffer = io.BytesIO()
    torch.save({name: tensor.detach().cpu() for name, tensor in state.items()}, buffer)
    write_file(path, buffer.getvalue(), ADVICE)
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def read_state(path: Path, sha256: str) -> dict[str, Tensor]:
    """Reads a state dict that `write_state` wrote.

    Raises:
        DataError: missing, or not the file with that digest.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); build the library again to make it anew") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"{path} is damaged (its SHA-256 is not the index's); build the library again to make it anew")
    try:
        state: dict[str, Tensor] = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise DataError(f"{path} is not a file of weights ({error})") from error
    return state


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes, types and values of a state dict."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _kind(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"a mapping with the keys {[str(key) for key in content][:5]}" if content else "an empty mapping"
    return f"a {type(content).__name__}"


def _bare(key: str) -> str:
    while prefix := next((p for p in _PREFIXES if key.startswith(p)), ""):
        key = key.removeprefix(prefix)
    return key
