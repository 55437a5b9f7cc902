"""What the hardware cost of a search's candidates takes: one by one, and a batch of them at once. Prints ms a candidate.

python tools/bench_search.py [--candidates 64] [--target eyeriss_168:row_stationary ...]

ResNet-20 (32 x 32 pixels), every layer of every candidate with a density and bits of its own, none seen before. Each layer
tries a short list of mappings, those that the mapper finds for the dense network and for a few corners of density and bits, and
the best of them by energy x delay counts. Where none of a layer's fits (the last layer, 64 x 10, with a few percent of its
weights) the mapper is asked, which takes most of such a batch's time: `asked` says how often, `unasked` is without those
batches. Rates are by processor time, on one core; both ways must give the same numbers. The median batch counts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import hwloop  # noqa: E402
from hwloop.backend.candidates import CandidateCosts  # noqa: E402
from hwloop.backend.distinct import Distinct  # noqa: E402
from hwloop.backend.embedded import Embedded  # noqa: E402
from hwloop.backend.network_maps import network_maps  # noqa: E402
from hwloop.backend.operations import OperationCosts  # noqa: E402
from hwloop.backend.request import MapperSettings, MapRequest, layer_bits, layer_problem  # noqa: E402
from hwloop.backend.target import make_targets  # noqa: E402
from hwloop.network.zoo.models import make_model  # noqa: E402
from hwloop.simulator import simulate_batch  # noqa: E402
from hwloop.spec.batch import MappingBatch  # noqa: E402
from hwloop.spec.plan import LayerPlan, Plan, PlannedLayer, make_plan  # noqa: E402
from hwloop.spec.problem import Problem  # noqa: E402
from hwloop.spec.workload import Workload  # noqa: E402

TARGETS = ("eyeriss_168:row_stationary", "tpu_like:", "eyeriss_168_skipping:row_stationary", "flexible_skipping:",
           "tpu_like_compressed:")  # fmt: skip
CORNERS = ((0.05, 4), (0.3, 4), (0.3, 8))  # weight density, bits
BATCHES = 9  # of which the median counts
Costs = list[tuple[float, float]]  # by candidate: energy [pJ] and cycles of the network; infinite where nothing fits


def together(model: CandidateCosts, plans: Sequence[Plan], asked: list[str] | None = None) -> Costs:
    """All plans in one call, as a search asks; `asked` gets the layers that the mapper was asked for."""

    def on_outcome(_at: int, request: MapRequest, _outcome: object) -> None:
        if asked is not None:
            asked.append(request.layer)

    return [(np.inf, np.inf) if cost is None else (cost.energy_pj, cost.cycles) for cost in model.costs(plans, on_outcome)]


def one_by_one(model: CandidateCosts, batches: dict[Problem, MappingBatch], plans: Sequence[Plan]) -> Costs:
    """Each layer of each plan alone, by a simulation of its whole short list."""
    out: Costs = []
    operations = OperationCosts(model.target)
    for plan in plans:
        energy = cycles = 0.0
        for layer in plan.apply(model.workload):
            batch = batches[layer.layer.problem]
            bits = layer_bits(layer, model.target)
            costs = simulate_batch(layer_problem(layer, model.target), model.target.arch, batch, model.target.table(bits), bits)
            best = int(costs.edp.argmin())
            fits = costs.feasible[best]
            energy, cycles = energy + float(costs.energy_pj[best]), cycles + (float(costs.cycles[best]) if fits else np.inf)
        for _, cost in operations.of(network_maps(model.workload, plan, plan.apply(model.workload))):
            energy, cycles = energy + sum(cost.energy_pj.values()), cycles + cost.cycles
        out.append((energy, cycles))
    return out


def batch_of(model: CandidateCosts, layer: PlannedLayer) -> MappingBatch:
    """A layer's short list as arrays."""
    problem = layer.layer.problem
    return MappingBatch.from_mappings(model.known_mappings(layer), problem.shape, problem.bounds, model.target.arch)


def draw(workload: Workload, count: int, most_bits: int, seed: int) -> list[Plan]:
    """Plans whose layers all differ."""
    rng = np.random.default_rng(seed)
    density, inputs = rng.uniform(0.05, 1.0, (count, len(workload.layers))), rng.uniform(0.2, 0.9, (count, len(workload.layers)))
    bits = rng.integers(2, most_bits + 1, (count, len(workload.layers), 2)).tolist()
    return [
        Plan(
            tuple(
                (layer.name, LayerPlan(float(density[i, j]), float(inputs[i, j]), *bits[i][j]))
                for j, layer in enumerate(workload.layers)
            )
        )
        for i in range(count)
    ]


def seconds(call: Callable[[], Costs]) -> tuple[float, Costs]:
    """Processor time of a call [s], and what it gave."""
    start = time.process_time()
    found = call()
    return time.process_time() - start, found


def measure(workload: Workload, accelerator: str, flow: str | None, candidates: int, alone: int) -> str:
    """One line of the table."""
    [target] = make_targets(accelerator, flow)
    model = CandidateCosts(workload, target, MapperSettings("edp", "quick"), Distinct(Embedded()))
    most = min(level.word_bits for level in target.arch.levels if level.kind == "storage")
    reference = make_plan(workload, 1.0, 0.5, most, most)  # its mappings fit every candidate
    model.prepare(reference, [make_plan(workload, density, 0.5, bits, bits) for density, bits in CORNERS])
    together(model, draw(workload, candidates, most, seed=1))  # tables and caches of both ways are warm
    asked: list[str] = []
    every, alone_times = [], []
    for seed in range(2, 2 + BATCHES):
        plans, before = draw(workload, candidates, most, seed=seed), len(asked)
        taken, found = seconds(partial(together, model, plans, asked))
        every.append(taken / candidates * 1e3)
        alone_times += [every[-1]] if len(asked) == before else []
    batches = {layer.layer.problem: batch_of(model, layer) for layer in reference.apply(workload)}
    one_by_one(model, batches, plans[-1:])
    single, expected = seconds(lambda: one_by_one(model, batches, plans[:alone]))
    pairs = [pair for row in zip(found, expected, strict=False) for pair in zip(*row, strict=True)]
    apart = max(0.0 if a == b else abs(a - b) / b for a, b in pairs)
    each, each_alone, lists = median(every), single / len(expected) * 1e3, np.mean([len(b) for b in batches.values()])
    unasked = f"{median(alone_times):9.2f}" if alone_times else f"{'-':>9}"
    rates = f"{each_alone:10.1f} {each:9.2f} {each_alone / each:6.1f} {1e3 / each:12,.0f} {apart:9.0e} {unasked} {len(asked):6}"
    return f"{accelerator:22} {lists:8.1f} {rates}"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=64, help="how many are costed at once")
    parser.add_argument("--alone", type=int, default=8, help="how many are also costed one by one")
    parser.add_argument("--target", nargs="+", default=TARGETS, metavar="ACCELERATOR:DATAFLOW")
    args = parser.parse_args()
    torch.set_num_threads(1)
    workload = hwloop.trace(make_model("resnet20"), torch.zeros(1, 3, 32, 32))
    print(f"ResNet-20, {len(workload.layers)} layers, {args.candidates} candidates never seen before; ms a candidate, one core")
    header = f"{'mappings':>8} {'one by one':>10} {'together':>9} {'ratio':>6} {'candidates/s':>12} {'apart by':>9}"
    header += f" {'unasked':>9} {'asked':>6}"
    print(f"{'accelerator':22} {header}")
    for target in args.target:
        name, _, flow = target.partition(":")
        print(measure(workload, name, flow or None, args.candidates, args.alone), flush=True)


if __name__ == "__main__":
    main()
