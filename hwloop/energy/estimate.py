"""Where an energy table comes from: a file, the shipped figures, hwcomponents or Accelergy.

This is the only place where energies follow bits and sizes; the simulator never rescales a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hwloop.energy.accelergy_source import estimate_energy_table as accelergy_table
from hwloop.energy.components import component_energy
from hwloop.energy.hwcomponents_source import HwcomponentsEstimator
from hwloop.energy.primitives import Estimator, node_nm
from hwloop.energy.shipped import ShippedEstimator
from hwloop.energy.wires import with_wires
from hwloop.errors import EnergyTableError
from hwloop.spec.bits import Bits, array_bits
from hwloop.spec.energy_table import EnergyTable, load_energy_table
from hwloop.spec.levels import Architecture
from hwloop.units import UM2_PER_MM2

ESTIMATORS: dict[str, Callable[[], Estimator]] = {"shipped": ShippedEstimator, "hwcomponents": HwcomponentsEstimator}
PROGRAMS: dict[str, Callable[[Architecture, Mapping[str, int] | None], EnergyTable]] = {"accelergy": accelergy_table}
SOURCES = (*ESTIMATORS, *PROGRAMS, "table")
WIRES = "+wires"  # behind a source: the wires between levels are priced too


def estimate_energy_table(
    arch: Architecture, source: str | Path | Mapping[str, Any] | EnergyTable = "shipped", bits: Bits | None = None
) -> EnergyTable:
    """The energy and area of every component of an accelerator, each with the estimator that says so.

    Args:
        arch: the accelerator.
        source: `shipped` (figures that come with hwloop, of CACTI and Aladdin's tables, interpolated between the sizes they were
            made for), `hwcomponents` or `accelergy` (run live), or a table of your own: a file in Accelergy's form, its
            text, or `{component: {action: pJ}}`. A table is taken as it is; it does not follow `bits`. `+wires` behind a word or
            a file's name, as in `shipped+wires`, also prices the wires between levels (`hwloop.energy.wires`), so that sending a
            word to many places is no longer free; that needs areas.
        bits: bits of a value by data space. Those of `Weights` and `Inputs` are the operands of a multiply; storage is priced
            by the row, so it does not follow them. Of bits by level those of `*` count, which the array has. None means the
            width the accelerator was built for.

    Raises:
        EnergyTableError: an unknown source, a component that nobody can price (the message says what to add), or a table
            that lacks one.
        SpecError: a table that cannot be read.
        SimulatorError: Accelergy failed.
    """
    if isinstance(source, str) and source.endswith(WIRES):
        table = estimate_energy_table(arch, source.removesuffix(WIRES), bits)
        area_um2(arch, table)  # hops are as long as what lies below them
        return with_wires(table, node_nm(arch.compute.values.get("technology"), arch.compute.name))
    if isinstance(source, str) and source in ESTIMATORS:
        estimator = ESTIMATORS[source]()
        widths, levels = array_bits(bits), [level for level in arch.levels if level.kind != "spatial"]
        return EnergyTable(tuple(component_energy(level, estimator, arch.cycle_s, widths) for level in levels))
    if isinstance(source, str) and source in PROGRAMS:
        return PROGRAMS[source](arch, array_bits(bits))
    if source == "table":
        raise EnergyTableError("energy source 'table': give the table's file itself in place of the word")
    if isinstance(source, str) and not _looks_like_table(source):
        raise EnergyTableError(f"energy source {source!r}: neither a file nor one of {', '.join(SOURCES)}")
    return check_covers(load_energy_table(source), arch)


def follows_sizes(source: object) -> bool:
    """Whether a source is asked anew for every accelerator: a table of one's own is not, and stays as it is."""
    return isinstance(source, str) and source.removesuffix(WIRES) in (*ESTIMATORS, *PROGRAMS)


def check_covers(table: EnergyTable, arch: Architecture) -> EnergyTable:
    """The same table, if it has every component of the accelerator.

    Raises:
        EnergyTableError: names those it lacks.
    """
    missing = [level.name for level in arch.levels if level.kind != "spatial" and level.name not in table]
    if missing:
        have = ", ".join(c.name for c in table.components)
        raise EnergyTableError(
            f"energy table: no entry for {', '.join(missing)} of accelerator {arch.name!r}; it has {have}; "
            "add an entry with the actions [pJ] for each"
        )
    return table


def area_um2(arch: Architecture, table: EnergyTable) -> float:
    """Area of the accelerator's components, all instances [um^2]. Wires, control and pads are not in it.

    Raises:
        EnergyTableError: a component without an area.
    """
    total = 0.0
    for level in arch.levels:
        if level.kind != "spatial":
            area = table.component(level.name).area_um2
            if area is None:
                raise EnergyTableError(f"energy table: component {level.name!r} has no area; add it under ART [um^2]")
            total += area * level.instances
    return total


def area_mm2(arch: Architecture, table: EnergyTable) -> float:
    """`area_um2` in [mm^2]."""
    return area_um2(arch, table) / UM2_PER_MM2


def _looks_like_table(source: str) -> bool:
    return "\n" in source or "{" in source or Path(source).is_file()
