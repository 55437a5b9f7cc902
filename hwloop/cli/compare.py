"""`hwloop compare`: one network on one accelerator under several dataflows, at equal area and storage."""

from __future__ import annotations

import argparse

from hwloop.cli.common import (
    Subparsers,
    accelerator,
    add_activations,
    add_command,
    add_memo,
    add_output,
    add_simulator,
    add_template,
    print_json,
    progress_of,
)
from hwloop.memo import Memo
from hwloop.report.costs import comparison_document, comparison_text
from hwloop.run.networks import compare_dataflows
from hwloop.spec.plan import make_plan
from hwloop.spec.workload import load_workload

_EXAMPLE = """hwloop compare --model lenet5 --channels 1 --image-size 28 --arch flexible
  hwloop compare --model resnet20 --arch flexible_skipping --dataflow xy --dataflow cico --weight-bits 4 --density 0.2"""
_DESCRIPTION = """Maps a network on one accelerator under each dataflow and sets the energies, cycles and, by component,
where the energy goes side by side. A dataflow under which a
layer fits no mapping is left out, and the output says so."""
DATAFLOWS = ("row_stationary", "weight_stationary", "output_stationary")


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    parser = add_command(
        commands, "compare", "the same network on one accelerator under several dataflows", _EXAMPLE, _DESCRIPTION
    )
    network = parser.add_mutually_exclusive_group(required=True)
    network.add_argument("--model", metavar="NAME", help="of the zoo, of torchvision, or package.module:function")
    network.add_argument("--workload", metavar="FILE", help="a workload written by hwloop")
    parser.add_argument("--image-size", type=int, default=32, metavar="PIXELS", help="(default: %(default)s)")
    parser.add_argument("--channels", type=int, default=3, help="of the images (default: %(default)s)")
    parser.add_argument("--classes", type=int, default=10, help="(default: %(default)s)")
    parser.add_argument("--arch", default="flexible", metavar="NAME|FILE", help="(default: %(default)s)")
    parser.add_argument(
        "--dataflow", action="append", metavar="NAME|FILE", help=f"repeat for more (default: {', '.join(DATAFLOWS)})"
    )
    parser.add_argument("--energy", default="shipped", metavar="SOURCE", help="as in `hwloop map` (default: %(default)s)")
    parser.add_argument("--weight-bits", type=int, metavar="N", help="bits per weight (default: the accelerator's)")
    parser.add_argument("--activation-bits", type=int, metavar="N", help="bits per input activation")
    parser.add_argument("--density", type=float, default=1.0, metavar="D", help="fraction of weights kept (default: %(default)s)")
    parser.add_argument("--input-density", type=float, default=1.0, metavar="D", help="(default: %(default)s)")
    parser.add_argument("--objective", default="edp", choices=("edp", "energy", "cycles"), help="(default: %(default)s)")
    parser.add_argument("--effort", default="normal", choices=("quick", "normal", "thorough"), help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    add_template(parser)
    add_activations(parser)
    add_simulator(parser)
    add_memo(parser)
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Maps under each dataflow and prints the comparison."""
    if args.model is not None:
        from hwloop.network.training.prepare import named_workload  # loads torch, which a workload file does not need

        workload = named_workload(args.model, args.channels, args.image_size, args.classes)
    else:
        workload = load_workload(args.workload)
    plan = make_plan(workload, args.density, args.input_density, args.weight_bits, args.activation_bits)
    memo = None if args.memo is None else Memo(args.memo)
    try:
        found = compare_dataflows(
            workload, accelerator(args), args.dataflow or DATAFLOWS, plan=plan, energy=args.energy,
            activations=args.activations, objective=args.objective, effort=args.effort, seed=args.seed, simulator=args.simulator,
            memo=memo, workers=args.workers, progress=progress_of(args),
        )  # fmt: skip
    finally:
        if memo is not None:
            memo.close()
    if args.json:
        print_json(comparison_document(found.costs, found.left_out))
    else:
        print(comparison_text(found.costs, found.left_out))
    return 0
