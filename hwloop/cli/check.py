"""`hwloop check`: are these files right, and do they fit together? Runs nothing."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from hwloop.cli.common import Subparsers, add_command, add_template, print_json, read_variables
from hwloop.run.checks import ERROR, check_specs

_EXAMPLE = """hwloop check my_arch.yaml
  hwloop check my_arch.yaml layer.yaml mapping.yaml my_ert.yaml
  hwloop check my_dataflow.yaml --arch flexible"""
_DESCRIPTION = """Reads accelerators, layers, mappings, dataflows, energy tables, networks and plans, and says what
each file is, what each mistake is and where, and whether the files fit together. Exit code 1
when there is a mistake; warnings are what runs and is perhaps not what was meant."""


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    parser = add_command(commands, "check", "validate specs without running anything", _EXAMPLE, _DESCRIPTION)
    parser.add_argument("files", nargs="+", metavar="FILE", help="specs, in any order")
    parser.add_argument("--arch", metavar="NAME|FILE", help="an accelerator that the files belong to")
    parser.add_argument("--dataflow", metavar="NAME|FILE", help="a dataflow that the files belong to")
    parser.add_argument(
        "--energy", metavar="SOURCE", help="as in `hwloop map` (default: an energy table among the files, else shipped)"
    )
    add_template(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Checks and prints a line a finding."""
    found = check_specs(args.files, args.arch, args.dataflow, args.energy, read_variables(args), args.include)
    errors = sum(finding.kind == ERROR for finding in found)
    if args.json:
        print_json({"errors": errors, "findings": [asdict(finding) for finding in found]})
    else:
        for finding in found:
            print(finding)
        print("no mistakes found" if not errors else f"{errors} mistake{'s' if errors > 1 else ''}")
    return 1 if errors else 0
