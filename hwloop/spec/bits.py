"""The ranges of bits per value, defined once: what a simulator takes, and what a quantiser can make."""

from __future__ import annotations

from typing import Any

from hwloop.errors import SpecError

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


def operand_bits(weight_bits: int | None = None, activation_bits: int | None = None) -> dict[str, int]:
    """`{data space: bits}` of a layer's two operands, as `hwloop.simulate` takes it; None keeps the accelerator's width."""
    pairs = (("Weights", weight_bits), ("Inputs", activation_bits))
    return {name: bits for name, bits in pairs if bits is not None}
