"""Makes the energy figures that ship with hwloop: the grids in hwloop/energy/data and the tables beside arch_specs/*.yaml.

Needs Python 3.12 or newer with hwcomponents, hwcomponents-cacti (compiled here: `pip install --no-binary hwcomponents-cacti
hwcomponents-cacti`), hwcomponents-library and hwcomponents-neurosim (which the library imports), besides numpy and PyYAML. Run
from the top of the repository:

    python tools/make_energy_tables.py sram     the CACTI grid; resumable, about half an hour
    python tools/make_energy_tables.py logic    Aladdin's logic and the DRAM figures; seconds
    python tools/make_energy_tables.py tables   arch_specs/*.ert.yaml from the shipped figures; seconds

`sram` runs CACTI besides at the sizes of the shipped accelerators, and at random sizes off the grid to measure the interpolation.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.metadata import version
from itertools import islice
from math import ceil, log2
from pathlib import Path

import numpy as np

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP))

from hwloop.energy import estimate_energy_table  # noqa: E402
from hwloop.energy.components import REGISTERS, SMART_REGISTERS  # noqa: E402
from hwloop.energy.hwcomponents_source import DRAM_WIDTHS, HwcomponentsEstimator  # noqa: E402
from hwloop.energy.primitives import LOGIC, Figures, node_nm  # noqa: E402
from hwloop.energy.shipped import DATA, MIN_BANK_ROWS, MIN_WIDTH_BITS, SramGrid  # noqa: E402
from hwloop.spec.energy_table import EnergyTable  # noqa: E402
from hwloop.spec.resources import open_architecture  # noqa: E402
from hwloop.spec.shipped import architecture_names, find_architecture  # noqa: E402

NODES_NM = (22, 32, 45, 65, 90)  # what hwcomponents-cacti runs CACTI for
BANKS = (1, 2, 4, 8, 16, 32)
WIDTHS_BITS = (32, 64, 128, 256, 512, 1024)
DEPTHS = tuple(sorted({64 * 2**i for i in range(13)} | {round(64 * 2 ** (i + 0.5)) // 8 * 8 for i in range(12)}))
MAX_BITS = 16 * 2**20 * 8
LOGIC_NODES_NM = (22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 45, 50, 55, 60, 65, 70, 75, 80, 85, 90)
DRAM_FROM = {
    "LPDDR4": "public LPDDR4 data",
    "LPDDR": "Malladi et al., ISCA 2012",
    "DDR3": "Chatterjee et al., MICRO 2017",
    "HBM2": "vendors' data",
    "HBM3": "vendors' data",
    "HBM4": "vendors' data, 20% below HBM3",
}
ACCELERGY_DRAM = {"GDDR5": 14.0, "HMC": 4.2}  # pJ/bit of accelergy-cacti-plug-in (HMC: doi 10.1145/3093336.3037702)
CHECKS = 200  # random sizes at which the interpolation is measured
Point = tuple[int, int, int, int]  # node [nm], banks, width [bits], rows


def grid_points() -> list[Point]:
    """Every size of the grid, small ones first."""
    points = [
        (node, banks, width, depth)
        for banks in BANKS
        for width in WIDTHS_BITS
        for depth in DEPTHS
        for node in NODES_NM
        if depth >= MIN_BANK_ROWS * banks and depth * width <= MAX_BITS
    ]
    return sorted(points, key=lambda p: (p[3] * p[2], p))


def shipped_points() -> Iterator[Point]:
    """The memories of the shipped accelerators, as CACTI is asked for them."""
    for name in architecture_names():
        for level in open_architecture(name).levels:
            class_name = (level.subclass or level.class_name).lower()
            if level.kind != "storage" or level.depth is None or class_name in REGISTERS | SMART_REGISTERS:
                continue
            node, banks = node_nm(level.values.get("technology"), level.name), int(level.number("n_banks", 1))
            sizes = [(level.depth, level.width or 0, banks)]
            if level.number("metadata_storage_width", 0):
                depth = int(level.number("metadata_storage_depth", 0))
                sizes.append((depth, int(level.number("metadata_storage_width", 0)), 1))
            for depth, width, n_banks in sizes:
                at_width = max(ceil(width / 8) * 8, MIN_WIDTH_BITS)
                yield int(node), 2 ** ceil(log2(n_banks)), at_width, max(depth, MIN_BANK_ROWS * n_banks)


def random_points(seed: int = 0) -> Iterator[Point]:
    """Sizes off the grid: rows and width uniform on log scales."""
    draw = random.Random(seed)
    while True:
        banks, node = draw.choice(BANKS), draw.choice(NODES_NM)
        width = round(2 ** draw.uniform(5, 9)) // 8 * 8
        depth = round(2 ** draw.uniform(log2(MIN_BANK_ROWS * banks), 16)) // 8 * 8
        if depth * width <= MAX_BITS // 4 and (width not in WIDTHS_BITS or depth not in DEPTHS):
            yield node, banks, width, depth


def run(points: Iterable[Point], log: Path) -> dict[Point, list[float]]:
    """CACTI at every point; what `log` already holds is not run again. Points that CACTI refuses are left out."""
    known: dict[Point, list[float] | None] = {}
    if log.exists():
        for line in log.read_text(encoding="utf-8").splitlines():
            node, banks, width, depth, *values = json.loads(line)
            known[node, banks, width, depth] = values if values[0] is not None else None
    estimator, out = HwcomponentsEstimator(), {}
    with log.open("a", encoding="utf-8") as file:
        for i, point in enumerate(points):
            if point not in known:
                node, banks, width, depth = point
                try:
                    f: Figures | None = estimator.sram(node, depth, width, banks)
                except ValueError as error:
                    print(f"left out: {error}", file=sys.stderr)
                    f = None
                known[point] = [f.read_pj, f.write_pj, f.leak_w, f.area_um2] if f else None
                file.write(json.dumps([*point, *(known[point] or (None,))]) + "\n")
                file.flush()
                if i % 100 == 0:
                    print(f"{i} points", flush=True)
            values_here = known[point]
            if values_here is not None:
                out[point] = values_here
    return out


def rows(points: dict[Point, list[float]]) -> list[list[float]]:
    """Points and their figures to five digits, as the data file holds them."""
    return [[*point, *(float(f"{v:.5g}") for v in values)] for point, values in sorted(points.items())]


def measure(data: dict[str, object], truth: dict[Point, list[float]]) -> dict[str, object]:
    """Relative error of the interpolation at these points, by figure."""
    grid = SramGrid({**data, "interpolation_error": {}})
    errors = np.array([grid.at(float(p[0]), p[1], p[2], p[3]) / np.array(v) - 1 for p, v in truth.items()])
    names = ("read", "write", "leak", "area")
    absolute = np.abs(errors)
    return {
        "against": "CACTI at random sizes off the grid",
        "points": len(errors),
        **{
            name: {
                "median": round(float(np.median(absolute[:, i])), 4),
                "p90": round(float(np.quantile(absolute[:, i], 0.9)), 4),
                "max": round(float(absolute[:, i].max()), 4),
            }
            for i, name in enumerate(names)
        },
    }


def write(name: str, data: dict[str, object]) -> None:
    """Writes a data file, one row of a table a line."""
    DATA.mkdir(exist_ok=True)
    parts = []
    for key, value in data.items():
        if isinstance(value, list) and value and isinstance(value[0], list):
            text = "[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in value) + "\n]"
        else:
            text = json.dumps(value)
        parts.append(f"{json.dumps(key)}: {text}")
    (DATA / f"{name}.json").write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
    print(f"wrote {DATA / name}.json")


def make_sram(log: Path) -> None:
    grid = run(grid_points(), log)
    exact = {p: v for p, v in run(sorted(set(shipped_points())), log).items() if p not in grid}
    checks = run(islice(random_points(), CHECKS), log)
    data: dict[str, object] = {
        "source": f"hwcomponents-cacti {version('hwcomponents-cacti')} SRAM (CACTI 7), cache type ram, 1 read-write port",
        "columns": ["node_nm", "banks", "width_bits", "rows", "read_pj", "write_pj", "leak_w", "area_um2"],
        "grid": rows(grid),
        "exact": rows(exact),
    }
    data["interpolation_error"] = measure({**data, "exact": []}, checks)
    print(json.dumps(data["interpolation_error"], indent=1))
    write("sram", data)


def make_logic() -> None:
    estimator = HwcomponentsEstimator()
    table: dict[str, object] = {
        "source": {kind: estimator.logic(kind, 40).source.rsplit(",", 1)[0] for kind in LOGIC},
        "scaling": "Stillmaker and Baas, Integration 58, 2017, at 0.8 V",
        "columns": ["read_pj", "write_pj", "leak_w", "area_um2"],
        "unit": "a bit of a register, comparator or adder; a bit x bit of a multiplier",
        "nodes_nm": list(LOGIC_NODES_NM),
    }
    for kind in LOGIC:
        figures = [estimator.logic(kind, node) for node in LOGIC_NODES_NM]
        table[kind] = [[float(f"{v:.6g}") for v in (f.read_pj, f.write_pj, f.leak_w, f.area_um2)] for f in figures]
    write("logic", table)
    package = f"hwcomponents-cacti {version('hwcomponents-cacti')} DRAM"
    write("dram", {
        "source": {kind: f"{package} ({where})" for kind, where in DRAM_FROM.items()}
        | dict.fromkeys(ACCELERGY_DRAM, "accelergy-cacti-plug-in 0.1 DRAM"),
        "pj_per_bit": {kind: round(estimator.dram(kind).read_pj, 6) for kind in DRAM_WIDTHS} | ACCELERGY_DRAM,
    })  # fmt: skip


def rounded(table: EnergyTable) -> EnergyTable:
    """The table to six digits, as the file holds it."""

    def six(value: float) -> float:
        return float(f"{value:.6g}")

    return EnergyTable(
        tuple(
            replace(c, actions=tuple((n, six(e)) for n, e in c.actions), area_um2=None if c.area_um2 is None else six(c.area_um2))
            for c in table.components
        )
    )


def make_tables() -> None:
    for name in architecture_names():
        arch = open_architecture(name)
        file = find_architecture(name).with_suffix(".ert.yaml")
        table = rounded(estimate_energy_table(arch, "shipped"))
        head = (
            f"# Energy [pJ] and area [um^2] of {name}.yaml: per row of a storage, per operation of the mac, leak per cycle.\n"
            "# `source` owns the numbers. Made by tools/make_energy_tables.py; do not edit.\n"
        )
        file.write_text(head + table.to_yaml(), encoding="utf-8")
        print(f"wrote {file}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("sram", "logic", "tables"))
    parser.add_argument(
        "--log", type=Path, default=Path("sram_points.jsonl"), help="where CACTI's answers are kept, to go on later"
    )
    args = parser.parse_args()
    {"sram": lambda: make_sram(args.log), "logic": make_logic, "tables": make_tables}[args.what]()


if __name__ == "__main__":
    main()
