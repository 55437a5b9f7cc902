"""Exports members of finished runs and measures the exports: images that differ, and the real timeloop-model on every input.

    python tools/measure_export.py RUN[:TARGET[:MEMBER]] ... --out DIR > results/export.md

`timeloop-model` is looked for on PATH. A member is a number, best, knee or by-test.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hwloop.backend.timeloop.read_back import cost_from_stats
from hwloop.errors import SpecError
from hwloop.programs import find_program, run_program
from hwloop.report.progress import make_progress
from hwloop.report.tables import energy_text, percent, size_text
from hwloop.run.export import Exported, export_member
from hwloop.spec.architecture import load_architecture
from hwloop.spec.problem import load_problem


@dataclass(frozen=True)
class Against:
    """The real program's answers, held against an export's index.

    Attributes:
        layers: how many; `inputs`: how many runs they take; `written`: of the layers, those that have any.
        worst_input: largest relative difference of a run's energy from what the index says.
        worst_layer: of a layer's energy in the run from the program's, of layers with one input.
        total: sum of the program's energies over the run's, of layers with one input, less 1.
        cycles: how many runs differ in cycles.
    """

    layers: int
    inputs: int
    written: int
    worst_input: float
    worst_layer: float
    total: float
    cycles: int


def ask_timeloop(folder: Path) -> Against:
    """Runs the program on every input of an export."""
    program = find_program("timeloop-model")
    if program is None:
        sys.exit("timeloop-model is not on PATH")
    index = json.loads((folder / "index.json").read_text())
    inputs, worst_input, worst_layer, ours, theirs, cycles = 0, 0.0, 0.0, 0.0, 0.0, 0
    for row in index["layers"]:
        for run in row["runs"]:
            place = folder / run["folder"]
            with tempfile.TemporaryDirectory() as aside:
                run_program((program, *sorted(str(file.resolve()) for file in place.glob("*.yaml"))), Path(aside), 600.0)
                stats = (Path(aside) / "timeloop-model.stats.txt").read_text()
            arch = load_architecture(place / "architecture.yaml")
            cost = cost_from_stats(stats, arch, load_problem(place / "problem.yaml"))
            inputs += 1
            worst_input = max(worst_input, abs(cost.energy_pj / run["energy_pj"] - 1))
            cycles += cost.cycles != run["cycles"]
            if len(row["runs"]) == 1:
                worst_layer = max(worst_layer, abs(cost.energy_pj / row["energy_pj"] - 1))
                ours, theirs = ours + row["energy_pj"], theirs + cost.energy_pj
    written = sum(bool(row["runs"]) for row in index["layers"])
    return Against(len(index["layers"]), inputs, written, worst_input, worst_layer, theirs / ours - 1, cycles)


def lines(done: Exported, against: Against) -> list[str]:
    """One export's rows of the two tables: images, Timeloop."""
    card = done.card
    own, again, onnx = done.agreement
    size = (done.folder / "weights.safetensors").stat().st_size
    bits = sorted({layer["bits"] for layer in card["layers"] if layer["bits"]})
    widths = f"{bits[0]} to {bits[-1]}" if bits else "floats"
    off = percent(abs((onnx.right or 0) - (own.right or 0)) / own.images)
    images = (
        f"{card['network']} on {card['data']}", f"{done.target}, member {done.number}", widths, percent(card["pruned"], 0),
        size_text(card["metrics"]["size_bits"]), f"{size / 1000:.1f} kB", own.images, own.right, again.right, again.differing,
        onnx.right, onnx.differing, off,
    )  # fmt: skip
    energy = energy_text(sum(row["energy_pj"] for row in card["timeloop"]))
    timeloop = (
        card["network"], f"{against.written} of {against.layers}", against.inputs, energy, f"{against.worst_input:.1e}",
        against.cycles, f"{against.worst_layer:.1e}", f"{against.total:+.1e}",
    )  # fmt: skip
    return [f"| {' | '.join(map(str, cells))} |" for cells in (images, timeloop)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", nargs="+", metavar="RUN[:TARGET[:MEMBER]]")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    args = parser.parse_args()
    rows = []
    for text in args.run:
        run, _, rest = text.partition(":")
        target, _, member = rest.partition(":")
        try:
            done = export_member(
                run, member or "best", args.out / Path(run).name, target=target or None, progress=make_progress(False)
            )  # fmt: skip
        except SpecError as error:
            sys.exit(f"{run}: {error}")
        rows.append(lines(done, ask_timeloop(done.folder / "timeloop")))
    print(HEAD)
    print("\n".join(row for row, _ in rows))
    print(MIDDLE)
    print("\n".join(row for _, row in rows))
    return 0


HEAD = """# Exports, measured

Command: `python tools/measure_export.py RUN[:TARGET[:MEMBER]] ... --out DIR`.

"right" counts test images classified as labelled: by the run's own network, by the module that `hwloop.load_export` gives back,
and by onnxruntime; "other class" counts those that it classifies otherwise than the run's network.

| network | member | bits | pruned | size | safetensors | images | right | reloaded | other class | ONNX | other class | off |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""
MIDDLE = """
## The real timeloop-model on the exported inputs

"input off" is the largest relative difference between the energy that the program printed for an input and what `index.json` said
it would; "cycles off" counts inputs with other cycles. "layer off" is the largest between a layer's energy in the run and the
program's: the run counts the rows that words fill, the program knows one width a level and counts accesses of whole rows, so they
differ where bits do not divide a row. "total off" is that of all layers together.

| network | layers | inputs | energy of the layers | input off | cycles off | layer off | total off |
|---|---|---|---|---|---|---|---|"""

if __name__ == "__main__":
    raise SystemExit(main())
