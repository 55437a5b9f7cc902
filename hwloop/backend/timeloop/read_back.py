"""What `timeloop-model` printed, as the `LayerCost` that the embedded simulator returns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hwloop.backend.timeloop.stats import ENERGIES, metadata_words, parse_stats
from hwloop.simulator import ComponentCost, DataSpaceCost, LayerCost, WiresCost
from hwloop.spec.levels import Architecture
from hwloop.spec.problem import Problem


def cost_from_stats(text: str, architecture: Architecture, problem: Problem) -> LayerCost:
    """Reads a `stats.txt`.

    Energies are the sums of the component energies, which are printed in pJ with two decimals; the total is printed too coarsely.

    Raises:
        SimulatorError: the text is no complete `stats.txt`.
    """
    stats = parse_stats(text)
    blocks = stats["components"]
    computes = blocks[architecture.compute.name]
    stored = [level.name for level in architecture.levels if level.kind != "spatial" and level.name in blocks]
    components = {name: _component(blocks[name]) for name in stored}  # a level that keeps nothing still leaks
    networks = _networks(text)
    actual = int(computes.get("Actual Computes (total)", computes.get("Computes (total)", problem.computes)))
    return LayerCost(
        energy_pj=sum(c.energy_pj for c in components.values()) + sum(n.energy_pj for n in networks.values()),
        cycles=int(stats["cycles"]),
        utilization=float(stats.get("utilization_pct", 0.0)) / 100,
        computes=int(stats["computes"]),
        components=components,
        actual_computes=actual,
        gated_computes=int(computes.get("Gated Computes (total)", 0)),
        skipped_computes=int(computes.get("Skipped Computes (total)", 0)),
        networks=networks,
    )


def partition_size(text: str, component: str, space: str) -> int:
    """Words of a data space that an instance of a component is ever responsible for."""
    return int(parse_stats(text)["components"][component]["dataspaces"][space]["Partition size"])


_NETWORK = re.compile(r"^Network \d+\n-+\n([^\n]+)\n(.*?)(?=^Network \d+\n-+\n|\Z)", re.MULTILINE | re.DOTALL)
_NETWORK_SPACE = re.compile(r"^    (\S+):\n((?:^        .*\n)+)", re.MULTILINE)
_NETWORK_ENERGY = re.compile(
    r"^ +(?:Link transfer energy|Spatial Reduction Energy|Energy) \(total\) +: ([\d.e+]+) pJ$", re.MULTILINE
)


def _networks(text: str) -> dict[str, WiresCost]:
    """The networks that cost something, each with its energy by data space."""
    out: dict[str, WiresCost] = {}
    _, _, networks = text.partition("\nNetworks\n")
    for match in _NETWORK.finditer(networks.partition("\nSummary Stats\n")[0]):
        spaces = {
            space[1]: sum(float(energy) for energy in _NETWORK_ENERGY.findall(space[2]))
            for space in _NETWORK_SPACE.finditer(match[2])
        }
        if any(spaces.values()):
            out[match[1].strip()] = WiresCost(sum(spaces.values()), spaces)
    return out


def _component(block: Mapping[str, Any]) -> ComponentCost:
    spaces = {name: _data_space(values) for name, values in block.get("dataspaces", {}).items()}
    leakage = _number(block, "Leakage energy (total)")
    energy = sum(s.energy_pj for s in spaces.values()) + leakage + _number(block, "Energy (total)")
    used = max(
        (s.instances for s in spaces.values()), default=int(_first(block, "Utilized instances (max)", "Utilized instances"))
    )
    return ComponentCost(energy, leakage, int(_number(block, "Cycles")), used, spaces)


def _data_space(values: Mapping[str, Any]) -> DataSpaceCost:
    counts: dict[str, int] = {}
    for kind in ("reads", "fills", "updates"):
        dense = _first(values, f"Algorithmic scalar {kind} (per-instance)", f"Scalar {kind} (per-instance)")
        counts[f"algorithmic_{kind}"] = int(dense)
        counts[kind] = int(_first(values, f"Actual scalar {kind} (per-instance)", f"Scalar {kind} (per-instance)"))
        counts[f"gated_{kind}"] = int(_number(values, f"Gated scalar {kind} (per-instance)"))
        counts[f"skipped_{kind}"] = int(_number(values, f"Skipped scalar {kind} (per-instance)"))
    capacity = int(_first(values, "Max utilized data storage capacity", "Utilized capacity"))
    return DataSpaceCost(
        tile_size=int(_first(values, "Data tile shape", "Utilized capacity")),
        capacity=capacity,
        instances=int(_number(values, "Utilized instances (max)")),
        temporal_reductions=int(_number(values, "Temporal reductions (per-instance)")),
        energy_pj=sum(_number(values, label) for label in ENERGIES),
        metadata=metadata_words(values),
        **counts,
    )


def _number(values: Mapping[str, Any], label: str) -> float:
    value = values.get(label, 0)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _first(values: Mapping[str, Any], *labels: str) -> float:
    return next((_number(values, label) for label in labels if label in values), 0.0)


def merge_split_levels(cost: LayerCost, origin: Mapping[str, str]) -> LayerCost:
    """Puts levels that were split for mixed precision together again.

    Args:
        cost: of the split accelerator.
        origin: name of each split level -> the level it comes from.
    """
    components: dict[str, ComponentCost] = {}
    for name, part in cost.components.items():
        whole = origin.get(name, name)
        if whole in components:
            old = components[whole]
            part = ComponentCost(
                old.energy_pj + part.energy_pj,
                old.leakage_pj + part.leakage_pj,
                max(old.cycles, part.cycles),
                max(old.instances, part.instances),
                {**old.dataspaces, **part.dataspaces},
            )
        components[whole] = part
    return replace(cost, components=components)
