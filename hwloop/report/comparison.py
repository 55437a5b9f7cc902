"""Cases side by side: as text that fits a terminal, and as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from hwloop.report.breakdown import Row, energy_by_space, keys_of, layer_rows, total_row
from hwloop.report.case import WIDTH, Case, accelerator_text, folded, subject_text
from hwloop.report.costs import beside, between, staying, where_text
from hwloop.report.notes import notes
from hwloop.report.tables import count_text, energy_text, percent, table
from hwloop.units import PJ_PER_J

# Columns by importance: the last ones go first where a table would be wider than a terminal.
_COLUMNS = ("energy", "x", "cycles", "used", "area", "EDP", "latency", "pJ/MAC", "MACs")
_MOST_WHERE = 6  # cases of a network whose energies are laid out in the text
_WORDS = (
    "energy, cycles: of one batch, all layers; x: against the least of the table; used: part of the MAC units' time spent on the "
    "layers' own MACs; the MACs' leakage is in no total, as in Timeloop; columns that do not fit here are in "
    "--csv; bits, density: of weights and inputs, or weights/inputs"
)


def comparison_text(cases: Sequence[Case], left_out: Mapping[str, Exception], width: int | None = None) -> str:
    """A table a network, the least energy first, then where each case's energy goes, and what was left out.

    Args:
        cases: at least one.
        left_out: by name, what fits no mapping, and why.
        width: of the tables; that of a terminal when None.
    """
    width = width or WIDTH
    parts = [_head(cases)]
    for network in dict.fromkeys(case.workload.name for case in cases):
        group = sorted((case for case in cases if case.workload.name == network), key=lambda case: case.cost.energy_pj)
        parts += _network(group, varying(cases), width)
    parts.append(folded([_WORDS, *_notes(cases), *staying([case.cost for case in cases])]))
    if len(cases) == 1:
        parts.append(folded(["one case: name several --dataflow, --arch, --bits or --density to compare"]))
    parts += [folded([f"left out: {name}: {refusal}"]) for name, refusal in left_out.items()]
    return "\n\n".join(parts)


def keys_text(case: Case) -> dict[str, str]:
    """What tells a case from others, in words: bits `8`, or `4/8` of weights and activations, and densities likewise."""
    row = keys_of(case)
    pairs = {"bits": (row["weight_bits"], row["activation_bits"]), "density": (row["weight_density"], row["input_density"])}
    out = {"accelerator": case.accelerator, "dataflow": case.dataflow}
    return out | {name: f"{w:g}" if w == a else f"{w:g}/{a:g}" for name, (w, a) in pairs.items()}


def varying(cases: Sequence[Case]) -> list[str]:
    """The keys in which the cases differ, apart from the network; the dataflow where they differ in nothing."""
    found = [keys_text(case) for case in cases]
    return [name for name in found[0] if len({texts[name] for texts in found}) > 1] or ["dataflow"]


def case_names(cases: Sequence[Case], networks: bool = True) -> list[str]:
    """A short name a case: what it differs in from the others."""
    several = networks and len({case.workload.name for case in cases}) > 1
    units = {"bits": " bits", "density": " dense"}
    out = []
    for case in cases:
        texts = keys_text(case)
        named = [f"{texts[name]}{units.get(name, '')}" for name in varying(cases)]
        out.append(" ".join(([case.workload.name] if several else []) + named))
    return out


def _head(cases: Sequence[Case]) -> str:
    """What all cases share, and what each accelerator is."""
    first, keys = cases[0], varying(cases)
    networks = {case.workload.name: subject_text(case.workload) for case in cases}
    accelerators = {case.accelerator: case for case in cases}
    lines = [*networks.values()]
    for case in accelerators.values():
        scaled = f"; {case.scaled}" if case.scaled else ""
        lines.append(f"on {accelerator_text(case.target.arch, case.area_mm2)}{scaled}")
    shared = [] if "dataflow" in keys else [f"dataflow {first.dataflow}"]
    if "bits" not in keys:
        shared.append(first.asked.bits_text(first.target.arch))
    if "density" not in keys:
        shared.append(first.asked.density_text())
    if len(accelerators) == 1:
        shared.append("area and storage are the same for all")
    return folded([*lines, "; ".join(shared), first.asked.how_text()])


def _network(group: Sequence[Case], keys: Sequence[str], width: int) -> list[str]:
    cells = [_cells(case, group[0].cost.energy_pj) for case in group]
    texts = [keys_text(case) for case in group]
    numbered = list(keys) != ["dataflow"] or any(len(case.dataflow) > 17 for case in group)
    names = [f"#{i}" for i in range(1, len(group) + 1)] if numbered else [case.dataflow for case in group]
    columns = [name for name in _COLUMNS if name != "area" or "accelerator" in keys]
    while True:
        header = [*(["#"] if numbered else []), *keys, *columns]
        lines = []
        for name, own, cell in zip(names, texts, cells, strict=True):
            lines.append([*([name] if numbered else []), *(own[key] for key in keys), *(cell[column] for column in columns)])
        text = table(lines, header, left=[i for i, h in enumerate(header) if h in ("#", "accelerator", "dataflow")])
        if len(text.splitlines()[1]) <= width or len(columns) <= 2:
            break
        columns = columns[:-1]
    shown = group[:_MOST_WHERE]
    title = group[0].workload.name
    if len(shown) < len(group):
        said = f"{len(group)} cases; below is where the energy of the first {len(shown)} goes, of all in --rows parts --csv"
        text = f"{text}\n{folded([said])}"
    return [f"{title}\n\n{text}", where_text([case.cost for case in shown], names[: len(shown)])]


def _cells(case: Case, least: float) -> dict[str, str]:
    row = total_row(case)
    return {
        "energy": energy_text(row["energy_pj"]),
        "x": f"{row['energy_pj'] / least:.2f}",
        "cycles": count_text(row["cycles"]),
        "latency": time_text(row["latency_s"]),
        "used": percent(row["utilization"], 0),
        "EDP": f"{energy_text(row['edp_js'] * PJ_PER_J)} s",
        "area": "-" if row["area_mm2"] is None else f"{row['area_mm2']:.3g} mm^2",
        "pJ/MAC": f"{row['energy_per_mac_pj']:.2f}",
        "MACs": count_text(row["macs"]),
    }


def time_text(seconds: float) -> str:
    """`1.23 ms`."""
    return energy_text(seconds * PJ_PER_J).replace("J", "s")


def _notes(cases: Sequence[Case]) -> list[str]:
    """Once an accelerator."""
    names = list(dict.fromkeys(case.accelerator for case in cases))
    found: list[str] = []
    for name in names:
        own = [case for case in cases if case.accelerator == name]
        said = notes([case.target for case in own], [case.asked for case in own])
        found += [f"{name}: {note}" if len(names) > 1 and name not in note else note for note in said]
    padded = {case.workload.name: beside(case.cost).padded_computes for case in cases}
    if any(padded.values()):
        found.append(
            "some mappings have incomplete passes, whose MACs are paid for and not counted as used (`padded_macs` in --csv)"
        )
    return list(dict.fromkeys(found))


def comparison_document(cases: Sequence[Case], left_out: Mapping[str, Exception]) -> dict[str, Any]:
    """A comparison as plain data."""
    out = []
    for case in cases:
        layers = [_without(row, keys_of(case)) for row in layer_rows(case) if row["kind"] == "layer"]
        spaces = [{"component": c, "data_space": s, "energy_pj": e} for (c, s), e in energy_by_space(case.cost).items()]
        parts = {"components": case.cost.component_energy_pj, "data_spaces": spaces, "layers": layers, **between(case.cost)}
        out.append(total_row(case) | {"head": case.head()} | asdict(beside(case.cost)) | parts)
    return {"dataflows": out, "left_out": {name: str(refusal) for name, refusal in left_out.items()}}


def _without(row: Row, keys: Row) -> Row:
    return {name: value for name, value in row.items() if name not in keys}
