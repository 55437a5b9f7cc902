"""The training loop: for a model from scratch, and for retraining a pruned one with its masks held.

The same seed, data, thread count and machine give the same weights. Nothing is printed: a callable gets an event an epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from hwloop.errors import DataError, SpecError
from hwloop.network.data.batches import class_scores, to_device
from hwloop.network.data.splits import DataSplits
from hwloop.network.layers import device_of
from hwloop.network.scoring import validation_score
from hwloop.network.transforms.prune import Masks

OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: at its highest.
        optimizer: `sgd` (with Nesterov momentum) or `adam` (AdamW).
        momentum: of `sgd`.
        weight_decay: of the layers' weights; biases and BatchNorm have none.
        schedule: `cosine` (down to 0 over all steps) or `constant`.
        warmup: fraction of all steps in which the learning rate rises linearly to its highest.
        label_smoothing: 0 for none.
        augment: whether the data set's augmentation is used.
        bfloat16: multiply in bfloat16 (torch's autocast; the weights stay float32): about twice as fast on a large network
            where the processor has instructions for it.
        seed: of the order of the images, the augmentation and dropout.
    """

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 0.05
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "cosine"
    warmup: float = 0.0
    label_smoothing: float = 0.0
    augment: bool = True
    bfloat16: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        checks: tuple[tuple[str, bool, str], ...] = (
            ("epochs", self.epochs >= 0, "0 or more"),
            ("batch_size", self.batch_size >= 1, "1 or more"),
            ("learning_rate", self.learning_rate > 0, "above 0"),
            ("optimizer", self.optimizer in OPTIMIZERS, " or ".join(OPTIMIZERS)),
            ("momentum", 0 <= self.momentum < 1, "from 0 to below 1"),
            ("weight_decay", self.weight_decay >= 0, "0 or more"),
            ("schedule", self.schedule in SCHEDULES, " or ".join(SCHEDULES)),
            ("warmup", 0 <= self.warmup < 1, "from 0 to below 1"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "from 0 to below 1"),
        )
        for name, good, expected in checks:
            if not good:
                raise SpecError("<arguments>", f"training.{name}", expected, getattr(self, name))


@dataclass(frozen=True)
class EpochEvent:
    """One epoch is done.

    Attributes:
        epoch: from 1 to `epochs`.
        epochs: how many there will be.
        loss: mean over the training images as they were seen.
        train_accuracy: over the same, 0 to 1.
        validation_accuracy: 0 to 1.
        seconds: this epoch's wall clock.
    """

    epoch: int
    epochs: int
    loss: float
    train_accuracy: float
    validation_accuracy: float
    seconds: float


def train(
    model: nn.Module,
    splits: DataSplits,
    config: TrainConfig,
    masks: Masks | None = None,
    on_event: Callable[[EpochEvent], None] | None = None,
) -> tuple[EpochEvent, ...]:
    """Trains `model` in place on the device it is on, and leaves it in evaluation mode.

    Args:
        model: gives class scores `(n, classes)` for a batch of what `splits` holds.
        splits: `train` is learned from, `validation` is scored after each epoch; `test` is not touched.
        config: how.
        masks: pruned weights, held at zero after every step.
        on_event: called after each epoch; what it raises (a KeyboardInterrupt too) ends the training.

    Returns:
        The events.

    Raises:
        DataError: there are no labels, the loss is not finite, or the model's scores do not fit the classes.
    """
    check_trainable(splits, config)
    device = device_of(model)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # 1.4 to 1.7 times as fast for ResNet, MobileNet
    masks = masks.to(device) if masks is not None else None
    if masks is not None:
        masks.apply_(model)
    optimizer = _optimizer(model, config)
    steps = config.epochs * splits.train.steps(config.batch_size) if config.epochs else 0
    generator = torch.Generator().manual_seed(config.seed)
    augmentation = splits.augmentation if config.augment else None
    events: list[EpochEvent] = []
    step = 0
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        for epoch in range(1, config.epochs + 1):
            began = time.perf_counter()
            model.train()
            loss_sum, right = torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device)
            for inputs, labels in splits.train.batches(config.batch_size, generator, augmentation):
                inputs, labels = to_device(inputs, device), labels.to(device)
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(config, step / steps)
                optimizer.zero_grad(set_to_none=True)
                with torch.autocast(device.type, torch.bfloat16, enabled=config.bfloat16):
                    scores = class_scores(model, inputs).float()
                if epoch == 1 and step == 0:
                    _check_scores(tuple(scores.shape), len(labels), len(splits.classes))
                loss = functional.cross_entropy(scores, labels, label_smoothing=config.label_smoothing)
                loss.backward()  # type: ignore[no-untyped-call]
                if masks is not None:
                    masks.mask_gradients_(model)
                optimizer.step()
                if masks is not None:
                    masks.apply_(model)
                loss_sum += loss.detach() * len(labels)
                right += (scores.detach().argmax(1) == labels).sum()
                step += 1
            mean_loss = float(loss_sum) / len(splits.train)
            if not math.isfinite(mean_loss):
                raise DataError(
                    f"training diverged in epoch {epoch} (the loss is {mean_loss}); "
                    f"lower the learning rate, now {config.learning_rate}"
                )
            score = validation_score(model, splits)
            share = int(right) / len(splits.train)
            events.append(EpochEvent(epoch, config.epochs, mean_loss, share, score, time.perf_counter() - began))
            if on_event is not None:
                on_event(events[-1])
    model.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return tuple(events)


def check_trainable(splits: DataSplits, config: TrainConfig) -> None:
    """Refuses to train without labels.

    Raises:
        DataError: there are none, and epochs are asked for.
    """
    if config.epochs and splits.train.labels is None:
        raise DataError(f"{splits.name}: training needs labels; without them ask for 0 epochs of training and retraining")


def learning_rate(config: TrainConfig, done: float) -> float:
    """The learning rate when the fraction `done` (0 to 1) of all steps has been taken."""
    if done < config.warmup:
        return config.learning_rate * (done + 1e-3) / (config.warmup + 1e-3)
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (done - config.warmup) / (1 - config.warmup)))


def _optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise DataError("the model has no parameters to train")
    if config.optimizer == "adam":
        return torch.optim.AdamW(groups, lr=config.learning_rate)
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.momentum > 0)


def _check_scores(shape: tuple[int, ...], batch: int, classes: int) -> None:
    if len(shape) != 2 or shape[0] != batch or shape[1] < classes:
        raise DataError(
            f"the model gives scores of shape {shape} for {batch} images of {classes} classes; "
            f"it should give ({batch}, {classes})"
        )
