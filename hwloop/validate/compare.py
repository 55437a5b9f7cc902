"""Two costs of one mapping side by side: what the real Timeloop says and what hwloop says."""

from __future__ import annotations

from collections.abc import Iterator

from hwloop.backend.timeloop.stats import Difference
from hwloop.simulator import DataSpaceCost, LayerCost

_COUNTS = (
    "tile_size", "capacity", "instances", "reads", "fills", "updates", "temporal_reductions", "algorithmic_reads",
    "algorithmic_fills", "algorithmic_updates", "gated_reads", "gated_fills", "gated_updates", "skipped_reads", "skipped_fills",
    "skipped_updates",
)  # fmt: skip
_HALF_DECIMAL = 0.00501  # Timeloop prints two decimals [pJ]
_HALF_PER_CENT_DECIMAL = 0.0000501  # of utilisation, printed in percent


def compare_costs(found: LayerCost, real: LayerCost) -> Iterator[tuple[bool, Difference]]:
    """Every quantity that both have.

    Args:
        found: what hwloop says.
        real: what Timeloop said, read back from what it printed, so that energies carry two decimals a data space.

    Yields:
        (equal, the two numbers), one pair a quantity.
    """
    yield _pair("cycles", "", real.cycles, found.cycles)
    yield _pair("computes", "", real.computes, found.computes)
    for name in ("actual_computes", "gated_computes", "skipped_computes"):
        yield _pair(name.replace("_", " "), "", getattr(real, name), getattr(found, name))
    yield _pair("utilization", "", real.utilization, found.utilization, _HALF_PER_CENT_DECIMAL)
    printed = sum(2 + 3 * len(c.dataspaces) for c in real.components.values())
    printed += sum(3 * len(network.dataspaces) for network in real.networks.values())
    yield _pair("energy", "", real.energy_pj, found.energy_pj, _HALF_DECIMAL * printed)
    for name, network in real.networks.items():
        carried = found.networks[name].energy_pj if name in found.networks else 0.0
        yield _pair("network energy", name, network.energy_pj, carried, 3 * len(network.dataspaces) * _HALF_DECIMAL)
    for name, theirs in real.components.items():
        if name not in found.components:
            yield False, Difference("components", name, 1, 0)
            continue
        ours = found.components[name]
        yield _pair("leakage", name, theirs.leakage_pj, ours.leakage_pj, _HALF_DECIMAL)
        if theirs.dataspaces:
            yield _pair("level cycles", name, theirs.cycles, ours.cycles)
        for space, values in theirs.dataspaces.items():
            if space not in ours.dataspaces:
                yield False, Difference("kept data spaces", f"{name}.{space}", 1, 0)
                continue
            yield from _compare_space(f"{name}.{space}", ours.dataspaces[space], values)


def _compare_space(where: str, ours: DataSpaceCost, theirs: DataSpaceCost) -> Iterator[tuple[bool, Difference]]:
    for name in _COUNTS:
        yield _pair(name.replace("_", " "), where, getattr(theirs, name), getattr(ours, name))
    for kind, ranks in theirs.metadata.items():
        own = ours.metadata.get(kind, ((0.0, 0.0),) * len(ranks))
        for i, (expected, counted) in enumerate(zip(ranks, own, strict=True)):
            for a, b in zip(expected, counted, strict=True):
                yield _pair(f"metadata {kind.replace('_', ' ')}s", f"{where} rank {len(ranks) - 1 - i}", a, b)
    yield _pair("data space energy", where, theirs.energy_pj, ours.energy_pj, 3 * _HALF_DECIMAL)


def _pair(quantity: str, where: str, expected: float, found: float, room: float = 0.0) -> tuple[bool, Difference]:
    near = abs(expected - found) <= room + (1e-9 * abs(expected) if room else 0.0)
    return near, Difference(quantity, where, expected, found)
