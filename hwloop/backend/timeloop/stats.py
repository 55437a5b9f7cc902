"""Parses what `timeloop-model` prints into `stats.txt`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hwloop.errors import SimulatorError

_HEADING = re.compile(r"^=== (.+) ===$")
_DATA_SPACE = re.compile(r"^ {4}(\S+):$")
_FIELD = re.compile(r"^(.+?)\s*:\s+(.+)$")
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


_RANK = re.compile(r"(Actual|Gated|Skipped) scalar format (read|fill|update)s \(per-instance\) Rank (\d+)")
_PAIR = re.compile(r"\(\s*([\d.]+)\s*,\s*([\d.]+)\s*\)")


def metadata_words(values: Mapping[str, Any]) -> dict[str, tuple[tuple[float, float], ...]]:
    """Words of metadata of one data space, as in `DataSpaceCost.metadata`: (metadata, payload) a rank, outermost first."""
    ranks: dict[str, dict[int, tuple[float, float]]] = {}
    for label, text in values.items():
        match, pair = _RANK.match(label), _PAIR.search(str(text))
        if match and pair:
            kind = match[2] if match[1] == "Actual" else f"{match[1].lower()}_{match[2]}"
            ranks.setdefault(kind, {})[int(match[3])] = (float(pair[1]), float(pair[2]))
    return {kind: tuple(by_rank[i] for i in sorted(by_rank, reverse=True)) for kind, by_rank in ranks.items()}
