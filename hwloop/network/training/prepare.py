"""The trained model that a search starts from: a checkpoint, or one trained here and kept on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from hwloop.errors import DataError
from hwloop.files import write_file
from hwloop.network.data.splits import DataSplits
from hwloop.network.identity import digest_of, model_identity
from hwloop.network.library.library import versions
from hwloop.network.scoring import validation_score
from hwloop.network.tracing.entries import Registry
from hwloop.network.tracing.registry import register
from hwloop.network.tracing.trace import trace
from hwloop.network.training.checkpoint import Checkpoint
from hwloop.network.training.devices import resolved
from hwloop.network.training.settings import TrainConfig
from hwloop.network.training.trainer import EpochEvent, train
from hwloop.network.weights_file import read_state, write_state
from hwloop.network.zoo.models import OWN, load_weights, make_model, model_names, native_input
from hwloop.spec.workload import Workload


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        model: in evaluation mode.
        how: where its weights come from, in words.
        validation_accuracy: 0 to 1.
    """

    model: nn.Module
    how: str
    validation_accuracy: float


SMALL_COMPUTES = 5_000_000  # below this many multiply-accumulates an image, threads cost more than they bring


def use_threads(workload: Workload) -> int:
    """Lets torch use as many threads as suit a network, and returns how many.

    One for a small network (LeNet-5 runs up to 20 times slower with two threads on a busy machine), else one a core that this
    process may use. A setting in the environment (OMP_NUM_THREADS) stands.
    """
    setting = os.environ.get("OMP_NUM_THREADS", "")
    if setting.isdigit():
        count = int(setting)
    elif workload.computes < SMALL_COMPUTES:
        count = 1
    else:
        count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    torch.set_num_threads(max(1, count))
    return torch.get_num_threads()


def registry_of(model: nn.Module, splits: DataSplits, name: str) -> Registry:
    """The layers of `model` for one example of the data set, and the parameters that hold their weights.

    Raises:
        DataError: the model cannot run on the data, or holds operations that cannot be mapped.
    """
    return register(model, splits.example_for(model), name)


def workload_of(model: nn.Module, splits: DataSplits, name: str) -> Workload:
    """The workload of `model` for one example of the data set."""
    return registry_of(model, splits, name).workload


def seeded_model(name: str, splits: DataSplits, seed: int) -> nn.Module:
    """An untrained model for the images of `splits`, in evaluation mode; the same seed draws the same weights.

    Raises:
        DataError: no such model, or one that cannot be made for such images.
    """
    channels, size, _ = splits.image_shape
    torch.manual_seed(seed)
    return make_model(name, channels, size, len(splits.classes)).eval()


def named_workload(
    name: str, channels: int | None = None, image_size: int | None = None, classes: int | None = None, batch: int = 1,
    shape: Sequence[int] | None = None,
) -> Workload:  # fmt: skip
    """The workload of a model by name; its weights do not matter.

    Args:
        name: as `make_model` takes it.
        channels, image_size: of the images; those the network was designed for when None (3 x 32 x 32 for one of your own).
        classes: scores it gives; when None 1000 for torchvision's networks, 10 for others.
        batch: inputs at a time.
        shape: of one input, in place of channels and size: (channels, height, width), or any other that the network reads.

    Raises:
        DataError: no such model, or it cannot read such an input.
        SpecError: a model that cannot be traced.
    """
    own_channels, own_size = native_input(name) if name in model_names() or name.startswith("torchvision:") else (3, 32)
    own_classes = 10 if name in OWN or ":" in name.removeprefix("torchvision:") else 1000
    if shape is None:
        channels, image_size = channels or own_channels, image_size or own_size
        shape = (channels, image_size, image_size)
    side = shape[1] if len(shape) == 3 else own_size
    model = make_model(name, shape[0] if len(shape) == 3 else own_channels, side, classes or own_classes).eval()
    return trace(model, torch.zeros(batch, *shape), name)


def trained_model(
    name: str,
    splits: DataSplits,
    folder: str | Path | None,
    training: TrainConfig,
    weights: str | Path | None = None,
    on_epoch: Callable[[EpochEvent], None] | None = None,
) -> Trained:
    """A model by name with trained weights: those of a checkpoint, those trained into `folder` before, or trained now.

    Args:
        name: of the zoo, or `package.module:function`.
        splits: the data.
        folder: where weights trained here are kept and found again; None keeps nothing.
        training: how to train; its seed is that of the first weights too.
        weights: a checkpoint; nothing is trained then.
        on_epoch: called after each epoch.

    Raises:
        DataError: no such model, a checkpoint that does not fit, or a disk that refuses.
    """
    model = seeded_model(name, splits, training.seed)
    training = resolved(training, model)
    if weights is not None:
        load_weights(model, weights)
        return Trained(model, f"weights of {Path(weights).name}", validation_score(model, splits))
    identity = model_identity(model, workload_of(model, splits, name))  # a user's own model file may have changed
    recipe = [name, identity, splits.image_shape, len(splits.classes), asdict(training), splits.fingerprint, versions()]
    digest = digest_of(recipe)[:16]
    place = None if folder is None else Path(folder) / f"trained-{digest}.json"
    if place is not None and place.exists():
        with suppress(DataError, ValueError, KeyError, OSError):  # damaged: trained again
            index = json.loads(place.read_text(encoding="utf-8"))
            model.load_state_dict(read_state(place.with_suffix(".pt"), index["sha256"]))
            return Trained(model.eval(), f"trained before, {place.with_suffix('.pt')}", index["validation_accuracy"])
    checkpoint = None if place is None else Checkpoint(place.with_suffix(".state"), {"recipe": digest})
    train(model, splits, training, on_event=on_epoch, checkpoint=checkpoint)
    score = validation_score(model, splits)
    if place is not None:
        sha256 = write_state(place.with_suffix(".pt"), model.state_dict())
        index = {"recipe": recipe, "sha256": sha256, "validation_accuracy": score}
        write_file(place, json.dumps(index, indent=1))
        place.with_suffix(".state").unlink(missing_ok=True)
    return Trained(model, "trained now", score)
