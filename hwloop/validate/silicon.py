"""Holds the row-stationary model against the Eyeriss chip, layer by layer. Nothing is tuned to make it fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterator
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
from hwloop.validate.eyeriss_figures import ALEXNET, BATCH, CAUSES, COLUMNS, QUANTITIES, ROW_STATIONARY, VGG16
from hwloop.validate.layers import network_layers

_CORE_HZ, _WORD_BYTES = 200e6, 2
_COLUMNS = 14  # of PEs on the chip
_PAIR_BYTES = 8 / 3  # of a run length and a value: the chip packs three pairs into 64 bits


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
    lets the cycles of gated computes go. Traffic off chip and energy are the gating machine's: inputs and finished outputs cross
    the link run-length coded, but for the first layer's inputs, which the chip does not code.

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
        inputs, outputs = (round(1 - r.ifmap_zeros_pct / 100, 4) for r in (row, following))
        densities = {
            "Inputs": Density("fixed_structured", inputs), "Outputs": Density("fixed_structured", outputs, level="DRAM"),
        }  # fmt: skip
        coded = simulate(problem.with_densities(densities), gating.architecture, mapping, gating.table)
        first = i == 0 or rows[i - 1].network != row.network
        yield _row(row, plain, coded, {"Outputs"} if first else {"Inputs", "Outputs"})


def _layer(row: Row) -> Problem:
    layers = {p.name.removeprefix("conv").replace("_", "-"): p for p in network_layers(row.network)}
    problem = layers[row.layer]
    return replace(problem, bounds=tuple(BATCH[row.network] if d == "N" else n for d, n in problem.sizes.items()))


def _published_mapping(problem: Problem, layer: str, machine: Machine) -> Mapping:
    """The paper's mapping, with the order of the loops off chip that costs least."""
    mappings = [row_stationary_mapping(problem, ROW_STATIONARY[layer], order) for order in permutations(("M", "N", "Q"))]
    return min(mappings, key=lambda m: simulate(problem, machine.architecture, m, machine.table).energy_pj)


def _row(row: Row, plain: LayerCost, coded: LayerCost, in_runs: Container[str]) -> Row:
    """One layer as modelled; `in_runs` are the data spaces that cross the link run-length coded."""
    cycles = _multiply_cycles(plain)
    total_s = plain.cycles / _CORE_HZ
    chip_pj = coded.energy_pj - coded.components["DRAM"].energy_pj
    return replace(
        row,
        processing_ms=cycles / _CORE_HZ * 1e3,
        total_ms=total_s * 1e3,
        active_pes=plain.computes / cycles,
        glb_mb=_moved_mb(plain, "shared_glb"),
        dram_mb=_moved_mb(coded, "DRAM", in_runs),
        power_mw=chip_pj * 1e-12 / total_s * 1e3,
    )


def _multiply_cycles(cost: LayerCost) -> int:
    """Cycles without waiting: the least any level would take."""
    return min(c.cycles for c in cost.components.values() if c.dataspaces)


def _moved_mb(cost: LayerCost, level: str, in_runs: Container[str] = ()) -> float:
    """Traffic of a level [MB]; values that are coded bring their run lengths along."""
    moved = 0.0
    for name, s in cost.components[level].dataspaces.items():
        moved += (s.reads + s.fills + s.updates) * s.instances * (_PAIR_BYTES if name in in_runs else _WORD_BYTES)
    return moved / 1e6


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
