"""`hwloop simulate`: what my mapping costs on my accelerator, as `timeloop-model` does."""

from __future__ import annotations

import argparse

from hwloop.backend.target import make_targets
from hwloop.cli.common import DEFAULT_ARCH, Subparsers, accelerator, add_command, add_template, print_json, read_variables
from hwloop.cli.networks import add_save, print_csv, save_rows
from hwloop.report.case import Asked
from hwloop.run.simulation import simulate_layer
from hwloop.spec.mapping import load_mapping
from hwloop.spec.problem import load_problem

_EXAMPLE = """hwloop simulate layer.yaml --mapping mapping.yaml --arch eyeriss_168
  hwloop simulate layer.yaml --mapping mapping.yaml --arch my_arch.yaml --energy my_ert.yaml --weight-bits 8"""
_DESCRIPTION = """Costs one mapping of one layer: energy, cycles and counts by level and data space, equal to
timeloop-model's. `hwloop map ... --output mapping.yaml` writes such a mapping. Exit code 1 and the
reason where the accelerator cannot run it."""


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    parser = add_command(commands, "simulate", "what one mapping of one layer costs", _EXAMPLE, _DESCRIPTION)
    parser.add_argument("problem", metavar="FILE", help="a Timeloop problem")
    parser.add_argument("--mapping", required=True, metavar="FILE", help="a Timeloop mapping")
    parser.add_argument("--arch", default=DEFAULT_ARCH, metavar="NAME|FILE", help="(default: %(default)s)")
    parser.add_argument(
        "--energy", default="shipped", metavar="SOURCE",
        help="shipped, hwcomponents, accelergy, table, or a table's file (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--weight-bits", type=int, metavar="N", help="bits per weight (default: the accelerator's)")
    parser.add_argument("--activation-bits", type=int, metavar="N", help="bits per input activation (default: likewise)")
    parser.add_argument("--density", type=float, default=1.0, metavar="D", help="fraction of weights kept (default: 1)")
    parser.add_argument("--input-density", type=float, default=1.0, metavar="D", help="of input activations (default: 1)")
    add_template(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_save(parser)


def run(args: argparse.Namespace) -> int:
    """Simulates and prints."""
    asked = Asked(args.weight_bits, args.activation_bits, args.density, args.input_density, args.energy)
    variables = read_variables(args)
    [target] = make_targets(accelerator(args), None, args.energy)
    problem, mapping = (
        load(path, variables, args.include) for load, path in ((load_problem, args.problem), (load_mapping, args.mapping))
    )
    found = simulate_layer(problem, target, mapping, asked=asked)
    if args.json:
        print_json(found.document())
    elif args.csv:
        print_csv(found.rows())
    else:
        print(found.text())
    save_rows(found, args)
    return 0
