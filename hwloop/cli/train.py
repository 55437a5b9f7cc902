"""`hwloop train`: a network's weights, from nothing."""

from __future__ import annotations

import argparse

from hwloop.cli.common import Subparsers, add_command, add_data, add_output, print_json, progress_of
from hwloop.errors import SpecError
from hwloop.network.training.settings import OPTIMIZERS, PRECISIONS, SCHEDULES, TrainConfig
from hwloop.report.tables import percent

_EXAMPLE = """hwloop train --model lenet5 --data mnist --data-root data --epochs 10 --out lenet5.pt
  hwloop train --model vgg16_cifar10 --data cifar10 --data-root data --hours 2 --batch-size 128 --rate 0.1 --out vgg16.pt"""


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    default = TrainConfig()
    parser = add_command(commands, "train", "train a network and save its weights", _EXAMPLE)
    add_data(parser)
    parser.add_argument("--weights", metavar="FILE", help="start from this checkpoint")
    parser.add_argument("--epochs", type=int, metavar="N", help=f"(default: {default.epochs})")
    parser.add_argument("--hours", type=float, metavar="H", help="train for as long as this in place of a number of epochs")
    parser.add_argument("--device", default="auto", metavar="NAME", help="cpu, cuda, ... (default: the GPU when there is one)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of everything that is drawn (default: %(default)s)")
    parser.add_argument("--out", required=True, metavar="FILE", help="checkpoint to write; `compress --weights` reads it")
    parser.add_argument(
        "--resume", action="store_true", help="go on after the last epoch that was finished, which OUT.state keeps, if any was"
    )
    how = parser.add_argument_group("recipe")
    how.add_argument(
        "--batch-size", type=int, default=default.batch_size, metavar="N", help="images of a step (default: %(default)s)"
    )
    how.add_argument(
        "--rate",
        type=float,
        default=default.learning_rate,
        metavar="RATE",
        help="learning rate at its highest (default: %(default)s)",
    )
    how.add_argument("--optimizer", default=default.optimizer, choices=OPTIMIZERS, help="(default: %(default)s)")
    how.add_argument("--schedule", default=default.schedule, choices=SCHEDULES, help="(default: %(default)s)")
    how.add_argument(
        "--warmup", type=float, default=default.warmup, metavar="PART", help="part of the training (default: %(default)s)"
    )
    how.add_argument("--weight-decay", type=float, default=default.weight_decay, metavar="W", help="(default: %(default)s)")
    how.add_argument("--label-smoothing", type=float, default=default.label_smoothing, metavar="S", help="(default: %(default)s)")
    how.add_argument(
        "--averaging", type=float, default=default.averaging, metavar="EPOCHS",
        help="how far the average of the weights reaches back; 0 for the last step's (default: %(default)s)",
    )  # fmt: skip
    how.add_argument("--cutout", type=int, default=0, metavar="PIXELS", help="side of a square that is blanked in each image")
    how.add_argument(
        "--sizes", default="auto", metavar="A,B,...",
        help="sides of the training images, each for an equal part of the training, or none; auto: three quarters of the side in "
        "the first half, where the network takes that",
    )  # fmt: skip
    how.add_argument(
        "--precision", default=default.precision, choices=PRECISIONS,
        help="auto: the fastest that suits network and device (default: %(default)s)",
    )  # fmt: skip
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Trains and says how well."""
    from hwloop.run.training import train_network  # loads torch, which help does not need

    outcome = train_network(
        args.model, args.data, args.out,
        data_root=args.data_root, image_size=args.image_size, normalisation=args.normalisation, weights=args.weights,
        training=_config(args), progressive=args.sizes == "auto", device=args.device, resume=args.resume,
        progress=progress_of(args),
    )  # fmt: skip
    if args.json:
        print_json(outcome.to_dict())
    else:
        print(
            f"{args.model}: validation accuracy {percent(outcome.validation_accuracy)}, "
            f"test accuracy {percent(outcome.test_accuracy)} after {len(outcome.epochs)} epochs in {outcome.seconds:.1f} s"
        )
        print(f"weights: {outcome.file}")
    return 0


def interrupted(args: argparse.Namespace) -> str:
    """What Ctrl-C leaves."""
    return f"{args.out} is as it was before; the epochs that were finished are kept, and the same command with --resume goes on"


def _config(args: argparse.Namespace) -> TrainConfig:
    if args.epochs is not None and args.hours is not None:
        raise SpecError("<arguments>", "--hours", "one of --epochs and --hours", args.hours)
    return TrainConfig(
        epochs=TrainConfig.epochs if args.epochs is None else args.epochs, hours=args.hours, batch_size=args.batch_size,
        learning_rate=args.rate, optimizer=args.optimizer, weight_decay=args.weight_decay, schedule=args.schedule,
        warmup=args.warmup, label_smoothing=args.label_smoothing, averaging=args.averaging, cutout=args.cutout,
        sizes=_sizes(args.sizes), precision=args.precision, seed=args.seed,
    )  # fmt: skip


def _sizes(text: str) -> tuple[int, ...]:
    if text in ("auto", "none"):
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SpecError("<arguments>", "--sizes", "auto, none, or pixels such as 24,32", text) from None
