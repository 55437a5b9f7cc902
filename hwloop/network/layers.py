"""The layers that compression acts on: modules with a weight tensor that is pruned, quantised and stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from hwloop.errors import SpecError

LAYER_TYPES = (nn.Conv1d, nn.Conv2d, nn.Linear)


def weight_layers(model: nn.Module, exclude: Iterable[str] = ()) -> dict[str, nn.Module]:
    """Convolutions and linear layers by module path, in the order the model defines them.

    A module used twice counts once. Weights that no such module holds (an attention's fused `in_proj_weight`) are left alone.

    Args:
        model: any torch model.
        exclude: module paths or patterns (`features.*`) to leave out.

    Raises:
        SpecError: a name in `exclude` matches no layer.
    """
    every = {name: module for name, module in model.named_modules() if isinstance(module, LAYER_TYPES)}
    left_out: set[str] = set()
    for pattern in exclude:
        matched = {name for name in every if fnmatchcase(name, pattern)}
        if not matched:
            raise SpecError("<arguments>", "exclude", f"a layer of the model ({', '.join(every)})", pattern)
        left_out |= matched
    return {name: module for name, module in every.items() if name not in left_out}


def weight_of(layer: nn.Module) -> Tensor:
    """The weight tensor of a layer from `weight_layers`: `(M, C/groups, R, S)` or `(M, C)`."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def per_layer(value: int | Mapping[str, int] | None, layers: Iterable[str], what: str, low: int, high: int) -> dict[str, int]:
    """Bits per layer from one number for all, or a mapping for some.

    Args:
        value: bits; None means no layer.
        layers: names that exist.
        what: name of the argument, for errors.
        low: fewest bits allowed.
        high: most bits allowed.

    Raises:
        SpecError: an unknown layer, or bits out of range.
    """
    names = list(layers)
    if value is None:
        return {}
    bits = dict(value) if isinstance(value, Mapping) else dict.fromkeys(names, value)
    known = set(names)
    for name, number in bits.items():
        if name not in known:
            raise SpecError("<arguments>", f"{what}.{name}", f"a layer of the model ({', '.join(names)})", name)
        if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
            raise SpecError("<arguments>", f"{what}.{name}", f"a whole number of bits from {low} to {high}", number)
    return bits


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's first parameter; the CPU when it has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
