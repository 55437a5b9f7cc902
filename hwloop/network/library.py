"""The library of pruned models on disk: made once per trained model, read by every search.

A folder with one state dict a pruning amount p (`p10.00.pt`, in percent) and an index, `library.json`. Files are written
beside their place and renamed into it, the index after the member, so that a kill, Ctrl-C or a full disk leaves every member
that was finished; the next build reuses those. A state dict holds plain weights with zeros where they are pruned.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import platform
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hwloop.errors import DataError

INDEX = "library.json"
FORMAT = 1
DIGITS = 4  # pruning amounts are told apart to 0.01%
_CACHE_BYTES = 2**30


@dataclass(frozen=True)
class MemberInfo:
    """One entry of the index.

    Attributes:
        p: pruning amount: fraction of weights removed in each layer.
        file: name of the state dict in the library's folder.
        sha256: of that file.
        densities: fraction of weights kept, by module path, by exact count.
        validation_accuracy: in floating point, 0 to 1.
        seed: of its retraining.
        recipe: SHA-256 over all that its weights depend on; a build reuses the member when it is the same.
        seconds: wall clock it took to make.
    """

    p: float
    file: str
    sha256: str
    densities: dict[str, float]
    validation_accuracy: float
    seed: int
    recipe: str
    seconds: float


@dataclass(frozen=True)
class Member:
    """A pruned model's weights, in memory."""

    info: MemberInfo
    state: Mapping[str, Tensor] = field(repr=False)

    def load_into(self, model: nn.Module) -> None:
        """Copies the weights into `model`.

        Raises:
            DataError: `model` has other layers or shapes.
        """
        try:
            model.load_state_dict(dict(self.state))
        except RuntimeError as error:
            raise DataError(f"{self.info.file} does not fit the model: {' '.join(str(error).split())}") from error


@dataclass(frozen=True, eq=False)
class Library:
    """A library on disk, opened.

    Attributes:
        folder: where it lies.
        model: name of the model, as its builder gave it.
        mode: `gradual`: each member pruned in steps from the trained model; `trajectory`: the members are points on one such
            run, retrained at each (cheap).
        start_sha256: digest of the trained model's weights.
        settings: everything else that the members' weights depend on.
        versions: of the software that made it.
        infos: the members, by rising p.
    """

    folder: Path
    model: str
    mode: str
    start_sha256: str
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    infos: tuple[MemberInfo, ...]
    _cache: OrderedDict[float, Member] = field(default_factory=OrderedDict, init=False, repr=False)

    @property
    def fractions(self) -> tuple[float, ...]:
        """The pruning amounts there are, rising."""
        return tuple(info.p for info in self.infos)

    def info(self, p: float) -> MemberInfo:
        """The entry at exactly `p` (to 0.01%).

        Raises:
            DataError: there is none; `nearest` finds the closest.
        """
        wanted = round(p, DIGITS)
        for info in self.infos:
            if info.p == wanted:
                return info
        have = ", ".join(f"{100 * fraction:g}%" for fraction in self.fractions) or "none yet"
        raise DataError(f"{self.folder}: no model pruned by {100 * p:g}%; there are: {have}")

    def nearest(self, p: float) -> MemberInfo:
        """The entry closest to `p`; the smaller p of two as close.

        Raises:
            DataError: the library is empty.
        """
        if not self.infos:
            raise DataError(f"{self.folder}: the library is empty; build it")
        return min(self.infos, key=lambda info: (round(abs(info.p - p), 9), info.p))

    def member(self, p: float) -> Member:
        """The model at exactly `p`, kept in memory for the next time (the latest GiB of them).

        Raises:
            DataError: there is none, or its file is missing or not what was written.
        """
        info = self.info(p)
        if info.p in self._cache:
            self._cache.move_to_end(info.p)
            return self._cache[info.p]
        member = Member(info, read_state(self.folder / info.file, info.sha256))
        self._cache[info.p] = member
        while len(self._cache) > 1 and sum(_bytes(kept.state) for kept in self._cache.values()) > _CACHE_BYTES:
            self._cache.popitem(last=False)
        return member


def open_library(folder: str | Path) -> Library:
    """Opens a library; members are read when asked for.

    Raises:
        DataError: no index there, or it is damaged or of another version.
    """
    path = Path(folder) / INDEX
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise DataError(f"{path}: written in format {data['format']}, this version reads format {FORMAT}; build it anew")
        infos = tuple(MemberInfo(**entry) for entry in data["members"])
        return Library(Path(folder), data["model"], data["mode"], data["start_sha256"], data["settings"], data["versions"], infos)
    except FileNotFoundError:
        raise DataError(f"no library in {folder} ({path} is not there); build one first") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a library's index ({error}); delete the folder {folder} and build it anew") from error


def write_index(library: Library) -> None:
    """Writes the index of `library` in one go.

    Raises:
        DataError: the disk refuses.
    """
    data = {
        "format": FORMAT,
        "model": library.model,
        "mode": library.mode,
        "start_sha256": library.start_sha256,
        "settings": library.settings,
        "versions": library.versions,
        "members": [asdict(info) for info in sorted(library.infos, key=lambda info: info.p)],
    }
    write_file(library.folder / INDEX, json.dumps(data, indent=1).encode())


def write_state(path: Path, state: Mapping[str, Tensor]) -> str:
    """Writes a state dict in one go and returns the SHA-256 of the file.

    Raises:
        DataError: the disk refuses.
    """
    buffer = io.BytesIO()
    torch.save({name: tensor.detach().cpu() for name, tensor in state.items()}, buffer)
    write_file(path, buffer.getvalue())
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


def write_file(path: Path, content: bytes) -> None:
    """Writes a file so that under its name there is the old content or the new, never a part.

    Raises:
        DataError: the disk is full or refuses; nothing is left behind.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise DataError(
            f"cannot write {path} ({error.strerror or error}); what was computed before it is kept: make room and run again"
        ) from error
    finally:
        aside.unlink(missing_ok=True)


def weights_digest(model: nn.Module) -> str:
    """SHA-256 over names, shapes, types and values of the state dict."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Of the software that weights depend on."""
    return {"torch": str(torch.__version__), "python": platform.python_version()}


def _bytes(state: Mapping[str, Tensor]) -> int:
    return sum(tensor.nbytes for tensor in state.values())
