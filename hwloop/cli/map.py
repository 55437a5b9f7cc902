"""`hwloop map`: the best mapping of a layer, or of every layer of a network."""

from __future__ import annotations

import argparse
from pathlib import Path

from hwloop.backend.embedded import EMBEDDED
from hwloop.backend.target import Target, make_targets
from hwloop.cli.common import (
    Subparsers,
    accelerator,
    add_activations,
    add_command,
    add_memo,
    add_output,
    add_simulator,
    add_template,
    print_json,
    progress_of,
    read_variables,
    write_text,
)
from hwloop.errors import SpecError
from hwloop.mapper.bound import NODES
from hwloop.mapper.describe import describe
from hwloop.memo import Memo, MemoStatistics
from hwloop.report.costs import layer_document, level_text, network_document, network_text
from hwloop.report.tables import count_text
from hwloop.run.networks import bound_layer, map_layer, map_network, open_subject
from hwloop.spec.bits import operand_bits
from hwloop.spec.plan import make_plan
from hwloop.spec.problem import Problem
from hwloop.spec.pruning import check_density
from hwloop.spec.workload import Workload

_EXAMPLE = """hwloop map layer.yaml --arch eyeriss_168 --dataflow row_stationary --output mapping.yaml
  hwloop map --model resnet20 --image-size 32 --arch flexible_gating --dataflow weight_stationary --weight-bits 4 --density 0.3"""
_DESCRIPTION = """Finds the best mapping of a layer (a Timeloop problem file) or of every layer of a
network (--model, or a workload file), and prints the loop nest, where the energy goes level
by level, and the ceiling that binds: the compute units or a bandwidth."""


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    parser = add_command(commands, "map", "find the best mapping of a layer or a network", _EXAMPLE, _DESCRIPTION)
    parser.add_argument("problem", nargs="?", metavar="FILE", help="a Timeloop problem, or a workload written by hwloop")
    network = parser.add_argument_group("a network by name")
    network.add_argument("--model", metavar="NAME", help="of the zoo, of torchvision, or package.module:function")
    network.add_argument("--image-size", type=int, default=32, metavar="PIXELS", help="(default: %(default)s)")
    network.add_argument("--channels", type=int, default=3, help="of the images (default: %(default)s)")
    network.add_argument("--classes", type=int, default=10, help="(default: %(default)s)")
    network.add_argument("--batch", type=int, default=1, help="images at a time (default: %(default)s)")
    target = parser.add_argument_group("accelerator")
    target.add_argument("--arch", default="eyeriss_168", metavar="NAME|FILE", help="(default: %(default)s)")
    target.add_argument("--dataflow", metavar="NAME|FILE", help="constraints on the mapping")
    target.add_argument(
        "--energy", default="shipped", metavar="SOURCE", help="shipped, hwcomponents, accelergy, table, or a table's file"
    )
    add_simulator(target)
    target.add_argument("--weight-bits", type=int, metavar="N", help="bits per weight (default: the accelerator's)")
    target.add_argument("--activation-bits", type=int, metavar="N", help="bits per input activation (default: the accelerator's)")
    target.add_argument("--density", type=float, metavar="D", help="fraction of weights kept, pruned without structure")
    target.add_argument("--input-density", type=float, metavar="D", help="fraction of input activations that are not zero")
    add_activations(target)
    add_template(target)
    search = parser.add_argument_group("search")
    search.add_argument("--objective", default="edp", choices=("edp", "energy", "cycles"), help="(default: %(default)s)")
    search.add_argument("--effort", default="normal", choices=("quick", "normal", "thorough"), help="(default: %(default)s)")
    search.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    search.add_argument(
        "--bound", type=int, default=NODES, metavar="N",
        help="for a layer, say how far from the best possible the mapping can be at most, looking at N parts of the mapspace; "
        "more of them say it more sharply, 0 leaves it out (default: %(default)s, about a second)",
    )  # fmt: skip
    parser.add_argument("--output", metavar="FILE", help="write the mapping, for Timeloop too; for a network a folder of them")
    add_memo(parser)
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Maps and prints."""
    for option, value in (("--density", args.density), ("--input-density", args.input_density)):
        if value is not None:
            check_density(value, option)
    [target] = make_targets(accelerator(args), args.dataflow, args.energy, args.activations)
    subject = _subject(args)
    memo = None if args.memo is None else Memo(args.memo)
    try:
        if isinstance(subject, Problem):
            return _map_layer(subject, target, memo, args)
        return _map_workload(subject, target, memo, args)
    finally:
        if memo is not None:
            memo.close()


def interrupted(args: argparse.Namespace) -> str:
    """What Ctrl-C leaves."""
    return (
        f"layers mapped so far are kept in {args.memo}; run again to go on"
        if args.memo
        else "give --memo FILE to keep layers as they are mapped"
    )


def _subject(args: argparse.Namespace) -> Problem | Workload:
    if (args.problem is None) == (args.model is None):
        both = None if args.model is None else f"{args.problem} and --model {args.model}"
        raise SpecError("<arguments>", "FILE, --model", "one of the two", both)
    if args.model is None:
        return open_subject(args.problem, read_variables(args), args.include)
    from hwloop.network.training.prepare import named_workload  # loads torch, which a problem file does not need

    return named_workload(args.model, args.channels, args.image_size, args.classes, args.batch)


def _map_layer(problem: Problem, target: Target, memo: Memo | None, args: argparse.Namespace) -> int:
    given = {"Weights": args.density, "Inputs": args.input_density}
    densities = {name: value for name, value in given.items() if value is not None}
    bits = operand_bits(args.weight_bits, args.activation_bits)
    result = map_layer(
        problem, target, densities=densities, bits=bits,
        objective=args.objective, effort=args.effort, seed=args.seed, simulator=args.simulator, memo=memo,
    )  # fmt: skip
    bound = None
    if args.bound > 0 and args.simulator == EMBEDDED:
        bound = bound_layer(problem, target, found=result, densities=densities, bits=bits, nodes=args.bound)
    if args.json:
        print_json(layer_document(problem.name, result) | ({} if bound is None else {"bound": bound.to_dict()}))
    else:
        print(f"{problem.name} on {target.name}\n")
        print(describe(result, problem, target.arch.with_constraints(target.constraints)))
        print(f"\n{level_text(result, target.arch)}\n")
        if bound is not None:
            print(bound)
        print(f"{count_text(result.evaluated)} mappings looked at in {result.seconds:.2f} s")
    if args.output:  # last: what was found is printed even when the disk refuses
        write_text(args.output, result.mapping.to_yaml())
        if not args.json:
            print(f"mapping: {args.output}")
    return 0


def _map_workload(workload: Workload, target: Target, memo: Memo | None, args: argparse.Namespace) -> int:
    plan = make_plan(
        workload, 1.0 if args.density is None else args.density, 1.0 if args.input_density is None else args.input_density,
        args.weight_bits, args.activation_bits,
    )  # fmt: skip
    cost = map_network(
        workload, target, plan=plan, objective=args.objective, effort=args.effort, seed=args.seed, memo=memo,
        workers=args.workers, progress=progress_of(args), simulator=args.simulator,
    )  # fmt: skip
    if args.json:
        print_json(network_document(cost))
    else:
        print(network_text(cost))
        if memo is not None:
            print(memo_text(memo.statistics))
    if args.output:  # last: what was found is printed even when the disk refuses
        for layer in cost.layers:
            write_text(Path(args.output) / f"{layer.name.replace('/', '_')}.yaml", layer.mapped.mapping.to_yaml())
        if not args.json:
            print(f"mappings: {args.output}")
    return 0


def memo_text(statistics: MemoStatistics) -> str:
    """One line on what a memo table was good for."""
    damaged = f", {statistics.damaged} of them in place of damaged rows" if statistics.damaged else ""
    return f"memo table: {statistics.hits} read, {statistics.misses} new{damaged}"
