"""Energies opened down to accesses times entries of the energy table, as rows and as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from hwloop.report.breakdown import Row
from hwloop.report.case import folded
from hwloop.report.tables import component_text, energy_text, percent, table
from hwloop.simulator.ledger import Entry

Parts = Sequence[tuple[str, Sequence[Entry]]]
_WORDS = (
    "values, rows: of one instance; a row is what one access moves; energy = rows x instances x pJ/row, of all instances. For "
    "the MACs and for leakage, rows are operations and cycles."
)


def opened_rows(parts: Parts) -> list[Row]:
    """A plain row an entry."""
    return [{"layer": name} | asdict(entry) for name, entries in parts for entry in entries]


def explanation_text(head: str, parts: Parts, chosen: str, energy_pj: float, whole_pj: float, width: int | None = None) -> str:
    """Every entry of one layer; of several layers a line each for what was chosen, or the bars that can be opened.

    Args:
        head: what was asked.
        parts: (layer, its entries).
        chosen: what was chosen, in words; empty when nothing.
        energy_pj: sum of the entries.
        whole_pj: of the whole network or layer.
        width: of a terminal; None shortens no name.
    """
    of = f"{energy_text(energy_pj)}, {percent(energy_pj / whole_pj, 1)} of {energy_text(whole_pj)}"
    title = f"{chosen or 'everything'}: {of}"
    if len(parts) == 1:
        return "\n\n".join([head, title, *_blocks(parts[0][1]), folded([_WORDS]), _sources(parts[0][1])])
    by_layer = _by_layer(parts, energy_pj, width)
    bars = _bars(parts, energy_pj)
    hint = "open a layer with --layer NAME, a bar with --level NAME and --data NAME"
    return "\n\n".join([head, title, by_layer, bars, folded([hint]), _sources([e for _, entries in parts for e in entries])])


def _blocks(entries: Sequence[Entry]) -> Iterable[str]:
    """A table a component and data space."""
    marks = _marks(entries)
    for component, space in dict.fromkeys((entry.component, entry.data_space) for entry in entries):
        own = [entry for entry in entries if (entry.component, entry.data_space) == (component, space)]
        rows = [
            (entry.access, _exact(entry.words), entry.words_per_row or "-", _exact(entry.accesses), _exact(entry.instances),
             entry.entry, f"{entry.entry_pj:.6g}", f"{entry.energy_pj:.7g}", marks[entry.source])
            for entry in own
        ]  # fmt: skip
        header = ("access", "values each", "a row", "rows each", "inst.", "entry", "pJ/row", "energy [pJ]", "source")
        title = f"{component_text(component)} {space}".strip()
        sum_pj = sum(entry.energy_pj for entry in own)
        yield f"{title}: {energy_text(sum_pj)}\n" + table(rows, _narrow(header), left=(0, 5))


def _narrow(header: Sequence[str]) -> tuple[str, ...]:
    short = {"values each": "values", "rows each": "rows", "energy [pJ]": "energy pJ", "source": "by"}
    return tuple(short.get(name, name) for name in header)


def _by_layer(parts: Parts, energy_pj: float, width: int | None) -> str:
    rows = []
    for name, entries in parts:
        own = sum(entry.energy_pj for entry in entries)
        accesses = {
            kind: sum(e.accesses * e.instances for e in entries if e.access == kind) for kind in ("read", "fill", "update")
        }
        rows.append(
            (
                name,
                *(_exact(count) if count else "-" for count in accesses.values()),
                energy_text(own),
                percent(own / energy_pj, 1),
            )
        )
    rows.append(("all", *[""] * 3, energy_text(energy_pj), ""))
    header = ("layer", "rows read", "filled", "updated", "energy", "share")
    return table(rows, header, width=width) + "\n" + folded(["rows of all instances, as far as they are chosen"])


def _bars(parts: Parts, energy_pj: float) -> str:
    found: dict[tuple[str, str, str, float], list[float]] = {}
    for _, entries in parts:
        for e in entries:
            sums = found.setdefault(
                (f"{component_text(e.component)} {e.data_space}".strip(), e.access, e.entry, e.entry_pj), [0.0, 0.0]
            )
            sums[0] += e.accesses * e.instances
            sums[1] += e.energy_pj
    rows = [
        (name, access, _exact(count), entry, f"{each:.6g}", energy_text(energy), percent(energy / energy_pj, 1))
        for (name, access, entry, each), (count, energy) in found.items()
    ]
    header = ("level and data", "access", "rows", "entry", "pJ/row", "energy", "share")
    return table(rows, header, left=(0, 1, 3)) + "\n" + folded(["rows of all instances and layers; rows x pJ/row = energy"])


def _marks(entries: Sequence[Entry]) -> dict[str, str]:
    return {source: f"[{i}]" for i, source in enumerate(dict.fromkeys(entry.source for entry in entries), 1)}


def _sources(entries: Sequence[Entry]) -> str:
    return folded([f"{mark} {source}" for source, mark in _marks(entries).items()])


def _exact(value: float) -> str:
    """A whole number in full; else as many digits as tell."""
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"
