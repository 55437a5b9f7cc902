"""Records runs of the real `timeloop-model` (on PATH) as the fixtures in tests/data/timeloop_runs.

    python tools/record_timeloop_runs.py

A fixture is a folder: `case.json` (accelerator, layer, mapping, energies, bits: what hwloop was given), and `run1`, `run2`, ...:
`input.yaml` as hwloop wrote it and `stats.txt` as Timeloop answered. Everything in them is ours but the figures.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwloop.backend.timeloop.programs import Timeloop
from hwloop.energy import estimate_energy_table
from hwloop.mapper.mapper import map_problem
from hwloop.spec.batch import MappingBatch
from hwloop.spec.problem import Problem
from hwloop.spec.resources import open_architecture
from hwloop.validate.eyeriss_figures import ROW_STATIONARY
from hwloop.validate.layers import network_layers
from hwloop.validate.silicon import row_stationary_mapping

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "data" / "timeloop_runs"
# name: accelerator, network, layer, density of weights and inputs, bits of both
RUNS: dict[str, tuple[str, str, str, float, int | None]] = {
    "eyeriss_alexnet_c1": ("eyeriss_168", "alexnet", "C1", 1.0, None),
    "tpu_compressed_pointwise": ("tpu_like_compressed", "mobilenet", "pw5", 0.5, None),
    "shidiannao_depthwise": ("shidiannao_like", "mobilenet", "dw3", 1.0, None),
    "eyeriss_vgg_4_bits": ("eyeriss_168", "vgg16", "conv5_1", 1.0, 4),
    "eyeriss_skipping_depthwise_8_bits": ("eyeriss_168_skipping", "mobilenet", "dw3", 0.5, 8),
}


def record(timeloop: Timeloop, arch_name: str, layer: Problem, bits: int | None, name: str) -> None:
    architecture = open_architecture(arch_name)
    widths = None if bits is None else {"Weights": bits, "Inputs": bits}
    table = estimate_energy_table(architecture, "shipped", widths)
    if layer.name in ROW_STATIONARY:
        mapping = row_stationary_mapping(layer, ROW_STATIONARY[layer.name], ("Q", "N", "M"))
    else:
        mapping = map_problem(layer, architecture, table, bits=widths, effort="quick").mapping
    whole = MappingBatch.from_mappings([mapping], layer.shape, layer.bounds, architecture)
    case: dict[str, Any] = {
        "architecture": architecture.to_dict(),
        "problem": layer.to_dict(),
        "mapping": whole.to_mapping(0, layer.shape, architecture).to_list(),
        "ert": table.to_dict(),
        "bits": widths,
    }
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as place:
        replace(timeloop, keep_files=Path(place)).simulate(layer, architecture, mapping, table, widths)
        runs = sorted(Path(place).iterdir(), key=lambda run: (run / "input.yaml").stat().st_mtime_ns)
        for number, run in enumerate(runs, 1):
            kept = folder / f"run{number}"
            kept.mkdir(parents=True)
            shutil.copy(run / "input.yaml", kept / "input.yaml")
            shutil.copy(run / "timeloop-model.stats.txt", kept / "stats.txt")
    (folder / "case.json").write_text(json.dumps(case, indent=1) + "\n")


def main() -> None:
    timeloop = Timeloop.find()
    for name, (arch, network, layer_name, density, bits) in RUNS.items():
        [layer] = [layer for layer in network_layers(network) if layer.name == layer_name]
        named = {"Weights": density, "Inputs": density} if density < 1 else {}
        record(timeloop, arch, replace(layer.with_densities(named), name=layer.name), bits, name)
        print(name)


if __name__ == "__main__":
    main()
