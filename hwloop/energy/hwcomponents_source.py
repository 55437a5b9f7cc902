"""Figures from the hwcomponents packages, run live (an extra: `pip install hwloop[hwcomponents]`, Python 3.12 or newer).

SRAM comes from CACTI (hwcomponents-cacti), logic from Aladdin's 40 nm tables scaled to the node after Stillmaker and Baas
(Integration 58, 2017) (hwcomponents-library), DRAM from literature pJ/bit (hwcomponents-cacti).
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from hwloop.energy.primitives import Figures
from hwloop.errors import EnergyTableError
from hwloop.units import PJ_PER_J, UM2_PER_M2

PACKAGES = ("hwcomponents", "hwcomponents_cacti", "hwcomponents_library", "hwcomponents_neurosim")  # the third imports the last
DRAM_WIDTHS = {"LPDDR4": 64, "LPDDR": 64, "DDR3": 64, "HBM2": 1024, "HBM3": 1024, "HBM4": 2048}
_ACTIONS = {"register": "read", "comparator": "compare", "adder": "add", "multiplier": "multiply"}
_CLASSES = {kind: f"Aladdin{kind.capitalize()}" for kind in _ACTIONS}


class HwcomponentsEstimator:
    """Asks hwcomponents for every figure; answers are kept for the life of the process."""

    name = "hwcomponents"

    def __init__(self) -> None:
        missing = [package for package in PACKAGES if find_spec(package) is None]
        if missing:
            raise EnergyTableError(
                f"energy source 'hwcomponents': not installed: {', '.join(missing)}; install them with "
                "`pip install 'hwloop[hwcomponents]'` on Python 3.12 or newer (they compile CACTI), or use --energy shipped"
            )

    def sram(self, node_nm: float, depth: int, width_bits: int, banks: int) -> Figures:
        """CACTI through hwcomponents-cacti; below 64 rows a bank or 32 bits it scales CACTI's smallest memory."""
        return _sram(node_nm, depth, width_bits, banks)

    def logic(self, kind: str, node_nm: float) -> Figures:
        """Aladdin's 40 nm figures at a 1 ns clock, scaled to the node."""
        return _logic(kind, node_nm)

    def dram(self, kind: str) -> Figures:
        """Energy of a bit of this kind of DRAM."""
        if kind not in DRAM_WIDTHS:
            raise EnergyTableError(f"energy source 'hwcomponents': no DRAM {kind!r}; it has {sorted(DRAM_WIDTHS)}")
        cacti = _modules()[0]
        memory = getattr(cacti, kind)(width=DRAM_WIDTHS[kind])
        read, write = (_energy_pj(action()) / DRAM_WIDTHS[kind] for action in (memory.read, memory.write))
        return Figures(read, write, 0.0, 0.0, f"{_label('hwcomponents-cacti')} DRAM {kind}, pJ/bit from literature")


def _modules() -> tuple[ModuleType, ModuleType]:
    import hwcomponents_cacti.hwcomponents_cacti as cacti
    import hwcomponents_library.library.aladdin as aladdin

    return cacti, aladdin


def _label(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return package


def _energy_pj(cost: Any) -> float:
    return float(cost.energy) * PJ_PER_J


@cache
def _sram(node_nm: float, depth: int, width_bits: int, banks: int) -> Figures:
    cacti, _ = _modules()
    try:
        memory = cacti.SRAM(
            tech_node=node_nm * 1e-9, width=width_bits, depth=depth, size=width_bits * depth, n_banks=banks, n_rw_ports=1
        )
    except Exception as error:  # the package raises bare Exception when CACTI fails
        raise EnergyTableError(
            f"energy source 'hwcomponents': CACTI failed on {depth} rows x {width_bits} bits in {banks} banks at {node_nm:g} nm: "
            f"{error}"
        ) from error
    source = f"{_label('hwcomponents-cacti')} SRAM, cache type ram, 1 read-write port, {banks} banks, {node_nm:g} nm"
    return Figures(
        _energy_pj(memory.read()), _energy_pj(memory.write()), float(memory.leak_power), float(memory.area) * UM2_PER_M2, source
    )


@cache
def _logic(kind: str, node_nm: float) -> Figures:
    _, aladdin = _modules()
    widths = {"width_a": 1, "width_b": 1} if kind == "multiplier" else {"width": 1}
    unit = getattr(aladdin, _CLASSES[kind])(tech_node=node_nm * 1e-9, **widths)
    energy_pj = _energy_pj(getattr(unit, _ACTIONS[kind])())
    write_pj = _energy_pj(unit.write()) if kind == "register" else energy_pj
    source = f"{_label('hwcomponents-library')} {_CLASSES[kind]} (40 nm, 1 ns), {node_nm:g} nm"
    return Figures(energy_pj, write_pj, float(unit.leak_power), float(unit.area) * UM2_PER_M2, source)
