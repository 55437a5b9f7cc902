"""The Timeloop inputs of every layer of an exported network, a folder a layer, and what `timeloop-model` will say of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwloop.backend.timeloop.documents import Question, questions
from hwloop.errors import SimulatorError
from hwloop.files import write_file
from hwloop.report.saved_layers import SavedLayer, SavedNetwork
from hwloop.spec.document import to_yaml

INDEX = "index.json"
# Which file each block of the program's input stands in. A block that is not named here goes with the architecture.
FILES = {"problem": "problem.yaml", "mapping": "mapping.yaml", "ERT": "ERT.yaml", "ART": "ART.yaml"}
_ARCHITECTURE = "architecture.yaml"


def write_timeloop(folder: Path, network: SavedNetwork) -> list[dict[str, Any]]:
    """Writes the inputs, and `index.json` with the energies that the program will give.

    Args:
        folder: of all layers.
        network: as it ran.

    Returns:
        The index: a row a layer.

    Raises:
        DataError: the disk refuses.
    """
    rows = [_layer(folder / _name(at, layer.name), layer) for at, layer in enumerate(network.layers)]
    between = [{"operation": name, "energy_pj": energy, "cycles": cycles} for name, energy, cycles in network.operations]
    index = {"run": "in a layer's folder: timeloop-model *.yaml", "layers": rows, "between_layers": between}
    write_file(folder / INDEX, json.dumps(index, indent=1) + "\n")
    return rows


def _layer(folder: Path, layer: SavedLayer) -> dict[str, Any]:
    row: dict[str, Any] = {"layer": layer.name, "energy_pj": layer.energy_pj, "cycles": layer.cycles, "runs": []}
    try:
        asked = questions(layer.problem, layer.architecture, layer.mapping, layer.table, layer.bits)
    except SimulatorError as error:
        return {**row, "why_none": str(error)}
    for question in asked:
        place = folder if len(asked) == 1 else folder / question.name
        _write(place, question)
        row["runs"].append(
            {"folder": place.relative_to(folder.parent).as_posix(), "what": question.name,
             "energy_pj": question.energy_pj, "cycles": question.cycles}
        )  # fmt: skip
    if len(asked) > 1:
        row["note"] = (
            "finished values wait in other bits than partial sums, or coded, which one run cannot say: the layer's energy is "
            "that of the run `partial`, with the result's energy at the outermost level lying between the two runs"
        )
    return row


def _write(folder: Path, question: Question) -> None:
    parts: dict[str, dict[str, Any]] = {_ARCHITECTURE: {}}
    for block, content in question.document.items():
        parts.setdefault(FILES.get(block, _ARCHITECTURE), {})[block] = content
    for file, document in parts.items():
        write_file(folder / file, to_yaml(document))


def _name(at: int, layer: str) -> str:
    """A folder's name for a layer: its place and its name, as a file system takes it."""
    return f"{at:03d}-" + "".join(c if c.isalnum() or c in "._-" else "-" for c in layer)


def expected(index: Mapping[str, Any]) -> list[tuple[str, float, int]]:
    """(folder, energy [pJ], cycles) of every run in an index."""
    return [(run["folder"], run["energy_pj"], run["cycles"]) for row in index["layers"] for run in row["runs"]]
