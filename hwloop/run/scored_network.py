"""The network of a run as its search scored it: data, trained model, library, bank. Made the same when a run is opened again."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwloop.network.accuracy.candidates import CompressedNetwork
from hwloop.network.bank.bank import Bank
from hwloop.network.data.load import as_splits
from hwloop.network.data.splits import DataSplits
from hwloop.network.library.library import Library
from hwloop.network.tracing.registry import Registry
from hwloop.network.training.prepare import Trained
from hwloop.report.progress import Progress
from hwloop.run.layer_bank import open_bank
from hwloop.run.settings import Settings
from hwloop.run.stage_one import pruned_library, trained_network
from hwloop.run.validation import validation_splits

Timer = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class NetworkSource:
    """Where a network and its data come from; see `compress` for what each of them takes.

    Attributes:
        name: what to call the network.
        library: folder of the trained and pruned models.
        bank: folder of the compressed layers.
    """

    model: Any
    name: str
    data: Any
    library: Path
    bank: Path
    evaluate: Callable[[Any], float] | Sequence[Callable[[Any], float]] | None = None
    data_root: str | Path | None = None
    weights: str | Path | None = None
    normalisation: str | None = None
    image_size: int | None = None
    bank_bytes: int | None = None


@dataclass(frozen=True)
class ScoredNetwork:
    """A network that answers for plans, and what it stands on.

    Attributes:
        scorer: gives accuracy, size and the network of a plan.
        splits: the data, as the search sees them.
        trained: the network that is not compressed.
        registry: of it.
        library: its pruned models.
        bank: of compressed layers; None where layers are compressed by magnitude.
        seen: what is to be said of the validation images.
    """

    scorer: CompressedNetwork
    splits: DataSplits
    trained: Trained
    registry: Registry
    library: Library
    bank: Bank | None
    seen: str


def places_of(source: NetworkSource, folder: Path) -> dict[str, str]:
    """Where a run has its library and its bank: as seen from its folder where they lie in or beside it: all can be moved."""
    home = folder.resolve().parent
    out = {}
    for name, place in (("library", source.library.resolve()), ("bank", source.bank.resolve())):
        out[name] = os.path.relpath(place, folder.resolve()) if place.is_relative_to(home) else str(place)
    return out


def scored_network(source: NetworkSource, settings: Settings, progress: Progress, timer: Timer) -> ScoredNetwork:
    """Trains and prunes what is not there yet, and takes the rest as it is.

    Args:
        source: where everything comes from.
        settings: of the run.
        progress: where to show how far it is.
        timer: adds the time of a stage.

    Raises:
        DataError, SpecError: as `compress`.
    """
    with timer("data and training"):
        splits = as_splits(
            source.data, evaluate=source.evaluate, root=source.data_root, seed=settings.seed, image_size=source.image_size,
            normalisation=source.normalisation, limit=settings.train_images,
        )  # fmt: skip
        trained, registry = trained_network(
            source.model, source.name, splits, source.library, settings, source.weights, progress
        )  # fmt: skip
        given = source.weights is not None or not isinstance(source.model, str)
        splits, seen = validation_splits(splits, trained, given, settings, progress)
    with timer("library"):
        library = pruned_library(source.name, trained, registry, splits, source.library, settings, progress)
    bank = open_bank(source.bank, splits, settings, source.bank_bytes)
    scorer = CompressedNetwork(
        trained.model, library, splits, registry,
        reference_bits=settings.reference_bits, coding=settings.coding, images=settings.validation_images,
        granularity=settings.granularity, seed=settings.seed, bank=bank, bias_correction=settings.bias_correction,
        batchnorm_images=0 if settings.batchnorm == "base" else settings.batchnorm_images,
        batchnorm_augmented=settings.batchnorm == "augmented",
    )  # fmt: skip
    return ScoredNetwork(scorer, splits, trained, registry, library, bank, seen)
