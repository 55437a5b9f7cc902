"""`hwloop explain`: what an energy is made of, down to accesses times entries of the energy table."""

from __future__ import annotations

import argparse

from hwloop.backend.embedded import EMBEDDED
from hwloop.backend.target import Target, make_targets
from hwloop.cli.common import Subparsers, accelerator, add_command, print_json, progress_of, terminal_width
from hwloop.cli.networks import add_network, add_question, add_save, print_csv, read_asked, read_subject, save_rows
from hwloop.errors import SpecError
from hwloop.memo import Memo
from hwloop.report.case import Asked, Case
from hwloop.run.explain import Explanation, explain, explain_mapping
from hwloop.run.networks import map_layer, map_network
from hwloop.spec.problem import Problem
from hwloop.spec.workload import Workload

_EXAMPLE = """hwloop explain --model lenet5 --arch flexible --dataflow row_stationary --layer conv2 --level shared_glb
  hwloop explain --model resnet20 --level DRAM --data Weights"""
_DESCRIPTION = """Opens what `hwloop map` and `hwloop compare` print: a layer, a level, a data space, as accesses of
an instance, rows (vector accesses), instances, the entry of the energy table, its pJ and its
source, so that rows x instances x pJ can be checked by hand. Without --layer: a line a layer and
a line a bar."""


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    parser = add_command(commands, "explain", "what an energy is made of: accesses times energy entries", _EXAMPLE, _DESCRIPTION)
    parser.add_argument("problem", nargs="?", metavar="FILE", help="a Timeloop problem, or a workload written by hwloop")
    parser.add_argument("--mapping", metavar="FILE", help="of a layer: this mapping, in place of the best one found")
    part = parser.add_argument_group("which part")
    part.add_argument("--layer", metavar="NAME", help="of a network: a layer, or work between layers")
    part.add_argument("--level", metavar="NAME", help="a level, the compute units, or wires")
    part.add_argument("--data", metavar="NAME", help="Weights, Inputs, Outputs, leakage or 'between layers'")
    add_network(parser)
    add_question(parser)
    add_save(parser)


def run(args: argparse.Namespace) -> int:
    """Maps, opens and prints."""
    if args.simulator != EMBEDDED:
        raise SpecError("<arguments>", "--simulator", f"{EMBEDDED}, whose counts can be opened", args.simulator)
    asked = read_asked(args)
    [target] = make_targets(accelerator(args), args.dataflow, args.energy, args.activations)
    subject = read_subject(args)
    memo = None if args.memo is None else Memo(args.memo)
    try:
        if isinstance(subject, Problem):
            if args.layer is not None:
                raise SpecError("<arguments>", "--layer", "a network, to choose a layer of", args.problem)
            mapping = args.mapping or map_layer(
                subject, target, densities=asked.densities, bits=asked.bits, objective=args.objective, effort=args.effort,
                seed=args.seed, memo=memo,
            ).mapping  # fmt: skip
            found = explain_mapping(subject, target, mapping, asked, args.level, args.data)
        else:
            found = _network(subject, target, asked, memo, args)
    finally:
        if memo is not None:
            memo.close()
    if args.json:
        print_json(found.document())
    elif args.csv:
        print_csv(found.rows())
    else:
        print(found.text(terminal_width()))
    save_rows(found, args)
    return 0


def _network(workload: Workload, target: Target, asked: Asked, memo: Memo | None, args: argparse.Namespace) -> Explanation:
    if args.mapping:
        raise SpecError("<arguments>", "--mapping", "a layer, not a network", args.mapping)
    cost = map_network(
        workload, target, plan=asked.plan(workload), objective=args.objective, effort=args.effort, seed=args.seed, memo=memo,
        workers=args.workers, progress=progress_of(args),
    )  # fmt: skip
    return explain(Case(workload, target, asked, cost), args.layer, args.level, args.data)
