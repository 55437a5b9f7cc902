"""Networks: what it costs to bring data from one level to the next (Timeloop's models, equal to the real program's).

Between every two neighbouring levels lies a network. The common kind is a mesh: a word enters at the middle of the mesh's left
edge, goes along X to the farthest child that wants it and turns off along Y on the way (`hwloop.simulator.reuse` counts those
hops). A hop costs a word's bits times its length times the energy of a wire, a router what the spec says. A reduction tree takes
half a hop for each doubling of the children that are added; a simple multicast network costs what its entry in the energy table
says. Sparsity does not change what networks are charged for: the real program counts the dense traffic there.

A network costs something only where the spec gives it an energy; otherwise it is left out of everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor, log2, sqrt

import numpy as np

from hwloop.errors import EnergyTableError
from hwloop.simulator.nest import Delivery
from hwloop.simulator.numeric import Number
from hwloop.spec.energy_table import ComponentEnergy, EnergyTable
from hwloop.spec.levels import Architecture, Level
from hwloop.spec.network import Network

_UM_PER_MM = 1000.0


@dataclass(frozen=True)
class Wires:
    """One network, and what it is used for. A level that reads over one network and updates over another has two.

    Attributes:
        name: as the real program prints it.
        level: index of the level outside it.
        network: what the spec says of it.
        twice: whether results that are updated must be brought in again because the level outside cannot add.
        fanned: whether the level outside has a fan-out.
    """

    name: str
    level: int
    network: Network
    twice: bool
    fanned: bool

    @property
    def linear(self) -> bool:
        """Whether the energy is in proportion to hops and links: then batches of mappings need no more than their sums."""
        network = self.network
        simple = network.kind == "legacy" and not network.router_pj and not network.ingress_pj
        return simple and not (self.twice and self.fanned)


@dataclass(frozen=True)
class WirePrices:
    """What a network costs.

    Attributes:
        wires: the network.
        hop_pj: energy of a word over one hop [pJ], a number or `(candidate, 1)`.
        router_pj: energy of a word through a router [pJ].
        ingress_pj: energy of a word that enters [pJ].
        adder_pj: energy of an addition [pJ].
        entry: its entry in the energy table, of a simple multicast network.
    """

    wires: Wires
    hop_pj: Number
    router_pj: float = 0.0
    ingress_pj: float = 0.0
    adder_pj: float = 0.0
    entry: ComponentEnergy | None = None


def find_wires(architecture: Architecture) -> tuple[Wires, ...]:
    """The networks between the levels, outermost first."""
    named = {network.name: network for network in architecture.networks}
    out: list[Wires] = []
    seen: set[str] = set()
    # the program evaluates a network that several levels name once, where it is innermost
    for index in range(len(architecture.storage) - 1, -1, -1):
        outer, inner = architecture.levels[index], architecture.levels[index + 1]
        read, update = outer.network_name("network_read"), outer.network_name("network_update")
        for role, name in (("read", read), ("update", update)):
            if name in seen or (role == "update" and (name is None or name == read)):
                continue
            network = named[name] if name is not None else outer.network
            title = name if name is not None else f"{outer.name} <==> {inner.name}"
            only_read = role == "read" and update is not None and update != read
            sink = inner if only_read else outer
            out.append(Wires(title, index, network, not only_read and not _adds(sink), architecture.fanout[index] != (1, 1)))
            if name is not None:
                seen.add(name)
    return tuple(reversed(out))


def linear_wires(architecture: Architecture) -> bool:
    """Whether all networks are linear, or cost nothing as long as an energy table does not price wires."""
    return all(wires.linear for wires in find_wires(architecture))


def network_latency(architecture: Architecture) -> int:
    """Cycles that filling and draining the networks adds once.

    Without a named network a level's own `network_fill_latency` and `network_drain_latency` count. The real program reads a
    named network's fill latency for both.
    """
    named = {network.name: network for network in architecture.networks}
    total = 0
    for level in architecture.storage:
        for role, attribute in (("network_read", "network_fill_latency"), ("network_update", "network_drain_latency")):
            name = level.network_name(role)
            total += int(level.number(attribute, 0)) if name is None else named[name].fill_latency
    return total


def _adds(level: Level) -> bool:
    """Whether a level can add what arrives to what it holds; a DRAM cannot unless it says so."""
    said = level.values.get("reduction_supported")
    if isinstance(said, bool):
        return said
    return not ("DRAM" in level.class_name or level.values.get("technology") == "DRAM")


def price_wires(architecture: Architecture, tables: Sequence[EnergyTable], which: Number = 0) -> tuple[WirePrices, ...]:
    """What the networks cost; those that cost nothing are left out.

    Args:
        architecture: the accelerator.
        tables: energy tables, each once.
        which: the table: 0 for all, or each candidate's index `(candidate, 1)`.

    Raises:
        EnergyTableError: no entry for a simple multicast network.
    """
    if all(table.wire_pj is None for table in tables) and not _any_energy(architecture):
        return ()
    wires = find_wires(architecture)
    found = [{prices.wires.name: prices for prices in _price_wires(wires, architecture, table)} for table in tables]
    out = []
    for each in wires:
        rows = [by_name.get(each.name, WirePrices(each, 0.0)) for by_name in found]
        hops = [row.hop_pj for row in rows]
        costly = [row for by_name, row in zip(found, rows, strict=True) if each.name in by_name]
        if costly:
            hop = hops[0] if hops.count(hops[0]) == len(hops) else np.array(hops)[which]
            out.append(replace(costly[0], hop_pj=hop))
    return tuple(out)


def _any_energy(architecture: Architecture) -> bool:
    networks = [*architecture.networks, *(level.network for level in architecture.storage)]
    return any(
        n.kind == "simple_multicast" or n.wire_pj or n.hop_pj or n.router_pj or n.ingress_pj or n.adder_pj for n in networks
    )


def _price_wires(wires: tuple[Wires, ...], architecture: Architecture, table: EnergyTable) -> tuple[WirePrices, ...]:
    wire = None if table.wire_pj is None else float(np.float32(table.wire_pj))  # the real program keeps it in 32 bits
    widths = _tile_widths_um(architecture, table)
    out = []
    for each in wires:
        network = each.network
        if network.kind == "simple_multicast":
            if network.name not in table:
                raise EnergyTableError(f"energy table: no entry for the network {network.name!r}; add one with its action [pJ]")
            out.append(WirePrices(each, 0.0, entry=table.component(network.name)))
            continue
        per_bit = network.wire_pj or 0.0
        if wire is not None and not network.name:  # of inferred networks alone
            per_bit = wire
        hop = network.hop_pj if network.kind == "legacy" else None
        if hop is None:
            width = widths[each.level] if network.tile_width_um is None else network.tile_width_um
            hop = network.word_bits * (width / _UM_PER_MM) * per_bit
        legacy = network.kind == "legacy"
        found = WirePrices(
            each, hop, (network.router_pj or 0.0) if legacy else 0.0, (network.ingress_pj or 0.0) if legacy else 0.0,
            0.0 if legacy else network.adder_pj or 0.0,
        )  # fmt: skip
        if found.hop_pj or found.router_pj or found.ingress_pj or found.adder_pj:
            out.append(found)
    return tuple(out)


def _tile_widths_um(architecture: Architecture, table: EnergyTable) -> list[float]:
    """By level, the side of the square that one instance of the level below and all inside it take [um]."""
    out: list[float] = []
    area, inner = 0.0, 0
    for level in reversed(architecture.levels):
        own = table.component(level.name).area_um2 if level.name in table else None
        area = float(np.float32(own or 0.0)) + area * (inner // level.instances if inner else 0)
        inner = level.instances
        out.append(sqrt(area))
    return out[-2::-1]


def network_energy(prices: WirePrices, delivery: Delivery, read_write: bool, data_space: str) -> Number:
    """Energy of bringing one data space from one instance of a level to the next level [pJ]."""
    kind = prices.wires.network.kind
    if kind == "simple_multicast":
        return _multicast_energy(prices, delivery, data_space)
    if kind == "reduction_tree":
        return _tree_energy(prices, delivery) if read_write else 0.0
    if delivery.ingresses is None:  # of a batch, whose networks are all linear
        return (delivery.hops + delivery.links) * prices.hop_pj
    hops, routers, entering = 0.0, 0, 0.0
    for (_, words), word_hops in zip(delivery.ingresses, delivery.word_hops, strict=True):
        words = 2 * words - delivery.partition_size if read_write and prices.wires.twice else words
        entering += words
        if words > 0:
            average = word_hops / words
            routers = int(routers + (1 + floor(average)) * words)
            hops += average * words
    energy = hops * prices.hop_pj + routers * prices.router_pj + prices.ingress_pj * entering
    return energy + delivery.links * (prices.hop_pj + 2 * prices.router_pj)


def _tree_energy(prices: WirePrices, delivery: Delivery) -> Number:
    hops, additions = 0.0, 0
    for share, words in delivery.ingresses or ():
        additions = int(additions + (share - 1) * words)
        hops += floor(log2(share)) * 0.5 * words if words > 0 else 0.0
    return hops * prices.hop_pj + additions * prices.adder_pj


def _multicast_energy(prices: WirePrices, delivery: Delivery, data_space: str) -> Number:
    """The last kind of ingress (that with the most destinations) alone counts, as in the real program."""
    network, entry = prices.wires.network, prices.entry
    assert entry is not None
    action = f"{network.action}_{data_space}" if network.by_data_space else network.action
    energy = 0.0
    several = [(dict(given).get(network.multicast_argument), pj) for name, given, pj in entry.by_argument if name == action]
    for share, words in sorted(delivery.ingresses or ()):
        if words > 0:
            each = entry.energies_pj.get(action, 0.0)
            if several:
                each = next((pj for destinations, pj in reversed(several) if destinations == share), 0.0)
            energy = each * words
    return energy
