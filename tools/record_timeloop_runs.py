"""Records runs of the real `timeloop-model` (on PATH) as the fixtures in tests/data/timeloop_runs.

    python tools/record_timeloop_runs.py               # all of them
    python tools/record_timeloop_runs.py eyeriss_vgg_4_bits

A fixture is a folder: `case.json` (accelerator, layer, mapping, energies, bits: what hwloop was given), and `run1`, `run2`, ...:
`input.yaml` as hwloop wrote it and `stats.txt` as Timeloop answered. Everything in them is ours but the figures.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hwloop.backend.timeloop.programs import Timeloop
from hwloop.energy import estimate_energy_table
from hwloop.mapper.mapper import map_problem
from hwloop.spec.batch import MappingBatch
from hwloop.spec.bits import Bits, operand_bits
from hwloop.spec.density import Density
from hwloop.spec.mapping import Loops
from hwloop.spec.problem import Problem
from hwloop.spec.resources import open_architecture
from hwloop.validate.against import outermost, stay_on_chip
from hwloop.validate.eyeriss_figures import ROW_STATIONARY
from hwloop.validate.layers import network_layers
from hwloop.validate.silicon import row_stationary_mapping

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "data" / "timeloop_runs"


@dataclass(frozen=True)
class Run:
    """What is recorded.

    Attributes:
        arch: the accelerator.
        network, layer: whose layer.
        density: of weights and inputs.
        bits: of both; None for the accelerator's own.
        output_bits: of finished outputs where they wait; None for the accelerator's own.
        output_density: of finished outputs, where a format holds them.
        order: of the outermost level's loops, innermost first, in place of the mapper's.
        resident: data that stays within the outermost level.
    """

    arch: str
    network: str
    layer: str
    density: float = 1.0
    bits: int | None = None
    output_bits: int | None = None
    output_density: float = 1.0
    order: str = ""
    resident: tuple[str, ...] = ()


RUNS = {
    "eyeriss_alexnet_c1": Run("eyeriss_168", "alexnet", "C1"),
    "tpu_compressed_pointwise": Run("tpu_like_compressed", "mobilenet", "pw5", 0.5),
    "shidiannao_depthwise": Run("shidiannao_like", "mobilenet", "dw3"),
    "eyeriss_vgg_4_bits": Run("eyeriss_168", "vgg16", "conv5_1", bits=4),
    "eyeriss_skipping_depthwise_8_bits": Run("eyeriss_168_skipping", "mobilenet", "dw3", 0.5, 8),
    "eyeriss_finished_and_partial": Run("eyeriss_168", "alexnet", "C3", bits=4, output_bits=8, order="NMPQRSC"),
    "tpu_finished_outputs": Run("tpu_like", "mobilenet", "pw5", bits=8, output_bits=4),
    "eyeriss_gating_coded_outputs": Run("eyeriss_168_gating", "mobilenet", "dw3", 0.6, 4, 4, 0.5),
    "flexible_gating_coded_outputs": Run("flexible_gating", "mobilenet", "dw2", 0.6, 4, 8, 0.3),
    "shidiannao_maps_on_chip": Run("shidiannao_like", "mobilenet", "pw5", bits=8, output_bits=4, resident=("Inputs", "Outputs")),
}


def record(timeloop: Timeloop, run: Run, layer: Problem, name: str) -> None:
    architecture = open_architecture(run.arch)
    outer = architecture.storage[0].name
    operands = operand_bits(run.bits, run.bits)
    table = estimate_energy_table(architecture, "shipped", operands or None)
    if layer.name in ROW_STATIONARY:
        mapping = row_stationary_mapping(layer, ROW_STATIONARY[layer.name], ("Q", "N", "M"))
    else:
        mapping = map_problem(layer, architecture, table, bits=_widths(run, operands, outer), effort="quick").mapping
    if run.order:
        mapping = replace(mapping, loops=tuple(_ordered(loops, outer, run.order) for loops in mapping.loops))
    whole = MappingBatch.from_mappings([mapping], layer.shape, layer.bounds, architecture)
    mapping = stay_on_chip(whole.to_mapping(0, layer.shape, architecture), architecture, run.resident)
    waiting = outermost(mapping, architecture, "Outputs")
    widths = _widths(run, operands, waiting)
    if run.output_density < 1:
        coded = Density("hypergeometric", run.output_density, level=waiting)
        layer = replace(layer.with_densities({**dict(layer.densities), "Outputs": coded}), name=layer.name)
    case: dict[str, Any] = {
        "architecture": architecture.to_dict(),
        "problem": layer.to_dict(),
        "mapping": mapping.to_list(),
        "ert": table.to_dict(),
        "bits": widths,
    }
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as place:
        replace(timeloop, keep_files=Path(place)).simulate(layer, architecture, mapping, table, widths)
        runs = sorted(Path(place).iterdir(), key=lambda run: (run / "input.yaml").stat().st_mtime_ns)
        for number, one in enumerate(runs, 1):
            kept = folder / f"run{number}"
            kept.mkdir(parents=True)
            shutil.copy(one / "input.yaml", kept / "input.yaml")
            shutil.copy(one / "timeloop-model.stats.txt", kept / "stats.txt")
    (folder / "case.json").write_text(json.dumps(case, indent=1) + "\n")


def _widths(run: Run, operands: dict[str, int], level: str) -> Bits | None:
    return {**operands, **({"Outputs": {level: run.output_bits}} if run.output_bits else {})} or None


def _ordered(loops: Loops, level: str, order: str) -> Loops:
    return replace(loops, permutation=tuple(order)) if (loops.target, loops.kind) == (level, "temporal") else loops


def main() -> None:
    timeloop = Timeloop.find()
    for name in sys.argv[1:] or RUNS:
        run = RUNS[name]
        [layer] = [layer for layer in network_layers(run.network) if layer.name == run.layer]
        named = {"Weights": run.density, "Inputs": run.density} if run.density < 1 else {}
        record(timeloop, run, replace(layer.with_densities(named), name=layer.name), name)
        print(name)


if __name__ == "__main__":
    main()
