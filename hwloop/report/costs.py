"""Mapped layers and networks as text and as plain data: level by level, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hwloop.backend.network_cost import NetworkCost
from hwloop.mapper.describe import level_table
from hwloop.mapper.result import MapResult
from hwloop.report.breakdown import energy_by_space
from hwloop.report.case import Case, folded
from hwloop.report.notes import notes
from hwloop.report.tables import component_text, count_text, energy_text, percent, table
from hwloop.simulator import LayerCost
from hwloop.simulator.ledger import BETWEEN
from hwloop.spec.architecture import Architecture

_ACROSS = 3  # columns of cases that stand beside each other in 80 columns


def level_text(cost: LayerCost, arch: Architecture) -> str:
    """Where the energy goes, a line a level and data space, the leakage of storages among them; then what stands beside it."""
    rows, room = [], {}
    for row in level_table(cost, arch):
        counts = [
            count_text(n) if row.data_space else "" for n in (row.tile_size, row.instances, row.reads, row.fills, row.updates)
        ]
        if not row.data_space and row.instances:
            counts[1] = str(row.instances)
        if row.capacity is not None:
            room[row.level] = count_text(row.capacity)
        level, share = component_text(row.level.removeprefix("wires ")), percent(row.share, 1)
        rows.append((level, row.data_space, *counts, energy_text(row.energy_pj), share))
    for name, component in cost.components.items():
        if component.leakage_pj:
            leaked = (energy_text(component.leakage_pj), percent(component.leakage_pj / cost.energy_pj, 1))
            rows.append((name, "leakage", *[""] * 5, *leaked))
    rows.append(("all", *[""] * 6, energy_text(cost.energy_pj), ""))
    header = ("level", "data", "tile", "used", "reads", "fills", "updates", "energy", "share")
    words = "tile, reads, fills and updates: values of one instance; used: instances; energy: of all instances"
    rooms = f"room for values of the accelerator's width: {', '.join(f'{name} {size}' for name, size in room.items())}"
    return "\n".join([table(rows, header, left=(0, 1)), folded([words, rooms, *_Beside.of([cost]).lines()])])


@dataclass(frozen=True)
class _Beside:
    """What does not stand in the energy of some layers run one after the other, and how much of their work is their own.

    Attributes:
        compute_leakage_pj: leakage of the compute units [pJ], which no total has: Timeloop counts none.
        computes: MACs when dense, those of incomplete passes among them.
        padded_computes: those of incomplete passes.
        utilization: part of the compute units' time that they compute, 0-1.
        useful_utilization: that they compute something of the layers, 0-1.
    """

    compute_leakage_pj: float
    computes: int
    padded_computes: int
    utilization: float
    useful_utilization: float

    @classmethod
    def of(cls, costs: Sequence[LayerCost]) -> _Beside:
        cycles = max(sum(cost.cycles for cost in costs), 1)
        return cls(
            sum(cost.compute_leakage_pj for cost in costs),
            sum(cost.computes for cost in costs),
            sum(cost.padded_computes for cost in costs),
            sum(cost.utilization * cost.cycles for cost in costs) / cycles,
            sum(cost.useful_utilization * cost.cycles for cost in costs) / cycles,
        )

    @property
    def own(self) -> int:
        """The layers' own MACs."""
        return self.computes - self.padded_computes

    def lines(self) -> list[str]:
        """In words, where there is something to say."""
        out = []
        if self.compute_leakage_pj:
            leakage = energy_text(self.compute_leakage_pj)
            out.append(f"beside the total: {leakage} that the MAC units leak (Timeloop counts none, and no total here does)")
        if self.padded_computes:
            used, useful = percent(self.utilization, 1), percent(self.useful_utilization, 1)
            out.append(
                f"{count_text(self.own)} MACs, and {count_text(self.padded_computes)} more of incomplete passes, which are paid "
                f"for; the MAC units compute {used} of the time, {useful} without those"
            )
        return out


def beside(cost: NetworkCost) -> _Beside:
    """What stands beside the energy of a network."""
    return _Beside.of([layer.mapped.cost for layer in cost.layers])


def network_text(case: Case, width: int | None = None) -> str:
    """A line a mapped layer, and the sums; MACs are the layers' own, "used" is the units' time that they take.

    Args:
        case: a mapped network.
        width: of a terminal; None shortens no name.
    """
    cost, rows = case.cost, []
    costs = [layer.mapped.cost for layer in cost.layers]
    own = [found.computes - found.padded_computes for found in costs]
    for layer, found, macs in zip(cost.layers, costs, own, strict=True):
        ceiling = layer.mapped.ceiling
        energy = (energy_text(layer.energy_pj), percent(layer.energy_pj / cost.energy_pj, 1))
        time = (count_text(layer.cycles), percent(found.useful_utilization, 0), f"{ceiling.kind} {ceiling.component}")
        rows.append((layer.name, count_text(macs), *energy, *time))
    for work in cost.operations:
        energy = (energy_text(work.energy_pj), percent(work.energy_pj / cost.energy_pj, 1))
        rows.append((work.name, "", *energy, count_text(work.cycles), "", "between layers"))
    rows.append(("all", count_text(sum(own)), energy_text(cost.energy_pj), "", count_text(cost.cycles), "", ""))
    header = ("layer", "MACs", "energy", "share", "cycles", "used", "bound by")
    words = [
        "MACs: the layer's own; energy, cycles: of the whole batch; used: part of the MAC units' time spent on those",
        *beside(cost).lines(), *notes([case.target], [case.asked]), *staying([cost]),
    ]  # fmt: skip
    return "\n\n".join([case.head(), f"{table(rows, header, left=(0, 6), width=width)}\n{folded(words)}", where_text([cost])])


def staying(costs: Sequence[NetworkCost]) -> list[str]:
    """A line a network whose feature maps stay on chip: where, and which."""
    lines = []
    for cost in costs:
        if cost.resident:
            lines.append(f"{cost.target}: {len(cost.resident)} feature maps stay at {cost.level}: {', '.join(cost.resident)}")
    return lines


def where_text(costs: Sequence[NetworkCost], names: Sequence[str] = ()) -> str:
    """Where the energy goes, a line a component and data space, a column a case, as many beside each other as fit.

    Args:
        costs: one a case.
        names: of the columns; those of the targets when empty.
    """
    found = [energy_by_space(cost) for cost in costs]
    components = dict.fromkeys(name for parts in found for name, _ in parts)
    keys = [key for name in components for key in dict.fromkeys(k for parts in found for k in parts if k[0] == name)]
    titles, blocks = names or [cost.target for cost in costs], []
    for first in range(0, len(costs), _ACROSS):
        several = slice(first, first + _ACROSS)
        rows = []
        for name, space in (key for key in keys if any(key in parts for parts in found[several])):
            cells = []
            for cost, parts in zip(costs[several], found[several], strict=True):
                energy = parts.get((name, space), 0.0)
                cells.append(f"{energy_text(energy)} {percent(energy / cost.energy_pj, 1):>6}" if energy else "-")
            rows.append((component_text(name), "between" if space == BETWEEN else space, *cells))
        rows.append(("all", "", *(f"{energy_text(cost.energy_pj)} {'':>6}" for cost in costs[several])))
        blocks.append(table(rows, ("component", "data", *titles[several]), left=(0, 1)))
    words = "where the energy goes: all instances, all layers; between: pooling and adds between layers"
    return f"{folded([words])}\n\n" + "\n\n".join(blocks)


def network_document(case: Case) -> dict[str, Any]:
    """A mapped network as plain data."""
    cost = case.cost
    layers = [layer_document(layer.name, layer.mapped) for layer in cost.layers]
    sums = {"energy_pj": cost.energy_pj, "cycles": cost.cycles} | asdict(beside(cost))
    return {"network": cost.network, "target": cost.target, "head": case.head(), **sums, "layers": layers, **between(cost)}


def between(cost: NetworkCost) -> dict[str, Any]:
    """Work between layers and maps that stay, as plain data."""
    work = [
        {"operation": o.name, "energy_pj": o.energy_pj, "cycles": o.cycles, "components": o.component_energy_pj}
        for o in cost.operations
    ]
    return {"operations": work, "resident": {"level": cost.level, "maps": list(cost.resident)}}


def layer_document(name: str, result: MapResult) -> dict[str, Any]:
    """A mapped layer as plain data."""
    return {"layer": name, "useful_utilization": result.cost.useful_utilization, **result.to_dict()}
