"""Parses what `timeloop-model` prints into `stats.txt`, and says where a simulated cost differs from it.

Timeloop prints two decimals, so an energy is equal when it rounds to what is printed; counts and cycles must be equal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hwloop.errors import SimulatorError
from hwloop.simulator.result import DataSpaceCost, LayerCost
from hwloop.units import FJ_PER_PJ, PJ_PER_UJ

_HEADING = re.compile(r"^=== (.+) ===$")
_DATA_SPACE = re.compile(r"^ {4}(\S+):$")
_FIELD = re.compile(r"^(.+?)\s*:\s+(.+)$")
_WIRES = " <==> "  # between the names of the levels that a network joins
_RATIO = re.compile(r"^(\S+(?: <==> \S+)?)\s+= (-?[\d.]+|-?nan|inf)$")
_UNIT = re.compile(r" (pJ|bits|um\^2|cycles|words/cycle)$")
_SUMMARY = (
    ("cycles", re.compile(r"^Cycles: (\d+)$"), int),
    ("utilization_pct", re.compile(r"^Utilization: ([\d.]+)%$"), float),
    ("energy", re.compile(r"^Energy: (.*)$"), str),
    ("computes", re.compile(r"^(?:Algorithmic )?Computes = (\d+)$"), int),
    ("actual_computes", re.compile(r"^Actual Computes = (\d+)$"), int),
    ("per_compute_unit", re.compile(r"^(fJ|pJ)/(?:Actual-)?Compute$"), str),
)  # fmt: skip
ENERGIES = ("Energy (total)", "Temporal Reduction Energy (total)", "Address Generation Energy (total)")
_EXACT_IN_DOUBLE = 2**53  # above it a recorded count may have passed through a double (an unsigned count that went below zero)
_RANKED = ("storage capacity", "(per-instance)")  # headings that are followed by one line a rank


def parse_stats(text: str) -> dict[str, Any]:
    """`stats.txt` as a dict.

    Returns:
        `cycles`, `utilization_pct`, `computes` (algorithmic), `actual_computes` (sparse runs), `energy` (as printed, with its
        unit), `fj_per_compute` by component (per actual compute, in `per_compute_unit`), and `components[name]` with the
        printed labels; `dataspaces[name]` inside.

    Raises:
        SimulatorError: the text is no complete `stats.txt`.
    """
    levels, _, rest = text.partition("\nNetworks\n")
    out: dict[str, Any] = {"components": dict(_components(levels.splitlines())), "fj_per_compute": {}}
    per_actual = True
    for line in rest.splitlines():
        line = line.strip()
        for key, pattern, convert in _SUMMARY:
            match = pattern.match(line)
            if match:
                out.setdefault(key, convert(match[1]))
        if re.match(r"^[fp]J/", line):
            per_actual = "Algorithmic" not in line
        match = _RATIO.match(line)
        if match and per_actual and not line.startswith("Computes"):
            out["fj_per_compute"][match[1]] = float(match[2])
    missing = [key for key in ("cycles", "energy", "computes") if key not in out]
    if missing:
        raise SimulatorError(f"not a complete stats.txt: no {', '.join(missing)}", log_tail=text[-400:])
    return out


def _components(lines: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    component: dict[str, Any] = {}
    space: dict[str, Any] | None = None
    heading = ""
    for line in lines:
        text = line.strip()
        match = _HEADING.match(text)
        if match:
            component, space = {}, None
            yield match[1], component
            continue
        match = _DATA_SPACE.match(line)
        if match:
            space = component.setdefault("dataspaces", {}).setdefault(match[1], {})
            continue
        match = _FIELD.match(text)
        if match is None:
            heading = text if space is not None and text.endswith(_RANKED) else ""
            continue
        label = f"{heading} {match[1]}" if heading and match[1].startswith("Rank ") else match[1]
        target = space if space is not None and line.startswith("        ") else component
        target[label] = _value(match[2])


def _value(text: str) -> int | float | str:
    text = _UNIT.sub("", text.strip())
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


@dataclass(frozen=True)
class Difference:
    """One number that is not what was expected.

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


_COUNTS: tuple[tuple[str, str, str], ...] = (
    ("tile_size", "tile_size", "Data tile shape"),
    ("capacity", "capacity", "Utilized capacity"),
    ("capacity", "capacity", "Max utilized data storage capacity"),
    ("instances", "instances", "Utilized instances (max)"),
    ("reads", "reads", "Scalar reads (per-instance)"),
    ("fills", "fills", "Scalar fills (per-instance)"),
    ("updates", "updates", "Scalar updates (per-instance)"),
    ("temporal_reductions", "temporal_reductions", "Temporal reductions (per-instance)"),
    *((kind, f"algorithmic_{kind}", f"Algorithmic scalar {kind} (per-instance)") for kind in ("reads", "fills", "updates")),
    *((kind, kind, f"Actual scalar {kind} (per-instance)") for kind in ("reads", "fills", "updates")),
    *((f"gated {kind}", f"gated_{kind}", f"Gated scalar {kind} (per-instance)") for kind in ("reads", "fills", "updates")),
    *((f"skipped {kind}", f"skipped_{kind}", f"Skipped scalar {kind} (per-instance)") for kind in ("reads", "fills", "updates")),
)
_RANK = re.compile(r"(Actual|Gated|Skipped) scalar format (read|fill|update)s \(per-instance\) Rank (\d+)")
_PAIR = re.compile(r"\(\s*([\d.]+)\s*,\s*([\d.]+)\s*\)")


def compare(
    cost: LayerCost, expected: Mapping[str, Any], count_slack: int = 0, relative: float = 0.0
) -> list[tuple[bool, Difference]]:
    """Every quantity of `expected` beside the simulated one.

    Args:
        cost: what hwloop says.
        expected: what Timeloop said, as `parse_stats` returns it.
        count_slack: by how much counts may differ (1 for sparse runs, where Timeloop rounds several times).
        relative: by which fraction energies may differ beyond the printed decimals.

    Returns:
        (equal, the two numbers), one pair a quantity that both have.
    """
    return list(_compare(cost, expected, count_slack, relative))


def _compare(cost: LayerCost, expected: Mapping[str, Any], slack: int, relative: float) -> Iterator[tuple[bool, Difference]]:
    yield _exact("cycles", "", expected["cycles"], cost.cycles, 0)
    yield _exact("computes", "", expected["computes"], cost.computes, 0)
    if "utilization_pct" in expected:
        yield _printed("utilization", "", expected["utilization_pct"], cost.utilization * 100, relative)
    value, unit = str(expected["energy"]).split()
    yield _printed("energy", "", float(value), cost.energy_pj / (PJ_PER_UJ if unit == "uJ" else 1.0), relative)
    scale = FJ_PER_PJ if expected.get("per_compute_unit", "fJ") == "fJ" else 1.0
    for name, ratio in expected.get("fj_per_compute", {}).items():
        part = cost.components.get(name) or cost.networks.get(name)
        energy = cost.energy_pj if name == "Total" else part.energy_pj if part else 0.0
        known = part is not None or name == "Total" or _WIRES in name  # a network that costs nothing is none of ours
        if known and cost.actual_computes:
            yield _printed("energy per compute", name, ratio, energy * scale / cost.actual_computes, relative)
    for name, block in expected["components"].items():
        if name not in cost.components:
            continue
        component = cost.components[name]
        if "Leakage energy (total)" in block:
            yield _printed("leakage", name, block["Leakage energy (total)"], component.leakage_pj, relative)
        if component.dataspaces and "Cycles" in block:
            yield _exact("level cycles", name, block["Cycles"], component.cycles, 0)
        for label, found in (
            ("Actual Computes (total)", cost.actual_computes),
            ("Gated Computes (total)", cost.gated_computes),
            ("Skipped Computes (total)", cost.skipped_computes),
        ):
            if label in block:
                yield _exact(label.removesuffix(" (total)").lower(), name, block[label], found, slack)
        for space, values in block.get("dataspaces", {}).items():
            if space not in component.dataspaces:
                yield False, Difference("kept data spaces", f"{name}.{space}", 1, 0)
                continue
            yield from _compare_space(f"{name}.{space}", values, component.dataspaces[space], slack, relative)


def _compare_space(
    where: str, values: Mapping[str, Any], found: DataSpaceCost, slack: int, relative: float
) -> Iterator[tuple[bool, Difference]]:
    for quantity, attribute, label in _COUNTS:
        if label in values:
            yield _exact(quantity, where, values[label], getattr(found, attribute), slack)
    for kind, ranks in metadata_words(values).items():
        own = found.metadata.get(kind, ((0.0, 0.0),) * len(ranks))
        for i, (theirs, ours) in enumerate(zip(ranks, own, strict=True)):
            for expected, counted in zip(theirs, ours, strict=True):
                yield _exact(
                    f"metadata {kind.replace('_', ' ')}s", f"{where} rank {len(ranks) - 1 - i}", expected, counted, slack
                )
    energies = [values.get(label, 0.0) for label in ENERGIES]
    if "Energy (total)" in values and all(isinstance(e, (int, float)) for e in energies):
        yield _printed("data space energy", where, sum(energies), found.energy_pj, relative)


def metadata_words(values: Mapping[str, Any]) -> dict[str, tuple[tuple[float, float], ...]]:
    """Words of metadata of one data space, as in `DataSpaceCost.metadata`: (metadata, payload) a rank, outermost first."""
    ranks: dict[str, dict[int, tuple[float, float]]] = {}
    for label, text in values.items():
        match, pair = _RANK.match(label), _PAIR.search(str(text))
        if match and pair:
            kind = match[2] if match[1] == "Actual" else f"{match[1].lower()}_{match[2]}"
            ranks.setdefault(kind, {})[int(match[3])] = (float(pair[1]), float(pair[2]))
    return {kind: tuple(by_rank[i] for i in sorted(by_rank, reverse=True)) for kind, by_rank in ranks.items()}


def _exact(quantity: str, where: str, expected: float, found: float, slack: int) -> tuple[bool, Difference]:
    near = abs(expected - found) <= slack or (abs(expected) > _EXACT_IN_DOUBLE and math.isclose(expected, found, rel_tol=1e-15))
    return near, Difference(quantity, where, expected, found)


def _printed(quantity: str, where: str, expected: float, found: float, relative: float) -> tuple[bool, Difference]:
    room = 0.00501 + (relative + 1e-9) * abs(expected)
    return abs(expected - found) <= room, Difference(quantity, where, expected, found)
