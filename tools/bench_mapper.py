"""Figures of the mapper: against Timeloop's random search, over whole networks, and quality over time.

python tools/bench_mapper.py reference [--shared ../shared] [--objective edp]   # every (arch, layer) Timeloop searched
python tools/bench_mapper.py networks [--workers 2]        # VGG-16, ResNet-18, MobileNetV2 at 224 x 224 on three dataflows
python tools/bench_mapper.py bounds [--nodes N]            # how far the mappings can be from the best possible, same networks
python tools/bench_mapper.py deep [--cases 24]             # normal against thorough on random deep arrays, unconstrained
python tools/bench_mapper.py curve [--shared ../shared]    # objective against time by effort and seed
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hwloop
from hwloop.backend.distinct import Distinct
from hwloop.backend.embedded import Embedded
from hwloop.backend.request import MapperSettings, MapRequest
from hwloop.mapper import MapResult, check, map_problem
from hwloop.mapper.bound import NODES, OPTIMAL, lower_bound
from hwloop.simulator.simulator import Simulator
from hwloop.spec.architecture import Architecture
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.problem import Problem, conv2d_shape, make_problem

ROOT = Path(__file__).resolve().parents[1]
VGG16 = [
    (3, 64, 224, 3, 1), (64, 64, 224, 3, 1), (64, 128, 112, 3, 1), (128, 128, 112, 3, 1), (128, 256, 56, 3, 1),
    *[(256, 256, 56, 3, 1)] * 2, (256, 512, 28, 3, 1), *[(512, 512, 28, 3, 1)] * 2, *[(512, 512, 14, 3, 1)] * 3,
    (25088, 4096, 1, 1, 1), (4096, 4096, 1, 1, 1), (4096, 1000, 1, 1, 1),
]  # fmt: skip
RESNET18 = [
    (3, 64, 112, 7, 2), *[(64, 64, 56, 3, 1)] * 4, (64, 128, 28, 3, 2), (64, 128, 28, 1, 2), *[(128, 128, 28, 3, 1)] * 3,
    (128, 256, 14, 3, 2), (128, 256, 14, 1, 2), *[(256, 256, 14, 3, 1)] * 3, (256, 512, 7, 3, 2), (256, 512, 7, 1, 2),
    *[(512, 512, 7, 3, 1)] * 3, (512, 1000, 1, 1, 1),
]  # fmt: skip
# MobileNetV2: expansion, channels out, blocks, stride (Sandler et al., CVPR 2018, table 2)
INVERTED = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


SPECS = {"row stationary": "eyeriss_168", "weight stationary": "tpu_like", "output stationary": "shidiannao_like"}


def _conv(c: int, m: int, p: int, r: int, stride: int) -> Problem:
    return make_problem(conv2d_shape(), {"C": c, "M": m, "P": p, "Q": p, "R": r, "S": r, "Wstride": stride, "Hstride": stride})


def mobilenet_v2() -> list[Problem]:
    layers = [_conv(3, 32, 112, 3, 2)]
    channels, plane = 32, 112
    for expansion, out, blocks, stride in INVERTED:
        for block in range(blocks):
            hidden = channels * expansion
            if expansion > 1:
                layers.append(_conv(channels, hidden, plane, 1, 1))
            step = stride if block == 0 else 1
            plane //= step
            sizes = {"C": hidden, "P": plane, "Q": plane, "R": 3, "S": 3, "Wstride": step, "Hstride": step}
            layers.append(make_problem(conv2d_shape(depthwise=True), sizes))
            layers.append(_conv(hidden, out, plane, 1, 1))
            channels = out
    return [*layers, _conv(320, 1280, 7, 1, 1), _conv(1280, 1000, 1, 1, 1)]


NETWORKS = {
    "VGG-16": [_conv(*x) for x in VGG16],
    "ResNet-18": [_conv(*x) for x in RESNET18],
    "MobileNetV2": mobilenet_v2(),
}


def table(head: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    for row in [head, ["-" * w for w in widths], *rows]:
        print("  ".join(cell.rjust(w) if i > 1 else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))))


def _records(shared: Path) -> Iterator[tuple[dict[str, Any], Problem, Architecture, EnergyTable]]:
    folder = shared / "reference" / "mapper"
    for line in (folder / "best_found.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        architecture = hwloop.load_architecture(folder / f"{record['arch']}.yaml")
        yield record, hwloop.load_problem(record["problem"]), architecture, hwloop.load_energy_table(record["ert"])


def reference(shared: Path, objective: str, effort: str) -> None:
    rows, ours_s, theirs_s, worst = [], [], [], 0.0
    for record, problem, architecture, ert in _records(shared):
        theirs = Simulator(problem, architecture, ert).run(hwloop.load_mapping(record["mapping"]))
        began = time.process_time()
        ours = map_problem(problem, architecture, ert, objective=objective, effort=effort)
        ours_s.append(time.process_time() - began)
        theirs_s.append(record["seconds"])
        assert check(ours.mapping, problem, architecture) == []
        their_value = {"edp": theirs.edp, "energy": theirs.energy_pj, "cycles": float(theirs.cycles)}[objective]
        ratio = ours.value / their_value
        worst = max(worst, ratio)
        padded = " ".join(f"{p.dimension}{p.size}->{p.covered}" for p in ours.padding)
        rows.append([
            record["arch"], record["layer"], f"{their_value:.4g}", f"{ours.value:.4g}", f"{ratio:.4f}",
            f"{record['seconds']:.1f}", f"{ours_s[-1]:.3f}", str(ours.evaluated),
            padded, ours.ceiling.kind + " " + ours.ceiling.component,
        ])  # fmt: skip
    table(
        [
            "arch",
            "layer",
            f"Timeloop's {objective}",
            "ours",
            "ours/theirs",
            "their s",
            "our CPU s",
            "tilings",
            "padding",
            "bound",
        ],
        rows,
    )
    print(
        f"\nworst ratio {worst:.4f}; Timeloop {sum(theirs_s):.0f} s (2 threads), ours {sum(ours_s):.2f} s (one core): "
        f"1/{sum(theirs_s) / sum(ours_s):.0f}; median {statistics.median(ours_s):.3f} s, longest {max(ours_s):.3f} s"
    )


def networks(workers: int, effort: str) -> None:
    rows, began, backend = [], time.perf_counter(), Distinct(Embedded(workers))
    for dataflow, name in SPECS.items():
        architecture = hwloop.load_architecture(ROOT / "arch_specs" / f"{name}.yaml")
        beside = ROOT / "arch_specs" / f"{name}.ert.yaml"
        ert = hwloop.load_energy_table(beside) if beside.exists() else hwloop.estimate_energy_table(architecture)
        for net, problems in NETWORKS.items():
            start = time.perf_counter()
            settings = MapperSettings(effort=effort)
            outcomes = backend.map([MapRequest(problem, architecture, ert, settings=settings) for problem in problems])
            costs = [outcome.cost for outcome in outcomes if isinstance(outcome, MapResult)]
            rows.append([
                dataflow, net, str(len(problems)), str(len(set(problems))), str(len(problems) - len(costs)),
                f"{sum(cost.energy_pj for cost in costs) / 1e9:.3f}", f"{sum(cost.cycles for cost in costs) / 1e6:.2f}",
                f"{time.perf_counter() - start:.1f}",
            ])  # fmt: skip
    table(["dataflow", "network", "layers", "distinct", "failed", "energy mJ", "Mcycles", "s"], rows)
    print(f"\nall: {time.perf_counter() - began:.1f} s on {workers} workers")


def bounds(effort: str, nodes: int, dataflows: list[str], networks: list[str], objectives: list[str]) -> None:
    """How far from the best possible: each network's layers on each dataflow, by objective; the worst layers are named."""
    rows = []
    for objective in objectives:
        for dataflow in dataflows:
            architecture = hwloop.load_architecture(ROOT / "arch_specs" / f"{SPECS[dataflow]}.yaml")
            ert = hwloop.load_energy_table(ROOT / "arch_specs" / f"{SPECS[dataflow]}.ert.yaml")
            for net in networks:
                layers = list(dict.fromkeys(NETWORKS[net]))
                gaps, mapping, bounding = [], 0.0, 0.0
                sums = [0.0, 0.0]
                for problem in layers:
                    began = time.process_time()
                    found = map_problem(problem, architecture, ert, objective=objective, effort=effort)
                    mapping += time.process_time() - began
                    began = time.process_time()
                    bound = lower_bound(problem, architecture, ert, objective=objective, found=found, nodes=nodes)
                    bounding += time.process_time() - began
                    if bound.value > bound.found * (1 + 1e-9):
                        raise AssertionError(f"{dataflow}, {problem.sizes}: the mapping lies below the bound")
                    gaps.append(bound.gap)
                    times = NETWORKS[net].count(problem)
                    sums = [sums[0] + times * bound.found, sums[1] + times * bound.value]
                    held = " ".join(f"{d}{n}" for d, n in problem.sizes.items() if n > 1)
                    print(f"{objective}, {dataflow}, {net}, {held}: {bound.gap:.1%}", file=sys.stderr, flush=True)
                whole = "" if objective == "edp" else f"{sums[0] / sums[1] - 1.0:.1%}"
                rows.append([
                    objective, dataflow, net, str(len(gaps)), f"{statistics.median(gaps):.1%}",
                    f"{sorted(gaps)[int(0.9 * (len(gaps) - 1))]:.1%}", f"{max(gaps):.1%}",
                    str(sum(gap <= OPTIMAL for gap in gaps)), whole,
                    f"{mapping / len(gaps):.2f}", f"{bounding / len(gaps):.2f}",
                ])  # fmt: skip
                print("  ".join(rows[-1]), file=sys.stderr, flush=True)
    head = [
        "objective",
        "dataflow",
        "network",
        "layers",
        "median",
        "90%",
        "worst",
        "optimal",
        "whole network",
        "map s",
        "bound s",
    ]
    table(head, rows)


def deep_case(seed: int) -> tuple[Problem, Architecture, EnergyTable]:
    """A random array of 3 to 5 storage levels and two fan-outs, nothing constrained, and a random layer."""
    rng = random.Random(seed)
    levels, depth = rng.randint(3, 5), rng.choice([8192, 32768, 131072])
    spread = sorted(rng.sample(range(1, levels), min(2, levels - 1)))
    nodes = [
        "- !Container {name: system, attributes: {technology: '\"45nm\"', global_cycle_seconds: 1e-9}}",
        "- !Component {name: DRAM, class: DRAM, attributes: {width: 64, datawidth: 16, read_bandwidth: 16, write_bandwidth: 16}}",
    ]
    energies: dict[str, Any] = {"DRAM": {"read": 200.0, "write": 200.0, "update": 200.0}, "mac": {"compute": 1.0}}
    for level in range(1, levels):
        if level in spread:
            x, y = rng.choice([(4, 4), (8, 4), (2, 8), (12, 14), (16, 1)])
            nodes.append(f"- !Container {{name: array{level}, spatial: {{meshX: {x}, meshY: {y}}}}}")
        band = rng.choice([4, 8, 16, 32])
        attributes = f"depth: {depth}, width: 16, datawidth: 16, read_bandwidth: {band}, write_bandwidth: {band}"
        nodes.append(f"- !Component {{name: buffer{level}, class: SRAM, attributes: {{{attributes}}}}}")
        price = 0.2 + 0.02 * depth**0.5
        energies[f"buffer{level}"] = {"read": price, "write": price, "update": price}
        depth = max(depth // rng.choice([8, 16, 64]), 4)
    nodes.append("- !Component {name: mac, class: intmac, attributes: {datawidth: 16}}")
    text = "architecture:\n  version: 0.4\n  nodes:\n" + "\n".join(f"  {node}" for node in nodes)
    plane, window = rng.choice([7, 13, 14, 28, 56]), rng.choice([1, 3, 3, 5])
    sizes = {"C": rng.choice([16, 48, 64, 96, 256]), "M": rng.choice([24, 64, 128, 384]), "P": plane, "Q": plane}
    problem = make_problem(conv2d_shape(), {**sizes, "R": window, "S": window})
    return problem, hwloop.load_architecture(text), hwloop.load_energy_table(energies)


def deep(cases: int, first: int, seeds: int) -> None:
    """The energy-delay product of normal effort over the best of it and thorough effort, each under seeds of its own."""
    rows, ratios = [], []
    for case in range(first, first + cases):
        problem, architecture, table_ = deep_case(case)
        began = time.process_time()
        normal = [map_problem(problem, architecture, table_, seed=case + k).value for k in range(seeds)]
        middle = time.process_time()
        best = min([*normal, map_problem(problem, architecture, table_, seed=case + seeds, effort="thorough").value])
        ratios += [value / best for value in normal]
        held = " ".join(f"{d}{n}" for d, n in problem.sizes.items() if n > 1)
        worst = max(normal) / best
        rows.append([
            str(case), held, f"{worst:.4f}", f"{(middle - began) / seeds:.2f}", f"{time.process_time() - middle:.2f}",
        ])  # fmt: skip
        print("  ".join(rows[-1]), file=sys.stderr, flush=True)
    table(["case", "layer", "worst normal/best", "normal s", "thorough s"], rows)
    above = sum(ratio > 1.05 for ratio in ratios)
    print(
        f"\n{len(ratios)} runs of {cases} arrays: median {statistics.median(ratios):.4f}, worst {max(ratios):.4f}, "
        f"{above} more than 5% above the best"
    )


def curve(shared: Path, seeds: int) -> None:
    """Objective over the best known, by time: the efforts against the time Timeloop took."""
    best: dict[tuple[str, str], float] = {}
    runs: dict[str, list[tuple[tuple[str, str], float, float]]] = {"Timeloop": []}
    for record, problem, architecture, ert in _records(shared):
        key = (record["arch"], record["layer"])
        runs["Timeloop"].append((key, record["seconds"], record["energy_pj"] * record["cycles"]))
        for effort in ("quick", "normal", "thorough"):
            for seed in range(1 if effort == "thorough" else seeds):
                began = time.process_time()
                found = map_problem(problem, architecture, ert, effort=effort, seed=seed)
                runs.setdefault(effort, []).append((key, time.process_time() - began, found.value))
        best[key] = min(value for name in runs for k, _, value in runs[name] if k == key)
    rows = []
    for name, points in sorted(runs.items(), key=lambda r: statistics.median(p[1] for p in r[1])):
        ratios = [value / best[key] for key, _, value in points]
        seconds = [s for _, s, _ in points]
        rows.append([
            name, str(len(points)), f"{statistics.median(seconds):.3f}", f"{max(seconds):.2f}",
            f"{statistics.geometric_mean(ratios):.4f}",
            f"{sorted(ratios)[int(0.9 * (len(ratios) - 1))]:.4f}", f"{max(ratios):.3f}",
        ])  # fmt: skip
    table(["search", "runs", "median s", "longest s", "EDP/best (mean)", "90%", "worst"], rows)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["reference", "networks", "bounds", "deep", "curve"])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="folder of the reference data")
    parser.add_argument("--objective", default="edp", choices=["edp", "energy", "cycles"])
    parser.add_argument("--effort", default="normal", choices=["quick", "normal", "thorough"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--dataflows", nargs="+", default=list(SPECS), choices=list(SPECS), help="for bounds")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS), help="for bounds")
    parser.add_argument("--objectives", nargs="+", default=["energy", "cycles", "edp"], help="for bounds")
    parser.add_argument("--nodes", type=int, default=NODES, help="parts of the mapspace a bound looks at")
    parser.add_argument("--cases", type=int, default=24, help="arrays, for deep")
    parser.add_argument("--first", type=int, default=1000, help="number of the first array, for deep")
    options = parser.parse_args(arguments)
    if options.what == "reference":
        reference(options.shared, options.objective, options.effort)
    elif options.what == "networks":
        networks(options.workers, options.effort)
    elif options.what == "bounds":
        bounds(options.effort, options.nodes, options.dataflows, options.networks, options.objectives)
    elif options.what == "deep":
        deep(options.cases, options.first, options.seeds)
    else:
        curve(options.shared, options.seeds)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
