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
    rows.append(("all", count_text(cost.computes), energy_text(cost.energy_pj), "", count_text(cost.cycles), "", ""))
    header = ("layer", "MACs", "energy", "share", "cycles", "used", "bound by")
    return f"{cost.network} on {cost.target}\n\n{table(rows, header, left=(0, 6))}"


def network_document(cost: NetworkCost) -> dict[str, Any]:
    """A mapped network as plain data."""
    layers = [layer_document(layer.name, layer.mapped) for layer in cost.layers]
    sums = {"energy_pj": cost.energy_pj, "cycles": cost.cycles}
    return {"network": cost.network, "target": cost.target, **sums, "layers": layers}


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
    names = list(dict.fromkeys(name for cost in ordered for name in cost.component_energy_pj))
    shares = []
    for cost in ordered:
        parts = cost.component_energy_pj
        shares.append((cost.target, *(percent(parts.get(name, 0.0) / cost.energy_pj, 1) for name in names)))
    tables = f"{table(rows, header)}\n\nwhere the energy goes\n\n{table(shares, ('dataflow', *names))}"
    return "\n".join([f"{ordered[0].network}\n\n{tables}", *(f"left out: {refusal}" for refusal in left_out.values())])


def comparison_document(costs: Sequence[NetworkCost], left_out: Mapping[str, HwloopError]) -> dict[str, Any]:
    """A comparison as plain data."""
    dataflows = []
    for cost in costs:
        layers = [{"layer": layer.name, "energy_pj": layer.energy_pj, "cycles": layer.cycles} for layer in cost.layers]
        sums = {"energy_pj": cost.energy_pj, "cycles": cost.cycles, "components": cost.component_energy_pj}
        dataflows.append({"dataflow": cost.target, **sums, "layers": layers})
    return {"dataflows": dataflows, "left_out": [str(refusal) for refusal in left_out.values()]}
