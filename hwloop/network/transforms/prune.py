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
from hwloop.network.tracing.registry import Registry
from hwloop.spec.pruning import BlockPattern, check_pruning


@dataclass(frozen=True, eq=False)
class Masks:
    """Which weights stay, per weight tensor.

    Attributes:
        registry: of the network.
        kept: by name of a registry's entry, a bool tensor `(M, C / groups, kH, kW)`, True where the weight stays.

    Raises:
        SpecError: an unknown name, or a mask of another shape.
    """

    registry: Registry
    kept: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        for name, mask in self.kept.items():
            entry = self.registry.by_name.get(name)
            if entry is None:
                known = ", ".join(self.registry.by_name)
                raise SpecError("<arguments>", f"masks.{name}", f"a layer of the model ({known})", name)
            if tuple(mask.shape) != entry.shape:
                raise SpecError("<arguments>", f"masks.{name}", f"a mask of shape {entry.shape}", tuple(mask.shape))

    def densities(self) -> dict[str, float]:
        """Fraction kept per entry, by exact count."""
        return {name: int(mask.count_nonzero()) / mask.numel() for name, mask in self.kept.items()}

    def apply_(self, model: nn.Module) -> None:
        """Sets the pruned weights of `model` to zero, in place."""
        with torch.no_grad():
            for name, mask in self.kept.items():
                entry = self.registry.by_name[name]
                weight = entry.read(model)
                entry.write_(model, weight * mask.to(weight.device))

    def mask_gradients_(self, model: nn.Module) -> None:
        """Sets the gradients of pruned weights to zero, so that momentum and clipping do not see them."""
        with torch.no_grad():
            for name, mask in self.kept.items():
                entry = self.registry.by_name[name]
                gradient = entry.read_gradient(model)
                if gradient is not None:
                    entry.write_gradient_(model, gradient * mask.to(gradient.device))

    def to(self, device: torch.device | str) -> Masks:
        """The same masks on another device."""
        return Masks(self.registry, {name: mask.to(device) for name, mask in self.kept.items()})


def magnitude_masks(
    model: nn.Module,
    registry: Registry,
    fraction: float,
    exclude: Iterable[str] = (),
    pattern: BlockPattern | None = None,
) -> Masks:
    """Marks the weights of smallest magnitude in each layer for removal.

    `round(fraction * weights)` go in every layer, exactly: equal magnitudes go in index order, and weights that are zero
    already go first, so that what one step of a gradual schedule pruned stays pruned in the next.

    Args:
        model: not changed.
        registry: of the model.
        fraction: part of each layer's weights to remove, 0 to 1. Not used with a `pattern`.
        exclude: layers (names or patterns such as `features.*`) that stay dense; the paper prunes all.
        pattern: N:M structure in place of a free choice.

    Raises:
        SpecError: the fraction is out of range or `exclude` names no layer.
    """
    check_pruning(fraction, "fraction")
    entries = registry.select(exclude)
    return Masks(registry, {entry.name: magnitude_mask(entry.read(model), fraction, pattern) for entry in entries})


def magnitude_mask(weight: Tensor, fraction: float, pattern: BlockPattern | None = None) -> Tensor:
    """True where one weight tensor `(M, C / groups, kH, kW)` keeps its weights; see `magnitude_masks`."""
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


def nonzero_masks(model: nn.Module, registry: Registry, exclude: Iterable[str] = ()) -> Masks:
    """The masks that keep exactly the weights of `model` that are not zero."""
    return Masks(registry, {entry.name: entry.read(model) != 0 for entry in registry.select(exclude)})


def densities(model: nn.Module, registry: Registry) -> dict[str, float]:
    """Fraction of weights that are not zero per entry, by exact count."""
    return nonzero_masks(model, registry).densities()
