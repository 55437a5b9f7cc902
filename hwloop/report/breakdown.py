"""The numbers of mapped networks as rows of plain values, for tables, files, frames and pictures: in total, by layer, by part.

Every row begins with the keys of its case. Counts of accesses are of one instance and the whole batch,
energies of all instances.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hwloop.backend.network_cost import LayerShare, NetworkCost
from hwloop.report.case import Case, input_shape, own_macs, units_used
from hwloop.simulator.ledger import BETWEEN, LEAKAGE

Row = dict[str, Any]
KINDS = ("total", "layers", "parts")


def rows_of(cases: Sequence[Case], kind: str = "total") -> list[Row]:
    """Rows of `total` (one a case), `layers` (one a layer) or `parts` (one a layer, component and data space)."""
    if kind == "total":
        return [total_row(case) for case in cases]
    rows = layer_rows if kind == "layers" else part_rows
    return [row for case in cases for row in rows(case)]


def keys_of(case: Case) -> Row:
    """What was asked."""
    batch, shape = input_shape(case.workload)
    asked = case.asked
    own = case.target.arch.storage[0].word_bits
    return {
        "network": case.workload.name,
        "input": "x".join(map(str, shape)),
        "batch": batch,
        "accelerator": case.accelerator,
        "dataflow": case.dataflow,
        "weight_bits": asked.weight_bits or own,
        "activation_bits": asked.activation_bits or own,
        "weight_density": asked.weight_density,
        "input_density": asked.input_density,
    }


def total_row(case: Case) -> Row:
    """One case in sum, and how it came about."""
    cost, asked, own = case.cost, case.asked, own_macs(case.cost)
    return keys_of(case) | {
        "energy_pj": cost.energy_pj,
        "cycles": cost.cycles,
        "latency_s": case.latency_s,
        "edp_js": case.edp_js,
        "utilization": units_used(cost),
        "area_mm2": case.area_mm2,
        "macs": own,
        "padded_macs": cost.computes - own,
        "energy_per_mac_pj": cost.energy_pj / own,
        "mac_leakage_pj": sum(layer.mapped.cost.compute_leakage_pj for layer in cost.layers),
        "mac_units": case.target.arch.compute.instances,
        "cycle_s": case.target.arch.cycle_s,
        "scaled": case.scaled,
        "energy": asked.energy,
        "activations": asked.activations,
        "objective": asked.objective if isinstance(asked.objective, str) else "custom",
        "effort": asked.effort,
        "seed": asked.seed,
        "simulator": asked.simulator,
    }


def layer_rows(case: Case) -> list[Row]:
    """A row a layer in execution order, then one for each piece of work between layers."""
    rows = []
    for layer in case.cost.layers:
        found = layer.mapped.cost
        rows.append({
            "layer": layer.name, "kind": "layer", "energy_pj": layer.energy_pj, "cycles": layer.cycles,
            "utilization": found.useful_utilization, "macs": found.computes - found.padded_computes,
            "padded_macs": found.padded_computes, "bound_by": f"{layer.mapped.ceiling.kind} {layer.mapped.ceiling.component}",
        })  # fmt: skip
    rows += [
        {"layer": work.name, "kind": BETWEEN, "energy_pj": work.energy_pj, "cycles": work.cycles, "utilization": 0.0, "macs": 0,
         "padded_macs": 0, "bound_by": ""}
        for work in case.cost.operations
    ]  # fmt: skip
    keys = keys_of(case)
    return [keys | row for row in rows]


def part_rows(case: Case) -> list[Row]:
    """A row a layer, component and data space: the bars of a stacked picture, with the counts behind them."""
    keys = keys_of(case)
    rows = [keys | {"layer": layer.name} | part for layer in case.cost.layers for part in layer_parts(layer)]
    for work in case.cost.operations:
        for component, energy in work.component_energy_pj.items():
            rows.append(keys | {"layer": work.name} | _part(component, BETWEEN, energy))
    return rows


def layer_parts(layer: LayerShare) -> Iterable[Row]:
    """The parts of one layer's energy, outermost level first."""
    found = layer.mapped.cost
    for name, component in found.components.items():
        for space, part in component.dataspaces.items():
            yield _part(name, space, part.energy_pj, part.instances, part.reads, part.fills, part.updates)
        if component.leakage_pj:
            yield _part(name, LEAKAGE, component.leakage_pj, component.instances)
        if not component.dataspaces:
            yield _part(name, "", component.energy_pj - component.leakage_pj, component.instances)
    for name, wires in found.networks.items():
        for space, energy in wires.dataspaces.items():
            yield _part(name, space, energy)


def _part(
    component: str, space: str, energy_pj: float, instances: int = 0, reads: int = 0, fills: int = 0, updates: int = 0
) -> Row:  # fmt: skip
    return {
        "component": component, "data_space": space, "energy_pj": energy_pj, "instances": instances,
        "reads_per_instance": reads, "fills_per_instance": fills, "updates_per_instance": updates,
    }  # fmt: skip


def energy_by_space(cost: NetworkCost) -> dict[tuple[str, str], float]:
    """Energy by (component, data space) over all layers [pJ].

    The data space is empty for operations of the compute units, `leakage` for what leaks, and `between layers` for element-wise
    work and pooling. The sum is the network's energy.

    Raises:
        HwloopError: a layer's cost is that of a known mapping, without its parts.
    """
    out: dict[tuple[str, str], float] = {}
    for layer in cost.layers:
        for part in layer_parts(layer):
            key = (part["component"], part["data_space"])
            out[key] = out.get(key, 0.0) + part["energy_pj"]
    for work in cost.operations:
        for name, energy in work.component_energy_pj.items():
            out[name, BETWEEN] = out.get((name, BETWEEN), 0.0) + energy
    return {key: energy for key, energy in out.items() if energy}
