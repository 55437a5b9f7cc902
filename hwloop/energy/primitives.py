"""What an energy estimator answers: figures of the few primitives that every component is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from hwloop.errors import EnergyTableError

LOGIC = ("register", "comparator", "adder", "multiplier")


@dataclass(frozen=True)
class Figures:
    """Energy, leakage and area of one primitive.

    Attributes:
        read_pj: energy of a read, or of the operation of a logic primitive [pJ].
        write_pj: energy of a write [pJ]; equal to `read_pj` for a logic primitive.
        leak_w: leakage power [W].
        area_um2: area [um^2].
        source: estimator, version and options.
    """

    read_pj: float
    write_pj: float
    leak_w: float
    area_um2: float
    source: str


class Estimator(Protocol):
    """Where figures come from. Every method raises `EnergyTableError` for what it cannot estimate; none ever guesses."""

    @property
    def name(self) -> str:
        """The source's name, as `--energy` knows it."""

    def sram(self, node_nm: float, depth: int, width_bits: int, banks: int) -> Figures:
        """A memory of `depth` rows of `width_bits` in `banks` banks: energy of a row, leakage and area of the whole."""

    def logic(self, kind: str, node_nm: float) -> Figures:
        """The unit of one of `LOGIC`: a bit of a register, comparator or adder, a bit x bit of a multiplier."""

    def dram(self, kind: str) -> Figures:
        """One bit of off-chip memory of this kind, with neither leakage nor area on the chip."""


_NODE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:nm)?\s*")


def node_nm(technology: object, component: str) -> float:
    """The technology node [nm] from an attribute such as `45nm`.

    Raises:
        EnergyTableError: there is none, or it is not a length in nanometres.
    """
    match = _NODE.fullmatch(technology) if isinstance(technology, str) else None
    if match is None:
        raise EnergyTableError(
            f"component {component!r}: attribute `technology`: expected a node such as '\"45nm\"', found {technology!r}; "
            "set it on the component or on a container around it"
        )
    return float(match[1])
