"""What the real Timeloop says beside what hwloop says of one mapping, number by number.

Timeloop prints two decimals, so an energy is equal when it rounds to what is printed; counts and cycles must be equal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hwloop.backend.timeloop.stats import ENERGIES, metadata_words
from hwloop.simulator import DataSpaceCost, LayerCost
from hwloop.units import FJ_PER_PJ, PJ_PER_UJ

_HALF_DECIMAL = 0.00501  # of what Timeloop prints: pJ, fJ a compute, percent
_ROUNDING = 1e-9  # of a sum of energies, as a part of it
_EXACT_IN_DOUBLE = 2**53  # above it a recorded count may have passed through a double (an unsigned count that went below zero)
# By attribute of `DataSpaceCost`, the labels it is printed under.
_COUNTS: dict[str, tuple[str, ...]] = {
    "tile_size": ("Data tile shape",),
    "capacity": ("Utilized capacity", "Max utilized data storage capacity"),
    "instances": ("Utilized instances (max)",),
    "temporal_reductions": ("Temporal reductions (per-instance)",),
    **{kind: (f"Scalar {kind} (per-instance)", f"Actual scalar {kind} (per-instance)") for kind in ("reads", "fills", "updates")},
    **{
        f"{how}_{kind}": (f"{how.capitalize()} scalar {kind} (per-instance)",)
        for how in ("algorithmic", "gated", "skipped")
        for kind in ("reads", "fills", "updates")
    },
}
PRINTED = ("energy", "energy per compute", "data space energy", "network energy", "leakage", "utilization")  # not counted
_COMPUTES = ("actual_computes", "gated_computes", "skipped_computes")


@dataclass(frozen=True)
class Difference:
    """One number that both have.

    Attributes:
        quantity: what it is, e.g. `reads`, `cycles`, `energy`.
        where: component and data space, empty for the whole.
        expected: what Timeloop printed.
        found: what hwloop computed.
    """

    quantity: str
    where: str
    expected: float
    found: float


Pair = tuple[bool, Difference]


def compare_costs(found: LayerCost, real: LayerCost) -> Iterator[Pair]:
    """Every quantity that both costs have.

    Args:
        found: what hwloop says.
        real: what Timeloop said, read back from what it printed, so that energies carry two decimals a data space.

    Yields:
        (equal, the two numbers), one pair a quantity.
    """
    yield _count("cycles", "", real.cycles, found.cycles)
    yield _count("computes", "", real.computes, found.computes)
    for name in _COMPUTES:
        yield _count(_words(name), "", getattr(real, name), getattr(found, name))
    yield _printed("utilization", "", real.utilization, found.utilization, room=_HALF_DECIMAL / 100)
    decimals = sum(2 + 3 * len(c.dataspaces) for c in real.components.values())
    decimals += sum(3 * len(network.dataspaces) for network in real.networks.values())
    yield _printed("energy", "", real.energy_pj, found.energy_pj, room=_HALF_DECIMAL * decimals)
    for name, network in real.networks.items():
        carried = found.networks[name].energy_pj if name in found.networks else 0.0
        yield _printed("network energy", name, network.energy_pj, carried, room=3 * len(network.dataspaces) * _HALF_DECIMAL)
    for name, theirs in real.components.items():
        if name not in found.components:
            yield False, Difference("components", name, 1, 0)
            continue
        ours = found.components[name]
        yield _printed("leakage", name, theirs.leakage_pj, ours.leakage_pj)
        if theirs.dataspaces:
            yield _count("level cycles", name, theirs.cycles, ours.cycles)
        for space, values in theirs.dataspaces.items():
            where = f"{name}.{space}"
            if space not in ours.dataspaces:
                yield False, Difference("kept data spaces", where, 1, 0)
                continue
            counted = ours.dataspaces[space]
            for attribute in _COUNTS:
                yield _count(_words(attribute), where, getattr(values, attribute), getattr(counted, attribute))
            yield from _metadata(where, values.metadata, counted)
            yield _printed("data space energy", where, values.energy_pj, counted.energy_pj, room=3 * _HALF_DECIMAL)


def compare_stats(cost: LayerCost, expected: Mapping[str, Any], count_slack: int = 0, relative: float = 0.0) -> list[Pair]:
    """Every quantity of a printed `stats.txt` beside the simulated one.

    Args:
        cost: what hwloop says.
        expected: what Timeloop printed, as `parse_stats` returns it.
        count_slack: by how much counts may differ (1 for sparse runs, where Timeloop rounds several times).
        relative: by which fraction energies may differ beyond the printed decimals.

    Returns:
        (equal, the two numbers), one pair a quantity that both have.
    """
    return list(_compare_stats(cost, expected, count_slack, relative))


def _compare_stats(cost: LayerCost, expected: Mapping[str, Any], slack: int, relative: float) -> Iterator[Pair]:
    yield _count("cycles", "", expected["cycles"], cost.cycles)
    yield _count("computes", "", expected["computes"], cost.computes)
    if "utilization_pct" in expected:
        yield _printed("utilization", "", expected["utilization_pct"], cost.utilization * 100, relative)
    value, unit = str(expected["energy"]).split()
    yield _printed("energy", "", float(value), cost.energy_pj / (PJ_PER_UJ if unit == "uJ" else 1.0), relative)
    scale = FJ_PER_PJ if expected.get("per_compute_unit", "fJ") == "fJ" else 1.0
    for name, ratio in expected.get("fj_per_compute", {}).items():
        part = cost.components.get(name) or cost.networks.get(name)
        if part is None and name in expected["components"]:  # a fan-out that leaks: in the total alone
            continue
        energy = cost.energy_pj if name == "Total" else part.energy_pj if part else 0.0
        if cost.actual_computes and (part or ratio or name == "Total"):  # networks that cost nothing are printed by some versions
            yield _printed("energy per compute", name, ratio, energy * scale / cost.actual_computes, relative)
    for name, block in expected["components"].items():
        if name not in cost.components:
            continue
        component = cost.components[name]
        if "Leakage energy (total)" in block:
            yield _printed("leakage", name, block["Leakage energy (total)"], component.leakage_pj, relative)
        if component.dataspaces and "Cycles" in block:
            yield _count("level cycles", name, block["Cycles"], component.cycles)
        for attribute in _COMPUTES:
            label = f"{_words(attribute).title()} (total)"
            if label in block:
                yield _count(_words(attribute), name, block[label], getattr(cost, attribute), slack)
        for space, values in block.get("dataspaces", {}).items():
            if space not in component.dataspaces:
                yield False, Difference("kept data spaces", f"{name}.{space}", 1, 0)
                continue
            yield from _compare_block(f"{name}.{space}", values, component.dataspaces[space], slack, relative)


def _compare_block(where: str, values: Mapping[str, Any], found: DataSpaceCost, slack: int, relative: float) -> Iterator[Pair]:
    for attribute, labels in _COUNTS.items():
        for label in labels:
            if label in values:
                yield _count(_words(attribute), where, values[label], getattr(found, attribute), slack)
    yield from _metadata(where, metadata_words(values), found, slack)
    energies = [values.get(label, 0.0) for label in ENERGIES]
    if "Energy (total)" in values and all(isinstance(e, (int, float)) for e in energies):
        yield _printed("data space energy", where, sum(energies), found.energy_pj, relative)


def _metadata(
    where: str, theirs: Mapping[str, tuple[tuple[float, float], ...]], found: DataSpaceCost, slack: int = 0
) -> Iterator[Pair]:
    for kind, ranks in theirs.items():
        own = found.metadata.get(kind, ((0.0, 0.0),) * len(ranks))
        for i, (expected, counted) in enumerate(zip(ranks, own, strict=True)):
            for a, b in zip(expected, counted, strict=True):
                yield _count(f"metadata {_words(kind)}s", f"{where} rank {len(ranks) - 1 - i}", a, b, slack)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _count(quantity: str, where: str, expected: float, found: float, slack: int = 0) -> Pair:
    near = abs(expected - found) <= slack or (abs(expected) > _EXACT_IN_DOUBLE and math.isclose(expected, found, rel_tol=1e-15))
    return near, Difference(quantity, where, expected, found)


def _printed(
    quantity: str, where: str, expected: float, found: float, relative: float = 0.0, room: float = _HALF_DECIMAL
) -> Pair:
    near = abs(expected - found) <= room + (relative + _ROUNDING) * abs(expected)
    return near, Difference(quantity, where, expected, found)
