"""Arithmetic energies from the literature, where they are closer to silicon than a synthesis table.

M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, figure 1.1.9: 45 nm, 0.9 V. Integer
multiply: 0.2 pJ (8 bits), 3.1 pJ (32 bits); integer add: 0.03 pJ (8), 0.05 pJ (16), 0.1 pJ (32). The areas that go with these
energies (W. Dally, "High-performance hardware for machine learning", NIPS 2015 tutorial, TSMC 45 nm): multiply 282 um^2 (8),
3495 um^2 (32); add 36, 67 and 137 um^2.

Aladdin's table (class `intmac`) has a 32-bit multiplier of 12.7 pJ at 40 nm, four times Horowitz's. With Horowitz's, a 16-bit
multiply-accumulate at 65 nm is about 1 pJ, and the weights' scratchpad, the global buffer and DRAM cost 1.2, 12 and 123 of it a
word, of the order of the 1, 6 and 200 that the Eyeriss authors extracted from a commercial 65 nm process (ISCA 2016, table IV);
with Aladdin's the multiply-accumulate alone would draw half of the chip's measured power.
"""

from __future__ import annotations

import numpy as np

NODE_NM = 45.0
SOURCE = "Horowitz ISSCC 2014 (energy, 45 nm 0.9 V), Dally NIPS 2015 (area)"

_MULTIPLY_BITS = (64.0, 1024.0)  # product of the operands' bits
_MULTIPLY_PJ = (0.2, 3.1)
_MULTIPLY_UM2 = (282.0, 3495.0)
_ADD_BITS = (8.0, 16.0, 32.0)
_ADD_PJ = (0.03, 0.05, 0.1)
_ADD_UM2 = (36.0, 67.0, 137.0)


def multiply_pj(bits_a: int, bits_b: int) -> float:
    """Energy of an integer multiply at 45 nm [pJ]: a power law in bits_a x bits_b through the two published points."""
    return _power_law(bits_a * bits_b, _MULTIPLY_BITS, _MULTIPLY_PJ)


def multiply_um2(bits_a: int, bits_b: int) -> float:
    """Area of an integer multiplier at 45 nm [um^2], interpolated alike."""
    return _power_law(bits_a * bits_b, _MULTIPLY_BITS, _MULTIPLY_UM2)


def add_pj(bits: float) -> float:
    """Energy of an integer add at 45 nm [pJ]: linear between the published widths, proportional beyond them."""
    return _piecewise(bits, _ADD_BITS, _ADD_PJ)


def add_um2(bits: float) -> float:
    """Area of an integer adder at 45 nm [um^2], interpolated alike."""
    return _piecewise(bits, _ADD_BITS, _ADD_UM2)


def _power_law(x: float, at: tuple[float, float], values: tuple[float, float]) -> float:
    exponent = np.log(values[1] / values[0]) / np.log(at[1] / at[0])
    return float(values[0] * (x / at[0]) ** exponent)


def _piecewise(x: float, at: tuple[float, ...], values: tuple[float, ...]) -> float:
    if x <= at[0]:
        return values[0] * x / at[0]
    if x >= at[-1]:
        return values[-1] * x / at[-1]
    return float(np.interp(x, at, values))
