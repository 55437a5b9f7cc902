"""Holds the row-stationary model against the Eyeriss chip, layer by layer. Nothing is tuned to make it fit.

Measured figures: Y.-H. Chen, T. Krishna, J. Emer, V. Sze, "Eyeriss: An Energy-Efficient Reconfigurable Accelerator for Deep
Convolutional Neural Networks", IEEE JSSC 52(1), 2017: tables III (mapping parameters), V (AlexNet) and VI (VGG-16). They are of
the whole batch at 1 V, a 200 MHz core and a 60 MHz link; power is the chip's, without DRAM.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

from hwloop.backend.target import make_targets
from hwloop.errors import DataError
from hwloop.mapper.mapper import map_problem
from hwloop.simulator import LayerCost, simulate
from hwloop.spec.density import Density
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.levels import Architecture
from hwloop.spec.mapping import Loops, Mapping
from hwloop.spec.problem import Problem
from hwloop.validate.layers import network_layers

COLUMNS = ("layer", "power_mw", "total_ms", "processing_ms", "gmac", "active_pes", "ifmap_zeros_pct", "glb_mb", "dram_mb")
ALEXNET = (
    ("C1", 332, 20.9, 16.5, 0.42, 154, 0.01, 18.5, 5.0),
    ("C2", 288, 41.9, 39.2, 0.90, 135, 38.7, 77.6, 4.0),
    ("C3", 266, 23.6, 21.8, 0.60, 156, 72.5, 50.2, 3.0),
    ("C4", 235, 18.4, 16.0, 0.45, 156, 79.3, 37.4, 2.1),
    ("C5", 236, 10.5, 10.0, 0.30, 156, 77.6, 24.9, 1.3),
)
VGG16 = (
    ("1-1", 247, 76.2, 38.0, 0.26, 156, 1.6, 112.6, 15.4),
    ("1-2", 218, 910.3, 810.6, 5.55, 156, 47.7, 2402.8, 54.0),
    ("2-1", 242, 470.3, 405.3, 2.77, 156, 24.8, 1201.4, 33.4),
    ("2-2", 231, 894.3, 810.8, 5.55, 156, 38.7, 2402.8, 48.5),
    ("3-1", 254, 241.1, 204.0, 2.77, 156, 39.7, 607.4, 20.2),
    ("3-2", 235, 460.9, 408.1, 5.55, 156, 58.1, 1214.8, 32.2),
    ("3-3", 233, 457.7, 408.1, 5.55, 156, 58.7, 1214.8, 30.8),
    ("4-1", 278, 135.8, 105.1, 2.77, 168, 64.3, 321.8, 17.8),
    ("4-2", 261, 254.8, 210.0, 5.55, 168, 74.7, 643.7, 28.6),
    ("4-3", 240, 246.3, 210.0, 5.55, 168, 85.4, 643.7, 22.8),
    ("5-1", 258, 54.3, 48.3, 1.39, 168, 79.4, 90.0, 6.3),
    ("5-2", 236, 53.7, 48.5, 1.39, 168, 87.4, 90.0, 5.7),
    ("5-3", 230, 53.7, 48.5, 1.39, 168, 88.5, 90.0, 5.6),
)
# m, n, e, p, q, r, t of JSSC table III: output channels and images held in the buffer, output rows of a PE set, filters and
# channels of a PE, PE sets over channels and over filters.
ROW_STATIONARY = {
    "C1": (96, 1, 7, 16, 1, 1, 2), "C2": (64, 1, 27, 16, 2, 1, 1), "C3": (64, 4, 13, 16, 4, 1, 4),
    "C4": (64, 4, 13, 16, 3, 2, 2), "C5": (64, 4, 13, 16, 3, 2, 2),
}  # fmt: skip
BATCH = {"alexnet": 4, "vgg16": 3}
QUANTITIES = ("processing_ms", "total_ms", "active_pes", "glb_mb", "dram_mb", "power_mw")
CAUSES = (
    "processing_ms: the model counts multiply cycles alone; the chip also fills and drains its PE sets between passes. The paper "
    "gives no mapping for VGG-16: it is hwloop's, whose passes are longer than the chip's, as the buffer traffic shows.",
    "total_ms: the model overlaps every transfer with computing and stretches by the scarcest bandwidth; the chip waits for the "
    "first tiles of a pass and for weights.",
    "active_pes: the model averages over the strips of a layer (AlexNet C1: 55 rows in strips of 7), the chip's figure is of a "
    "full strip. For VGG-16 as hwloop's mapper spreads the layer for energy x delay.",
    "glb_mb: the model counts inputs and partial sums, not the weights that pass the chip's buffer; it moves every partial sum "
    "to and from the buffer once a pass and reads the rows that neighbouring strips share again.",
    "dram_mb: the model codes inputs and outputs in 5-bit runs at their mean density; a layer's outputs take the density of the "
    "next layer's inputs, which pooling makes denser. For VGG-16 the mapping differs.",
    "power_mw: memories and multipliers alone; the chip's clock network, control, network and pads are not in the model.",
)
_CORE_HZ, _WORD_BYTES = 200e6, 2
_COLUMNS, _ROWS = 14, 12


@dataclass(frozen=True)
class Row:
    """One layer, measured or modelled; of the whole batch.

    Attributes:
        network: `alexnet` or `vgg16`.
        layer: the paper's name.
        processing_ms: time the PEs compute [ms].
        total_ms: with the transfers that computing waits for [ms].
        active_pes: PEs in use.
        glb_mb: traffic of the global buffer [MB].
        dram_mb: traffic off chip [MB].
        power_mw: of the chip, without DRAM [mW].
        ifmap_zeros_pct: zeros among the inputs [%].
    """

    network: str
    layer: str
    processing_ms: float
    total_ms: float
    active_pes: float
    glb_mb: float
    dram_mb: float
    power_mw: float
    ifmap_zeros_pct: float


def measured(file: Path | None = None) -> tuple[Row, ...]:
    """The chip's figures: the table above, or a JSON file with the same columns.

    Raises:
        DataError: the file cannot be read as such.
    """
    tables: dict[str, Any] = {"alexnet": ALEXNET, "vgg16": VGG16}
    columns: Any = COLUMNS
    if file is not None:
        try:
            document = json.loads(file.read_text())
            columns = document["columns"]
            tables = {"alexnet": document["alexnet_batch4"], "vgg16": document["vgg16_batch3"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{file}: not the chip's figures: {type(error).__name__}: {error}") from None
    rows = []
    for network, lines in tables.items():
        for line in lines:
            values = dict(zip(columns, line, strict=True))
            rows.append(Row(network, values["layer"], **{q: float(values[q]) for q in (*QUANTITIES, "ifmap_zeros_pct")}))
    return tuple(rows)


def row_stationary_mapping(problem: Problem, parameters: tuple[int, ...], order: tuple[str, ...]) -> Mapping:
    """The paper's mapping of a layer: table III's parameters as a loop nest on `eyeriss_168`.

    Args:
        problem: the layer.
        parameters: m, n, e, p, q, r, t.
        order: loops of M, N, Q off chip, innermost first; the paper does not give it. C runs inside them, so that partial sums
            stay in the buffer.
    """
    m, n, e, p, q, r, t = parameters
    sizes = problem.sizes
    side_by_side = e * t <= _COLUMNS and t > 1  # sets of different filters next to each other, else one above the other
    x = {"Q": min(e, _COLUMNS), "M": t if side_by_side else 1}
    y = {"S": sizes["S"], "Q": -(-e // _COLUMNS), "C": r, "M": 1 if side_by_side else t}
    buffer = {"P": sizes["P"], "N": n, "M": m // (p * t)}
    inner: list[tuple[str, str, dict[str, int]]] = [
        ("psum_spad", "temporal", {"M": p}),
        ("weights_spad", "temporal", {"R": sizes["R"], "C": q}),
        ("inter_PE_spatial", "spatial", y),
        ("inter_PE_column_spatial", "spatial", x),
        ("shared_glb", "temporal", buffer),
    ]
    left = dict(sizes)
    loops = []
    for target, kind, bounds in inner:
        factors = []
        for d, bound in bounds.items():
            factors.append((d, bound, (left[d] - 1) % bound + 1))
            left[d] = -(-left[d] // bound)
        split = (len(bounds) if target == "inter_PE_column_spatial" else 0) if kind == "spatial" else None
        rest = tuple(d for d in sizes if d not in bounds)
        loops.append(Loops(target, kind, tuple(factors), (*bounds, *rest), split))
    outer = ("C", *order, *(d for d in sizes if d not in ("C", *order)))
    loops.append(Loops("DRAM", "temporal", tuple((d, bound, bound) for d, bound in left.items()), outer))
    return Mapping(tuple(loops))


@dataclass(frozen=True)
class Machine:
    """The model of the chip: an accelerator and its energies."""

    architecture: Architecture
    table: EnergyTable


def modelled(rows: tuple[Row, ...], dense: Machine, gating: Machine, find_mapping: Callable[[Problem], Mapping]) -> Iterator[Row]:
    """The same layers on the model.

    Time, active PEs and buffer traffic are the dense machine's: a chip that gates spends the cycle all the same, whereas Timeloop
    lets the cycles of gated computes go. Traffic off chip and energy are the gating machine's.

    Args:
        rows: what was measured; gives the zeros among the inputs.
        dense: `eyeriss_168`.
        gating: `eyeriss_168_gating`.
        find_mapping: a mapping for a layer that the paper gives none for.

    Raises:
        InfeasibleMappingError: a layer does not fit.
    """
    for i, row in enumerate(rows):
        following = rows[i + 1] if i + 1 < len(rows) and rows[i + 1].network == row.network else row
        problem = _layer(row)
        mapping = _published_mapping(problem, row.layer, dense) if row.network == "alexnet" else find_mapping(problem)
        plain = simulate(problem, dense.architecture, mapping, dense.table)
        zeros = {"Inputs": row.ifmap_zeros_pct, "Outputs": following.ifmap_zeros_pct}
        densities = {name: Density("fixed_structured", round(1 - percent / 100, 4)) for name, percent in zeros.items()}
        coded = simulate(problem.with_densities(densities), gating.architecture, mapping, gating.table)
        yield _row(row, plain, coded)


def _layer(row: Row) -> Problem:
    layers = {p.name.removeprefix("conv").replace("_", "-"): p for p in network_layers(row.network)}
    problem = layers[row.layer]
    return replace(problem, bounds=tuple(BATCH[row.network] if d == "N" else n for d, n in problem.sizes.items()))


def _published_mapping(problem: Problem, layer: str, machine: Machine) -> Mapping:
    """The paper's mapping, with the order of the loops off chip that costs least."""
    mappings = [row_stationary_mapping(problem, ROW_STATIONARY[layer], order) for order in permutations(("M", "N", "Q"))]
    return min(mappings, key=lambda m: simulate(problem, machine.architecture, m, machine.table).energy_pj)


def _row(row: Row, plain: LayerCost, coded: LayerCost) -> Row:
    cycles = _multiply_cycles(plain)
    total_s = plain.cycles / _CORE_HZ
    chip_pj = coded.energy_pj - coded.components["DRAM"].energy_pj
    return replace(
        row,
        processing_ms=cycles / _CORE_HZ * 1e3,
        total_ms=total_s * 1e3,
        active_pes=plain.computes / cycles,
        glb_mb=_moved_mb(plain, "shared_glb"),
        dram_mb=_moved_mb(coded, "DRAM"),
        power_mw=chip_pj * 1e-12 / total_s * 1e3,
    )


def _multiply_cycles(cost: LayerCost) -> int:
    """Cycles without waiting: the least any level would take."""
    return min(c.cycles for c in cost.components.values() if c.dataspaces)


def _moved_mb(cost: LayerCost, level: str) -> float:
    words = sum((s.reads + s.fills + s.updates) * s.instances for s in cost.components[level].dataspaces.values())
    return words * _WORD_BYTES / 1e6


def gaps(chip: tuple[Row, ...], model: tuple[Row, ...]) -> list[dict[str, Any]]:
    """Per layer and quantity: measured, modelled, and modelled / measured."""
    out = []
    for a, b in zip(chip, model, strict=True):
        entry: dict[str, Any] = {"network": a.network, "layer": a.layer}
        for quantity in QUANTITIES:
            there, here = getattr(a, quantity), getattr(b, quantity)
            entry[quantity] = {"measured": there, "modelled": here, "ratio": here / there}
        out.append(entry)
    return out


@dataclass(frozen=True)
class ChipReport:
    """The chip beside its model.

    Attributes:
        layers: per layer and quantity: measured, modelled, and modelled / measured.
        causes: where the gaps come from.
    """

    layers: tuple[dict[str, Any], ...]
    causes: tuple[str, ...] = CAUSES

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {"layers": list(self.layers), "causes": list(self.causes)}


def compare_with_chip(
    file: Path | None = None, effort: str = "quick", on_layer: Callable[[str], None] | None = None
) -> ChipReport:
    """Models every measured layer and sets the two side by side.

    Args:
        file: the chip's figures, see `measured`.
        effort: of the mapper, for the layers that the paper gives no mapping for.
        on_layer: called with the layer's name when it is done.

    Raises:
        DataError: the file cannot be read as such.
    """
    chip = measured(file)
    dense, gating = (Machine(target.arch, target.table()) for target in make_targets(["eyeriss_168", "eyeriss_168_gating"]))

    def find(problem: Problem) -> Mapping:
        return map_problem(problem, dense.architecture, dense.table, effort=effort).mapping

    model = []
    for row in modelled(chip, dense, gating, find):
        model.append(row)
        if on_layer is not None:
            on_layer(row.layer)
    return ChipReport(tuple(gaps(chip, tuple(model))))
