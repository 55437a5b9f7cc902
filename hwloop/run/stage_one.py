"""Stage 1 of a run: the trained network and its library of pruned models."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwloop.errors import DataError
from hwloop.network.data.splits import DataSplits
from hwloop.network.library.build import RETRAINING, LibraryConfig, MemberEvent, build_library
from hwloop.network.library.library import Library
from hwloop.network.scoring import validation_score
from hwloop.network.tracing.registry import Registry
from hwloop.network.training.prepare import Trained, registry_of, seeded_model, trained_model, use_threads
from hwloop.network.training.settings import TrainConfig
from hwloop.network.training.trainer import EpochEvent
from hwloop.network.zoo.models import load_weights
from hwloop.report.progress import Progress
from hwloop.run.settings import Settings


def trained_network(
    model: Any, name: str, splits: DataSplits, folder: Path, settings: Settings, weights: str | Path | None, progress: Progress
) -> tuple[Trained, Registry]:
    """The trained network, and the registry of its weights; those that cannot be compressed are named before anything is trained.

    Args:
        model: a name, or a torch module, which is copied.
        name: what to call it.
        splits: the data.
        folder: where weights trained here are kept.
        settings: of the training.
        weights: a checkpoint, None to train or to take the module's own.
        progress: where to show it.

    Raises:
        DataError: no such model, one that cannot run on the data or be traced, or a checkpoint that does not fit.
    """
    named = isinstance(model, str)
    if not named and not (hasattr(model, "state_dict") and hasattr(model, "modules")):
        raise DataError(f"model: expected a name or a torch module, found {type(model).__name__}")
    start = seeded_model(model, splits, settings.seed) if named else copy.deepcopy(model).eval()
    registry = registry_of(start, splits, name)
    for parameter, reason in registry.left_out:
        progress.say(f"{name}: {parameter} is not compressed: {reason}")
    use_threads(registry.workload)
    training = TrainConfig(
        epochs=settings.epochs, batch_size=settings.batch_size, learning_rate=settings.learning_rate, seed=settings.seed
    )
    if not named:
        if weights is not None:
            load_weights(start, weights)
        how = "weights as given" if weights is None else f"weights of {Path(weights).name}"
        trained = Trained(start, how, validation_score(start, splits))
    elif weights is not None:
        trained = trained_model(model, splits, folder, training, weights)
    else:
        with progress.task(f"train {model} on {splits.name}", settings.epochs) as task:

            def on_epoch(event: EpochEvent) -> None:
                task.advance(f"loss {event.loss:.3f}, validation accuracy {100 * event.validation_accuracy:.2f}%")

            trained = trained_model(model, splits, folder, training, None, on_epoch)
    progress.say(f"{name}: {trained.how}, validation accuracy {100 * trained.validation_accuracy:.2f}%")
    return trained, registry


def pruned_library(
    name: str, trained: Trained, registry: Registry, splits: DataSplits, folder: Path, settings: Settings, progress: Progress
) -> Library:
    """The library of pruned models, built or finished in `folder`, with the pruning amounts of `settings` alone.

    Raises:
        DataError: the folder cannot be used, or the network cannot be retrained on the data.
    """
    training = replace(
        RETRAINING,
        epochs=settings.library_epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.library_learning_rate,
        distillation=settings.distilled,
        seed=settings.seed,
    )
    config = LibraryConfig(fractions=settings.members, mode=settings.library_mode, pruner=settings.compression, training=training)
    with progress.task("library of pruned models", len(settings.members)) as task:

        def on_member(event: MemberEvent) -> None:
            there = ", was there" if event.reused else ""
            task.advance(f"p {100 * event.info.p:g}%: validation accuracy {100 * event.info.validation_accuracy:.2f}%{there}")

        def on_wait(owner: str) -> None:
            progress.say(f"the same library is being built by {owner}: waiting for it")

        library = build_library(
            trained.model, splits, folder, config, name=name, registry=registry, on_member=on_member, on_wait=on_wait
        )
    return replace(library, infos=tuple(info for info in library.infos if info.p in settings.members))
