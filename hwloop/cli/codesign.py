"""`hwloop codesign`: accelerator and network searched together."""

from __future__ import annotations

import argparse

from hwloop.cli import compress
from hwloop.cli.common import DEFAULT_ARCH, Subparsers, add_command, print_json
from hwloop.errors import SpecError
from hwloop.report.designs import design_text
from hwloop.run.design_search import OBJECTIVES, design_targets

_EXAMPLE = """hwloop codesign PE_column.spatial.meshX+PE.spatial.meshY=4..16:4 shared_glb.attributes.depth=2048..16384:*2 \\
      --model lenet5 --arch flexible --dataflow row_stationary --out runs/codesign
  hwloop codesign weights_spad.attributes.depth=32..256:*2 --model lenet5 --objectives accuracy,energy \\
      --budget 'area<=1.5mm2' --out runs/small"""
_DESCRIPTION = """Searches fields of an accelerator's spec together with pruning and bits: every candidate is a network on an
accelerator of its own, with energy and area estimated for it. Fields and values are written as in `hwloop sweep`; everything else
is as in `hwloop compress`. Area is an objective (the default: accuracy, energy, area) or a budget (area<=2mm2)."""


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    parser = add_command(commands, "codesign", "search accelerator and network together", _EXAMPLE, _DESCRIPTION)
    parser.add_argument("fields", nargs="+", metavar="FIELD=VALUES", help="a field of the spec and what it may be")
    compress.add_arguments(parser)
    parser.set_defaults(objectives=",".join(OBJECTIVES), arch=[DEFAULT_ARCH])


def run(args: argparse.Namespace) -> int:
    """Runs the search and prints the fronts with their accelerators."""
    from hwloop.run.outputs import document, result_text

    if len(args.arch) > 2:  # the default comes first
        raise SpecError("<arguments>", "--arch", "one accelerator to vary", args.arch[1:])
    targets = design_targets(args.arch[-1], args.fields, args.dataflow, energy=args.energy, activations=args.activations)
    result = compress.search(args, targets, None)
    if args.json:
        print_json(document(result))
        return 0
    print(result_text(result))
    for front in result.fronts:
        print(f"\n{design_text(front)}")
    return 0


def interrupted(args: argparse.Namespace) -> str:
    """What Ctrl-C leaves."""
    return compress.interrupted(args)
