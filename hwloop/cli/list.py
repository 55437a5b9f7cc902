"""`hwloop list`: what is there by name."""

from __future__ import annotations

import argparse

from hwloop.cli.common import Subparsers, add_command, print_json
from hwloop.report.case import WIDTH, folded
from hwloop.report.frames import csv_text
from hwloop.report.tables import table
from hwloop.run.listing import LISTS

_EXAMPLE = """hwloop list
  hwloop list models --json"""


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    parser = add_command(commands, "list", "networks, accelerators, dataflows and component classes by name", _EXAMPLE)
    parser.add_argument("what", nargs="?", choices=tuple(LISTS), help="one list alone (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--csv", action="store_true", help="print one list as CSV")


def run(args: argparse.Namespace) -> int:
    """Prints the lists."""
    chosen = [args.what] if args.what else list(LISTS)
    found = {what: LISTS[what]() for what in chosen}
    if args.json:
        print_json(found)
    elif args.csv:
        print("\n".join(csv_text(rows).rstrip("\n") for rows in found.values()))
    else:
        print("\n\n".join(_text(rows) for rows in found.values()))
    return 0


def _text(rows: list[dict[str, object]]) -> str:
    """A table; what each is stands below it where it would not fit beside."""
    header = list(rows[0])
    cells = [["-" if row[name] is None else str(row[name]) for name in header] for row in rows]
    wide = sum(max(len(line[i]) for line in [header, *cells]) + 2 for i in range(len(header))) > WIDTH + 2
    below = [f"{row[header[0]]}: {row['what']}" for row in rows] if wide and "what" in header else []
    if below:
        header, cells = header[:-1], [line[:-1] for line in cells]
    text = table(cells, header, left=[0, *(i for i, name in enumerate(header) if name in ("what", "from"))])
    return "\n\n".join([text, folded(below)]) if below else text
