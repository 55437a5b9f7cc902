"""`hwloop demo`: the main job on the embedded digits, from nothing."""

from __future__ import annotations

import argparse

from hwloop.cli.common import Subparsers, add_command, add_output, print_json, progress_of

_DESCRIPTION = """Trains a LeNet-5 on the handwritten digits inside scikit-learn, builds a library of
pruned models, searches pruning and bits under three dataflows of one accelerator (equal
area, equal storage), and draws the Pareto fronts. Run it twice to see what the memo table
saves; a run that was stopped is continued."""


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    parser = add_command(
        commands, "demo", "compress a LeNet-5 on handwritten digits under three dataflows, from nothing, in minutes",
        "hwloop demo --out hwloop-demo", _DESCRIPTION,
    )  # fmt: skip
    parser.add_argument("--out", default="hwloop-demo", metavar="DIR", help="folder of the results (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of everything that is drawn (default: %(default)s)")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the demo."""
    from hwloop.run.demo import demo, demo_text  # what help does not need
    from hwloop.run.outputs import document

    result = demo(args.out, args.seed, progress_of(args))
    if args.json:
        print_json(document(result))
    else:
        print(demo_text(result))
    return 0


def interrupted(args: argparse.Namespace) -> str:
    """What Ctrl-C leaves."""
    return f"everything computed so far is kept in {args.out}; run `hwloop demo` again to continue"
