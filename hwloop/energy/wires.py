"""What wires cost: the entry `wire` of an energy table, which prices the networks between levels.

S. Keckler et al., "GPUs and the future of parallel computing", IEEE Micro 31(5), 2011, table 1: a transition on an on-chip
wire costs 240 fJ a bit and millimetre at 40 nm (0.9 V) and 150 fJ at 10 nm (0.75 V). Between and beyond these nodes the figure
is taken as linear in the node's size; with random data half of the bits change from one word to the next.

The length of a hop is the side of the square that the components of one tile take by their areas: routing channels, clock and
control are not in it. A network has one width for all data spaces (`network_word_bits`).
"""

from __future__ import annotations

from dataclasses import replace

from hwloop.errors import EnergyTableError
from hwloop.spec.energy_table import ComponentEnergy, EnergyTable

WIRE = "wire"
_NODES_NM = (10.0, 40.0)
_TRANSITION_PJ = (0.150, 0.240)  # a bit and millimetre
_CHANGING = 0.5
SOURCE = "Keckler et al., IEEE Micro 2011, table 1: 0.24 pJ/bit/mm a transition at 40 nm, 0.15 at 10 nm; half of the bits change"


def wire_pj(node_nm: float) -> float:
    """Energy of a bit over a millimetre of wire [pJ], random data.

    Raises:
        EnergyTableError: no positive node.
    """
    if node_nm <= 0:
        raise EnergyTableError(f"wires: a technology node of {node_nm:g} nm; give one above 0")
    slope = (_TRANSITION_PJ[1] - _TRANSITION_PJ[0]) / (_NODES_NM[1] - _NODES_NM[0])
    return max(_TRANSITION_PJ[0] + slope * (node_nm - _NODES_NM[0]), 0.0) * _CHANGING


def with_wires(table: EnergyTable, node_nm: float) -> EnergyTable:
    """The table with an entry that prices the wires of every network; one that is there is replaced."""
    wire = ComponentEnergy(WIRE, (("transfer_random", wire_pj(node_nm)),), source=f"{SOURCE}; {node_nm:g} nm")
    return replace(table, components=(*(c for c in table.components if c.name != WIRE), wire))
