"""What activations cost before and after they wait at their readers' bits, and when they stay on chip: a table by network.

    python tools/activation_table.py [--network resnet20 ...] [--arch eyeriss_168_gating ...] [--effort quick]

For each network and accelerator: the dense network at 16 bits, and the one with a tenth of its weights and 4 bits for weights and
activations, whose outputs are written at the accelerator's width ("16-bit outputs", as before feature maps were followed), at
their readers' bits and density, and then also kept on chip where that pays. Energies by level and data space [uJ].
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hwloop.backend.distinct import Distinct  # noqa: E402
from hwloop.backend.embedded import Embedded  # noqa: E402
from hwloop.backend.network_cost import NetworkCost  # noqa: E402
from hwloop.backend.request import MapperSettings  # noqa: E402
from hwloop.backend.target import make_targets  # noqa: E402
from hwloop.backend.whole_network import map_network  # noqa: E402
from hwloop.memo import Memo  # noqa: E402
from hwloop.network.training.prepare import named_workload  # noqa: E402
from hwloop.report.breakdown import energy_by_space  # noqa: E402
from hwloop.spec.plan import make_plan  # noqa: E402
from hwloop.spec.workload import Workload  # noqa: E402

# name in the zoo: channels, image size, classes
NETWORKS = {
    "lenet5": (1, 28, 10), "resnet20": (3, 32, 10), "vgg16_cifar10": (3, 32, 10), "mobilenet_v2": (3, 224, 1000),
}  # fmt: skip
ARCHS = ("eyeriss_168_gating", "eyeriss_168_skipping")
INPUT_DENSITY = 0.5  # of activations after a ReLU; what a trained network has is measured by `compress`
PJ_PER_UJ = 1e6


def cases(workload: Workload, arch: str, settings: MapperSettings, backend: Distinct) -> list[tuple[str, NetworkCost]]:
    """(what, cost) of each case."""
    bare = replace(workload, maps=(), operations=())
    dense = make_plan(workload, 1.0, INPUT_DENSITY, 16, 16)
    small = make_plan(workload, 0.1, INPUT_DENSITY, 4, 4)
    [streamed], [resident] = make_targets(arch), make_targets(arch, activations="resident")
    return [
        ("dense, 16 bits", map_network(workload, streamed, backend, dense, settings)),
        ("dense, 16 bits, resident", map_network(workload, resident, backend, dense, settings)),
        ("10%, 4 bits, outputs at full width", map_network(bare, streamed, backend, small, settings)),
        ("10%, 4 bits", map_network(workload, streamed, backend, small, settings)),
        ("10%, 4 bits, resident", map_network(workload, resident, backend, small, settings)),
    ]


def row(what: str, cost: NetworkCost, reference: NetworkCost, outer: str) -> list[str]:
    """One line of the table."""
    parts = energy_by_space(cost)
    off_chip = [parts.get((outer, space), 0.0) for space in ("Weights", "Inputs", "Outputs", "between layers")]
    on_chip = cost.energy_pj - sum(off_chip)
    cells = [f"{energy / PJ_PER_UJ:.3g}" for energy in (cost.energy_pj, *off_chip, on_chip)]
    return [what, *cells, f"{reference.energy_pj / cost.energy_pj:.1f}x", f"{cost.cycles / 1e6:.3g} M"]


def main(arguments: Sequence[str]) -> None:
    """Prints the tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--arch", nargs="+", default=list(ARCHS))
    parser.add_argument("--effort", default="quick", choices=("quick", "normal", "thorough"))
    parser.add_argument("--objective", default="energy", choices=("energy", "edp", "cycles"))
    parser.add_argument("--memo", type=Path, help="memo table, so that what was mapped is not mapped again")
    parser.add_argument("--workers", type=int)
    args = parser.parse_args(arguments)
    settings = MapperSettings(args.objective, args.effort)
    embedded = Embedded(args.workers)
    memo = None if args.memo is None else Memo(args.memo)
    backend = Distinct(embedded if memo is None else memo.remember(embedded))
    parts = ("DRAM weights", "DRAM inputs", "DRAM outputs", "DRAM between layers", "on chip")
    header = ["energy [uJ]", "total", *parts, "less", "cycles"]
    for name in args.network:
        channels, size, classes = NETWORKS[name]
        workload = named_workload(name, channels, size, classes)
        for arch in args.arch:
            print(f"\n{name} on {arch}\n")
            for line in (header, ["---"] * len(header)):
                print("| " + " | ".join(line) + " |")
            found = cases(workload, arch, settings, backend)
            for what, cost in found:
                print("| " + " | ".join(row(what, cost, found[0][1], "DRAM")) + " |", flush=True)
    if memo is not None:
        memo.close()


if __name__ == "__main__":
    main(sys.argv[1:])
