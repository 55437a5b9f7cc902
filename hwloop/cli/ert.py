"""`hwloop ert`: the energy table of an accelerator, with the source of every number; or two sources side by side."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from hwloop.cli.common import Subparsers, add_command, add_template, print_json, read_variables
from hwloop.energy import SOURCES, area_mm2, estimate_energy_table
from hwloop.energy.listing import Difference, action_lines, differences
from hwloop.energy.shipped import interpolation_error
from hwloop.errors import EnergyTableError, SpecError
from hwloop.report.tables import table
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.levels import Architecture
from hwloop.spec.resources import open_architecture, open_table
from hwloop.spec.shipped import architecture_names, find_architecture

_EXAMPLE = """hwloop ert eyeriss_168
  hwloop ert flexible --bits W=4,I=8
  hwloop ert eyeriss_168 --compare hwcomponents"""
_DESCRIPTION = f"""Prints pJ an access (a row of a storage, an operation, an instance's leakage in a cycle) and pJ a word,
the area, and who says so. Shipped accelerators: {", ".join(architecture_names())}."""
_DATA_SPACES = {"W": "Weights", "I": "Inputs", "O": "Outputs"}


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    parser = add_command(
        commands, "ert", "the energy table of an accelerator, with the source of every number", _EXAMPLE, _DESCRIPTION
    )
    parser.add_argument("arch", metavar="ARCH", help="a shipped accelerator or a file")
    sources = f"{', '.join(SOURCES)} (the file beside ARCH), or a file (default: %(default)s)"
    parser.add_argument("--energy", default="shipped", metavar="SOURCE", help=sources)
    parser.add_argument("--compare", metavar="SOURCE", help="set a second source beside the first, with the difference")
    parser.add_argument(
        "--bits", metavar="W=8,I=8", help="bits of a weight and an input (default: what the accelerator was built for)"
    )
    add_template(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Prints one table, or the comparison of two."""
    arch, bits = open_architecture(args.arch, read_variables(args), args.include), read_bits(args.bits)
    first = _table(args.arch, arch, args.energy, bits)
    if args.compare is None:
        _print_table(args, arch, first)
    else:
        _print_comparison(args, arch, first, _table(args.arch, arch, args.compare, bits))
    return 0


def read_bits(text: str | None) -> dict[str, int] | None:
    """Reads `W=8,I=8`; None stays None.

    Raises:
        SpecError: anything else.
    """
    if text is None:
        return None
    bits = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name.upper() not in _DATA_SPACES or not value.isdigit() or int(value) < 1:
            raise SpecError("<arguments>", "--bits", "W=8,I=8 (also O)", text)
        bits[_DATA_SPACES[name.upper()]] = int(value)
    return bits


def _table(name: str, arch: Architecture, source: str, bits: dict[str, int] | None) -> EnergyTable:
    if source != "table":
        return estimate_energy_table(arch, source, bits)
    beside = open_table(name)
    if beside is None:
        raise EnergyTableError(f"no energy table beside {find_architecture(name)}; name another source or a file")
    return beside


def _print_table(args: argparse.Namespace, arch: Architecture, energies: EnergyTable) -> None:
    lines = action_lines(arch, energies)
    has_areas = all(line.area_um2 is not None for line in lines)
    if args.json:
        total = area_mm2(arch, energies) if has_areas else None
        print_json(
            {"architecture": arch.name, "energy": args.energy, "area_mm2": total, "lines": [asdict(line) for line in lines]}
        )
        return
    rows, sources = [], dict.fromkeys(line.source or "not stated" for line in lines)
    marks = {source: str(i) for i, source in enumerate(sources, 1)}
    last = ""
    for line in lines:
        new = line.component != last
        name = f"{line.component} x{line.instances}" if new and line.instances > 1 else line.component if new else ""
        area = _number(line.area_um2) if new else ""
        rows.append((name, line.action, _number(line.energy_pj), _number(line.word_pj), area, marks[line.source or "not stated"]))
        last = line.component
    print(table(rows, ("component", "action", "pJ/access", "pJ/word", "um^2 each", "source"), left=(0, 1)))
    for source, mark in marks.items():
        print(f"[{mark}] {source}")
    if has_areas:
        print(f"total area of the components: {area_mm2(arch, energies):.3f} mm^2 (wires, control and pads are not in it)")
    if args.energy == "shipped" and any("interpolated" in source for source in sources):
        _print_interpolation()


def _print_interpolation() -> None:
    error = interpolation_error()
    parts = [
        f"{name} {100 * error[name]['median']:.0f}% / {100 * error[name]['p90']:.0f}%"
        for name in ("read", "write", "leak", "area")
    ]
    print(f"interpolated figures differ from CACTI's own by (median / 90% of {error['points']} random sizes): {', '.join(parts)}")


def _print_comparison(args: argparse.Namespace, arch: Architecture, first: EnergyTable, second: EnergyTable) -> None:
    found = differences(arch, first, second)
    both = [abs(d.relative) for d in found if d.relative is not None]
    if args.json:
        print_json({
            "architecture": arch.name, "first": args.energy, "second": args.compare, "largest": max(both, default=None),
            "lines": [asdict(d) | {"relative": d.relative} for d in found],
        })  # fmt: skip
        return
    rows: list[tuple[str, ...]] = []
    last = ""
    for d in found:
        unit = " [um^2]" if d.quantity == "area" else ""
        rows.append(
            (d.component if d.component != last else "", d.quantity + unit, _number(d.first), _number(d.second), _change(d))
        )
        last = d.component
    print(table(rows, ("component", "action", args.energy, args.compare, "difference"), left=(0, 1)))
    within = sum(value <= 0.05 for value in both)
    print(f"{within} of {len(both)} entries agree within 5%; the largest difference is {100 * max(both, default=0.0):.1f}%")


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


def _change(d: Difference) -> str:
    relative: Any = d.relative
    return "-" if relative is None else f"{100 * relative:+.1f}%"
