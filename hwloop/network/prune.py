"""Gradual magnitude (l1) pruning with masks.

The masks are our own and not those of `torch.nn.utils.prune`: that module replaces `weight` by `weight_orig` and
`weight_mask` and multiplies them in every forward pass, which changes the names in the state dict (a member of the library
could not be loaded into a plain model), slows inference, and leaves momentum and weight decay acting on pruned weights.
Here a mask is a tensor beside the model, applied to the gradients before and to the weights after an optimiser step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hwloop.errors import SpecError
from hwloop.network.layers import weight_layers, weight_of


@dataclass(frozen=True)
class BlockPattern:
    """N:M structured sparsity: of every `block` consecutive input channels (at one filter position), `keep` weights stay.

    It is what hardware with `fixed_structured` density exploits. A last, shorter block keeps at most `keep`.
    """

    keep: int
    block: int

    def __post_init__(self) -> None:
        if not 0 < self.keep <= self.block:
            raise SpecError("<arguments>", "pattern", "keep:block with 0 < keep <= block", f"{self.keep}:{self.block}")


@dataclass(frozen=True, eq=False)
class Masks:
    """Which weights stay, per layer.

    Attributes:
        kept: per module path a bool tensor of the weight's shape, True where the weight stays.
    """

    kept: Mapping[str, Tensor]

    def densities(self) -> dict[str, float]:
        """Fraction kept per layer, by exact count."""
        return {name: int(mask.count_nonzero()) / mask.numel() for name, mask in self.kept.items()}

    def apply_(self, model: nn.Module) -> None:
        """Sets the pruned weights of `model` to zero, in place."""
        layers = weight_layers(model)
        with torch.no_grad():
            for name, mask in self.kept.items():
                weight = weight_of(_layer(layers, name))
                if weight.shape != mask.shape:
                    raise SpecError("<arguments>", f"masks.{name}", f"a mask of shape {tuple(weight.shape)}", tuple(mask.shape))
                weight.mul_(mask.to(weight.device))

    def mask_gradients_(self, model: nn.Module) -> None:
        """Sets the gradients of pruned weights to zero, so that momentum and clipping do not see them."""
        layers = weight_layers(model)
        for name, mask in self.kept.items():
            gradient = weight_of(_layer(layers, name)).grad
            if gradient is not None:
                gradient.mul_(mask.to(gradient.device))

    def to(self, device: torch.device | str) -> Masks:
        """The same masks on another device."""
        return Masks({name: mask.to(device) for name, mask in self.kept.items()})


def _layer(layers: Mapping[str, nn.Module], name: str) -> nn.Module:
    if name not in layers:
        raise SpecError("<arguments>", f"masks.{name}", f"a layer of the model ({', '.join(layers)})", name)
    return layers[name]


def magnitude_masks(model: nn.Module, fraction: float, exclude: Iterable[str] = (), pattern: BlockPattern | None = None) -> Masks:
    """Marks the weights of smallest magnitude in each layer for removal.

    `round(fraction * weights)` go in every layer, exactly: equal magnitudes go in index order, and weights that are zero
    already go first, so that what one step of a gradual schedule pruned stays pruned in the next.

    Args:
        model: not changed.
        fraction: part of each layer's weights to remove, 0 to 1. Not used with a `pattern`.
        exclude: layers (patterns of module paths) that stay dense; the paper prunes all.
        pattern: N:M structure in place of a free choice.

    Raises:
        SpecError: the fraction is out of range or `exclude` names no layer.
    """
    if not 0 <= fraction < 1:
        raise SpecError("<arguments>", "fraction", "a number from 0 to below 1", fraction)
    layers = weight_layers(model, exclude)
    return Masks({name: _mask(weight_of(layer).detach(), fraction, pattern) for name, layer in layers.items()})


def _mask(weight: Tensor, fraction: float, pattern: BlockPattern | None) -> Tensor:
    magnitude = weight.abs()
    if pattern is None:
        order = magnitude.flatten().argsort(stable=True)
        mask = torch.ones(weight.numel(), dtype=torch.bool, device=weight.device)
        mask[order[: round(fraction * weight.numel())]] = False
        return mask.view(weight.shape)
    rows = magnitude.movedim(1, -1)  # input channels last, so that a block is `block` of them at one filter position
    short = -rows.shape[-1] % pattern.block
    padded = nn.functional.pad(rows, (0, short), value=-1.0)
    blocks = padded.reshape(*padded.shape[:-1], -1, pattern.block)
    best = blocks.argsort(dim=-1, descending=True, stable=True)[..., : pattern.keep]
    chosen = torch.zeros(blocks.shape, dtype=torch.bool, device=weight.device).scatter_(-1, best, True)
    return chosen.reshape(padded.shape)[..., : rows.shape[-1]].movedim(-1, 1).contiguous()


def schedule(target: float, steps: int, kind: str = "cubic", start: float = 0.0) -> tuple[float, ...]:
    """The fraction to have removed after each step of a gradual pruning; the last is `target`.

    Args:
        target: fraction removed at the end.
        steps: how many times pruning and retraining alternate.
        kind: `linear`, or `cubic`: `target + (start - target) * (1 - t)**3` for `t = step / steps` (Zhu and Gupta, "To
            prune, or not to prune", 2017), which removes most while there is most to spare.
        start: fraction removed already.

    Raises:
        SpecError: a value out of range, or an unknown kind.
    """
    if not 0 <= start <= target < 1:
        raise SpecError("<arguments>", "target", f"a fraction from {start} (where it starts) to below 1", target)
    if steps < 1:
        raise SpecError("<arguments>", "steps", "a whole number of at least 1", steps)
    powers = {"linear": 1, "cubic": 3}
    if kind not in powers:
        raise SpecError("<arguments>", "schedule", " or ".join(powers), kind)
    parts = [target + (start - target) * (1 - step / steps) ** powers[kind] for step in range(1, steps)]
    return (*parts, target)


def nonzero_masks(model: nn.Module, exclude: Iterable[str] = ()) -> Masks:
    """The masks that keep exactly the weights of `model` that are not zero."""
    return Masks({name: weight_of(layer).detach() != 0 for name, layer in weight_layers(model, exclude).items()})


def densities(model: nn.Module) -> dict[str, float]:
    """Fraction of weights that are not zero per layer, by exact count."""
    return nonzero_masks(model).densities()
