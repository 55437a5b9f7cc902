"""What a step of training minimises: the cross entropy with the labels, and the distance from a teacher's scores."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from hwloop.errors import SpecError
from hwloop.network.data.batches import Inputs, class_scores
from hwloop.network.training.settings import TrainConfig


class Loss:
    """The loss of a batch.

    With a share w of distillation at temperature T it is `(1 - w) * cross entropy + w * T^2 * KL(teacher || model)`, the scores
    of both divided by T (Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", arXiv 1503.02531, section 2).

    Args:
        config: `label_smoothing`, `distillation` and `temperature`.
        teacher: gives scores like the model that is trained; a copy is taken. Not used without distillation.

    Raises:
        SpecError: distillation without a teacher.
    """

    def __init__(self, config: TrainConfig, teacher: nn.Module | None) -> None:
        self._smoothing, self._share, self._temperature = config.label_smoothing, config.distillation, config.temperature
        self._teacher: nn.Module | None = None
        if self._share:
            if teacher is None:
                raise SpecError("<arguments>", "training.distillation", "0 where there is no teacher", self._share)
            self._teacher = copy.deepcopy(teacher).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def targets(self, inputs: Inputs) -> Tensor | None:
        """The teacher's scores, `(n, classes)`; None without one."""
        if self._teacher is None:
            return None
        with torch.no_grad():
            return class_scores(self._teacher, inputs).float()

    def __call__(self, scores: Tensor, labels: Tensor, targets: Tensor | None) -> Tensor:
        """The mean over a batch.

        Args:
            scores: of the model, `(n, classes)`.
            labels: `(n,)`.
            targets: of the teacher, see `targets`.

        Raises:
            SpecError: the teacher tells other classes apart than the model.
        """
        own = functional.cross_entropy(scores, labels, label_smoothing=self._smoothing)
        if targets is None:
            return own
        if targets.shape != scores.shape:
            found = f"{targets.shape[1]} classes, while the model gives {scores.shape[1]}"
            raise SpecError("<arguments>", "training.distillation", "a teacher of the same classes", found)
        warm = self._temperature
        soft = functional.kl_div(
            functional.log_softmax(scores / warm, 1), functional.log_softmax(targets / warm, 1),
            reduction="batchmean", log_target=True,
        )  # fmt: skip
        return (1 - self._share) * own + self._share * warm**2 * soft
