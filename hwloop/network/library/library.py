"""The library of pruned models on disk: made once per trained model, read by every search.

A folder holds a state dict a member (`p50.00-RECIPE.pt`: the pruning amount in percent, and a digest of all that its weights
depend on) and one index, `library.json`, of every library in it. Since a file is named by its recipe, libraries made in other
ways lie side by side, and members that two of them share are there once. Files are written beside their place and renamed into
it, the index after the member and under a lock, so that a kill, Ctrl-C, a full disk or another builder leaves every member that
was finished; the next build reuses those.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hwloop.errors import DataError
from hwloop.files import write_file
from hwloop.network.cache import ByteCache
from hwloop.network.locks import locked
from hwloop.network.weights_file import ADVICE, read_state

INDEX, INDEX_LOCK = "library.json", ".library.lock"
FORMAT = 2
DIGITS = 4  # pruning amounts are told apart to 0.01%
CACHE_BYTES = 2**30


@dataclass(frozen=True)
class MemberInfo:
    """One entry of the index.

    Attributes:
        p: pruning amount: fraction of weights removed in each layer.
        file: name of the state dict in the library's folder.
        sha256: of that file.
        densities: fraction of weights kept, by name of the weight tensor (`WeightEntry.name`), by exact count.
        validation_accuracy: in floating point, 0 to 1; what the caller's function said where there is one.
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
        key: SHA-256 over everything below but `versions` and `infos`: which library of the folder it is.
        model: name of the model, as its builder gave it.
        mode: `gradual`: each member pruned in steps from the trained model; `trajectory`: the members are points on one such
            run, retrained at each (cheap).
        start_sha256: digest of the trained model's weights.
        settings: everything else that the members' weights depend on.
        versions: of the software that made it.
        infos: the members, by rising p.
    """

    folder: Path
    key: str
    model: str
    mode: str
    start_sha256: str
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    infos: tuple[MemberInfo, ...]
    _cache: ByteCache[float, Member] = field(default_factory=lambda: ByteCache(CACHE_BYTES, _bytes), init=False, repr=False)

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
        return self._cache.get(info.p, lambda: Member(info, read_state(self.folder / info.file, info.sha256)))


def open_library(folder: str | Path, key: str = "") -> Library:
    """Opens a library; members are read when asked for.

    Args:
        folder: where it lies.
        key: of the library, or its first characters; may be empty where the folder holds only one.

    Raises:
        DataError: no index there, it is damaged or of another version, or no single library is meant.
    """
    path = Path(folder) / INDEX
    libraries, _ = read_index(path.parent)
    if not path.exists():
        raise DataError(f"no library in {folder} ({path} is not there); build one first")
    found = [library for name, library in libraries.items() if name.startswith(key)]
    if len(found) != 1:
        kinds = [f"{each.key[:12]} ({each.model or 'a model'}, {each.mode}, {len(each.infos)} members)" for each in found]
        raise DataError(f"{folder} holds {len(found)} libraries of key {key!r}, not one: {', '.join(kinds)}; say which with key=")
    return found[0]


def read_index(folder: Path) -> tuple[dict[str, Library], dict[str, MemberInfo]]:
    """The libraries of a folder by key and their members by recipe; empty where there is no index yet.

    Raises:
        DataError: the index is damaged or of another version.
    """
    path = folder / INDEX
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise DataError(
                f"{path}: written in format {data['format']}, this version reads format {FORMAT}; choose another folder, "
                "or delete this one and build it anew"
            )
        members = {recipe: MemberInfo(**entry) for recipe, entry in data["members"].items()}
        libraries = {
            key: Library(
                folder, key, entry["model"], entry["mode"], entry["start_sha256"], entry["settings"], entry["versions"],
                tuple(sorted((members[recipe] for recipe in entry["members"]), key=lambda info: info.p)),
            )
            for key, entry in data["libraries"].items()
        }  # fmt: skip
    except FileNotFoundError:
        return {}, {}
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a library's index ({error}); delete the folder {folder} and build it anew") from error
    return libraries, members


def add_member(library: Library, info: MemberInfo) -> Library:
    """Writes a member into the index, beside whatever other builders have written there meanwhile.

    Returns:
        `library` with every member that the index has of it.

    Raises:
        DataError: the disk refuses, or the index is damaged.
    """
    with locked(library.folder / INDEX_LOCK):
        libraries, members = read_index(library.folder)
        there = libraries.get(library.key, replace(library, infos=()))
        infos = (info, *(other for other in there.infos if other.p != info.p))
        there = replace(there, infos=tuple(sorted(infos, key=lambda each: each.p)))
        libraries[library.key] = there
        members[info.recipe] = info
        data = {
            "format": FORMAT,
            "libraries": {key: _describe(each) for key, each in libraries.items()},
            "members": {recipe: asdict(each) for recipe, each in members.items()},
        }
        write_file(library.folder / INDEX, json.dumps(data, indent=1), ADVICE)
    return there


def _describe(library: Library) -> dict[str, Any]:
    return {
        "model": library.model,
        "mode": library.mode,
        "start_sha256": library.start_sha256,
        "settings": library.settings,
        "versions": library.versions,
        "members": [info.recipe for info in library.infos],
    }


def versions() -> dict[str, str]:
    """Of the software that weights depend on."""
    return {"torch": str(torch.__version__), "python": platform.python_version()}


def _bytes(member: Member) -> int:
    return sum(tensor.nbytes for tensor in member.state.values())
