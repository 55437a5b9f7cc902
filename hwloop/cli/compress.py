"""`hwloop compress`: the main job on a network, data and accelerators of one's own."""

from __future__ import annotations

import argparse
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwloop.cli.common import (
    DEFAULT_ARCH,
    Subparsers,
    add_activations,
    add_command,
    add_data,
    add_memo,
    add_output,
    add_simulator,
    print_json,
    progress_of,
    read_fractions,
    read_range,
)
from hwloop.errors import SpecError
from hwloop.run import settings
from hwloop.search.method import METHODS, describe_method
from hwloop.search.objectives import OBJECTIVES
from hwloop.search.options import split_options
from hwloop.search.space import SPACES

if TYPE_CHECKING:
    from hwloop.run.outputs import CompressResult

_EXAMPLE = """hwloop compress --model lenet5 --data mnist --data-root data --arch eyeriss_168_gating --out runs/lenet5
  hwloop compress --model resnet20 --weights resnet20.th --normalisation imagenet --data cifar10 --data-root data \\
      --arch flexible_gating --dataflow row_stationary --dataflow weight_stationary --budget 'energy<=20uJ' --out runs/resnet20"""


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    add_arguments(
        add_command(commands, "compress", "prune and quantise a network for an accelerator: the two-stage search", _EXAMPLE)
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of a search."""
    default = settings.Settings()
    add_data(parser)
    parser.add_argument("--weights", metavar="FILE", help="checkpoint of the trained network; it is trained here when not given")
    target = parser.add_argument_group("accelerator")
    target.add_argument(
        "--arch",
        action="append",
        metavar="NAME|FILE",
        help="accelerator; repeat to search on several (default: eyeriss_168)",
    )
    target.add_argument("--dataflow", action="append", metavar="NAME|FILE", help="constraints on the mapping; repeat to compare")
    target.add_argument(
        "--energy", default=default.energy, metavar="SOURCE", help="shipped, hwcomponents, accelergy, table, or a table's file"
    )
    add_activations(target)
    add_simulator(target)
    target.add_argument("--effort", default=default.mapper_effort, choices=settings.EFFORTS,
        help="how long the mapper looks (default: %(default)s)")  # fmt: skip
    search = parser.add_argument_group("search")
    search.add_argument(
        "--objectives", default=",".join(default.objectives), metavar="A,B,...",
        help=f"what is traded off, among {', '.join(OBJECTIVES)} (default: %(default)s)",
    )  # fmt: skip
    search.add_argument(
        "--budget", action="append", default=[], metavar="TEXT",
        help="what must hold: 'energy<=2uJ', 'accuracy>=97%%', ...; repeat for more",
    )  # fmt: skip
    search.add_argument(
        "--method", default=default.method, metavar="NAME",
        help=f"{', '.join(METHODS)}, or package.module:Class of your own (default: %(default)s)",
    )  # fmt: skip
    search.add_argument(
        "--method-option", action="append", default=[], metavar="NAME=VALUE",
        help="a setting of the method; repeat for more. " + "; ".join(f"{name}: {describe_method(name)}" for name in METHODS),
    )  # fmt: skip
    search.add_argument("--population", type=int, metavar="N", help="short for --method-option population=N")
    search.add_argument("--generations", type=int, metavar="N", help="short for --method-option generations=N")
    search.add_argument("--evaluations", type=int, metavar="N", help="stop a search after this many candidates")
    search.add_argument("--images", type=int, metavar="N", help="stop a search after networks ran on this many images")
    search.add_argument(
        "--space", default=default.space, metavar="NAME",
        help=f"what may be changed: {', '.join(SPACES)}, or package.module:Class (default: %(default)s)",
    )  # fmt: skip
    search.add_argument(
        "--space-option", action="append", default=[], metavar="NAME=VALUE", help="an option of the space; repeat for more"
    )
    search.add_argument("--weight-bits", default="2-16", metavar="LOW-HIGH", help="bits per weight (default: %(default)s)")
    search.add_argument(
        "--activation-bits",
        default="8",
        metavar="N|LOW-HIGH|none",
        help="a fixed number, a range to search, or none for those of the reference (default: %(default)s)",
    )
    search.add_argument(
        "--coding", default=default.coding, choices=settings.CODINGS, help="how the stored model is coded (default: %(default)s)"
    )
    search.add_argument(
        "--validation", default=default.validation, metavar="WHERE",
        help="what the search scores on: held-out (training images), test:N (N test images; the report has the others), or auto: "
        "held-out unless the weights given were trained on them (default: %(default)s)",
    )  # fmt: skip
    search.add_argument(
        "--published-accuracy", metavar="PERCENT",
        help="of the weights given, on the test set, e.g. 91.73%%: what auto holds them against, without a look at the test set",
    )  # fmt: skip
    search.add_argument("--validation-images", type=int, metavar="N", help="score on this many validation images (default: all)")
    search.add_argument("--train-images", type=int, metavar="N", help="use this many training images, validation included")
    search.add_argument("--seed", type=int, default=0, metavar="N", help="of everything that is drawn (default: %(default)s)")
    _add_layers(parser.add_argument_group("layers"), default)
    library = parser.add_argument_group("library of pruned models")
    library.add_argument(
        "--library", metavar="DIR", help="its folder, made when missing; runs can share one (default: OUT/library)"
    )
    library.add_argument(
        "--pruning", metavar="P,P,...",
        help="amounts that networks are pruned to by steps, with retraining, e.g. 0.3,0.5,0.9 or 0.05:0.95:0.05; 0 retrains "
        "nothing (default: 0.7,0.8,0.9 with second-order, twelve from 0.1 to 0.95 with magnitude)",
    )  # fmt: skip
    library.add_argument(
        "--library-mode",
        default=default.library_mode,
        choices=settings.LIBRARY_MODES,
        help="how its models are pruned: all on one way, or each from the trained model (default: %(default)s)",
    )
    library.add_argument(
        "--library-epochs",
        type=int,
        default=default.library_epochs,
        metavar="N",
        help="epochs of retraining after each step of pruning (default: %(default)s)",
    )
    library.add_argument(
        "--library-rate",
        type=float,
        default=default.library_learning_rate,
        metavar="RATE",
        help="learning rate of retraining (default: %(default)s)",
    )
    library.add_argument(
        "--distillation", type=float, metavar="SHARE",
        help="share of retraining's loss that is the distance from the trained network's scores (default: 0.9 with "
        "second-order, 0 with magnitude)",
    )  # fmt: skip
    library.add_argument(
        "--epochs",
        type=int,
        default=default.epochs,
        metavar="N",
        help="epochs of training, without --weights (default: %(default)s)",
    )
    tuned = parser.add_argument_group("fine-tuning after the search")
    tuned.add_argument(
        "--finetune", type=int, metavar="EPOCHS",
        help="train members of the front further, their weights on their levels; reported apart, the front stays as it is",
    )  # fmt: skip
    tuned.add_argument(
        "--finetune-members", default="knee", metavar="WHICH",
        help="knee, best (least energy within 0.3 points), all, or a number of them (default: %(default)s)",
    )  # fmt: skip
    tuned.add_argument("--finetune-rate", type=float, default=0.005, metavar="RATE", help="learning rate (default: %(default)s)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the run")
    parser.add_argument(
        "--resume", action="store_true", help="continue the run in OUT; its result is that of a run that was never stopped"
    )
    add_memo(parser)
    add_output(parser)


def _add_layers(group: Any, default: settings.Settings) -> None:
    """How layers are compressed, and where they are kept."""
    group.add_argument(
        "--compression", default=default.compression, choices=settings.COMPRESSIONS,
        help="second-order: each layer is pruned and rounded so that its outputs change least, and kept in a bank; magnitude: "
        "the smallest weights go, the rest to the nearest levels, as in the paper (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--one-shot", metavar="P,P,...",
        help="pruning amounts reached without retraining, from the library's network that is pruned next less; none for none "
        "(default: 0.05:0.95:0.05 with second-order, none with magnitude)",
    )  # fmt: skip
    group.add_argument("--bank", metavar="DIR", help="folder of the bank, made when missing; runs can share one "
                       "(default: bank in the library's folder)")  # fmt: skip
    group.add_argument("--bank-limit", type=float, metavar="GIB", help="what the bank may take on disk (default: 4)")
    group.add_argument(
        "--fill-bank",
        action="store_true",
        help="make all layers that the search can ask for ahead of it; stopped, it goes on where it was",
    )
    group.add_argument(
        "--calibration-images", type=int, default=default.calibration_images, metavar="N",
        help="training images that layers are seen on (default: %(default)s)",
    )  # fmt: skip
    group.add_argument("--bias-correction", action="store_true", help="shift the mean outputs of the bank's layers back")
    group.add_argument(
        "--batchnorm", default=default.batchnorm, choices=settings.BATCHNORMS,
        help="its statistics: those of the base, or measured anew for each candidate on plain or augmented training images "
        "(default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--batchnorm-images", type=int, default=default.batchnorm_images, metavar="N", help="how many (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the search and prints the fronts."""
    from hwloop.run.outputs import document, result_text

    result = search(args, args.arch or [DEFAULT_ARCH], args.dataflow)
    if args.json:
        print_json(document(result))
    else:
        print(result_text(result))
    return 0


def search(args: argparse.Namespace, targets: Any, dataflows: Any) -> CompressResult:
    """Does what the arguments say, on these accelerators under these dataflows."""
    from hwloop.run.compression import compress  # loads torch, which help does not need
    from hwloop.run.finetuning import Finetuning

    finetune = None if args.finetune is None else Finetuning(args.finetune, args.finetune_members, args.finetune_rate)
    return compress(
        args.model,
        args.data,
        targets,
        dataflows,
        settings_of(args),
        library_dir=args.library,
        bank_dir=args.bank,
        bank_bytes=None if args.bank_limit is None else _read_gib(args.bank_limit),
        fill=args.fill_bank,
        finetune=finetune,
        data_root=args.data_root,
        weights=args.weights,
        normalisation=args.normalisation,
        image_size=args.image_size,
        run_dir=args.out,
        memo=args.memo or Path(args.out) / "memo.sqlite",
        resume=args.resume,
        workers=args.workers,
        progress=progress_of(args),
    )


def interrupted(args: argparse.Namespace) -> str:
    """What Ctrl-C leaves."""
    return (
        f"trained and pruned models, mapper results and every evaluation so far are kept in {args.out}; "
        "the same command with --resume continues it, to the same front"
    )


def settings_of(args: argparse.Namespace) -> settings.Settings:
    """What the arguments of a search say."""
    text = args.activation_bits
    activations = None if text == "none" else read_range(text, "activation_bits")
    if activations is not None and activations[0] == activations[1]:
        activations = activations[0]  # type: ignore[assignment]
    return settings.Settings(
        objectives=tuple(part.strip() for part in args.objectives.split(",") if part.strip()),
        budgets=tuple(args.budget),
        method=args.method,
        method_options=_method_options(args),
        space=args.space,
        space_options=split_options(args.space_option, "space option"),
        evaluations=args.evaluations,
        images=args.images,
        weight_bits=read_range(args.weight_bits, "weight_bits"),
        activation_bits=activations,
        coding=args.coding,
        compression=args.compression,
        pruning=read_fractions(args.pruning, "pruning") if args.pruning else None,
        one_shot=() if args.one_shot == "none" else read_fractions(args.one_shot, "one_shot") if args.one_shot else None,
        calibration_images=args.calibration_images,
        bias_correction=args.bias_correction,
        batchnorm=args.batchnorm,
        batchnorm_images=args.batchnorm_images,
        library_mode=args.library_mode,
        library_epochs=args.library_epochs,
        library_learning_rate=args.library_rate,
        distillation=args.distillation,
        epochs=args.epochs,
        train_images=args.train_images,
        validation=args.validation,
        published_accuracy=None if args.published_accuracy is None else _read_percent(args.published_accuracy),
        validation_images=args.validation_images,
        mapper_effort=args.effort,
        energy=args.energy,
        activations=args.activations,
        simulator=args.simulator,
        seed=args.seed,
    )


def _read_gib(value: float) -> int:
    """GiB as bytes.

    Raises:
        SpecError: not a number above 0.
    """
    if not (isfinite(value) and value > 0):
        raise SpecError("<arguments>", "--bank-limit", "GiB, a number above 0", value)
    return round(value * 2**30)


def _read_percent(text: str) -> float:
    """`91.73%`, `91.73` or `0.9173` as a fraction.

    Raises:
        SpecError: anything else.
    """
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = nan
    fraction = value / 100 if text.strip().endswith("%") or value > 1 else value
    if not 0 <= fraction <= 1:
        raise SpecError("<arguments>", "--published-accuracy", "a percentage such as 91.73%", text)
    return fraction


def _method_options(args: argparse.Namespace) -> dict[str, Any]:
    short = [f"{name}={getattr(args, name)}" for name in ("population", "generations") if getattr(args, name) is not None]
    return split_options([*args.method_option, *short], "method option")
