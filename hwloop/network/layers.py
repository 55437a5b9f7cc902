"""What is said about layers one by one, or of all at once; and where a model is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from hwloop.errors import SpecError
from hwloop.spec.bits import check_bits


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
        check_bits(number, f"{what}.{name}", low, high)
    return bits


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's first parameter; the CPU when it has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
