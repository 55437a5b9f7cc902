"""`hwloop export`: a member of a run's front as torch, safetensors, ONNX and Timeloop files, with a card."""

from __future__ import annotations

import argparse

from hwloop.cli.common import Subparsers, add_command, add_output, print_json, progress_of
from hwloop.report.tables import percent


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    parser = add_command(
        commands, "export", "write a compressed network of a run for other programs",
        "hwloop export hwloop-demo/run-1 --target xfx --member best --out exported",
        "Writes one member of a run's front: weights packed at their bits (safetensors), a torch state dict, ONNX, the Timeloop\n"
        "inputs of every layer, and a card; then loads the files back and counts the images on which they differ.",
    )  # fmt: skip
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "--member", default="best", metavar="K",
        help="number on the front, as `hwloop report` prints it, or best, knee, by-test (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--target", metavar="NAME", help="whose front, when the run has several targets")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the files")
    parser.add_argument("--library", metavar="DIR", help="the run's library of pruned models, when it has moved")
    parser.add_argument("--data-root", metavar="DIR", help="folder of the data set, when it has moved")
    parser.add_argument("--weights", metavar="FILE", help="the run's checkpoint, when it has moved")
    parser.add_argument("--no-onnx", action="store_true", help="leave the ONNX file out")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the files and says how they were checked."""
    from hwloop.run.export import export_member  # loads torch, which help does not need

    done = export_member(
        args.run, args.member, args.out, target=args.target, library_dir=args.library, data_root=args.data_root,
        weights=args.weights, onnx=not args.no_onnx, progress=progress_of(args),
    )  # fmt: skip
    if args.json:
        print_json(done.card)
        return 0
    print(f"member {done.number} on {done.target}: {done.folder}")
    for each in done.agreement:
        print(f"  {each.name}: top-1 {percent(each.accuracy)} on {each.images} images, {each.differing} of another class")
    for note in done.card["notes"]:
        print(f"  {note}")
    return 0
