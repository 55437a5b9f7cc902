"""`hwloop sweep`: many accelerators, every combination of values of fields of a spec, and the ones that no other beats."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from hwloop.cli.common import (
    DEFAULT_ARCH,
    Subparsers,
    add_activations,
    add_command,
    add_memo,
    add_output,
    add_simulator,
    add_template,
    print_json,
    progress_of,
    read_variables,
)
from hwloop.cli.networks import add_network, print_csv, read_models
from hwloop.errors import SpecError
from hwloop.memo import Memo
from hwloop.report.bars import PICTURES
from hwloop.report.frames import TABLES
from hwloop.report.sweep_plots import plot_sweep
from hwloop.report.sweep_tables import sweep_text
from hwloop.run.sweeps.file import SweepFile, read_sweep_file
from hwloop.run.sweeps.sweep import sweep
from hwloop.spec.axes import read_axes, read_values
from hwloop.spec.workload import Workload, load_workload

_EXAMPLE = """hwloop sweep shared_glb.attributes.depth=4096..65536:*2 --model lenet5
  hwloop sweep PE_column.spatial.meshX+PE.spatial.meshY=8..32:8 shared_glb.attributes.depth=8192,16384 \\
      --model vgg16 --arch flexible --dataflow row_stationary --dataflow weight_stationary \\
      --effort quick --memo memo.sqlite --out sweeps/arrays
  hwloop sweep --file sweep.yaml --out sweeps/arrays"""
_DESCRIPTION = """Runs networks on every combination of values of an accelerator's fields, with energy and area estimated anew for
each, and shows the accelerators that no other one beats in energy, delay and area.

A field is named by its path: COMPONENT.attributes.NAME, CONTAINER.spatial.meshX, architecture.nodes[2].class. Values are a
list (4096,8192), a range with both ends (8..32:8), or a range by a factor (1024..65536:*2); A+B=8,16 gives two fields the same
value. With --out every row is kept as it is done, and the same command goes on where it was stopped."""


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    parser = add_command(commands, "sweep", "evaluate many accelerators", _EXAMPLE, _DESCRIPTION)
    parser.add_argument("fields", nargs="*", metavar="FIELD=VALUES", help="a field of the spec and what it goes through")
    parser.add_argument("--file", metavar="FILE", help="a YAML file with fields, points, networks, ... (docs/sweeps.md)")
    add_network(parser, several=True)
    network = parser.add_argument_group("what is done to the networks")
    network.add_argument("--weight-bits", metavar="N,...", help="a list sweeps over them (default: the accelerator's)")
    network.add_argument("--activation-bits", metavar="N,...", help="likewise")
    network.add_argument("--density", metavar="D,...", help="fraction of weights kept; a list sweeps over them (default: 1)")
    network.add_argument("--input-density", metavar="D,...", help="likewise of inputs")
    parser.add_argument("--arch", action="append", metavar="NAME|FILE", help=f"repeat for more (default: {DEFAULT_ARCH})")
    parser.add_argument("--dataflow", action="append", metavar="NAME|FILE", help="repeat (default: the accelerator's own)")
    parser.add_argument(
        "--energy", metavar="SOURCE",
        help="shipped, hwcomponents or accelergy, asked anew for every point; or a fixed table's file (default: shipped)",
    )  # fmt: skip
    parser.add_argument("--objective", choices=("edp", "energy", "cycles"), help="of the mapper (default: edp)")
    parser.add_argument("--effort", choices=("quick", "normal", "thorough"), help="of the mapper (default: normal)")
    parser.add_argument("--seed", type=int, help="(default: 0)")
    parser.add_argument("--out", metavar="DIR", help="keep every row here and go on from there; tables and the picture too")
    parser.add_argument("--csv", action="store_true", help="print all rows as CSV in place of the table")
    parser.add_argument(
        "--save", action="append", default=[], metavar="FILE",
        help=f"write all rows ({', '.join(TABLES)}) or draw energy, delay and area ({', '.join(PICTURES)}); repeat for more",
    )  # fmt: skip
    parser.add_argument("--all", action="store_true", help="print all rows, not the Pareto set alone")
    add_template(parser)
    add_activations(parser)
    add_simulator(parser)
    add_memo(parser)
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Sweeps and prints the Pareto set."""
    asked = read_sweep_file(args.file) if args.file else SweepFile()
    fields = read_axes([*read_axes(asked.fields), *read_axes(args.fields)])
    if not fields and not asked.points and not (args.arch or asked.archs):
        raise SpecError("<arguments>", "sweep", "fields to go through, e.g. shared_glb.attributes.depth=4096,8192", None)
    _check_ends(args)
    memo = None if args.memo is None else Memo(args.memo)
    try:
        result = sweep(
            _networks(args, asked), args.arch or list(asked.archs) or [DEFAULT_ARCH], fields,
            args.dataflow or list(asked.dataflows) or None, points=asked.points,
            weight_bits=_list(args.weight_bits, "--weight-bits", asked.weight_bits),
            activation_bits=_list(args.activation_bits, "--activation-bits", asked.activation_bits),
            density=_list(args.density, "--density", asked.density),
            input_density=_list(args.input_density, "--input-density", asked.input_density),
            energy=args.energy or asked.energy, activations=args.activations, objective=args.objective or asked.objective,
            effort=args.effort or asked.effort, seed=asked.seed if args.seed is None else args.seed, simulator=args.simulator,
            memo=memo, workers=args.workers, out=args.out, variables=read_variables(args), include=args.include,
            progress=progress_of(args),
        )  # fmt: skip
    finally:
        if memo is not None:
            memo.close()
    kept = [] if args.out is None else [str(Path(args.out) / name) for name in ("sweep.csv", "sweep.json", "sweep.png")]
    for path in (*args.save, *kept):
        (partial(plot_sweep, result) if Path(path).suffix in PICTURES else result.write)(path)
    if args.json:
        print_json(result.to_dict())
    elif args.csv:
        print_csv(result.columns)
    else:
        print(sweep_text(result, args.all))
    return 1 if any(row.failed for row in result.rows) else 0


def interrupted(args: argparse.Namespace) -> str:
    """What Ctrl-C leaves."""
    if args.out is not None:
        return f"the rows so far are kept in {args.out}: the same command goes on"
    return "nothing is kept without --out; mappings are where there is a --memo" if args.memo is None else "mappings are kept"


def _networks(args: argparse.Namespace, asked: SweepFile) -> list[Workload]:
    found = [load_workload(path) for path in (*asked.workloads, *args.workload)]
    found += read_models(args.model, args)
    if asked.models:
        from hwloop.network.training.prepare import named_workload  # loads torch, which a workload file does not need

        found += [named_workload(**model) for model in asked.models]
    if not found:
        raise SpecError("<arguments>", "--model", "a network: --model NAME or --workload FILE", None)
    return found


def _list(text: str | None, name: str, otherwise: Any) -> Any:
    return otherwise if text is None else list(read_values(text, name))


def _check_ends(args: argparse.Namespace) -> None:
    """Refuses names of files that could not be written, before hours of work."""
    for name in args.save:
        if Path(name).suffix not in (*TABLES, *PICTURES):
            raise SpecError("<arguments>", "--save", f"a name that ends in {', '.join((*TABLES, *PICTURES))}", name)
