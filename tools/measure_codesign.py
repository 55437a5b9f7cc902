"""What searching the accelerator with the network is worth: one co-design against searches on fixed accelerators of its space.

    python tools/measure_codesign.py --folder DIR [--population 24] [--generations 10]

LeNet-5 on the embedded digits, variants of `flexible` under row stationary: 4 to 16 PEs a side, 2048 to 16384 rows of the buffer.
Every search, the co-design and each fixed one, may ask for the same number of candidates, from one library of pruned networks.
Fronts are compared in validation accuracy, energy and area. Run it again to go on where it was stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import hwloop
from hwloop.backend.designs import Base, area_of
from hwloop.backend.target import make_targets
from hwloop.pareto import hypervolume, non_dominated
from hwloop.report.designs import design_text
from hwloop.report.progress import make_progress
from hwloop.report.result import Front

DEPTH, COLUMNS, ROWS = "shared_glb.attributes.depth", "PE_column.spatial.meshX", "PE.spatial.meshY"
FIELDS = {f"{COLUMNS}+{ROWS}": [4, 8, 12, 16], DEPTH: [2048, 4096, 8192, 16384]}
FIXED = ((16, 16384), (16, 2048), (8, 8192), (4, 16384), (4, 2048))  # PEs a side, rows of the buffer
FLOW = "row_stationary"


def settings(args: argparse.Namespace, objectives: tuple[str, ...]) -> Any:
    """The same for all searches but for what they trade off."""
    return hwloop.Settings(
        objectives=objectives, mapper_effort="quick", pruning=(0.3, 0.6, 0.9), epochs=20, compression="magnitude",
        method_options={"population": args.population, "generations": args.generations},
    )  # fmt: skip


def values(front: Front, area_um2: float | None) -> np.ndarray[Any, Any]:
    """`(members, 3)`: error, energy [pJ] and area [um^2], all minimised."""
    rows = [(1 - m.metrics["accuracy"], m.metrics["energy_pj"], m.metrics.get("area_um2", area_um2)) for m in front.members]
    return np.array(rows, float)


def main() -> None:
    """Searches, compares, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--population", type=int, default=24)
    parser.add_argument("--generations", type=int, default=10)
    args = parser.parse_args()
    folder = Path(args.folder)

    def search(name: str, target: Any, objectives: tuple[str, ...]) -> Front:
        run = folder / name
        found = hwloop.compress(
            "lenet5", "digits", target, None, settings(args, objectives), library_dir=folder / "library", run_dir=run,
            memo=folder / "memo.sqlite", resume=(run / "config.json").exists(), progress=make_progress(),
        )  # fmt: skip
        front: Front = found.fronts[0]
        return front

    [searched] = hwloop.design_targets("flexible", FIELDS, FLOW)
    together = search("together", searched, ("accuracy", "energy", "area"))
    fronts: dict[str, np.ndarray[Any, Any]] = {"co-design": values(together, None)}
    base = Base.open("flexible")
    for side, depth in FIXED:
        arch = base.architecture(((COLUMNS, side), (ROWS, side), (DEPTH, depth)))
        [target] = make_targets(arch, FLOW)
        name = f"{side} x {side} PEs, {depth} rows"
        fronts[name] = values(search(f"fixed-{side}-{depth}", target, ("accuracy", "energy")), area_of(target))
    every = np.concatenate(list(fronts.values()))
    low, high = every.min(axis=0), every.max(axis=0)
    scaled = {name: (front - low) / (high - low) for name, front in fronts.items()}
    print(design_text(together))
    candidates = args.population * args.generations
    print(f"\nvolume dominated (error x energy x area), of the box of all fronts; {candidates} candidates each")
    for name, front in scaled.items():
        print(f"  {name:28s} {hypervolume(front, np.full(3, 1.001)):.3f}  ({len(front)} members)")
    fixed = np.concatenate([front for name, front in scaled.items() if name != "co-design"])
    print(f"  {'all fixed ones together':28s} {hypervolume(fixed[non_dominated(fixed)], np.full(3, 1.001)):.3f}")
    mine = scaled["co-design"]
    unreached = sum(not ((fixed <= row).all(axis=1) & (fixed < row).any(axis=1)).any() for row in mine)
    beaten = sum(((mine <= row).all(axis=1) & (mine < row).any(axis=1)).any() for row in fixed)
    print(
        f"of {len(mine)} members of the co-design's front, {unreached} are beaten by no member of any fixed accelerator's front"
    )
    print(f"of {len(fixed)} members of the fixed ones' fronts, {beaten} are beaten by one of the co-design's")


if __name__ == "__main__":
    main()
