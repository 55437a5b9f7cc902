"""The ranges of bits per value, defined once: what a simulator takes, and what a quantiser can make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwloop.errors import SpecError

ELSEWHERE = "*"  # stands for the levels that are not named
LevelBits = int | Mapping[str, int]  # one width everywhere, or by level
Bits = Mapping[str, LevelBits]  # by data space
FrozenBits = tuple[tuple[str, int | tuple[tuple[str, int], ...]], ...]

MIN_BITS, MAX_BITS = 1, 64  # of a value in an accelerator
MIN_QUANTISED, MAX_QUANTISED = 2, 23  # 1 bit has no symmetric levels around zero; a float32 holds no more than 24 bits


def check_bits(bits: Any, field: str, least: int = MIN_BITS, most: int = MAX_BITS, source: str = "<arguments>") -> int:
    """`bits` as an int, when it is a whole number from `least` to `most`.

    Args:
        bits: bits per value; numpy's whole numbers count too.
        field: what to call it in the error.
        least, most: ends, inclusive.
        source: the file it stands in.

    Raises:
        SpecError: anything else.
    """
    if isinstance(bits, bool) or not hasattr(bits, "__index__") or not least <= bits <= most:
        raise SpecError(source, field, f"a whole number from {least} to {most}", bits)
    return int(bits)


def check_bit_range(ends: Any, field: str, least: int = MIN_BITS, most: int = MAX_BITS) -> tuple[int, int]:
    """`ends` as (least, most) bits, rising and within `least` to `most`.

    Raises:
        SpecError: anything else.
    """
    if not isinstance(ends, (tuple, list)) or len(ends) != 2:
        raise SpecError("<arguments>", field, "two whole numbers: the least and the most bits", ends)
    low, high = (check_bits(end, field, least, most) for end in ends)
    if low > high:
        raise SpecError("<arguments>", field, "the least bits first, then the most", tuple(ends))
    return low, high


def width_at(given: LevelBits | None, level: str) -> int | None:
    """The width at a level [bits]; None for the level's own `datawidth`."""
    if given is None or isinstance(given, int) or not isinstance(given, Mapping):  # the first two are quick to tell
        return given
    return given.get(level, given.get(ELSEWHERE))


def elsewhere(given: LevelBits | None) -> int | None:
    """The width at levels that are not named, and of partial sums [bits]; None for each level's own `datawidth`."""
    if given is None or isinstance(given, int) or not isinstance(given, Mapping):
        return given
    return given.get(ELSEWHERE)


def array_bits(bits: Bits | None) -> dict[str, int]:
    """The widths that values have in the array of compute units, where some are given."""
    widths = {space: elsewhere(given) for space, given in (bits or {}).items()}
    return {space: width for space, width in widths.items() if width is not None}


def frozen(bits: Bits | None) -> FrozenBits:
    """The same, hashable: equal widths are equal."""
    pairs = ((space, given if isinstance(given, int) else tuple(sorted(given.items()))) for space, given in (bits or {}).items())
    return tuple(sorted(pairs, key=lambda pair: pair[0]))


def plain(bits: Bits | None) -> dict[str, int | dict[str, int]]:
    """The same as plain numbers and dicts, for files and keys."""
    out: dict[str, int | dict[str, int]] = {}
    for space, given in (bits or {}).items():
        out[space] = {level: int(width) for level, width in given.items()} if isinstance(given, Mapping) else int(given)
    return out


def operand_bits(weight_bits: int | None = None, activation_bits: int | None = None) -> dict[str, int]:
    """`{data space: bits}` of a layer's two operands, as `hwloop.simulate` takes it; None keeps the accelerator's width."""
    pairs = (("Weights", weight_bits), ("Inputs", activation_bits))
    return {name: bits for name, bits in pairs if bits is not None}
