"""Stage 1 of the search: building the library of pruned models."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import nn

from hwloop.errors import DataError, SpecError
from hwloop.network.data import DataSplits
from hwloop.network.finetune import EpochEvent, TrainConfig, train
from hwloop.network.layers import device_of
from hwloop.network.library import (
    DIGITS,
    INDEX,
    Library,
    Member,
    MemberInfo,
    open_library,
    read_state,
    versions,
    weights_digest,
    write_index,
    write_state,
)
from hwloop.network.prune import Masks, densities, magnitude_masks, schedule
from hwloop.network.registry import Registry, register
from hwloop.network.scoring import accuracy
from hwloop.spec.pruning import BlockPattern

MODES = ("gradual", "trajectory")
RETRAINING = TrainConfig(epochs=1, learning_rate=0.02)


def fraction_steps(last: float = 0.95, step: float = 0.01) -> tuple[float, ...]:
    """`step`, `2 * step`, ... up to `last`: the paper's 1%, 2%, ..., 95% as it stands."""
    return tuple(round(step * at, DIGITS) for at in range(1, math.floor(last / step + 1e-9) + 1))


@dataclass(frozen=True)
class LibraryConfig:
    """What goes into a library, and how.

    Attributes:
        fractions: pruning amounts of the members; 0, the trained model itself, is always one.
        mode: `trajectory` or `gradual`, see `Library`.
        steps: for `gradual`: a member at p is pruned in `ceil(steps * p)` steps; 34 makes the paper's 32 or 33 to 95%.
        schedule: for `gradual`: `cubic` or `linear`, see `prune.schedule`.
        exclude: layers (patterns of module paths) never pruned; the paper prunes all.
        block: None for free choice, M for N:M structure, where only multiples of 1/M can be fractions.
        training: the retraining after each step; its seed is the library's.
    """

    fractions: tuple[float, ...] = fraction_steps()
    mode: str = "trajectory"
    steps: int = 34
    schedule: str = "cubic"
    exclude: tuple[str, ...] = ()
    block: int | None = None
    training: TrainConfig = RETRAINING

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SpecError("<arguments>", "library.mode", " or ".join(MODES), self.mode)
        for p in self.fractions:
            if not 0 <= p < 1:
                raise SpecError("<arguments>", "library.fractions", "numbers from 0 to below 1", p)
            if self.block is not None and abs(p * self.block - round(p * self.block)) > 1e-6:
                raise SpecError("<arguments>", "library.fractions", f"multiples of 1/{self.block} (the block)", p)
        schedule(max(self.fractions, default=0.0), self.steps, self.schedule)


@dataclass(frozen=True)
class MemberEvent:
    """One member of the library is there.

    Attributes:
        done: members there so far.
        total: members there will be.
        info: the new one.
        reused: whether it was there from an earlier build.
    """

    done: int
    total: int
    info: MemberInfo
    reused: bool


def build_library(
    model: nn.Module,
    splits: DataSplits,
    folder: str | Path,
    config: LibraryConfig | None = None,
    *,
    name: str = "",
    on_member: Callable[[MemberEvent], None] | None = None,
    on_epoch: Callable[[EpochEvent], None] | None = None,
) -> Library:
    """Builds the library in `folder`, or finishes the one there: what is there and fits is reused, not computed.

    Args:
        model: the trained model; not changed. Its device is where retraining runs.
        splits: `train` retrains, `validation` scores; `test` is not touched.
        folder: of the library; made when missing.
        config: `LibraryConfig()` when None.
        name: of the model, kept in the index.
        on_member: called when a member is there.
        on_epoch: called after each epoch of retraining.

    Raises:
        DataError: the folder holds a library of another model or made another way, or cannot be written to.
        SpecError: a layer to exclude is not there.

    Example:
        >>> library = build_library(model, splits, "runs/lenet5/library", LibraryConfig(fractions=(0.5, 0.8, 0.9)))
        >>> library.nearest(0.83).p
        0.8
    """
    config = config or LibraryConfig()
    folder = Path(folder)
    fractions = sorted({0.0, *(round(p, DIGITS) for p in config.fractions)})
    settings = {
        "schedule": config.schedule if config.mode == "gradual" else None,
        "steps": config.steps if config.mode == "gradual" else None,
        "exclude": list(config.exclude),
        "block": config.block,
        "training": asdict(config.training),
        "data": splits.name,
        "data_sha256": splits.fingerprint,
    }
    library = _open_or_start(Library(folder, name, config.mode, weights_digest(model), settings, versions(), ()))
    previous = model
    for done, p in enumerate(fractions, 1):
        recipe = _recipe(library, fractions[:done] if config.mode == "trajectory" else [p])
        info = _reusable(library, p, recipe)
        reused = info is not None
        if info is None:
            began = time.perf_counter()
            previous = _prune_and_retrain(previous if config.mode == "trajectory" else model, p, splits, config, on_epoch)
            info = _save(library, previous, p, recipe, config.training.seed, splits, began)
            library = replace(library, infos=tuple(sorted([*(i for i in library.infos if i.p != p), info], key=lambda i: i.p)))
            write_index(library)
        elif config.mode == "trajectory" and p:
            previous = copy.deepcopy(model)
            Member(info, read_state(folder / info.file, info.sha256)).load_into(previous)
        if on_member is not None:
            on_member(MemberEvent(done, len(fractions), info, reused))
    return library


def _open_or_start(wanted: Library) -> Library:
    """The library already in the folder, if it is the one wanted; the empty one if there is none."""
    if not (wanted.folder / INDEX).exists():
        write_index(wanted)
        return wanted
    there = open_library(wanted.folder)
    wanted_settings = json.loads(json.dumps(wanted.settings))
    differ = [key for key in sorted({*wanted_settings, *there.settings}) if wanted_settings.get(key) != there.settings.get(key)]
    differ += ["mode"] if there.mode != wanted.mode else []
    differ += ["trained weights"] if there.start_sha256 != wanted.start_sha256 else []
    if differ:
        raise DataError(
            f"{wanted.folder} holds a library of {there.model or 'a model'} that was made another way "
            f"(different: {', '.join(differ)}); choose another folder, or delete this one"
        )
    return there


def _recipe(library: Library, path: Sequence[float]) -> str:
    """Digest of all that a member's weights depend on; `path` are the pruning amounts it went through."""
    parts = [library.start_sha256, library.mode, library.settings, list(path)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _reusable(library: Library, p: float, recipe: str) -> MemberInfo | None:
    """The member at p when it was made by this recipe and its file is whole."""
    for info in library.infos:
        if info.p == p and info.recipe == recipe:
            try:
                read_state(library.folder / info.file, info.sha256)
            except DataError:
                return None
            return info
    return None


def _prune_and_retrain(
    start: nn.Module, p: float, splits: DataSplits, config: LibraryConfig, on_epoch: Callable[[EpochEvent], None] | None
) -> nn.Module:
    """A copy of `start`, pruned to p and retrained: at once (trajectory) or in steps (gradual)."""
    model = copy.deepcopy(start)
    if p == 0:
        return model
    registry = _registry(model, splits)
    steps = math.ceil(config.steps * p) if config.mode == "gradual" else 1
    amounts = sorted({_on_grid(amount, config.block) for amount in schedule(p, steps, config.schedule)})
    for step, amount in enumerate(amounts):
        train(
            model,
            splits,
            replace(config.training, seed=_seed(config, p, step)),
            _masks(model, registry, amount, config),
            on_epoch,
        )
    return model


def _on_grid(amount: float, block: int | None) -> float:
    """With N:M structure an intermediate amount is rounded up to a multiple of 1/M."""
    return amount if block is None else math.ceil(amount * block - 1e-6) / block


def _registry(model: nn.Module, splits: DataSplits) -> Registry:
    return register(model, next(splits.train.batches(1))[0].to(device_of(model)))


def _masks(model: nn.Module, registry: Registry, amount: float, config: LibraryConfig) -> Masks:
    if config.block is None:
        return magnitude_masks(model, registry, amount, config.exclude)
    pattern = BlockPattern(config.block - round(amount * config.block), config.block)
    return magnitude_masks(model, registry, 0.0, config.exclude, pattern)


def _seed(config: LibraryConfig, p: float, step: int) -> int:
    """One seed a retraining, the same whatever else is in the library."""
    return (config.training.seed * 1_000_003 + round(p * 1e4) * 1009 + step) % (1 << 31)


def _save(library: Library, model: nn.Module, p: float, recipe: str, seed: int, splits: DataSplits, began: float) -> MemberInfo:
    file = f"p{100 * p:05.2f}.pt"
    kept = densities(model, _registry(model, splits))
    score = accuracy(model, splits.validation)
    digest = write_state(library.folder / file, model.state_dict())
    return MemberInfo(p, file, digest, kept, score, seed, recipe, time.perf_counter() - began)
