"""Averages of weights over the last part of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

_EVERY = 8  # steps between two looks at the weights: looking costs a pass over all of them


class WeightAverage:
    """The exponential moving average of a network's weights (Polyak averaging; Izmailov et al., arXiv 1803.05407).

    Args:
        model: the network.
        horizon: steps after which a look counts 1/e of what it did.
    """

    def __init__(self, model: nn.Module, horizon: float) -> None:
        self.share = 1 - math.exp(-_EVERY / max(horizon, 1e-9))
        self.steps = 0
        self.values = {name: tensor.detach().clone() for name, tensor in _weights(model).items()}

    def update(self, model: nn.Module) -> None:
        """Called after every step."""
        self.steps += 1
        if self.steps > _EVERY and self.steps % _EVERY:
            return
        share = max(self.share, min(1.0, _EVERY / self.steps))  # the first looks are weighed as a plain mean
        now = _weights(model)
        torch._foreach_lerp_(list(self.values.values()), [now[name].detach() for name in self.values], share)

    def load_into(self, model: nn.Module) -> None:
        """Gives `model` the averaged weights; buffers stay."""
        with torch.no_grad():
            for name, tensor in _weights(model).items():
                tensor.copy_(self.values[name])

    def state(self) -> dict[str, Tensor]:
        """What `restore` takes; the number of steps is the training's."""
        return dict(self.values)

    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Goes on from there."""
        self.steps = steps
        for name, tensor in self.values.items():
            tensor.copy_(state[name])


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Floating-point parameters by name; tied ones once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.is_floating_point()}
