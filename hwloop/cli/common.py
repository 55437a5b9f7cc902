"""What several commands share: arguments, and how results are printed."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from hwloop.backend.cluster import check_address
from hwloop.backend.embedded import EMBEDDED
from hwloop.backend.find import SIMULATORS
from hwloop.backend.target import ACTIVATIONS
from hwloop.errors import SpecError
from hwloop.files import write_file
from hwloop.report.progress import Progress, make_progress
from hwloop.spec.architecture import Architecture
from hwloop.spec.document import parse_yaml
from hwloop.spec.pruning import check_pruning
from hwloop.spec.resources import open_architecture

DEFAULT_ARCH = "eyeriss_168"  # where a command is not told which accelerator
Subparsers = Any  # argparse has no public name for it


def add_command(commands: Subparsers, name: str, summary: str, example: str, description: str = "") -> argparse.ArgumentParser:
    """A command's parser, with its example at the end of the help."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description or summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def add_output(parser: argparse.ArgumentParser) -> None:
    """`--json` and `--quiet`."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def add_data(parser: argparse.ArgumentParser, model: str | None = None, data: str = "digits") -> None:
    """The model and the data."""
    group = parser.add_argument_group("network and data")
    group.add_argument(
        "--model", required=model is None, default=model, metavar="NAME",
        help="lenet5, {vgg16,mobilenet}_cifar10, resnet20/32/44/56, any torchvision model, or package.module:function",
    )  # fmt: skip
    group.add_argument(
        "--data", default=data, metavar="NAME", help="digits (embedded), mnist, cifar10 or imagefolder (default: %(default)s)"
    )
    group.add_argument("--data-root", metavar="DIR", help="folder of the data set, in torchvision's layout")
    group.add_argument("--image-size", type=int, metavar="PIXELS", help="resize images to this side")
    group.add_argument("--normalisation", choices=("imagenet",), help="for checkpoints trained on images normalised so")


def add_simulator(parser: Any) -> None:
    """`--simulator`."""
    parser.add_argument(
        "--simulator", default=EMBEDDED, choices=tuple(SIMULATORS),
        help="; ".join(f"{name}: {entry.summary}" for name, entry in SIMULATORS.items()) + " (default: %(default)s)",
    )  # fmt: skip


def add_activations(parser: Any) -> None:
    """`--activations`."""
    parser.add_argument(
        "--activations", default="streamed", choices=ACTIVATIONS,
        help="streamed: feature maps go through the outermost level from layer to layer; resident: they stay on chip where that "
        "makes the network cheaper (default: %(default)s)",
    )  # fmt: skip


def add_memo(parser: argparse.ArgumentParser) -> None:
    """`--memo`, and who works: `--workers` or `--scheduler`."""
    parser.add_argument("--memo", metavar="FILE", help="memo table of mapper results, made when missing; share one between runs")
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--workers", type=int, metavar="N", help="processes of the mapper (default: one a core)")
    who.add_argument(
        "--scheduler", dest="workers", type=scheduler, metavar="ADDRESS",
        help="send the work to a Dask cluster: host:port of its scheduler, its .json file, or local:N for one of N workers here",
    )  # fmt: skip


def add_template(parser: Any) -> None:
    """`--set` and `--include`, for specs that are templates."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a variable of a spec that is a template"
    )
    parser.add_argument(
        "--include", action="append", default=[], metavar="FOLDER", help="a further folder that a template may take files from"
    )


def read_variables(args: argparse.Namespace) -> dict[str, Any]:
    """The values of `--set`, read as YAML reads them.

    Raises:
        SpecError: not NAME=VALUE.
    """
    values: dict[str, Any] = {}
    for text in args.set:
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise SpecError("<arguments>", "--set", "NAME=VALUE", text)
        values[name.strip()] = parse_yaml(value, "--set")
    return values


def accelerator(args: argparse.Namespace) -> str | Architecture:
    """`--arch`: as it stands, or read with `--set` and `--include`."""
    return open_architecture(args.arch, read_variables(args), args.include) if args.set or args.include else args.arch


def progress_of(args: argparse.Namespace) -> Progress:
    """Where to show progress: standard error, unless `--quiet`."""
    return make_progress(args.quiet)


def terminal_width() -> int | None:
    """Columns of the terminal that the output goes to; None of a pipe or a file, where nothing is shortened."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_json(data: Any) -> None:
    """Prints plain data."""
    print(json.dumps(data, indent=1))


def scheduler(text: str) -> str:
    """The address of a Dask scheduler, for argparse."""
    try:
        return check_address(text)
    except SpecError as error:
        raise argparse.ArgumentTypeError(f"expected {error.expected}, found {text!r}") from None


def read_range(text: str, what: str) -> tuple[int, int]:
    """Reads `2-16` or `8` as (least, most).

    Raises:
        SpecError: anything else.
    """
    low, _, high = text.partition("-")
    try:
        return int(low), int(high or low)
    except ValueError:
        raise SpecError("<arguments>", what, "a whole number or a range such as 2-16", text) from None


def read_fractions(text: str, what: str) -> tuple[float, ...]:
    """Reads `0.3,0.5,0.9`, percentages (`30%,50%`), or `0.05:0.95:0.05` (from, to, step).

    Raises:
        SpecError: anything else.
    """

    def number(part: str) -> float:
        return check_pruning(float(part.strip().removesuffix("%")) / (100 if part.strip().endswith("%") else 1), what)

    try:
        if ":" in text:
            low, high, step = (number(part) for part in text.split(":"))
            count = int((high - low) / step + 1e-9) + 1
            if count < 1:
                raise ValueError(text)
            return tuple(round(low + i * step, 4) for i in range(count))
        return tuple(sorted({round(number(part), 4) for part in text.split(",")}))
    except (ValueError, ZeroDivisionError, OverflowError):
        expected = "fractions from 0 to below 1, such as 0.3,0.5,0.9 or 0.05:0.95:0.05"
        raise SpecError("<arguments>", what, expected, text) from None


def write_text(path: str | Path, text: str) -> None:
    """Writes a file in one go, with its folders.

    Raises:
        DataError: the disk refuses.
    """
    write_file(path, text, "put it right, or choose another place, and run again")
