"""What the hardware cost of a search's candidates takes: one by one, and a batch of them at once. Prints ms a candidate.

python tools/bench_search.py [--candidates 64] [--target eyeriss_168:row_stationary ...]

ResNet-20 (32 x 32 pixels), every layer of every candidate with a density and bits of its own, none seen before. Each layer tries
a short list of mappings, those that the mapper finds for the dense network and for a few corners of density and bits, and the
best of them by energy x delay counts. Rates are by processor time, on one core; both ways must give the same numbers.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import hwloop  # noqa: E402
from hwloop.energy import estimate_energy_table  # noqa: E402
from hwloop.network.zoo import make_model  # noqa: E402
from hwloop.simulator import LayerCandidate, LayerNests, simulate_batch  # noqa: E402
from hwloop.spec.architecture import Architecture  # noqa: E402
from hwloop.spec.batch import MappingBatch  # noqa: E402
from hwloop.spec.constraints import Constraints  # noqa: E402
from hwloop.spec.energy_table import EnergyTable  # noqa: E402
from hwloop.spec.mapping import Mapping  # noqa: E402
from hwloop.spec.plan import LayerPlan, Plan, make_plan  # noqa: E402
from hwloop.spec.problem import Problem  # noqa: E402
from hwloop.spec.resources import open_architecture, open_mapping  # noqa: E402
from hwloop.spec.workload import Workload  # noqa: E402

TARGETS = ("eyeriss_168:row_stationary", "tpu_like:", "eyeriss_168_skipping:row_stationary", "flexible_skipping:",
           "tpu_like_compressed:")  # fmt: skip
CORNERS = ((1.0, 8), (0.05, 4), (0.3, 4), (0.3, 8))  # weight density, bits
Costs = list[tuple[float, int]]  # by candidate: energy [pJ] and cycles of the network


@dataclass
class Bench:
    """A network on an accelerator, with the short lists of its layers.

    Attributes:
        workload: the network.
        arch: the accelerator.
        constraints: the dataflow, None for what the accelerator allows.
    """

    workload: Workload
    arch: Architecture
    constraints: Constraints | None
    lists: dict[Problem, MappingBatch] = field(default_factory=dict)
    tables: dict[tuple[tuple[str, int], ...], EnergyTable] = field(default_factory=dict)

    def table(self, share: LayerPlan) -> EnergyTable:
        """The energy table for a layer's bits."""
        key = tuple(bits_of(share).items())
        if key not in self.tables:
            self.tables[key] = estimate_energy_table(self.arch, "shipped", dict(key))
        return self.tables[key]

    def prepare(self) -> None:
        """Maps every layer at the corners."""
        found: dict[Problem, list[Mapping]] = {}
        for density, bits in CORNERS:
            plan = make_plan(self.workload, density, 0.5, bits, bits)
            for layer in self.workload.layers:
                if len(found.setdefault(layer.problem, [])) > CORNERS.index((density, bits)):
                    continue
                share = plan.of(layer.name)
                start = tuple(found[layer.problem]) or None
                best = hwloop.map_problem(
                    planned(layer.problem, share), self.arch, self.table(share), self.constraints, bits=bits_of(share),
                    start=start, effort="quick",
                )  # fmt: skip
                found[layer.problem].append(best.mapping)
        for problem, mappings in found.items():
            distinct = list(dict.fromkeys(mappings))
            self.lists[problem] = MappingBatch.from_mappings(distinct, problem.shape, problem.bounds, self.arch)

    def one_by_one(self, plans: Sequence[Plan]) -> Costs:
        """Each layer of each plan alone."""
        out = []
        for plan in plans:
            energy, cycles = 0.0, 0
            for layer in self.workload.layers:
                share = plan.of(layer.name)
                costs = simulate_batch(
                    planned(layer.problem, share), self.arch, self.lists[layer.problem], self.table(share), bits_of(share)
                )
                best = int(costs.edp.argmin())
                energy, cycles = energy + float(costs.energy_pj[best]), cycles + int(costs.cycles[best])
            out.append((energy, cycles))
        return out

    def together(self) -> Callable[[Sequence[Plan]], Costs]:
        """Analyses the nests once and returns what costs a batch of plans."""
        nests = {problem: LayerNests(problem, self.arch, batch) for problem, batch in self.lists.items()}
        places: dict[Problem, list[str]] = {}
        for layer in self.workload.layers:
            places.setdefault(layer.problem, []).append(layer.name)

        def cost(plans: Sequence[Plan]) -> Costs:
            energy, cycles = np.zeros(len(plans)), np.zeros(len(plans), np.int64)
            for problem, names in places.items():
                shares = [plan.of(name) for plan in plans for name in names]
                costs = nests[problem].cost(
                    [LayerCandidate(self.table(share), densities_of(share), bits_of(share)) for share in shares]
                )
                best = costs.edp.argmin(axis=1)[:, None]
                for total, values in ((energy, costs.energy_pj), (cycles, costs.cycles)):
                    total += np.take_along_axis(values, best, axis=1).reshape(len(plans), len(names)).sum(axis=1)
            return list(zip(energy.tolist(), cycles.tolist(), strict=True))

        return cost


def bits_of(share: LayerPlan) -> dict[str, int]:
    """Bits by data space."""
    return {"Weights": share.weight_bits or 0, "Inputs": share.activation_bits or 0}


def densities_of(share: LayerPlan) -> dict[str, float]:
    """Densities by data space."""
    return {"Weights": share.weight_density, "Inputs": share.input_density}


def planned(problem: Problem, share: LayerPlan) -> Problem:
    """The problem with a layer's densities."""
    return problem.with_densities(densities_of(share))


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
    print(
        f"{'accelerator':22} {'mappings':>8} {'one by one':>10} {'together':>9} {'ratio':>6} {'candidates/s':>12} {'apart by':>9}"
    )
    for target in args.target:
        name, _, flow = target.partition(":")
        arch = open_architecture(name)
        bench = Bench(workload, arch, open_mapping(flow) if flow else None)
        bench.prepare()
        cost = bench.together()
        most = min(level.word_bits for level in arch.levels if level.kind == "storage")
        cost(draw(workload, args.candidates, most, seed=1))  # tables and caches of both ways are warm
        plans = draw(workload, args.candidates, most, seed=2)
        together, found = seconds(lambda: cost(plans))  # noqa: B023
        bench.one_by_one(plans[-1:])
        alone, expected = seconds(lambda: bench.one_by_one(plans[: args.alone]))  # noqa: B023
        pairs = [pair for row in zip(found, expected, strict=False) for pair in zip(*row, strict=True)]
        apart = max(0.0 if a == b else abs(a - b) / b for a, b in pairs)  # equal infinities: no mapping of a layer fits
        each, single = together / len(plans) * 1e3, alone / len(expected) * 1e3
        lists = np.mean([len(batch) for batch in bench.lists.values()])
        print(f"{name:22} {lists:8.1f} {single:10.1f} {each:9.2f} {single / each:6.1f} {1e3 / each:12,.0f} {apart:9.0e}")


if __name__ == "__main__":
    main()
