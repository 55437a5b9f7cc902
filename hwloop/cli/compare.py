"""`hwloop compare`: networks on accelerators under dataflows, at bits and densities, side by side."""

from __future__ import annotations

import argparse

from hwloop.cli.common import DEFAULT_ARCH, Subparsers, add_command, print_json, progress_of, read_variables, terminal_width
from hwloop.cli.networks import (
    BITS_HELP,
    add_network,
    add_question,
    add_rows,
    check_rows,
    print_csv,
    read_bits,
    read_densities,
    read_models,
    save_rows,
)
from hwloop.errors import SpecError
from hwloop.memo import Memo
from hwloop.run.comparison import DATAFLOWS, compare
from hwloop.spec.resources import open_architecture
from hwloop.spec.workload import load_workload

_EXAMPLE = """hwloop compare --model lenet5 --arch flexible
  hwloop compare --model resnet18 --model mobilenet_v2 --arch flexible --bits 16,8 --save bars.png --save totals.csv
  hwloop compare --model resnet20 --arch eyeriss_168 --arch flexible --dataflow row_stationary --equal-area"""
_DESCRIPTION = """Maps every network on every accelerator under every dataflow, at all bits and densities,
and sets energy, cycles, energy-delay product, use of the MAC units and area side by side,
and by level and data space where the energy goes. What fits no mapping is left out, and the
output says so. Every number opens with `hwloop explain`."""


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    parser = add_command(commands, "compare", "networks, accelerators and dataflows side by side", _EXAMPLE, _DESCRIPTION)
    add_network(parser, several=True)
    grid = parser.add_argument_group("what is compared")
    grid.add_argument(
        "--arch", action="append", metavar="NAME|FILE", help=f"an accelerator; repeat for more (default: {DEFAULT_ARCH})"
    )
    grid.add_argument(
        "--dataflow", action="append", metavar="NAME|FILE",
        help=f"repeat for more (default: the accelerator's own; {', '.join(DATAFLOWS)} where it has none)",
    )  # fmt: skip
    grid.add_argument("--bits", metavar="N[/N],...", help=BITS_HELP)
    grid.add_argument("--weight-bits", type=int, metavar="N", help="bits per weight alone, in place of --bits")
    grid.add_argument("--activation-bits", type=int, metavar="N", help="bits per activation alone, in place of --bits")
    grid.add_argument("--density", default="1", metavar="D,...", help="fractions of weights kept (default: %(default)s)")
    grid.add_argument("--input-density", default="1", metavar="D,...", help="fractions of inputs that are not zero (default: 1)")
    grid.add_argument(
        "--equal-area", nargs="?", const="first", metavar="MM2",
        help="bring every accelerator to this area, or to that of the first, by the size of its global buffer",
    )  # fmt: skip
    add_question(parser, arch=False)
    add_rows(parser)


def run(args: argparse.Namespace) -> int:
    """Maps every case and prints the comparison."""
    check_rows(args)
    bits = read_bits(args.bits)
    if args.weight_bits or args.activation_bits:
        if args.bits:
            raise SpecError("<arguments>", "--bits", "no --weight-bits and --activation-bits beside it", args.bits)
        bits = [(args.weight_bits, args.activation_bits)]
    weights, inputs = read_densities(args.density, "--density"), read_densities(args.input_density, "--input-density")
    area = _area(args.equal_area)
    if not args.model and not args.workload:
        raise SpecError(
            "<arguments>", "--model, --workload", "at least one network", None, "hwloop list models shows their names"
        )
    archs = [
        open_architecture(name, read_variables(args), args.include) if args.set else name for name in args.arch or [DEFAULT_ARCH]
    ]
    networks = [*read_models(args.model, args), *(load_workload(name) for name in args.workload)]
    memo = None if args.memo is None else Memo(args.memo)
    try:
        found = compare(
            networks, archs, args.dataflow, bits=bits, densities=[(w, i) for w in weights for i in inputs], equal_area=area,
            energy=args.energy, activations=args.activations, objective=args.objective, effort=args.effort, seed=args.seed,
            simulator=args.simulator, memo=memo, workers=args.workers, progress=progress_of(args),
        )  # fmt: skip
    finally:
        if memo is not None:
            memo.close()
    if args.json:
        print_json(found.document())
    elif args.csv:
        print_csv(found.rows(args.rows))
    else:
        print(found.text(terminal_width()))
    save_rows(found, args)
    return 0


def _area(text: str | None) -> float | bool:
    if text is None or text == "first":
        return text is not None
    try:
        return float(text)
    except ValueError:
        raise SpecError(
            "<arguments>", "--equal-area", "an area [mm^2], or nothing for that of the first accelerator", text
        ) from None
