"""Arguments that name networks, and what is asked of them; shared by `map`, `compare` and `explain`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwloop.cli.common import (
    DEFAULT_ARCH,
    add_activations,
    add_memo,
    add_output,
    add_simulator,
    add_template,
    read_variables,
)
from hwloop.errors import SpecError
from hwloop.report.bars import PICTURES
from hwloop.report.breakdown import KINDS
from hwloop.report.case import Asked
from hwloop.report.frames import TABLES, csv_text, write_rows
from hwloop.run.networks import open_subject
from hwloop.spec.bits import MAX_BITS, MIN_BITS, check_bits
from hwloop.spec.problem import Problem
from hwloop.spec.pruning import check_density
from hwloop.spec.workload import Workload

BITS_HELP = "of weights and activations, e.g. 8, or 4/8 for 4-bit weights and 8-bit activations (default: the accelerator's own)"


def add_network(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """A network by name or file, and its inputs."""
    group = parser.add_argument_group("network")
    action: dict[str, Any] = {"action": "append", "default": []} if several else {}
    more = "; repeat for more" if several else ""
    group.add_argument(
        "--model",
        metavar="NAME",
        **action,
        help=f"of the zoo, of torchvision, or package.module:function{more} (see hwloop list)",
    )
    if several:
        group.add_argument("--workload", metavar="FILE", **action, help="a workload written by hwloop; repeat for more")
    group.add_argument(
        "--image-size", type=int, metavar="PIXELS", help="of square images (default: the network's own, such as 224)"
    )
    group.add_argument("--channels", type=int, metavar="N", help="of the images (default: the network's own)")
    group.add_argument(
        "--input-shape", metavar="CxHxW", help="of one input, such as 3x224x320 or 197x768, in place of size and channels"
    )
    group.add_argument("--classes", type=int, metavar="N", help="(default: 1000 for ImageNet's networks, 10 for others)")
    group.add_argument("--batch", type=int, default=1, metavar="N", help="inputs at a time (default: %(default)s)")


def read_models(names: Sequence[str], args: argparse.Namespace) -> list[Workload]:
    """The workloads of networks by name.

    Raises:
        SpecError: an input shape that is none, or that stands beside a size.
        DataError: no such network, or it cannot read such inputs.
    """
    shape = read_shape(args.input_shape)
    if shape is not None and (args.image_size or args.channels):
        raise SpecError("<arguments>", "--input-shape", "no --image-size and --channels beside it", args.input_shape)
    if not names:
        return []
    from hwloop.network.training.prepare import named_workload  # loads torch, which a file does not need

    return [named_workload(name, args.channels, args.image_size, args.classes, args.batch, shape) for name in names]


def read_shape(text: str | None) -> tuple[int, ...] | None:
    """Reads `3x224x224`.

    Raises:
        SpecError: anything else.
    """
    if text is None:
        return None
    parts = text.lower().replace(",", "x").split("x")
    if not all(part.strip().isdecimal() and 0 < int(part) <= 2**24 for part in parts) or len(parts) > 8:
        raise SpecError("<arguments>", "--input-shape", "sizes such as 3x224x224", text)
    return tuple(int(part) for part in parts)


def read_subject(args: argparse.Namespace) -> Problem | Workload:
    """A layer's or a network's file, or a network by name.

    Raises:
        SpecError: not one of the two.
    """
    if (args.problem is None) == (args.model is None):
        both = None if args.model is None else f"{args.problem} and --model {args.model}"
        raise SpecError("<arguments>", "FILE, --model", "one of the two", both)
    if args.model is None:
        return open_subject(args.problem, read_variables(args), args.include)
    return read_models([args.model], args)[0]


def add_question(parser: argparse.ArgumentParser, arch: bool = True) -> None:
    """Accelerator, dataflow, bits, densities and mapper of one question."""
    target = parser.add_argument_group("accelerator")
    if arch:
        target.add_argument("--arch", default=DEFAULT_ARCH, metavar="NAME|FILE", help="(default: %(default)s)")
        target.add_argument("--dataflow", metavar="NAME|FILE", help="constraints on the mapping (default: the accelerator's own)")
        target.add_argument("--weight-bits", type=int, metavar="N", help="bits per weight (default: the accelerator's)")
        target.add_argument("--activation-bits", type=int, metavar="N", help="bits per input activation (default: likewise)")
        target.add_argument("--density", type=float, metavar="D", help="fraction of weights kept, pruned without structure")
        target.add_argument("--input-density", type=float, metavar="D", help="fraction of input activations that are not zero")
    target.add_argument(
        "--energy", default="shipped", metavar="SOURCE",
        help="shipped, hwcomponents, accelergy, table, or a table's file (default: %(default)s)",
    )  # fmt: skip
    add_simulator(target)
    add_activations(target)
    add_template(target)
    search = parser.add_argument_group("search")
    search.add_argument("--objective", default="edp", choices=("edp", "energy", "cycles"), help="(default: %(default)s)")
    search.add_argument("--effort", default="normal", choices=("quick", "normal", "thorough"), help="(default: %(default)s)")
    search.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    add_memo(parser)
    add_output(parser)


def read_asked(args: argparse.Namespace) -> Asked:
    """What the arguments of `add_question` ask.

    Raises:
        SpecError: a density that is none.
    """
    for option, value in (("--density", args.density), ("--input-density", args.input_density)):
        if value is not None:
            check_density(value, option)
    dense = [1.0 if value is None else value for value in (args.density, args.input_density)]
    return Asked(
        args.weight_bits, args.activation_bits, dense[0], dense[1], args.energy, args.activations, args.objective, args.effort,
        args.seed, args.simulator,
    )  # fmt: skip


def read_bits(text: str | None) -> list[tuple[int | None, int | None]]:
    """Reads `16,8,4/8` as pairs of weight and activation bits.

    Raises:
        SpecError: anything else.
    """
    if text is None:
        return [(None, None)]
    out: list[tuple[int | None, int | None]] = []
    for part in text.split(","):
        weights, _, activations = part.strip().partition("/")
        try:
            pair = int(weights), int(activations or weights)
        except ValueError:
            raise SpecError("<arguments>", "--bits", "whole numbers such as 16,8 or 4/8", text) from None
        for width in pair:
            check_bits(width, "--bits", MIN_BITS, MAX_BITS)
        out.append(pair)
    return list(dict.fromkeys(out))


def read_densities(text: str, option: str) -> list[float]:
    """Reads `1,0.5,10%`.

    Raises:
        SpecError: anything else.
    """
    out = []
    for part in text.split(","):
        try:
            value = float(part.strip().removesuffix("%")) / (100 if part.strip().endswith("%") else 1)
        except ValueError:
            raise SpecError("<arguments>", option, "fractions kept such as 1,0.5 or 10%", text) from None
        out.append(check_density(value, option))
    return list(dict.fromkeys(out))


def add_rows(parser: argparse.ArgumentParser, default: str = "total") -> None:
    """`--rows`, `--csv`, `--save`."""
    group = add_save(parser)
    group.add_argument(
        "--rows", default=default, choices=KINDS,
        help="of --csv, --save and pictures: total (a line a case), layers, or parts (a line a layer, level and data space) "
        "(default: %(default)s)",
    )  # fmt: skip


def add_save(parser: argparse.ArgumentParser) -> Any:
    """`--csv`, `--save`."""
    group = parser.add_argument_group("results")
    group.add_argument("--csv", action="store_true", help="print the rows as CSV in place of the tables")
    group.add_argument(
        "--save", action="append", default=[], metavar="FILE",
        help=f"write the rows ({', '.join(TABLES)}), of compare also stacked bars ({', '.join(PICTURES)}); repeat for more",
    )  # fmt: skip
    return group


def check_rows(args: argparse.Namespace) -> None:
    """Refuses names of files in a form that is none, before any work.

    Raises:
        SpecError: another ending, or a picture of parts.
    """
    for name in args.save:
        if Path(name).suffix not in (*TABLES, *PICTURES):
            raise SpecError("<arguments>", "--save", f"a name that ends in {', '.join((*TABLES, *PICTURES))}", name)
        if Path(name).suffix in PICTURES and args.rows == "parts":
            raise SpecError("<arguments>", "--save", "--rows total or layers for a picture", f"{name} and --rows parts")


def save_rows(found: Any, args: argparse.Namespace) -> None:
    """Writes what `--save` names, of something with `rows` and `plot`."""
    for name in args.save:
        if Path(name).suffix in PICTURES:
            found.plot(name, args.rows)
        else:
            write_rows(found.rows(args.rows), name)
        if not args.json and not args.csv:
            print(f"written: {name}")


def print_csv(rows: Any) -> None:
    """Prints rows as CSV."""
    print(csv_text(rows), end="")
