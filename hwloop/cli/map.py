"""`hwloop map`: the best mapping of a layer, or of every layer of a network."""

from __future__ import annotations

import argparse
from pathlib import Path

from hwloop.backend.embedded import EMBEDDED
from hwloop.backend.target import Target, make_targets
from hwloop.cli.common import Subparsers, accelerator, add_command, print_json, progress_of, terminal_width, write_text
from hwloop.cli.networks import add_network, add_question, read_asked, read_subject
from hwloop.mapper.bound import NODES
from hwloop.mapper.describe import describe
from hwloop.memo import Memo, MemoStatistics
from hwloop.report.case import Asked, Case, folded, head
from hwloop.report.costs import layer_document, level_text, network_document, network_text
from hwloop.report.notes import notes
from hwloop.report.tables import count_text
from hwloop.run.bounds import NODES as NETWORK_NODES
from hwloop.run.bounds import bound_network
from hwloop.run.networks import bound_layer, map_layer, map_network
from hwloop.spec.problem import Problem
from hwloop.spec.workload import Workload

_EXAMPLE = """hwloop map layer.yaml --arch eyeriss_168 --dataflow row_stationary --output mapping.yaml
  hwloop map --model resnet20 --arch flexible_gating --dataflow weight_stationary --weight-bits 4 --density 0.3"""
_DESCRIPTION = """Finds the best mapping of a layer (a Timeloop problem file) or of every layer of a
network (--model, or a workload file), and prints the loop nest, where the energy goes level
by level, and the ceiling that binds: the compute units or a bandwidth."""


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    parser = add_command(commands, "map", "find the best mapping of a layer or a network", _EXAMPLE, _DESCRIPTION)
    parser.add_argument("problem", nargs="?", metavar="FILE", help="a Timeloop problem, or a workload written by hwloop")
    add_network(parser)
    add_question(parser)
    parser.add_argument(
        "--bound", type=int, metavar="N",
        help="say how far from the best possible the mappings can be at most, looking at N parts of a layer's mapspace; more of "
        f"them say it more sharply, 0 leaves it out (default: {NODES}, about two seconds; of a network {NETWORK_NODES} a layer)",
    )  # fmt: skip
    parser.add_argument("--output", metavar="FILE", help="write the mapping, for Timeloop too; for a network a folder of them")


def run(args: argparse.Namespace) -> int:
    """Maps and prints."""
    asked = read_asked(args)
    [target] = make_targets(accelerator(args), args.dataflow, args.energy, args.activations)
    subject = read_subject(args)
    memo = None if args.memo is None else Memo(args.memo)
    try:
        if isinstance(subject, Problem):
            return _map_layer(subject, target, asked, memo, args)
        return _map_workload(subject, target, asked, memo, args)
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


def _map_layer(problem: Problem, target: Target, asked: Asked, memo: Memo | None, args: argparse.Namespace) -> int:
    result = map_layer(
        problem, target, densities=asked.densities, bits=asked.bits, objective=args.objective, effort=args.effort, seed=args.seed,
        simulator=args.simulator, memo=memo,
    )  # fmt: skip
    bound = None
    nodes = NODES if args.bound is None else args.bound
    if nodes > 0 and args.simulator == EMBEDDED:
        bound = bound_layer(problem, target, found=result, densities=asked.densities, bits=asked.bits, nodes=nodes)
    if args.json:
        print_json(
            {"head": head(problem, target, asked)}
            | layer_document(problem.name, result)
            | ({} if bound is None else {"bound": bound.to_dict()})
        )
    else:
        print(f"{head(problem, target, asked)}\n")
        print(describe(result, problem, target.arch.with_constraints(target.constraints)))
        said = folded(notes([target], [asked]))
        print(f"\n{level_text(result.cost, target.arch)}\n{said}\n" if said else f"\n{level_text(result.cost, target.arch)}\n")
        if bound is not None:
            print(bound)
        print(f"{count_text(result.evaluated)} mappings looked at in {result.seconds:.2f} s")
    if args.output:  # last: what was found is printed even when the disk refuses
        write_text(args.output, result.mapping.to_yaml())
        if not args.json:
            print(f"mapping: {args.output}")
    return 0


def _map_workload(workload: Workload, target: Target, asked: Asked, memo: Memo | None, args: argparse.Namespace) -> int:
    plan = asked.plan(workload)
    cost = map_network(
        workload, target, plan=plan, objective=args.objective, effort=args.effort, seed=args.seed, memo=memo,
        workers=args.workers, progress=progress_of(args), simulator=args.simulator,
    )  # fmt: skip
    bound = None
    nodes = NETWORK_NODES if args.bound is None else args.bound
    if nodes > 0 and args.simulator == EMBEDDED:
        bound = bound_network(
            workload, target, cost, objective=args.objective, plan=plan, nodes=nodes, workers=args.workers,
            progress=progress_of(args),
        )  # fmt: skip
    if args.json:
        print_json(network_document(Case(workload, target, asked, cost)) | ({} if bound is None else {"bound": bound.to_dict()}))
    else:
        print(network_text(Case(workload, target, asked, cost), terminal_width()))
        if bound is not None:
            print(f"\n{bound}\n")
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
