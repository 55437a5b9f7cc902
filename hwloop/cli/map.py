"""`hwloop map`: the best mapping of a layer, or of every layer of a network."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwloop.backend.request import MapRequest, Outcome
from hwloop.cli.common import (
    Subparsers,
    accelerator,
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
from hwloop.errors import InfeasibleMappingError, SpecError
from hwloop.mapper.describe import describe, level_table
from hwloop.mapper.result import MapResult
from hwloop.memo import Memo
from hwloop.report.progress import Progress
from hwloop.report.tables import count_text, energy_text, percent, table
from hwloop.run.networks import NetworkMapping, map_network, mapper_for
from hwloop.run.targets import make_targets
from hwloop.search.hardware import Target
from hwloop.spec.plan import make_plan
from hwloop.spec.problem import Problem, load_problem
from hwloop.spec.source import read_spec
from hwloop.spec.workload import Workload, load_workload

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
    add_template(target)
    search = parser.add_argument_group("search")
    search.add_argument("--objective", default="edp", choices=("edp", "energy", "cycles"), help="(default: %(default)s)")
    search.add_argument("--effort", default="normal", choices=("quick", "normal", "thorough"), help="(default: %(default)s)")
    search.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--output", metavar="FILE", help="write the mapping, for Timeloop too; for a network a folder of them")
    add_memo(parser)
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Maps and prints."""
    [target] = make_targets(accelerator(args), args.dataflow, args.energy)
    subject = _subject(args)
    memo = None if args.memo is None else Memo(args.memo)
    try:
        if isinstance(subject, Problem):
            return _map_layer(subject, target, memo, args)
        return _map_workload(subject, target, memo, args, progress_of(args))
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
    for option, value in (("--density", args.density), ("--input-density", args.input_density)):
        if value is not None and not 0 <= value <= 1:
            raise SpecError("<arguments>", option, "a fraction from 0 to 1", value)
    if args.model is not None:
        from hwloop.network.prepare import named_workload  # loads torch, which a problem file does not need

        return named_workload(args.model, args.channels, args.image_size, args.classes, args.batch)
    document, _ = read_spec(args.problem, read_variables(args), args.include)
    if isinstance(document, Mapping) and ("workload" in document or "layers" in document):
        return load_workload(args.problem)
    return load_problem(args.problem, read_variables(args), args.include)


def _map_layer(problem: Problem, target: Target, memo: Memo | None, args: argparse.Namespace) -> int:
    given = {"Weights": args.density, "Inputs": args.input_density}
    densities: dict[str, Any] = dict(problem.densities) | {name: value for name, value in given.items() if value is not None}
    problem = problem.with_densities(densities) if densities else problem
    pairs = (("Weights", args.weight_bits), ("Inputs", args.activation_bits))
    bits = {name: value for name, value in pairs if value is not None}
    name = problem.name or Path(args.problem).stem
    request = MapRequest(
        problem,
        target.arch,
        target.energy(bits),
        target.constraints,
        args.objective,
        bits or None,
        None,
        args.seed,
        args.effort,
        "",
        name,
        args.simulator,
    )
    [result] = mapper_for(memo, 1)([request])
    if isinstance(result, InfeasibleMappingError):
        raise InfeasibleMappingError(f"{name} on {target.name}: {result.reason}", result.level, result.data_space)
    if args.json:
        print_json(_layer_document(name, result))
    else:
        print(f"{name} on {target.name}\n")
        print(describe(result, problem, target.arch.with_constraints(target.constraints)))
        print(f"\n{level_text(result, target)}\n")
        print(f"{count_text(result.evaluated)} mappings looked at in {result.seconds:.2f} s")
    if args.output:  # last: what was found is printed even when the disk refuses
        write_text(args.output, result.mapping.to_yaml())
        if not args.json:
            print(f"mapping: {args.output}")
    return 0


def level_text(result: MapResult, target: Target) -> str:
    """Where the energy goes, a line a level and data space."""
    rows = []
    for row in level_table(result.cost, target.arch):
        held = "" if not row.data_space else count_text(row.tile_size)
        room = "" if row.capacity is None else count_text(row.capacity)
        counts = [count_text(n) if row.data_space else "" for n in (row.reads, row.fills, row.updates)]
        costs = (energy_text(row.energy_pj), percent(row.share, 1), count_text(row.cycles))
        rows.append((row.level, row.data_space, held, room, str(row.instances), *counts, *costs))
    header = ("level", "data", "tile", "room", "instances", "reads", "fills", "updates", "energy", "share", "cycles")
    return table(rows, header, left=(0, 1))


def _map_workload(workload: Workload, target: Target, memo: Memo | None, args: argparse.Namespace, progress: Progress) -> int:
    plan = make_plan(
        workload, 1.0 if args.density is None else args.density, 1.0 if args.input_density is None else args.input_density,
        args.weight_bits, args.activation_bits,
    )  # fmt: skip
    with progress.task(f"map {workload.name} on {target.name}", len(workload.unique)) as task:

        def on_outcome(_at: int, request: MapRequest, _outcome: Outcome) -> None:
            task.advance(request.layer)

        result = map_network(
            workload, target, plan=plan, objective=args.objective, effort=args.effort, seed=args.seed, memo=memo,
            workers=args.workers, on_outcome=on_outcome, simulator=args.simulator,
        )  # fmt: skip
    if args.json:
        layers = [_layer_document(layer.name, layer.result) for layer in result.layers]
        print_json(
            {
                "network": result.network,
                "target": result.target,
                "energy_pj": result.energy_pj,
                "cycles": result.cycles,
                "layers": layers,
            }
        )
    else:
        print(network_text(result))
        if memo is not None:
            print(f"memo table: {memo.statistics.hits} read, {memo.statistics.misses} new")
    if args.output:  # last: what was found is printed even when the disk refuses
        for layer in result.layers:
            write_text(Path(args.output) / f"{layer.name.replace('/', '_')}.yaml", layer.result.mapping.to_yaml())
        if not args.json:
            print(f"mappings: {args.output}")
    return 0


def network_text(result: NetworkMapping) -> str:
    """A line a layer, and the sums."""
    rows = []
    for layer in result.layers:
        cost, ceiling = layer.result.cost, layer.result.ceiling
        energy = (energy_text(cost.energy_pj), percent(cost.energy_pj / result.energy_pj, 1))
        time = (count_text(cost.cycles), percent(cost.utilization, 0), f"{ceiling.kind} {ceiling.component}")
        rows.append((layer.name, count_text(cost.computes), *energy, *time))
    rows.append(("all", count_text(result.computes), energy_text(result.energy_pj), "", count_text(result.cycles), "", ""))
    header = ("layer", "MACs", "energy", "share", "cycles", "used", "bound by")
    return f"{result.network} on {result.target}\n\n{table(rows, header, left=(0, 6))}"


def _layer_document(name: str, result: MapResult) -> dict[str, Any]:
    return {"layer": name, **result.to_dict()}
