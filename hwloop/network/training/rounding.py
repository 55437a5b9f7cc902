"""Training a network whose weights are rounded: gradients of the rounded weights move the weights behind them.

The straight-through estimator of Bengio, Leonard and Courville, "Estimating or propagating gradients through stochastic neurons",
arXiv 1308.3432, as in Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
inference", CVPR 2018, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hwloop.network.tracing.entries import Registry
from hwloop.network.transforms.quantize import weight_step

_SEARCHED_BITS = 8  # up to here the step is found by trying all there could be; above, any step is as good
_OFF_GRID = 1e-3  # of a step


@dataclass(frozen=True, eq=False)
class WeightRounding:
    """Puts the weights of a network onto fixed levels and back.

    Attributes:
        registry: of the network.
        grids: by name of the weight tensor: its step `(M or 1, 1, 1, 1)` and how many levels lie above zero.
    """

    registry: Registry
    grids: Mapping[str, tuple[Tensor, int]]
    _behind: dict[str, Tensor] = field(default_factory=dict, init=False)

    def put_(self, model: nn.Module) -> None:
        """Rounds the weights; those behind are kept for `back_`. Weights beyond the last level are brought back to it."""
        for name, (step, levels) in self.grids.items():
            entry = self.registry.by_name[name]
            weight = entry.read(model).detach()
            size = step.to(weight.device)
            self._behind[name] = weight.clamp(-levels * size, levels * size)
            entry.write_(model, (weight / size).round_().clamp_(-levels, levels).mul_(size))

    def back_(self, model: nn.Module) -> None:
        """Puts the weights back that `put_` found; gradients stay."""
        for name, weight in self._behind.items():
            self.registry.by_name[name].write_(model, weight)
        self._behind.clear()


def rounding_of(model: nn.Module, registry: Registry, bits: Mapping[str, int], granularity: str = "channel") -> WeightRounding:
    """The levels that the weights of a network lie on already.

    Args:
        model: its weights rounded.
        registry: of the model.
        bits: by name of the weight tensor; those not named are not rounded.
        granularity: `channel` or `tensor`, as they were rounded.
    """
    grids = {name: (grid_step(registry.by_name[name].read(model), n, granularity), 2 ** (n - 1) - 1) for name, n in bits.items()}
    return WeightRounding(registry, grids)


def grid_step(weight: Tensor, bits: int, granularity: str = "channel") -> Tensor:
    """The step of the coarsest levels at these bits on which weights lie, `(M, 1, ...)` or `(1, 1, ...)`; 1 for zeros alone.

    Args:
        weight: `(M, ...)`, rounded.
        bits: 2 to 23. Above 8 the largest magnitude is taken for the last level.
        granularity: `channel`: levels of their own for each output channel; `tensor`: the same for all.
    """
    if bits > _SEARCHED_BITS:
        return weight_step(weight, bits, granularity, "max")
    rows = weight.detach().double().reshape(weight.shape[0] if granularity == "channel" else 1, -1)
    largest = rows.abs().amax(dim=1, keepdim=True)
    best, off = torch.ones_like(largest), torch.full_like(largest, torch.inf)
    for level in range(1, 2 ** (bits - 1)):
        step = torch.where(largest > 0, largest / level, torch.ones_like(largest))
        found = (rows / step - (rows / step).round()).abs().amax(dim=1, keepdim=True)
        better = found < off - _OFF_GRID
        best, off = torch.where(better, step, best), torch.where(better, found, off)
    return best.float().view(-1, *(1,) * (weight.dim() - 1))
