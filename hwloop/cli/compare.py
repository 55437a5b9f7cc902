"""`hwloop compare`: one network on one accelerator under several dataflows, at equal area and storage."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
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
)
from hwloop.errors import InfeasibleMappingError
from hwloop.memo import Memo
from hwloop.report.tables import count_text, energy_text, percent, table
from hwloop.run.networks import NetworkMapping, map_network
from hwloop.run.targets import make_targets
from hwloop.spec.plan import make_plan
from hwloop.spec.workload import load_workload

_EXAMPLE = """hwloop compare --model lenet5 --channels 1 --image-size 28 --arch flexible
  hwloop compare --model resnet20 --arch flexible_skipping --dataflow xy --dataflow cico --weight-bits 4 --density 0.2"""
_DESCRIPTION = """Maps a network on one accelerator under each dataflow and sets the energies, cycles and, by component,
where the energy goes side by side. A dataflow that a layer does not fit is said and left out."""
DATAFLOWS = ("row_stationary", "weight_stationary", "output_stationary")


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    parser = add_command(
        commands, "compare", "the same network on one accelerator under several dataflows", _EXAMPLE, _DESCRIPTION
    )
    network = parser.add_mutually_exclusive_group(required=True)
    network.add_argument("--model", metavar="NAME", help="of the zoo, of torchvision, or package.module:function")
    network.add_argument("--workload", metavar="FILE", help="a workload written by hwloop")
    parser.add_argument("--image-size", type=int, default=32, metavar="PIXELS", help="(default: %(default)s)")
    parser.add_argument("--channels", type=int, default=3, help="of the images (default: %(default)s)")
    parser.add_argument("--classes", type=int, default=10, help="(default: %(default)s)")
    parser.add_argument("--arch", default="flexible", metavar="NAME|FILE", help="(default: %(default)s)")
    parser.add_argument(
        "--dataflow", action="append", metavar="NAME|FILE", help=f"repeat for more (default: {', '.join(DATAFLOWS)})"
    )
    parser.add_argument("--energy", default="shipped", metavar="SOURCE", help="as in `hwloop map` (default: %(default)s)")
    parser.add_argument("--weight-bits", type=int, metavar="N", help="bits per weight (default: the accelerator's)")
    parser.add_argument("--activation-bits", type=int, metavar="N", help="bits per input activation")
    parser.add_argument("--density", type=float, default=1.0, metavar="D", help="fraction of weights kept (default: %(default)s)")
    parser.add_argument("--input-density", type=float, default=1.0, metavar="D", help="(default: %(default)s)")
    parser.add_argument("--objective", default="edp", choices=("edp", "energy", "cycles"), help="(default: %(default)s)")
    parser.add_argument("--effort", default="normal", choices=("quick", "normal", "thorough"), help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    add_template(parser)
    add_simulator(parser)
    add_memo(parser)
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Maps under each dataflow and prints the comparison."""
    if args.model is not None:
        from hwloop.network.prepare import named_workload  # loads torch, which a workload file does not need

        workload = named_workload(args.model, args.channels, args.image_size, args.classes)
    else:
        workload = load_workload(args.workload)
    plan = make_plan(workload, args.density, args.input_density, args.weight_bits, args.activation_bits)
    targets = make_targets(accelerator(args), args.dataflow or DATAFLOWS, args.energy)
    progress = progress_of(args)
    memo = None if args.memo is None else Memo(args.memo)
    results, left_out = [], []
    try:
        for target in targets:
            with progress.task(f"{workload.name} under {target.name}", len(workload.unique)) as task:

                def on_outcome(_at: int, request: MapRequest, _outcome: Outcome, task: Any = task) -> None:
                    task.advance(request.layer)

                try:
                    results.append(
                        map_network(
                            workload, target, plan=plan, objective=args.objective, effort=args.effort, seed=args.seed,
                            simulator=args.simulator, memo=memo, workers=args.workers, on_outcome=on_outcome,
                        )
                    )  # fmt: skip
                except InfeasibleMappingError as error:
                    left_out.append(error)
    finally:
        if memo is not None:
            memo.close()
    if not results:
        raise left_out[0]
    if args.json:
        print_json({"dataflows": [_document(result) for result in results], "left_out": [str(refusal) for refusal in left_out]})
        return 0
    print(comparison_text(results))
    for refusal in left_out:
        print(f"left out: {refusal}")
    return 0


def comparison_text(results: Sequence[NetworkMapping]) -> str:
    """A line a dataflow, best energy first, then where each one's energy goes."""
    ordered = sorted(results, key=lambda result: result.energy_pj)
    least = ordered[0].energy_pj
    rows = []
    for result in ordered:
        edp = result.energy_pj * result.cycles
        used = sum(la.result.cost.utilization * la.result.cost.cycles for la in result.layers) / max(result.cycles, 1)
        cells = (energy_text(result.energy_pj), f"{result.energy_pj / least:.2f}x", count_text(result.cycles), percent(used, 0))
        rows.append((result.target, *cells, f"{edp:.3g}", f"{result.energy_pj / result.computes:.2f}"))
    header = ("dataflow", "energy", "against least", "cycles", "used", "EDP [pJ cycles]", "pJ/MAC")
    names = list(dict.fromkeys(name for result in ordered for name in _by_component(result)))
    shares = [(r.target, *(percent(_by_component(r).get(name, 0.0) / r.energy_pj, 1) for name in names)) for r in ordered]
    return f"{results[0].network}\n\n{table(rows, header)}\n\nwhere the energy goes\n\n{table(shares, ('dataflow', *names))}"


def _by_component(result: NetworkMapping) -> dict[str, float]:
    """Energy by component [pJ], over all layers."""
    total: dict[str, float] = {}
    for layer in result.layers:
        for name, component in layer.result.cost.components.items():
            total[name] = total.get(name, 0.0) + component.energy_pj
    return total


def _document(result: NetworkMapping) -> dict[str, Any]:
    layers = [{"layer": la.name, "energy_pj": la.result.cost.energy_pj, "cycles": la.result.cost.cycles} for la in result.layers]
    return {
        "dataflow": result.target, "energy_pj": result.energy_pj, "cycles": result.cycles, "components": _by_component(result),
        "layers": layers,
    }  # fmt: skip
