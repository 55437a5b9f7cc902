"""A sweep as text that fits a terminal of 80 columns: what was asked, and the accelerators that no other one beats."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from hwloop.report.sweeps import SweepResult, SweepRow
from hwloop.report.tables import count_text, energy_text, percent, table

WIDTH = 80
_SHOWN = 20  # rows of a front, evenly spread
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def sweep_text(result: SweepResult, every: bool = False) -> str:
    """The Pareto sets, one a network and its bits and densities, under a head that says what they hold for.

    Args:
        result: the sweep.
        every: all rows, not the Pareto set alone; and all of its rows, however many.
    """
    labels = short_labels(result.paths)
    lines = [*_head(result, labels), ""]
    for question in dict.fromkeys(row.question for row in result.rows):
        rows = [row for row in result.rows if row.question == question]
        lines += [*_part(result, rows, labels, every), ""]
    return "\n".join(lines).rstrip()


def short_labels(paths: Sequence[str]) -> dict[str, str]:
    """The shortest end of each path that no other has: `depth`, or `shared_glb depth` where two have a depth."""
    out = {}
    for path in paths:
        parts = [part for part in path.split(".") if part not in ("attributes", "spatial")]
        for length in range(1, len(parts) + 1):
            end = parts[-length:]
            if sum(p.split(".")[-1] == end[-1] and all(e in p.split(".") for e in end) for p in paths) == 1:
                break
        out[path] = " ".join(end)
    return out


def delay_text(seconds: float) -> str:
    """Three digits and the unit that fits: `8.31 ms`."""
    factor, unit = next((pair for pair in _UNITS if abs(seconds) >= pair[0]), _UNITS[-1])
    value = seconds / factor
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}" if value >= 10 else f"{value:.2f} {unit}"


def value_text(value: Any) -> str:
    """A field's value: without the quotes that make it text in a spec."""
    return value.strip("'\"") if isinstance(value, str) else str(value)


def _head(result: SweepResult, labels: Mapping[str, str]) -> list[str]:
    designs = len({row.design for row in result.rows})
    archs, flows = _names(row.arch for row in result.rows), _names(row.dataflow for row in result.rows if row.dataflow)
    said = f"{designs} accelerators ({', '.join(archs)})" + (f" x {len(flows)} dataflows ({', '.join(flows)})" if flows else "")
    unfit = sum(row.energy_pj is None and not row.failed for row in result.rows)
    failed = sum(row.failed for row in result.rows)
    lines = _wrapped(f"sweep: {said}, {len(result.rows)} rows")
    lines += [line for path, label in labels.items() if label != path for line in _wrapped(f"{label}: {path}")]
    lines += [line for note in result.notes for line in _wrapped(note)]
    if unfit:
        reason = next(row.problem for row in result.rows if row.energy_pj is None and not row.failed)
        lines += _wrapped(f"{unfit} rows have no mapping that fits, the first because: {reason}")
    if failed:
        reason = next(row.problem for row in result.rows if row.failed)
        lines += _wrapped(f"{failed} rows failed and are asked again by the same command; the first: {reason}")
    return lines


def _part(result: SweepResult, rows: Sequence[SweepRow], labels: Mapping[str, str], every: bool) -> list[str]:
    first, known = rows[0], {id(row) for row in result.front}
    found = [row for row in rows if every or id(row) in known]
    found.sort(key=lambda row: (row.energy_pj is None, row.energy_pj or 0.0))
    bits = [
        f"{name} {value} bits" for name, value in (("weights", first.weight_bits), ("inputs", first.activation_bits)) if value
    ]
    dense = [f"density of {n} {v:g}" for n, v in (("weights", first.density), ("inputs", first.input_density)) if v != 1]
    what = ", ".join([first.network, *(bits or ["bits of the accelerator"]), *(dense or ["dense"])])
    if not found:
        return [f"{what}: no accelerator runs it"]
    best = "all rows" if every else f"the {len(found)} of {len(rows)} that no other beats in energy, delay and area"
    shown = found if every else _spread(found, _SHOWN)
    lines = _wrapped(f"{what}: {best}" + (f"; {len(shown)} shown" if len(shown) < len(found) else ""))
    return [*lines, *_table(shown, labels, known if every else set()).splitlines()]


def _table(rows: Sequence[SweepRow], labels: Mapping[str, str], marked: set[int]) -> str:
    columns: dict[str, list[str]] = {}
    if marked:
        columns[""] = ["*" if id(row) in marked else "" for row in rows]
    places: dict[str, list[str]] = {"arch": [row.arch for row in rows], "dataflow": [row.dataflow for row in rows]}
    places |= {label: [value_text(dict(row.fields).get(path, "-")) for row in rows] for path, label in labels.items()}
    constant = {name: cells[0] for name, cells in places.items() if len(set(cells)) == 1}
    columns |= {name: cells for name, cells in places.items() if name not in constant}
    numbers: dict[str, list[str]] = {
        "energy": [_or_dash(row.energy_pj, energy_text) for row in rows],
        "delay": [_or_dash(row.latency_s, delay_text) for row in rows],
        "area mm2": [_or_dash(row.area_mm2, lambda mm2: f"{mm2:.3g}") for row in rows],
        "EDP pJ cyc": [_or_dash(row.edp, lambda edp: f"{edp:.3g}") for row in rows],
        "cycles": [_or_dash(row.cycles, count_text) for row in rows],
        "util": [_or_dash(row.utilization, lambda part: percent(part, 0)) for row in rows],
    }
    for name, cells in numbers.items():
        if name in ("energy", "delay", "area mm2") or _width({**columns, name: cells}) <= WIDTH:
            columns[name] = cells
    same = ", ".join(f"{name} {value}" for name, value in constant.items() if value)
    head = _wrapped(f"all with {same}") if same and len(rows) > 1 else _wrapped(same)
    if _width(columns) <= WIDTH:
        return "\n".join([*head, _set(columns)])
    numbered = {"#": [str(i + 1) for i in range(len(rows))], **{n: c for n, c in columns.items() if n in numbers or not n}}
    points = [
        line
        for i in range(len(rows))
        for line in _wrapped(f"#{i + 1}: " + ", ".join(f"{n} {c[i]}" for n, c in columns.items() if n not in numbers and n))
    ]
    return "\n".join([*head, _set(numbered), *points])


def _set(columns: Mapping[str, list[str]]) -> str:
    left = [i for i, name in enumerate(columns) if name in ("arch", "dataflow", "")]
    return table(list(zip(*columns.values(), strict=True)), list(columns), left=left)


def _width(columns: Mapping[str, list[str]]) -> int:
    return sum(max(len(cell) for cell in (name, *cells)) for name, cells in columns.items()) + 2 * (len(columns) - 1)


def _or_dash(value: Any, text: Any) -> str:
    return "-" if value is None else str(text(value))


def _spread(rows: Sequence[SweepRow], most: int) -> list[SweepRow]:
    if len(rows) <= most:
        return list(rows)
    step = (len(rows) - 1) / (most - 1)
    return [rows[round(i * step)] for i in range(most)]


def _names(words: Any) -> list[str]:
    return list(dict.fromkeys(words))


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
