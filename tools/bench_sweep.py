"""How long a sweep takes: cold with one worker and with two, warm from the memo table, warm from its folder; and its peak memory.

    python tools/bench_sweep.py --points 60
    python tools/bench_sweep.py --points 1000 --folder DIR --only cold     # hours may pass: run it again to go on

The accelerators are variants of `flexible`: buffer, PE array, scratchpads and bandwidths. The network is VGG-16 at 224 x 224
under three dataflows, effort quick. Each part is a process of its own; times are wall clock, so run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import hwloop
from hwloop.report.progress import make_progress

AXES: dict[str, list[float]] = {
    "shared_glb.attributes.depth": [4096, 8192, 12288, 16384, 32768],
    "PE_column.spatial.meshX": [8, 12, 14, 16, 20],
    "PE.spatial.meshY": [8, 12, 16, 20],
    "weights_spad.attributes.depth": [128, 192, 224, 256, 384],
    "DRAM.attributes.read_bandwidth": [6.4, 12.8],
}
DATAFLOWS = ["row_stationary", "weight_stationary", "output_stationary"]


def axes_for(points: int) -> dict[str, list[float]]:
    """The axes cut so that their product is at least `points`, 1000 at most."""
    lengths = dict.fromkeys(AXES, 1)
    while _product(lengths) < points:
        growing = [name for name in AXES if lengths[name] < len(AXES[name])]
        if not growing:
            break
        name = min(growing, key=lambda n: lengths[n])
        lengths[name] += 1
    return {name: AXES[name][: lengths[name]] for name in AXES}


def _product(lengths: dict[str, int]) -> int:
    out = 1
    for length in lengths.values():
        out *= length
    return out


def part(points: int, workers: int, memo: str, out: str, workload: str) -> None:
    """One sweep in this process; prints seconds, rows and the peak memory of it and its workers [MiB]."""
    began = time.monotonic()
    with hwloop.Memo(memo) as table:
        found = hwloop.sweep(
            workload, "flexible", axes_for(points), DATAFLOWS, effort="quick", memo=table, workers=workers, out=out or None,
            progress=make_progress(),
        )  # fmt: skip
    seconds = time.monotonic() - began
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    times = [own.ru_utime, own.ru_stime, children.ru_utime, children.ru_stime]
    summary = {
        "seconds": round(seconds, 2), "cpu_s": round(sum(times), 2), "rows": len(found.rows),
        "fit": sum(row.energy_pj is not None for row in found.rows), "designs": len({row.design for row in found.rows}),
        "front": len(found.front), "own_mib": _peak_kib() // 1024, "largest_worker_mib": children.ru_maxrss // 1024,
        "energy_pj": sum(row.energy_pj or 0.0 for row in found.rows),
    }  # fmt: skip
    print(json.dumps(summary))


def _peak_kib() -> int:
    """Of this process alone; `ru_maxrss` also holds what the process had that started it."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def main() -> None:
    """Runs the parts one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=60, help="accelerators, at least (default: %(default)s)")
    parser.add_argument("--folder", help="where to keep tables and rows; a temporary folder when not given")
    parser.add_argument("--only", choices=("cold", "warm"), help="cold: two workers alone; warm: the two warm parts alone")
    parser.add_argument("--part", nargs=4, metavar=("WORKERS", "MEMO", "OUT", "WORKLOAD"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        part(args.points, int(args.part[0]), *args.part[1:])
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        workload = folder / "vgg16.yaml"
        if not workload.exists():
            from hwloop.network.training.prepare import named_workload

            workload.write_text(named_workload("vgg16", 3, 224, 1000).to_yaml())
        runs = {
            "cold1": (1, "one.sqlite", ""), "cold2": (2, "two.sqlite", "rows"), "warm memo": (1, "two.sqlite", ""),
            "warm folder": (1, "two.sqlite", "rows"),
        }  # fmt: skip
        if args.only:
            runs = {name: run for name, run in runs.items() if name.startswith(args.only) and name != "cold1"}
        found: dict[str, dict[str, float]] = {}
        for name, (workers, memo, out) in runs.items():
            given = [str(workers), str(folder / memo), str(folder / out) if out else "", str(workload)]
            command = [sys.executable, __file__, "--points", str(args.points), "--part", *given]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            found[name] = json.loads(done.stdout.splitlines()[-1])
            print(f"{name}: {found[name]}", flush=True)
        if {"cold1", "cold2"} <= set(found):
            print(f"two workers: {found['cold1']['seconds'] / found['cold2']['seconds']:.2f} times one")
        for name, run in found.items():
            print(f"{name}: 1000 accelerators at this rate: {run['seconds'] / run['designs'] * 1000:.0f} s")


if __name__ == "__main__":
    main()
