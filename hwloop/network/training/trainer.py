"""The training loop: for a model from nothing, and for retraining a pruned one with its masks held.

The same seed, data, thread count and machine give the same weights, stopped and resumed or not, unless the training is bounded by
hours. Nothing is printed: callables get an event an epoch, and one every second or so in between.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from hwloop.errors import DataError
from hwloop.network.data.batches import Batch, Inputs, class_scores, to_device
from hwloop.network.data.splits import DataSplits
from hwloop.network.layers import device_of
from hwloop.network.scoring import validation_score
from hwloop.network.training.averaging import WeightAverage
from hwloop.network.training.checkpoint import Checkpoint
from hwloop.network.training.devices import precision_of
from hwloop.network.training.images import check_images, cut_out, on_device, scaled
from hwloop.network.training.loss import Loss
from hwloop.network.training.optimizer import make_optimizer
from hwloop.network.training.rounding import WeightRounding
from hwloop.network.training.schedule import image_size, learning_rate, work
from hwloop.network.training.settings import TrainConfig
from hwloop.network.transforms.prune import Masks
from hwloop.network.transforms.quantize import recalibrate_batchnorm_

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_STEP_EVENT_S = 1.0
_NORM_IMAGES = 2048  # training images that BatchNorm's statistics are measured on


@dataclass(frozen=True)
class EpochEvent:
    """One epoch is done.

    Attributes:
        epoch: from 1.
        epochs: how many there will be; 0 when the training is bounded by hours.
        loss: mean over the training images as they were seen.
        train_accuracy: over the same, 0 to 1.
        validation_accuracy: 0 to 1, of the weights that the training would give now, in the precision it works in.
        seconds: this epoch's wall clock.
        images: that it learned from: fewer than there are only where the hours ended.
        image_size: side of the last images [pixels]; 0 for their own.
    """

    epoch: int
    epochs: int
    loss: float
    train_accuracy: float
    validation_accuracy: float
    seconds: float
    images: int
    image_size: int


@dataclass(frozen=True)
class StepEvent:
    """How far a training is.

    Attributes:
        epoch: under way, from 1.
        done: fraction of the whole training, 0 to 1.
        loss: of the last step.
        image_size: side of the images [pixels]; 0 for their own.
        seconds_left: an estimate, from the time that this process took so far; of hours given, what is left of them.
    """

    epoch: int
    done: float
    loss: float
    image_size: int
    seconds_left: float


def train(
    model: nn.Module,
    splits: DataSplits,
    config: TrainConfig,
    masks: Masks | None = None,
    on_event: Callable[[EpochEvent], None] | None = None,
    on_step: Callable[[StepEvent], None] | None = None,
    checkpoint: Checkpoint | None = None,
    clock: Callable[[], float] = time.monotonic,
    teacher: nn.Module | None = None,
    rounding: WeightRounding | None = None,
) -> tuple[EpochEvent, ...]:
    """Trains `model` in place on the device it is on, and leaves it in evaluation mode.

    Args:
        model: gives class scores `(n, classes)` for a batch of what `splits` holds.
        splits: `train` is learned from, `validation` is scored after each epoch; `test` is not touched.
        config: how.
        masks: pruned weights, held at zero after every step.
        on_event: called after each epoch; what it raises (a KeyboardInterrupt too) ends the training.
        on_step: called about once a second.
        checkpoint: written after each epoch; a training that it holds is gone on with.
        clock: seconds from any start.
        teacher: whose scores are learned from where `config.distillation` is above 0.
        rounding: levels that the weights are on whenever the model runs, and in the end.

    Returns:
        The events, those before a stop included.

    Raises:
        DataError: there are no labels, the loss is not finite, the model's scores do not fit the classes, or the checkpoint is
            damaged or of another training.
        SpecError: sizes or cutout for examples that are no images; distillation without a teacher, or one of other classes.
    """
    check_trainable(splits, config)
    check_images(splits, config)
    device = device_of(model)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # 1.4 to 1.7 times as fast for ResNet, MobileNet
    masks = masks.to(device) if masks is not None else None
    if masks is not None:
        masks.apply_(model)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        run = _Run(model, splits, config, masks, device, clock, teacher, rounding)
        stored = checkpoint.load() if checkpoint is not None else None
        if stored is not None:
            run.restore(stored)
        while not run.finished:
            event = run.epoch(on_step)
            if checkpoint is not None:
                checkpoint.save(run.state())
            if on_event is not None:
                on_event(event)
        run.settle()
    model.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return tuple(run.events)


def check_trainable(splits: DataSplits, config: TrainConfig) -> None:
    """Refuses to train without labels.

    Raises:
        DataError: there are none, and training is asked for.
    """
    if config.trains and splits.train.labels is None:
        raise DataError(f"{splits.name}: training needs labels; without them ask for 0 epochs of training and retraining")


class _Run:
    """A training under way: everything that the next step depends on."""

    def __init__(
        self,
        model: nn.Module,
        splits: DataSplits,
        config: TrainConfig,
        masks: Masks | None,
        device: torch.device,
        clock: Callable[[], float],
        teacher: nn.Module | None,
        rounding: WeightRounding | None,
    ) -> None:
        self.rounding = rounding
        self.loss = Loss(config, teacher)
        self.model, self.splits, self.config, self.masks, self.device, self.clock = model, splits, config, masks, device, clock
        self.precision = precision_of(config, model)
        self.train = on_device(splits.train, device)
        self.augmentation = splits.augmentation if config.augment else None
        self.optimizer = make_optimizer(model, config) if config.trains else None
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "float16")
        self.generator = torch.Generator().manual_seed(config.seed)
        steps = splits.train.steps(config.batch_size) if config.trains else 1
        self.steps = steps * config.epochs
        self.average = WeightAverage(model, config.averaging * steps) if config.averaging and config.trains else None
        self.step, self.spent, self.events = 0, 0.0, list[EpochEvent]()
        self._start: tuple[float, float] | None = None  # time and work behind when this process began

    @property
    def done(self) -> float:
        """Fraction of the training that lies behind, 0 to 1."""
        if self.config.hours is not None:
            return min(1.0, self.spent / (3600 * self.config.hours))
        return self.step / self.steps if self.steps else 1.0

    @property
    def finished(self) -> bool:
        return self.done >= 1

    def state(self) -> dict[str, Any]:
        """Tensors and plain data."""
        assert self.optimizer is not None
        return {
            "epoch": len(self.events), "step": self.step, "seconds": self.spent, "precision": self.precision,
            "finished": self.finished, "events": [list(astuple(event)) for event in self.events],
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict(),
            "average": self.average.state() if self.average is not None else {},
            "order": self.generator.get_state(), "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else torch.empty(0),
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from there."""
        assert self.optimizer is not None
        self.step, self.spent, self.precision = state["step"], state["seconds"], state["precision"]
        self.events = [EpochEvent(*values) for values in state["events"]]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.restore(state["average"], self.step)
        self.generator.set_state(state["order"])
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda" and len(state["cuda_random"]):
            torch.cuda.set_rng_state(state["cuda_random"], self.device)

    def epoch(self, on_step: Callable[[StepEvent], None] | None) -> EpochEvent:
        """One pass over the training images, or what the hours leave of it, and its score."""
        began = told = self.clock()
        before = self.spent
        self._start = self._start or (before, work(self.config, self.done))
        self.model.train()
        number, seen, size = len(self.events) + 1, 0, 0
        loss_sum = torch.zeros((), device=self.device)
        right = torch.zeros((), dtype=torch.int64, device=self.device)
        for inputs, labels in self.train.batches(self.config.batch_size, self.generator, self.augmentation):
            size = image_size(self.config, self.done)
            loss, scores = self._step(self._prepared(inputs, size), labels.to(self.device))
            loss_sum += loss * len(labels)
            right += (scores.argmax(1) == labels.to(self.device)).sum()
            seen += len(labels)
            now = self.clock()
            self.spent = before + now - began
            if on_step is not None and now - told >= _STEP_EVENT_S:
                told = now
                on_step(StepEvent(number, self.done, float(loss), size, self._seconds_left()))
            if self.config.hours is not None and self.finished:
                break
        mean_loss = float(loss_sum) / max(seen, 1)
        if not math.isfinite(mean_loss):
            raise DataError(
                f"training diverged in epoch {number} (the loss is {mean_loss}); "
                f"lower the learning rate, now {self.config.learning_rate}"
            )
        with self._settled(), self._cast(self.splits.evaluate is None):
            score = validation_score(self.model, self.splits)
        self.spent = before + self.clock() - began
        epochs = 0 if self.config.hours is not None else self.config.epochs
        event = EpochEvent(number, epochs, mean_loss, int(right) / max(seen, 1), score, self.spent - before, seen, size)
        self.events.append(event)
        return event

    def _prepared(self, inputs: Inputs, size: int) -> Inputs:
        inputs = to_device(inputs, self.device)
        if isinstance(inputs, Tensor) and self.config.cutout:
            inputs = cut_out(inputs, self.config.cutout, self.generator)
        return scaled(inputs, size) if isinstance(inputs, Tensor) and size else inputs

    def _step(self, inputs: Inputs, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Takes a step; the loss and the scores."""
        assert self.optimizer is not None
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.done)
        self.optimizer.zero_grad(set_to_none=True)
        if self.rounding is not None:
            self.rounding.put_(self.model)
        with self._cast():
            targets = self.loss.targets(inputs)
            scores = class_scores(self.model, inputs).float()
        if self.step == 0:
            _check_scores(tuple(scores.shape), len(labels), len(self.splits.classes))
        loss = self.loss(scores, labels, targets)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self.rounding is not None:
            self.rounding.back_(self.model)
        if self.masks is not None:
            self.masks.mask_gradients_(self.model)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.masks is not None:
            self.masks.apply_(self.model)
        self.step += 1
        if self.average is not None:
            self.average.update(self.model)
        return loss.detach(), scores.detach()

    @contextmanager
    def _settled(self) -> Iterator[None]:
        """The model inside the block is the one that the training would give if it ended now."""
        before = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.settle()
        try:
            yield
        finally:
            self.model.load_state_dict(before)

    def settle(self) -> None:
        """Gives the model the weights that the training would give if it ended now.

        BatchNorm's statistics belong to the weights of a step and the size of its images: for others they are measured anew.
        """
        if self.average is not None and self.step:
            self.average.load_into(self.model)
        if self.rounding is not None:
            self.rounding.put_(self.model)
        if not self.step or (self.average is None and not self.config.sizes):
            return
        batches = self.train.batches(self.config.batch_size, torch.Generator().manual_seed(self.config.seed), self.augmentation)
        count = -(-_NORM_IMAGES // self.config.batch_size)
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []), self._cast():
            recalibrate_batchnorm_(self.model, self._on_device(islice(batches, count)))

    def _on_device(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        return ((to_device(inputs, self.device), labels) for inputs, labels in batches)

    @contextmanager
    def _cast(self, wanted: bool = True) -> Iterator[None]:
        enabled = wanted and self.precision != "float32"
        with torch.autocast(self.device.type, _DTYPES[self.precision] if enabled else torch.bfloat16, enabled=enabled):
            yield

    def _seconds_left(self) -> float:
        if self.config.hours is not None:
            return max(0.0, 3600 * self.config.hours - self.spent)
        assert self._start is not None
        (spent, behind), now = self._start, work(self.config, self.done)
        return (self.spent - spent) * (1 - now) / max(now - behind, 1e-9)


def _check_scores(shape: tuple[int, ...], batch: int, classes: int) -> None:
    if len(shape) != 2 or shape[0] != batch or shape[1] < classes:
        raise DataError(
            f"the model gives scores of shape {shape} for {batch} images of {classes} classes; "
            f"it should give ({batch}, {classes})"
        )
