"""`hwloop demo`: the main job on the embedded digits, from nothing."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from hwloop.backend.embedded import Embedded
from hwloop.cli.common import Subparsers, add_command, add_output, print_json, progress_of
from hwloop.cli.compress import print_result
from hwloop.run.settings import Settings
from hwloop.search.checkpoint import CONFIG, VERSIONS

ARCH = "flexible_skipping"
DATAFLOWS = ("row_stationary", "weight_stationary", "output_stationary")
SETTINGS = Settings(
    objectives=("accuracy", "energy"),
    population=32,
    generations=25,
    weight_bits=(2, 12),
    fractions=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95),
    epochs=30,
    library_epochs=3,
    mapper_effort="quick",
)
_DESCRIPTION = """Trains a LeNet-5 on the handwritten digits inside scikit-learn, builds a library of
pruned models, searches pruning and bits under three dataflows of one accelerator (equal
area, equal storage), and draws the Pareto fronts. Run it twice to see what the memo table
saves; a run that was stopped goes on where it was."""


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    parser = add_command(
        commands, "demo", "compress a LeNet-5 on handwritten digits under three dataflows, from nothing, in minutes",
        "hwloop demo --out hwloop-demo", _DESCRIPTION,
    )  # fmt: skip
    parser.add_argument("--out", default="hwloop-demo", metavar="DIR", help="folder of the results (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the demo."""
    from hwloop.run.compression import compress  # loads torch, which help does not need
    from hwloop.run.outputs import document

    out, settings = Path(args.out), Settings(**{**SETTINGS.to_dict(), "seed": args.seed})
    folder = _next_run(out, settings)
    result = compress(
        "lenet5", "digits", ARCH, DATAFLOWS, settings,
        library_dir=out / f"library-{args.seed}", run_dir=folder, memo=out / "memo.sqlite",
        resume=(folder / CONFIG).exists(), progress=progress_of(args),
    )  # fmt: skip
    if args.json:
        print_json(document(result))
    else:
        print_result(result, most=10)
    return 0


def interrupted(args: argparse.Namespace) -> str:
    """What Ctrl-C leaves."""
    return f"everything computed so far is kept in {args.out}; run `hwloop demo` again to go on"


def _next_run(out: Path, settings: Settings) -> Path:
    """The folder of the run that was stopped if it can be gone on with, else a new one."""
    number = 1
    while (folder := out / f"run-{number}").exists() and not _can_go_on(folder, settings):
        number += 1
    return folder


def _can_go_on(folder: Path, settings: Settings) -> bool:
    """Whether a run was stopped there that asked for the same, of the same program."""
    if (folder / "front.json").exists() and (folder / "front.png").exists():
        return False
    try:
        config, versions = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (CONFIG, VERSIONS))
        return bool(
            config["settings"] == json.loads(json.dumps(settings.to_dict())) and versions["simulator"] == Embedded.identity
        )
    except (OSError, ValueError, KeyError):
        return False
