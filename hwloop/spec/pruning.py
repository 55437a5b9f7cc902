"""What pruning leaves of a tensor: a fraction of its values anywhere, or N of every M in a row; the ranges, defined once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite
from typing import Any

from hwloop.errors import SpecError
from hwloop.spec.density import Density

_TEXT = re.compile(r"\s*(\d+)\s*:\s*(\d+)\s*")


@dataclass(frozen=True)
class BlockPattern:
    """N:M structured sparsity: of every `block` consecutive input channels (at one filter position), `keep` weights stay.

    It is what hardware with `fixed_structured` density exploits. A last, shorter block keeps at most `keep`.

    Raises:
        SpecError: not 0 < keep <= block.
    """

    keep: int
    block: int

    def __post_init__(self) -> None:
        if not 0 < self.keep <= self.block:
            raise SpecError("<arguments>", "pattern", "keep:block with 0 < keep <= block", f"{self.keep}:{self.block}")

    @property
    def density(self) -> Density:
        """As a simulator takes it."""
        return Density("fixed_structured", self.keep / self.block)

    def __str__(self) -> str:
        return f"{self.keep}:{self.block}"


def read_pattern(text: str) -> BlockPattern:
    """Reads `2:4`.

    Raises:
        SpecError: anything else.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise SpecError("<arguments>", "pattern", "keep:block, such as 2:4", text)
    return BlockPattern(int(match[1]), int(match[2]))


def check_density(value: Any, field: str, source: str = "<arguments>") -> float:
    """`value` as a float, when it is a fraction kept: from 0 (all values are zero) to 1 (dense).

    Raises:
        SpecError: anything else.
    """
    if not _is_number(value) or not 0 <= value <= 1:
        raise SpecError(source, field, "a fraction between 0 and 1", value)
    return float(value)


def check_pruning(value: Any, field: str, source: str = "<arguments>") -> float:
    """`value` as a float, when it is a pruning amount: a fraction removed, from 0 to below 1.

    Raises:
        SpecError: anything else.
    """
    if not _is_number(value) or not 0 <= value < 1:
        raise SpecError(source, field, "a fraction from 0 to below 1", value)
    return float(value)


def base_name(pruning: float) -> str:
    """How a plan names the network that was pruned by this much, e.g. `p=0.7`; empty for the trained one."""
    return f"p={pruning:g}" if pruning else ""


def base_pruning(base: str) -> float:
    """The pruning amount of a base that `base_name` named; 0 for the trained network.

    Raises:
        SpecError: a base of another kind.
    """
    if not base:
        return 0.0
    try:
        return check_pruning(float(base.removeprefix("p=")), "base", "<plan>")
    except ValueError:
        raise SpecError("<plan>", "base", "p=FRACTION, or nothing for the trained network", base) from None


def _is_number(value: Any) -> bool:
    return not isinstance(value, (bool, str)) and hasattr(value, "__float__") and isfinite(value)
