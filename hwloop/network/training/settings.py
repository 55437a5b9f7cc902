"""How to train, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

from hwloop.errors import SpecError

OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("cosine", "linear", "constant")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        epochs: passes over the training images; not used with `hours`.
        hours: train for as long as this in place of a number of epochs: learning rate and image size follow the time spent.
            What comes out depends on how fast the machine is; with `epochs` it does not.
        batch_size: images a step.
        learning_rate: at its highest.
        optimizer: `sgd` (with Nesterov momentum) or `adam` (AdamW).
        momentum: of `sgd`.
        weight_decay: of the layers' weights; biases and BatchNorm have none.
        schedule: after the warm-up `cosine` or `linear`, down to 0 at the end, or `constant`.
        warmup: fraction of the training in which the learning rate rises linearly to its highest; a tenth suits deep networks
            with BatchNorm and high rates, while a LeNet-5 on the digits (170 steps in all) ends 0 to 11 points lower with it.
        label_smoothing: 0 for none (Szegedy et al., arXiv 1512.00567).
        distillation: share of the loss that is the distance from a teacher's scores, 0 to 1; the rest is that of the labels.
        temperature: that both scores are softened by before they are compared.
        averaging: the trained weights are the exponential moving average over about this many epochs, with BatchNorm's
            statistics measured for them; 0 for the weights of the last step.
        augment: whether the data set's augmentation is used.
        cutout: side [pixels, of the full image] of a square that is blanked at a random place of each training image (DeVries and
            Taylor, arXiv 1708.04552); 0 for none.
        sizes: sides [pixels] that training images are scaled to, each for an equal part of the training; empty for their own.
        precision: of the products: `float32`, `bfloat16`, `float16` (with a scaled loss), or `auto`, see `precision_of`. The
            weights stay float32.
        seed: of the order of the images, the augmentation and dropout.

    Raises:
        SpecError: a value out of range.
    """

    epochs: int = 10
    hours: float | None = None
    batch_size: int = 64
    learning_rate: float = 0.05
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "cosine"
    warmup: float = 0.0
    label_smoothing: float = 0.1
    distillation: float = 0.0
    temperature: float = 4.0
    averaging: float = 0.25
    augment: bool = True
    cutout: int = 0
    sizes: tuple[int, ...] = ()
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        checks: tuple[tuple[str, bool, str], ...] = (
            ("epochs", _whole(self.epochs, 0), "a whole number of 0 or more"),
            ("hours", self.hours is None or (_finite(self.hours) and self.hours > 0), "a number above 0"),
            ("batch_size", _whole(self.batch_size, 1), "a whole number of 1 or more"),
            ("learning_rate", _finite(self.learning_rate) and self.learning_rate > 0, "a number above 0"),
            ("optimizer", self.optimizer in OPTIMIZERS, " or ".join(OPTIMIZERS)),
            ("momentum", _finite(self.momentum) and 0 <= self.momentum < 1, "from 0 to below 1"),
            ("weight_decay", _finite(self.weight_decay) and self.weight_decay >= 0, "0 or more"),
            ("schedule", self.schedule in SCHEDULES, " or ".join(SCHEDULES)),
            ("warmup", _finite(self.warmup) and 0 <= self.warmup < 1, "from 0 to below 1"),
            ("label_smoothing", _finite(self.label_smoothing) and 0 <= self.label_smoothing < 1, "from 0 to below 1"),
            ("distillation", _finite(self.distillation) and 0 <= self.distillation <= 1, "from 0 to 1"),
            ("temperature", _finite(self.temperature) and self.temperature > 0, "a number above 0"),
            ("averaging", _finite(self.averaging) and self.averaging >= 0, "epochs, 0 or more"),
            ("cutout", _whole(self.cutout, 0), "pixels, 0 or more"),
            ("sizes", all(_whole(size, 1) for size in self.sizes), "pixels, each 1 or more"),
            ("precision", self.precision in PRECISIONS, " or ".join(PRECISIONS)),
        )
        for name, good, expected in checks:
            if not good:
                raise SpecError("<arguments>", f"training.{name}", expected, getattr(self, name))

    @property
    def trains(self) -> bool:
        """Whether any step is taken."""
        return self.hours is not None or self.epochs > 0


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
