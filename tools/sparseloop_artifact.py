"""Runs hwloop on the files of Sparseloop's artifact (MICRO 2022) as they stand, and sets its reference results beside.

    python tools/sparseloop_artifact.py .../evaluation_setups

The reference results are those that the artifact ships (`ref_outputs`), made by the Timeloop of 2022; figure 12 has the cycles of
the chip's own simulator too. Energies are not expected to be equal: the Timeloop of today differs from that of 2022.
"""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

import hwloop
from hwloop.backend.timeloop.stats import parse_stats
from hwloop.errors import HwloopError
from hwloop.report.tables import table
from hwloop.simulator import LayerCost


@dataclass(frozen=True)
class Run:
    """One published run: the group it belongs to, its name, hwloop's cost (or why there is none), and the reference."""

    group: str
    name: str
    cost: LayerCost | None
    why: str
    cycles: int
    energy_uj: float


def reference(stats: Path) -> tuple[int, float]:
    """Cycles and energy [uJ] that a `stats.txt` prints."""
    text = stats.read_text()
    cycles, energy = re.search(r"^Cycles: (\d+)", text, re.M), re.search(r"^Energy: ([0-9.]+) uJ", text, re.M)
    if cycles is None or energy is None:
        raise SystemExit(f"{stats}: no summary")
    return int(cycles[1]), float(energy[1])


def simulated(sources: list[Path], ert: Path) -> tuple[LayerCost | None, str]:
    """hwloop's cost of specs as they stand, or why there is none."""
    try:
        problem, arch = hwloop.load_problem(sources), hwloop.load_architecture(sources)
        return hwloop.simulate(problem, arch, hwloop.load_mapping(sources), hwloop.load_energy_table(ert)), ""
    except HwloopError as error:
        return None, str(error).rsplit(": ", 1)[-1]


def eyeriss_v2(root: Path) -> Iterator[tuple[str, LayerCost | None, int, int]]:
    """Figure 12: (layer, cost, the reference's cycles, the chip's simulator's cycles) under uniform densities."""
    top = root / "fig12_eyerissv2_pe_setup"
    truth = yaml.safe_load((top / "scripts/ground_truth_cycles.yaml").read_text())
    for stats in sorted(top.glob("ref_outputs/uniform_only/*/uniform/output/*.stats.txt")):
        layer = stats.parents[2].name
        network = "mobilenet0.5-sparse"
        sources = [
            top / "hardware-specs/designs/arch.yaml",
            top / "hardware-specs/configurations/SI-SW.yaml",
            top / f"mappings/{network}/{layer}-perfect_factor.yaml",
            top / f"workload/{network}/uniform/{layer}.yaml",
        ]
        cost, why = simulated(sources, top / "ert_art/ERT.yaml")
        if why:
            print(f"figure 12 {layer}: {why}")
        yield layer, cost, reference(stats)[0], truth[layer]


def dual_side(root: Path) -> Iterator[tuple[str, str, str]]:
    """Figure 13: (densities of A and B, hwloop's cycles against dense or why there are none, the chip's as published)."""
    top = root / "fig13_dstc_setup"
    truth = yaml.safe_load((top / "scripts/baseline.yaml").read_text())
    found = {}
    for a, column in truth.items():
        for b in column:
            place = top / f"ref_outputs/B_{b}-A_{a}"
            found[a, b] = simulated([place / "aggregated_input.yaml"], place / "ERT.yaml")
    dense = found[1.0, 1.0][0]
    for (a, b), (cost, why) in found.items():
        ours = why if cost is None or dense is None else f"{cost.cycles / dense.cycles:.3f}"
        yield f"{a} {b}", ours, f"{truth[a][b] / truth[1.0][1.0]:.3f}"


def collected(root: Path, folder: str) -> Iterator[Run]:
    """Runs whose inputs lie beside their results."""
    for stats in sorted((root / folder).rglob("*.stats.txt")):
        place = stats.parents[1]
        if not (place / "aggregated_input.yaml").is_file():
            continue
        sources = [f for f in (place / "aggregated_input.yaml", place / "map.yaml") if f.is_file()]
        cost, why = simulated(sources, place / "ERT.yaml")
        yield Run(place.parts[-1] if folder.startswith("fig") else place.parts[-2], place.name, cost, why, *reference(stats))


def compression(root: Path) -> Iterator[tuple[str, float, float]]:
    """Table 7: (layer, by how much compression cuts the DRAM's accesses by hwloop, by the reference); metadata as the artifact's
    own script has it (a share of 0.76 of what is moved is data)."""
    top = root / "table7_eyeriss_setup"
    for place in sorted((top / "ref_outputs").iterdir()):
        dense, coded = top / "dense_outputs" / place.name, place
        ours, theirs = [], []
        for folder in (dense, coded):
            cost, why = simulated([folder / "aggregated_input.yaml"], folder / "ERT.yaml")
            if cost is None:
                raise SystemExit(f"{folder}: {why}")
            spaces = cost.components["DRAM"].dataspaces
            ours.append({name: s.reads + s.fills + s.updates for name, s in spaces.items()})
            printed = parse_stats(next(folder.glob("output/*.stats.txt")).read_text())["components"]["DRAM"]["dataspaces"]
            theirs.append(
                {name: sum(_accesses(b, kind) for kind in ("reads", "fills", "updates")) for name, b in printed.items()}
            )
        inputs = hwloop.load_problem(coded / "aggregated_input.yaml").density("Inputs").density
        ratios = []
        for before, after in (ours, theirs):
            moved = after["Weights"] + after["Inputs"] / (1 if inputs > 0.9 else 0.76) + after["Outputs"] / 0.76
            ratios.append(sum(before.values()) / moved)
        yield place.name, ratios[0], ratios[1]


def _accesses(block: dict[str, float], kind: str) -> float:
    return next((block[f"{word} scalar {kind} (per-instance)"] for word in ("Actual", "Algorithmic")
                 if f"{word} scalar {kind} (per-instance)" in block), block.get(f"Scalar {kind} (per-instance)", 0))  # fmt: skip


def summary(runs: list[Run]) -> str:
    """A line a group: how many ran, whose cycles are the reference's, and the range of the energies' ratio."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.group].append(run)
    rows = []
    for group, members in groups.items():
        done = [(r, r.cost) for r in members if r.cost is not None]
        ratios = sorted(cost.energy_pj * 1e-6 / r.energy_uj for r, cost in done)
        same = sum(cost.cycles == r.cycles for r, cost in done)
        span = f"{ratios[0]:.3f} to {ratios[-1]:.3f}" if ratios else members[0].why
        rows.append((group, str(len(members)), str(len(done)), str(same), span))
    return table(rows, ("design", "runs", "hwloop runs", "equal cycles", "hwloop's energy / reference"))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the artifact's evaluation_setups")
    root = parser.parse_args(arguments).folder
    if not (root / "fig12_eyerissv2_pe_setup").is_dir():
        parser.error(f"{root} has no fig12_eyerissv2_pe_setup: give the artifact's folder evaluation_setups")
    warnings.simplefilter("ignore", hwloop.SpecWarning)
    rows = [
        (
            layer,
            "-" if cost is None else str(cost.cycles),
            str(cycles),
            str(chip),
            "-" if cost is None else f"{cost.cycles / chip:.3f}",
        )
        for layer, cost, cycles, chip in eyeriss_v2(root)
    ]
    print("figure 12, Eyeriss v2 PE on MobileNet, cycles\n")
    print(table(rows, ("layer", "hwloop", "reference", "chip's simulator", "hwloop / chip")))
    print("\nfigure 13, dual-side sparse tensor core, latency against dense (the artifact ships no result of its own)\n")
    print(table(list(dual_side(root)), ("densities", "hwloop", "the chip's simulator"), left=(0, 1)))
    for folder, title in (
        ("fig15_stc_related_setup", "figure 15, sparse tensor cores"),
        ("table7_eyeriss_setup", "table 7, Eyeriss"),
    ):
        print(f"\n{title}\n\n{summary(list(collected(root, folder)))}")
    print("\ntable 7, by how much compression cuts the DRAM's accesses\n")
    print(table([(n, f"{a:.2f}", f"{b:.2f}") for n, a, b in compression(root)], ("layer", "hwloop", "reference")))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
