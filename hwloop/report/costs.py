"""Costs of layers and networks as text and as plain data: level by level, layer by layer, dataflow by dataflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hwloop.backend.network_cost import NetworkCost
from hwloop.errors import HwloopError
from hwloop.mapper.describe import level_table
from hwloop.mapper.result import MapResult
from hwloop.report.tables import count_text, energy_text, percent, table
from hwloop.spec.architecture import Architecture


def level_text(result: MapResult, arch: Architecture) -> str:
    """Where the energy goes, a line a level and data space."""
    rows = []
    for row in level_table(result.cost, arch):
        held = "" if not row.data_space else count_text(row.tile_size)
        room = "" if row.capacity is None else count_text(row.capacity)
        counts = [count_text(n) if row.data_space else "" for n in (row.reads, row.fills, row.updates)]
        costs = (energy_text(row.energy_pj), percent(row.share, 1), count_text(row.cycles) if row.cycles else "")
        level = row.level.replace("inter_", "").replace("_spatial", "") if row.level.startswith("wires ") else row.level
        rows.append((level, row.data_space, held, room, str(row.instances or ""), *counts, *costs))
    header = ("level", "data", "tile", "room", "instances", "reads", "fills", "updates", "energy", "share", "cycles")
    return table(rows, header, left=(0, 1))


def network_text(cost: NetworkCost) -> str:
    """A line a mapped layer, and the sums."""
    rows = []
    for layer in cost.layers:
        ceiling = layer.mapped.ceiling
        energy = (energy_text(layer.energy_pj), percent(layer.energy_pj / cost.energy_pj, 1))
        time = (count_text(layer.cycles), percent(layer.utilization, 0), f"{ceiling.kind} {ceiling.component}")
        rows.append((layer.name, count_text(layer.computes), *energy, *time))
    for work in cost.operations:
        energy = (energy_text(work.energy_pj), percent(work.energy_pj / cost.energy_pj, 1))
        rows.append((work.name, "", *energy, count_text(work.cycles), "", "between layers"))
    rows.append(("all", count_text(cost.computes), energy_text(cost.energy_pj), "", count_text(cost.cycles), "", ""))
    header = ("layer", "MACs", "energy", "share", "cycles", "used", "bound by")
    parts = [f"{cost.network} on {cost.target}", table(rows, header, left=(0, 6)), where_text([cost]), *staying([cost])]
    return "\n\n".join(parts)


def staying(costs: Sequence[NetworkCost]) -> list[str]:
    """A line a network whose feature maps stay on chip: where, and which."""
    lines = []
    for cost in costs:
        if cost.resident:
            lines.append(f"{cost.target}: {len(cost.resident)} feature maps stay at {cost.level}: {', '.join(cost.resident)}")
    return lines


def energy_by_space(cost: NetworkCost) -> dict[tuple[str, str], float]:
    """Energy by (component, data space) over all layers [pJ].

    The data space is empty for operations of the compute units, `leakage` for what leaks, and `between layers` for element-wise
    work and pooling. The sum is the network's energy.

    Raises:
        HwloopError: a layer's cost is that of a known mapping, without its parts.
    """
    out: dict[tuple[str, str], float] = {}

    def add(component: str, space: str, energy_pj: float) -> None:
        if energy_pj:
            out[component, space] = out.get((component, space), 0.0) + energy_pj

    for layer in cost.layers:
        found = layer.mapped.cost
        for name, component in found.components.items():
            for space, part in component.dataspaces.items():
                add(name, space, part.energy_pj)
            add(name, "leakage", component.leakage_pj)
            if not component.dataspaces:
                add(name, "", component.energy_pj - component.leakage_pj)
        for name, wires in found.networks.items():
            for space, energy in wires.dataspaces.items():
                add(name, space, energy)
    for work in cost.operations:
        for name, energy in work.component_energy_pj.items():
            add(name, "between layers", energy)
    return out


def where_text(costs: Sequence[NetworkCost]) -> str:
    """Where the energy goes, a line a component and data space, a column a dataflow."""
    found = [energy_by_space(cost) for cost in costs]
    names = dict.fromkeys(name for parts in found for name, _ in parts)
    keys = [key for name in names for key in dict.fromkeys(k for parts in found for k in parts if k[0] == name)]
    rows = []
    for name, space in keys:
        cells = []
        for cost, parts in zip(costs, found, strict=True):
            energy = parts.get((name, space), 0.0)
            cells.append(f"{energy_text(energy)} {percent(energy / cost.energy_pj, 1):>6}" if energy else "-")
        rows.append((name, space, *cells))
    return "where the energy goes\n\n" + table(rows, ("component", "data", *(cost.target for cost in costs)), left=(0, 1))


def network_document(cost: NetworkCost) -> dict[str, Any]:
    """A mapped network as plain data."""
    layers = [layer_document(layer.name, layer.mapped) for layer in cost.layers]
    sums = {"energy_pj": cost.energy_pj, "cycles": cost.cycles}
    return {"network": cost.network, "target": cost.target, **sums, "layers": layers, **_between(cost)}


def _between(cost: NetworkCost) -> dict[str, Any]:
    """Work between layers and maps that stay, as plain data."""
    work = [
        {"operation": o.name, "energy_pj": o.energy_pj, "cycles": o.cycles, "components": o.component_energy_pj}
        for o in cost.operations
    ]
    return {"operations": work, "resident": {"level": cost.level, "maps": list(cost.resident)}}


def layer_document(name: str, result: MapResult) -> dict[str, Any]:
    """A mapped layer as plain data."""
    return {"layer": name, **result.to_dict()}


def comparison_text(costs: Sequence[NetworkCost], left_out: Mapping[str, HwloopError]) -> str:
    """A line a dataflow, the least energy first, then where each one's energy goes, and which dataflows fit no mapping."""
    ordered = sorted(costs, key=lambda cost: cost.energy_pj)
    least = ordered[0].energy_pj
    rows = []
    for cost in ordered:
        cells = (energy_text(cost.energy_pj), f"{cost.energy_pj / least:.2f}x", count_text(cost.cycles))
        rows.append(
            (cost.target, *cells, percent(cost.utilization, 0), f"{cost.edp:.3g}", f"{cost.energy_pj / cost.computes:.2f}")
        )
    header = ("dataflow", "energy", "against least", "cycles", "used", "EDP [pJ cycles]", "pJ/MAC")
    parts = [ordered[0].network, table(rows, header), where_text(ordered), *staying(ordered)]
    return "\n".join(["\n\n".join(parts), *(f"left out: {refusal}" for refusal in left_out.values())])


def comparison_document(costs: Sequence[NetworkCost], left_out: Mapping[str, HwloopError]) -> dict[str, Any]:
    """A comparison as plain data."""
    dataflows = []
    for cost in costs:
        layers = [{"layer": layer.name, "energy_pj": layer.energy_pj, "cycles": layer.cycles} for layer in cost.layers]
        sums = {"energy_pj": cost.energy_pj, "cycles": cost.cycles, "components": cost.component_energy_pj}
        spaces = [{"component": c, "data_space": s, "energy_pj": e} for (c, s), e in energy_by_space(cost).items()]
        dataflows.append({"dataflow": cost.target, **sums, "data_spaces": spaces, "layers": layers, **_between(cost)})
    return {"dataflows": dataflows, "left_out": [str(refusal) for refusal in left_out.values()]}
