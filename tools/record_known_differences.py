"""Records runs of the real `timeloop-model` (on PATH) from which hwloop is known to differ.

    python tools/record_known_differences.py

A line of tests/data/known_differences.jsonl.gz is one run: `arch`, `problem`, `mapping`, `ert`, `bits` as hwloop was given them,
`real` the real program's cost, and without bits also `expected`, its statistics, as the reference corpora have them. All of it is
ours but the figures.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from hwloop.backend.timeloop.inputs import model_input
from hwloop.backend.timeloop.programs import Timeloop
from hwloop.backend.timeloop.stats import parse_stats
from hwloop.energy import estimate_energy_table
from hwloop.mapper.mapper import map_problem
from hwloop.spec.batch import MappingBatch
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.resources import open_architecture

FILE = Path(__file__).resolve().parents[1] / "tests" / "data" / "known_differences.jsonl.gz"
LAYER = make_problem(conv2d_shape(), {"C": 128, "M": 128, "P": 28, "Q": 28, "R": 3, "S": 3}, name="conv")  # 147,456 weights
# accelerator, density of weights and inputs, bits of both
RUNS = (
    ("eyeriss_168_skipping", 0.5, None), ("tpu_like_compressed", 0.5, None),  # a large tensor
    ("eyeriss_168_skipping", 0.3, 5), ("tpu_like_compressed", 0.1, 5),  # rows of 12 words
    ("eyeriss_168_skipping", 0.5, 5),  # both
)  # fmt: skip


def main() -> None:
    timeloop = Timeloop.find()
    lines = []
    for arch_name, density, bits in RUNS:
        architecture, widths = open_architecture(arch_name), {} if bits is None else {"Weights": bits, "Inputs": bits}
        problem = LAYER.with_densities({"Weights": density, "Inputs": density})
        table = estimate_energy_table(architecture, "shipped", widths)
        found = map_problem(LAYER, architecture, table, bits=widths, effort="quick").mapping
        batch = MappingBatch.from_mappings([found], problem.shape, problem.bounds, architecture)
        mapping = batch.to_mapping(0, problem.shape, architecture)
        record = {
            "id": f"{arch_name} density {density:g}{'' if bits is None else f' bits {bits}'}",
            "arch": architecture.to_dict(),
            "problem": problem.to_dict(),
            "mapping": mapping.to_list(),
            "ert": {entry.name: entry.energies_pj for entry in table.components},
            "bits": widths,
            "real": timeloop.simulate(problem, architecture, mapping, table, widths).to_dict(),
        }
        if not widths:
            record["expected"] = parse_stats(timeloop.run_model(model_input(problem, architecture, mapping, table)))
        lines.append(json.dumps(record) + "\n")
    with gzip.open(FILE, "wt") as file:
        file.writelines(lines)


if __name__ == "__main__":
    main()
