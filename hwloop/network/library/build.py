"""Stage 1 of the search: building the library of pruned models."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import nn

from hwloop.errors import DataError, SpecError
from hwloop.network.bank.network import CODE, prune_network_
from hwloop.network.code import code_of
from hwloop.network.data.splits import DataSplits
from hwloop.network.identity import code_digest, digest_of, workload_digest
from hwloop.network.library.library import DIGITS, Library, Member, MemberInfo, add_member, read_index, versions
from hwloop.network.locks import locked
from hwloop.network.scoring import validation_score
from hwloop.network.tracing.entries import Registry
from hwloop.network.tracing.registry import register
from hwloop.network.training.devices import resolved
from hwloop.network.training.settings import TrainConfig
from hwloop.network.training.trainer import EpochEvent, check_trainable, train
from hwloop.network.transforms.prune import Masks, densities, magnitude_masks, schedule
from hwloop.network.weights_file import check_finite, read_state, weights_digest, write_state
from hwloop.spec.pruning import BlockPattern, check_pruning

MODES = ("gradual", "trajectory")
PRUNERS = ("magnitude", "second-order")
CALIBRATION_IMAGES = 512
# fine-tuning: the weights are good already, so nothing that helps a training from nothing
RETRAINING = TrainConfig(epochs=1, learning_rate=0.02, warmup=0.0, label_smoothing=0.0, averaging=0.0)


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
        exclude: layers (names or patterns such as `features.*`) never pruned; the paper prunes all.
        pruner: which weights go in a step: `magnitude`, as in the paper, the smallest; `second-order`: those that change the
            layer's outputs least on training examples, the others adjusted (`hwloop.network.bank`).
        block: None for free choice, M for N:M structure, where only multiples of 1/M can be fractions.
        training: the retraining after each step; its seed is the library's. The teacher of its distillation is the trained model.
    """

    fractions: tuple[float, ...] = fraction_steps()
    mode: str = "trajectory"
    steps: int = 34
    schedule: str = "cubic"
    exclude: tuple[str, ...] = ()
    pruner: str = "magnitude"
    block: int | None = None
    training: TrainConfig = RETRAINING

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SpecError("<arguments>", "library.mode", " or ".join(MODES), self.mode)
        if self.pruner not in PRUNERS:
            raise SpecError("<arguments>", "library.pruner", " or ".join(PRUNERS), self.pruner)
        for p in self.fractions:
            check_pruning(p, "library.fractions")
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
    registry: Registry | None = None,
    on_member: Callable[[MemberEvent], None] | None = None,
    on_epoch: Callable[[EpochEvent], None] | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> Library:
    """Builds the library in `folder`, or finishes the one there: what is there and fits is reused, not computed.

    Libraries of other models or settings in the same folder are left alone. Of two builders of the same library one works and
    the other waits; should the first die, the other finishes what it left.

    Args:
        model: the trained model; not changed. Its device is where retraining runs.
        splits: `train` retrains, `validation` scores; `test` is not touched.
        folder: of the library; made when missing.
        config: `LibraryConfig()` when None.
        name: of the model, kept in the index.
        registry: of the model; made here when None.
        on_member: called when a member is there.
        on_epoch: called after each epoch of retraining.
        on_wait: called with who else builds this library (`process 12 on host`), before waiting for it.

    Raises:
        DataError: the folder cannot be written to or its index is damaged, weights of the model are not finite numbers, or it
            cannot be retrained on `splits`.
        SpecError: a layer to exclude is not there.

    Example:
        >>> library = build_library(model, splits, "runs/lenet5/library", LibraryConfig(fractions=(0.5, 0.8, 0.9)))
        >>> library.nearest(0.83).p
        0.8
    """
    config = config or LibraryConfig()
    config = replace(config, training=resolved(config.training, model))
    check_trainable(splits, config.training)
    check_finite(model.state_dict(), name or type(model).__name__)
    registry = registry or register(model, splits.example_for(model), name or None)
    registry.select(config.exclude)
    fractions = sorted({0.0, *(round(p, DIGITS) for p in config.fractions)})
    library = _there(model, registry, splits, Path(folder), config, name, fractions)
    previous, before = model, None  # the network made last, and the member made or found last
    locks = ExitStack()
    alone = False
    with locks:
        for done, p in enumerate(fractions, 1):
            recipe = _recipe(library, fractions[:done] if config.mode == "trajectory" else [p])
            info = _reusable(library.folder, recipe)
            if info is None and not alone:
                locks.enter_context(locked(library.folder / f".build-{library.key[:16]}.lock", on_wait))
                alone = True
                info = _reusable(library.folder, recipe)  # the one before may have made it meanwhile
            reused = info is not None
            if info is None:
                began = time.perf_counter()
                if config.mode == "gradual":
                    previous = model
                elif before is not None:
                    previous = _loaded(model, library.folder, before)
                previous = _prune_and_retrain(previous, model, registry, p, splits, config, on_epoch)
                info = _save(library, previous, registry, p, recipe, config.training.seed, splits, began)
            before = info if reused else None
            if info not in library.infos:
                library = add_member(library, info)
            if on_member is not None:
                on_member(MemberEvent(done, len(fractions), info, reused))
    return library


def _there(
    model: nn.Module,
    registry: Registry,
    splits: DataSplits,
    folder: Path,
    config: LibraryConfig,
    name: str,
    fractions: Sequence[float],
) -> Library:
    """The library of this model and these settings in the folder; an empty one if there is none."""
    settings = {
        "schedule": config.schedule if config.mode == "gradual" else None,
        "steps": config.steps if config.mode == "gradual" else None,
        "exclude": list(config.exclude),
        "pruner": {"name": config.pruner, "code": [code_of(module) for module in CODE] if config.pruner != "magnitude" else []},
        "block": config.block,
        "training": asdict(config.training),
        "data": splits.name,
        "data_sha256": splits.fingerprint,
        "network_sha256": workload_digest(registry.workload),
        "code_sha256": code_digest(model),
    }
    start = weights_digest(model.state_dict())
    path = list(fractions) if config.mode == "trajectory" else None  # members of a trajectory depend on those before
    library = Library(folder, digest_of([start, config.mode, settings, path]), name, config.mode, start, settings, versions(), ())
    return read_index(folder)[0].get(library.key, library)


def _recipe(library: Library, path: Sequence[float]) -> str:
    """Digest of all that a member's weights depend on; `path` are the pruning amounts it went through."""
    return digest_of([library.start_sha256, library.mode, library.settings, list(path)])


def _reusable(folder: Path, recipe: str) -> MemberInfo | None:
    """The member made by this recipe, in whichever library of the folder, when its file is whole."""
    info = read_index(folder)[1].get(recipe)
    if info is not None:
        try:
            read_state(folder / info.file, info.sha256)
        except DataError:
            return None
    return info


def _loaded(model: nn.Module, folder: Path, info: MemberInfo) -> nn.Module:
    """A copy of `model` with a member's weights."""
    copied = copy.deepcopy(model)
    Member(info, read_state(folder / info.file, info.sha256)).load_into(copied)
    return copied


def _prune_and_retrain(
    start: nn.Module,
    teacher: nn.Module,
    registry: Registry,
    p: float,
    splits: DataSplits,
    config: LibraryConfig,
    on_epoch: Callable[[EpochEvent], None] | None,
) -> nn.Module:
    """A copy of `start`, pruned to p and retrained: at once (trajectory) or in steps (gradual)."""
    model = copy.deepcopy(start)
    if p == 0:
        return model
    steps = math.ceil(config.steps * p) if config.mode == "gradual" else 1
    amounts = sorted({_on_grid(amount, config.block) for amount in schedule(p, steps, config.schedule)})
    for step, amount in enumerate(amounts):
        training = replace(config.training, seed=_seed(config, p, step))
        masks = _pruned_(model, registry, amount, splits, config)
        train(model, splits, training, masks, on_epoch, teacher=teacher)
    return model


def _on_grid(amount: float, block: int | None) -> float:
    """With N:M structure an intermediate amount is rounded up to a multiple of 1/M."""
    return amount if block is None else math.ceil(amount * block - 1e-6) / block


def _pruned_(model: nn.Module, registry: Registry, amount: float, splits: DataSplits, config: LibraryConfig) -> Masks:
    """Prunes `model` in place, or says what to prune; the weights that stay."""
    pattern = None if config.block is None else block_pattern(amount, config.block)
    if config.pruner == "magnitude":
        return magnitude_masks(model, registry, 0.0 if pattern else amount, config.exclude, pattern)
    calibration = splits.train.subset(CALIBRATION_IMAGES, config.training.seed)
    return prune_network_(model, registry, calibration, pattern or 1 - amount, config.exclude)


def block_pattern(amount: float, block: int) -> BlockPattern:
    """N:M structure that removes the fraction `amount`, a multiple of 1/`block`."""
    return BlockPattern(block - round(amount * block), block)


def _seed(config: LibraryConfig, p: float, step: int) -> int:
    """One seed a retraining, the same whatever else is in the library."""
    return (config.training.seed * 1_000_003 + round(p * 1e4) * 1009 + step) % (1 << 31)


def _save(
    library: Library,
    model: nn.Module,
    registry: Registry,
    p: float,
    recipe: str,
    seed: int,
    splits: DataSplits,
    began: float,
) -> MemberInfo:
    file = f"p{100 * p:05.2f}-{recipe[:16]}.pt"
    score = validation_score(model, splits)
    digest = write_state(library.folder / file, model.state_dict())
    kept = densities(model, registry)
    return MemberInfo(p, file, digest, kept, score, seed, recipe, time.perf_counter() - began)
