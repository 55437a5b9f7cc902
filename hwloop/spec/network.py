"""The wires between two levels: what a spec says of a network and of the levels that name it.

Timeloop has a network between every two neighbouring levels. Unless a level names one (`network_read` and its fellows), it is
inferred from the attributes of the outer level: `router_energy`, `wire_energy`, `energy_per_hop`, ... An ERT entry called
`wire` replaces the wire energy of every inferred network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hwloop.spec.expressions import Value

# How a level names the networks it is connected to, and the compute level its two.
NETWORK_ROLES = ("network_read", "network_fill", "network_drain", "network_update", "network_operand", "network_result")
_KINDS = {"XY_NoC": "legacy", "Legacy": "legacy", "ReductionTree": "reduction_tree", "SimpleMulticast": "simple_multicast"}
_REAL = {
    "router_energy": "router_pj",
    "wire_energy": "wire_pj",
    "tile_width": "tile_width_um",
    "energy_per_hop": "hop_pj",
    "energy-per-ingress": "ingress_pj",
    "adder_energy": "adder_pj",
}
_REST = {
    "network_type": "sharing",
    "network_word_bits": "word_bits",
    "fill_latency": "fill_latency",
    "drain_latency": "drain_latency",
    "action_name": "action",
    "multicast_factor_argument": "multicast_argument",
    "per_datatype_ERT": "by_data_space",
}
NETWORK_REAL = (*_REAL, "energy_per_ingress")
NETWORK_WHOLE = ("fill_latency", "drain_latency", "network_word_bits")
NETWORK_TEXT = ("network_type", "action_name", "multicast_factor_argument", *NETWORK_ROLES)


@dataclass(frozen=True)
class Network:
    """One network, named in the spec or inferred from a level's attributes. None: the spec does not say.

    Attributes:
        name: as levels refer to it; empty when it is inferred.
        kind: `legacy` (a mesh, classes `XY_NoC` and `Legacy`), `reduction_tree` or `simple_multicast`.
        sharing: `1:1`, `1:N`, `M:N` (distributed multicast), or empty.
        word_bits: width of a word on the wires [bits].
        router_pj: energy of a word through a router [pJ].
        wire_pj: energy of a bit over a millimetre of wire [pJ].
        tile_width_um: length of a hop [um]; from the areas of the levels below when None.
        hop_pj: energy of a word over one hop [pJ]; replaces what `wire_pj` and `tile_width_um` give.
        ingress_pj: energy of a word that enters [pJ].
        adder_pj: energy of one addition of a reduction tree [pJ].
        fill_latency: cycles added once.
        drain_latency: cycles added once.
        action: the ERT action of a simple multicast network.
        multicast_argument: the argument of that action that holds the number of destinations.
        by_data_space: whether the ERT has one such action for each data space (`ACTION_DATASPACE`).
    """

    name: str = ""
    kind: str = "legacy"
    sharing: str = ""
    word_bits: int = 16
    router_pj: float | None = None
    wire_pj: float | None = None
    tile_width_um: float | None = None
    hop_pj: float | None = None
    ingress_pj: float | None = None
    adder_pj: float | None = None
    fill_latency: int = 0
    drain_latency: int = 0
    action: str = ""
    multicast_argument: str = ""
    by_data_space: bool = False

    def to_dict(self) -> dict[str, Any]:
        """One entry of the tree's `local` list."""
        attributes: dict[str, Any] = {word: v for word, name in _REAL.items() if (v := getattr(self, name)) is not None}
        attributes |= {word: v for word, name in _REST.items() if (v := getattr(self, name))}
        class_name = next(word for word, kind in reversed(_KINDS.items()) if kind == self.kind)
        return {"name": self.name, "class": class_name, "attributes": attributes}


def network_kind(class_name: str) -> str | None:
    """What kind of network a class is, None when it is none; the programs find the name anywhere in the class."""
    return next((kind for word, kind in _KINDS.items() if word in class_name), None)


def network_of(values: Mapping[str, Value | None], name: str = "", kind: str = "legacy") -> Network:
    """The network that these attributes describe."""
    real = {field: float(v) for word, field in _REAL.items() if isinstance(v := values.get(word), (int, float))}
    bits = values.get("network_word_bits")
    return Network(
        name=name,
        kind=kind,
        sharing=str(values.get("network_type") or ""),
        word_bits=_whole(values.get("datawidth"), 16) if bits is None else _whole(bits, 16),
        fill_latency=_whole(values.get("fill_latency"), 0),
        drain_latency=_whole(values.get("drain_latency"), 0),
        action=str(values.get("action_name") or ""),
        multicast_argument=str(values.get("multicast_factor_argument") or ""),
        by_data_space=values.get("per_datatype_ERT") is not None,
        **real,
    )


def _whole(value: Value | None, default: int) -> int:
    return int(value) if isinstance(value, (int, float)) else default
