"""One layer's share of a plan: what is said of it, checked and kept in one form."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from hwloop.errors import SpecError
from hwloop.spec.bits import check_bits
from hwloop.spec.density import Density
from hwloop.spec.pruning import BlockPattern, check_density, read_pattern

Kept = float | BlockPattern | Density
Channels = int | tuple[int, ...]
Rank = int | tuple[int, int]


@dataclass(frozen=True)
class LayerPlan:
    """One layer's share of a plan. Equal shares are equal: what means the same is kept in one form.

    Attributes:
        weight_density: fraction kept, 0 to 1, of the weights that the layer still has: a number for unstructured pruning
            (`hypergeometric`), a `BlockPattern` for N:M, a `Density` for another spread, which can only be simulated. In a
            product of two activations: of the second operand.
        input_density: fraction of nonzero input activations, as measured.
        weight_bits: bits per weight; None keeps the accelerator's width. In a product of two activations: of the second
            operand, which has `activation_bits` when None.
        activation_bits: bits per input activation; None keeps the accelerator's width.
        channels: output channels kept: how many (the weights decide which), or the numbers of those kept; None keeps all.
        rank: of a truncated SVD (linear layers, 1x1 convolutions), or (input, output) ranks of a Tucker-2 decomposition.
        removed: the layer passes its input on; nothing else is said of it then.

    Raises:
        SpecError: a value out of range.
    """

    weight_density: Kept = 1.0
    input_density: float | Density = 1.0
    weight_bits: int | None = None
    activation_bits: int | None = None
    channels: Channels | None = None
    rank: Rank | None = None
    removed: bool = False

    def __post_init__(self) -> None:
        for name in ("weight_density", "input_density"):
            self._set(name, _density(getattr(self, name), name))
        for name in ("weight_bits", "activation_bits"):
            if getattr(self, name) is not None:
                self._set(name, check_bits(getattr(self, name), name, source="<plan>"))
        if self.channels is not None:
            self._set("channels", _channels(self.channels))
        if self.rank is not None:
            self._set("rank", _rank(self.rank))
        if not isinstance(self.removed, bool):
            raise SpecError("<plan>", "removed", "true or false", self.removed)
        if self.removed and any(name != "removed" for name in self.to_dict()):
            raise SpecError("<plan>", "removed", "nothing else about a removed layer", self.to_dict())

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """What differs from a dense layer at the accelerator's width."""
        out: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                out[field.name] = _plain(value)
        return out


def _plain(value: Any) -> Any:
    if isinstance(value, Density):
        return value.to_dict()
    if isinstance(value, BlockPattern):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _density(value: Any, name: str) -> Kept:
    """1.0 where dense, a number where nonzeros may fall anywhere, else as given."""
    if isinstance(value, str) and name == "weight_density":
        value = read_pattern(value)
    if isinstance(value, BlockPattern) and name == "weight_density":
        return value if value.keep < value.block else 1.0
    if not isinstance(value, Density):
        return check_density(value, name, "<plan>")
    check_density(value.density, f"{name}.density", "<plan>")
    if value.density == 1.0:
        return 1.0
    return value.density if value == Density("hypergeometric", value.density) else value


def _channels(value: Any) -> Channels:
    many = isinstance(value, (tuple, list))
    numbers = tuple(value) if many else (value,)
    if any(isinstance(n, bool) or not hasattr(n, "__index__") or n < (0 if many else 1) for n in numbers):
        raise SpecError("<plan>", "channels", "how many channels (1 or more), or a list of their numbers (from 0)", value)
    if not many:
        return int(numbers[0])
    if not numbers or len(set(numbers)) < len(numbers):
        raise SpecError("<plan>", "channels", "distinct numbers of channels, at least one", value)
    return tuple(sorted(int(n) for n in numbers))


def _rank(value: Any) -> Rank:
    many = isinstance(value, (tuple, list))
    numbers = tuple(value) if many else (value,)
    whole = all(hasattr(n, "__index__") and not isinstance(n, bool) and n >= 1 for n in numbers)
    if not whole or len(numbers) != (2 if many else 1):
        raise SpecError("<plan>", "rank", "one rank, or two (input, output), of at least 1", value)
    return (int(numbers[0]), int(numbers[1])) if many else int(numbers[0])
