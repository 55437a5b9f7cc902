"""Accelerators brought to one area by the size of their global buffer, as dataflows are compared in the Eyeriss paper.

Y.-H. Chen, J. Emer, V. Sze, "Eyeriss: A Spatial Architecture for Energy-Efficient Dataflow for Convolutional Neural Networks",
ISCA 2016, section VI-B: the array stays, and the buffer takes what area is left. Areas are those of the components; wires,
control and pads are in none of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hwloop.energy import area_mm2, estimate_energy_table
from hwloop.errors import EnergyTableError, SpecError
from hwloop.spec.architecture import Architecture
from hwloop.spec.levels import Level

TOLERANCE = 0.02  # an area that is this near is the same


def scale_to_area(arch: Architecture, wanted_mm2: float, energy: Any = "shipped") -> tuple[Architecture, str]:
    """The accelerator with a buffer of another depth, so that its area is the one wanted; and what was changed, in words.

    Args:
        arch: the accelerator.
        wanted_mm2: the area [mm^2].
        energy: the source of areas; it must follow sizes.

    Raises:
        SpecError: there is no such buffer, or no depth of it leads to that area.
        EnergyTableError: the source knows no areas.
    """
    if wanted_mm2 <= 0:
        raise SpecError("<arguments>", "equal area", "an area above 0 mm^2", wanted_mm2)
    level = buffer_of(arch)
    now = area_mm2(arch, estimate_energy_table(arch, energy))
    if abs(now / wanted_mm2 - 1) <= TOLERANCE:
        return arch, ""
    banks = max(int(level.number("n_banks", 1)), 1)
    unit = banks * 8  # rows; whole bytes of rows a bank
    depth = int(level.number("depth", 0))

    def area(units: int) -> float:
        return area_mm2(
            with_depth(arch, level, units * unit), estimate_energy_table(with_depth(arch, level, units * unit), energy)
        )

    low, high = 1, max(depth // unit, 1)
    try:
        while area(high) < wanted_mm2:
            low, high = high, 2 * high
    except EnergyTableError as error:
        raise _unreachable(arch, level, wanted_mm2, now, f"with {high * unit} rows: {error}") from error
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if area(middle) < wanted_mm2 else (low, middle)
    best = min((low, high), key=lambda units: abs(area(units) - wanted_mm2))
    if abs(area(best) / wanted_mm2 - 1) > TOLERANCE:
        raise _unreachable(arch, level, wanted_mm2, now, f"nearest is {area(best):.3g} mm^2 with {best * unit} rows")
    return with_depth(arch, level, best * unit), f"{level.name} has {best * unit} rows in place of {depth} for equal area"


def buffer_of(arch: Architecture) -> Level:
    """The outermost storage with a bound and one instance: the global buffer.

    Raises:
        SpecError: there is none, or its size is not said by `depth`.
    """
    for level in arch.storage:
        if level.kind == "spatial" or level.instances > 1:
            break
        if level.entries is not None:
            if level.depth is None:
                raise SpecError(arch.source, f"{level.name}.attributes.depth", "rows, to be changed for equal area", None)
            return level
    raise SpecError(
        arch.source, "architecture", "a global buffer (one instance, with a depth) to be changed for equal area", None
    )


def with_depth(arch: Architecture, level: Level, depth: int) -> Architecture:
    """The accelerator with so many rows in a level."""
    attributes = tuple((name, depth if name == "depth" else value) for name, value in level.attributes)
    return replace(arch, levels=tuple(replace(each, attributes=attributes) if each is level else each for each in arch.levels))


def _unreachable(arch: Architecture, level: Level, wanted: float, now: float, why: str) -> SpecError:
    field, expected = f"{level.name}.attributes.depth", f"a size of the buffer that leads to {wanted:.3g} mm^2"
    return SpecError(arch.source, field, expected, f"{now:.3g} mm^2 as it is", f"{why}; name another area, or change the array")
