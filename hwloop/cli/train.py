"""`hwloop train`: a network's weights, from nothing."""

from __future__ import annotations

import argparse

from hwloop.cli.common import Subparsers, add_command, add_data, add_output, print_json, progress_of
from hwloop.report.tables import percent

_EXAMPLE = "hwloop train --model lenet5 --data mnist --data-root data --epochs 10 --out lenet5.pt"


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    parser = add_command(commands, "train", "train a network and save its weights", _EXAMPLE)
    add_data(parser)
    parser.add_argument("--weights", metavar="FILE", help="start from this checkpoint")
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="images of a step (default: %(default)s)")
    parser.add_argument(
        "--rate", type=float, default=0.05, metavar="RATE", help="learning rate at its highest (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of everything that is drawn (default: %(default)s)")
    parser.add_argument("--out", required=True, metavar="FILE", help="checkpoint to write; `compress --weights` reads it")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Trains and says how well."""
    from hwloop.run.training import train_network  # loads torch, which help does not need

    outcome = train_network(
        args.model, args.data, args.out,
        data_root=args.data_root, image_size=args.image_size, normalisation=args.normalisation, weights=args.weights,
        epochs=args.epochs, batch_size=args.batch_size, learning_rate=args.rate, seed=args.seed, progress=progress_of(args),
    )  # fmt: skip
    if args.json:
        print_json(outcome.to_dict())
    else:
        print(
            f"{args.model}: validation accuracy {percent(outcome.validation_accuracy)}, "
            f"test accuracy {percent(outcome.test_accuracy)} after {args.epochs} epochs in {outcome.seconds:.1f} s"
        )
        print(f"weights: {outcome.file}")
    return 0


def interrupted(args: argparse.Namespace) -> str:
    """What Ctrl-C leaves."""
    return f"{args.out} is as it was before"
