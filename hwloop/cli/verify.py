"""`hwloop verify`: the simulator against recorded Timeloop runs, the real Timeloop, or the Eyeriss chip."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hwloop.backend.find import find_backend
from hwloop.cli.common import Subparsers, add_command, add_output, print_json, progress_of
from hwloop.errors import SpecError
from hwloop.report.tables import table
from hwloop.validate import silicon
from hwloop.validate.against import ARCHITECTURES, LiveReport, LiveSettings, verify_live
from hwloop.validate.agreement import Report, lines_of
from hwloop.validate.eyeriss_figures import QUANTITIES
from hwloop.validate.verify import find_cases, verify

_EXAMPLE = """hwloop verify corpus.jsonl.gz runs/
  hwloop verify --against timeloop --arch eyeriss_168 --layers mobilenet --densities 1,0.5 --bits 16,8
  hwloop verify --against timeloop --arch eyeriss_168_gating --layers vgg16 --output-bits 8,4 --resident
  hwloop verify --silicon"""
_DESCRIPTION = """Holds hwloop's simulator against Timeloop and prints the agreement per quantity. A PATH is a corpus (JSON
lines, .gz or not) or a folder with Timeloop runs in it (input.yaml, mapping.yaml, ERT.yaml, stats.txt each). --against runs
the real Timeloop on PATH; --silicon compares with the Eyeriss chip's published figures. Exit code 1 when something differs."""
_BUILT_IN = "built in"


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    parser = add_command(commands, "verify", "compare the simulator with the real Timeloop", _EXAMPLE, _DESCRIPTION)
    parser.add_argument("paths", nargs="*", metavar="PATH", type=Path, help="corpora and folders of Timeloop runs")
    parser.add_argument(
        "--exact",
        action="store_true",
        help="let no difference of sparse runs pass as rounding (counts by 1, energy by 0.01%%, cycles by 0.001%%)",
    )
    live = parser.add_argument_group("against the real Timeloop")
    live.add_argument("--against", choices=("timeloop",), help="run it, on the mappings that hwloop's mapper finds")
    live.add_argument("--arch", default=",".join(ARCHITECTURES), metavar="A,B,...", help="(default: %(default)s)")
    live.add_argument(
        "--layers", default="vgg16,mobilenet", metavar="NET,...", help="alexnet, vgg16, mobilenet (default: %(default)s)"
    )
    live.add_argument("--densities", default="1,0.5,0.1", metavar="D,...", help="of weights and inputs (default: %(default)s)")
    live.add_argument("--bits", default="16,8,4", metavar="N,...", help="of weights and inputs (default: %(default)s)")
    live.add_argument(
        "--output-bits", default="", metavar="N,...", help="of finished outputs where they wait (default: the accelerator's own)"
    )
    live.add_argument("--resident", action="store_true", help="ask also with inputs and outputs that stay on chip")
    live.add_argument(
        "--effort", default="quick", choices=("quick", "normal", "thorough"), help="of the mapper (default: %(default)s)"
    )
    live.add_argument("--most", type=int, metavar="N", help="at most N distinct layers a network")
    live.add_argument("--timeout", type=float, default=120.0, metavar="S", help="of one Timeloop run (default: %(default)s)")
    chip = parser.add_argument_group("against the chip")
    chip.add_argument(
        "--silicon",
        nargs="?",
        const=_BUILT_IN,
        metavar="FILE",
        help="compare with Eyeriss' measured layers (JSSC 2017), or FILE's",
    )
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Compares and prints."""
    modes = [bool(args.paths), args.against is not None, args.silicon is not None]
    if sum(modes) != 1:
        raise SpecError("<arguments>", "verify", "PATHs, --against timeloop or --silicon", "none or several of them")
    if args.paths:
        return _recorded(args)
    return _live(args) if args.against else _silicon(args)


def _recorded(args: argparse.Namespace) -> int:
    progress = progress_of(args)
    reports: dict[str, Report] = {}
    for path in args.paths:
        readers = find_cases(path)
        with progress.task(f"verify {path}", len(readers)) as task:
            reports[str(path)] = verify(readers, args.exact, task.advance)
    if args.json:
        print_json({path: report.to_dict() for path, report in reports.items()})
    else:
        for path, report in reports.items():
            print(f"{path}: {'agrees' if report.agrees else 'DIFFERS'}", *lines_of(report), sep="\n")
    return 0 if all(report.agrees for report in reports.values()) else 1


def _live(args: argparse.Namespace) -> int:
    settings = LiveSettings(
        tuple(args.arch.split(",")), tuple(args.layers.split(",")), _numbers(args.densities, "densities", float),
        _numbers(args.bits, "bits", int), args.effort, args.most,
        _numbers(args.output_bits, "output_bits", int) if args.output_bits else (), args.resident,
    )  # fmt: skip
    outside = find_backend(args.against, timeout_s=args.timeout)
    with progress_of(args).task(f"hwloop and {outside.name}", settings.steps) as task:
        report = verify_live(outside, settings, task.advance)
    if args.json:
        print_json(report.to_dict())
    else:
        _print_live(report)
    return 0 if report.agrees else 1


def _numbers(text: str, what: str, kind: Callable[[str], Any]) -> tuple[Any, ...]:
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        raise SpecError("<arguments>", what, "numbers above 0, with commas between", text) from None


def _print_live(report: LiveReport) -> None:
    rows = []
    for name, group in report.groups.items():
        counted = [a for q, a in group.quantities.items() if q not in ("feasibility", "energy", "data space energy", "leakage")]
        compared, equal = sum(a.compared for a in counted), sum(a.equal for a in counted)
        gap = f"{report.energy_gap[name]:.1e}"
        rows.append([name, str(group.cases), str(group.refused), f"{equal}/{compared}", gap, "yes" if group.agrees else "NO"])
    print(table(rows, ["accelerator", "runs", "both refuse", "counts and cycles equal", "largest energy gap", "agrees"]))
    for group in report.groups.values():
        for line in lines_of(group):
            if line.startswith(("differs", "failed", "rounding", "cause", "explained")):
                print(line)
    for case, why in report.unanswered.items():
        print(f"no answer: {case}: {why}")
    print("time: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in report.seconds.items()))


def _silicon(args: argparse.Namespace) -> int:
    file = None if args.silicon == _BUILT_IN else Path(args.silicon)
    with progress_of(args).task("model the chip's layers", len(silicon.measured(file))) as task:
        report = silicon.compare_with_chip(file, args.effort, task.advance)
    if args.json:
        print_json(report.to_dict())
        return 0
    cells = [
        [f"{g['network']} {g['layer']}", *(f"{g[q]['measured']:.4g} / {g[q]['modelled']:.4g}" for q in QUANTITIES)]
        for g in report.layers
    ]
    print("measured on the chip / modelled, whole batch\n")
    print(table(cells, ["layer", *QUANTITIES]))
    print("\nwhere the gaps come from:")
    for cause in report.causes:
        print(f"- {cause}")
    return 0
