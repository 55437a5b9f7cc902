"""`layers-TARGET.json` of a run folder: how every layer of the reference and of the front's members runs, and what it costs.

What many layers share (problems, accelerators, energy tables, mappings) stands there once, in lists; a layer names it by its
place. What is written is the question as it was asked: a report or an export needs neither the network nor the estimators.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hwloop.backend.layer_runs import LayerRun, NetworkRun
from hwloop.backend.network_cost import LayerShare
from hwloop.errors import DataError, SpecError
from hwloop.reading import read_text
from hwloop.report.result import Front
from hwloop.spec.architecture import load_architecture
from hwloop.spec.bits import Bits
from hwloop.spec.energy_table import EnergyTable, load_energy_table
from hwloop.spec.levels import Architecture
from hwloop.spec.mapping import Mapping as LoopMapping
from hwloop.spec.mapping import load_mapping
from hwloop.spec.problem import Problem, load_problem

MOST_BYTES = 500_000_000
SHARED = ("problems", "architectures", "energy_tables", "mappings")


def file_of(target: str) -> str:
    """Name of a target's file; `target` as part of a file name (`Target.file_name`)."""
    return f"layers-{target}.json"


@dataclass(frozen=True)
class Part:
    """One data space at one level, the operations of the compute units (no data space), wires, or leakage.

    Attributes:
        component: the level's name.
        data_space: of the problem; empty for operations of the compute units, `leakage` for what a component leaks.
        energy_pj: of all instances [pJ].
        counts: words of one instance: tile, reads, fills, updates; None where nothing is stored.
        instances: in use; 0 for wires.
    """

    component: str
    data_space: str
    energy_pj: float
    counts: tuple[int, int, int, int] | None = None
    instances: int = 0


@dataclass(frozen=True)
class SavedLayer:
    """A layer as it ran.

    Attributes:
        name: the layer's, as planned.
        energy_pj: as the run counted it [pJ].
        cycles: its time.
        utilization: part of the compute units' time that they compute, 0-1.
        parts: where the energy goes; their sum is `energy_pj`.
        problem, architecture, table, mapping, bits: the question, and the loop nest.
    """

    name: str
    energy_pj: float
    cycles: int
    utilization: float
    parts: tuple[Part, ...]
    problem: Problem
    architecture: Architecture
    table: EnergyTable
    mapping: LoopMapping
    bits: Bits


@dataclass(frozen=True)
class SavedNetwork:
    """A network as it ran.

    Attributes:
        layers: in execution order.
        operations: (name, energy [pJ], cycles) of the work between layers.
        resident: names of the feature maps that stay on chip.
        level: where.
    """

    layers: tuple[SavedLayer, ...]
    operations: tuple[tuple[str, float, int], ...]
    resident: tuple[str, ...]
    level: str


@dataclass(frozen=True)
class SavedTarget:
    """Everything in the file of one target.

    Attributes:
        target: its name.
        reference: the network that is not compressed.
        members: the front's, in its order.
    """

    target: str
    reference: SavedNetwork
    members: tuple[SavedNetwork, ...]


def document_of(front: Front) -> dict[str, Any] | None:
    """The file's content; None where the front does not know how its layers run."""
    runs = [member.run for member in (front.reference, *front.members)]
    if any(run is None for run in runs):
        return None
    shared = _Shared()
    networks = [_network(run, shared) for run in runs if run is not None]
    return {"target": front.target, **shared.lists, "reference": networks[0], "members": networks[1:]}


class _Shared:
    """Lists of specs in which equal ones stand once."""

    def __init__(self) -> None:
        self.lists: dict[str, list[Any]] = {name: [] for name in SHARED}
        self._places: dict[tuple[str, Any], int] = {}

    def place(self, kind: str, spec: Any, plain: Any) -> int:
        """Where `spec` stands in the list `kind`; `plain()` gives its plain data when it is new."""
        key = (kind, spec)
        if key not in self._places:
            self._places[key] = len(self.lists[kind])
            self.lists[kind].append(plain())
        return self._places[key]


def _network(run: NetworkRun, shared: _Shared) -> dict[str, Any]:
    layers = [_layer(share, layer, shared) for share, layer in zip(run.cost.layers, run.layers, strict=True)]
    operations = [[work.name, work.energy_pj, work.cycles] for work in run.cost.operations]
    return {"layers": layers, "operations": operations, "resident": list(run.cost.resident), "level": run.cost.level}


def _layer(share: LayerShare, run: LayerRun, shared: _Shared) -> dict[str, Any]:
    request = run.request
    return {
        "layer": share.name,
        "energy_pj": share.energy_pj,
        "cycles": share.cycles,
        "utilization": share.utilization,
        "problem": shared.place("problems", request.problem, request.problem.to_dict),
        "architecture": shared.place("architectures", request.arch, request.arch.to_dict),
        "energy_table": shared.place("energy_tables", request.ert, request.ert.to_dict),
        "mapping": shared.place("mappings", run.mapping, run.mapping.to_list),
        "bits": {space: dict(given) if isinstance(given, Mapping) else given for space, given in (request.bits or {}).items()},
        "parts": _parts(run),
    }


def _parts(run: LayerRun) -> list[list[Any]]:
    """Rows `[component, data space, energy, instances, tile, reads, fills, updates]`; the last four where something is stored."""
    rows: list[list[Any]] = []
    for name, component in run.cost.components.items():
        for space, part in component.dataspaces.items():
            rows.append([name, space, part.energy_pj, part.instances, part.tile_size, part.reads, part.fills, part.updates])
        if not component.dataspaces:
            rows.append([name, "", component.energy_pj - component.leakage_pj, component.instances])
        if component.leakage_pj:
            rows.append([name, "leakage", component.leakage_pj, component.instances])
    for name, wires in run.cost.networks.items():
        rows += [[name, space, energy, 0] for space, energy in wires.dataspaces.items() if energy]
    return rows


def read_saved(path: Path) -> SavedTarget:
    """Reads a target's file.

    Raises:
        DataError: it is missing, damaged, or of another kind.
    """
    try:
        document = json.loads(read_text(path, MOST_BYTES))
        reader = _Reader(document)
        members = tuple(reader.network(each) for each in document["members"])
        return SavedTarget(str(document["target"]), reader.network(document["reference"]), members)
    except (DataError, ValueError, KeyError, TypeError, IndexError, AttributeError, SpecError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}); run `hwloop compress` again with --resume to write it anew") from error


class _Reader:
    """Makes specs of the shared lists, each once and only when a layer names it."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        def made(kind: str, make: Any) -> Any:
            return lru_cache(None)(lambda at: make(_plain(document[kind][at])))

        self._problem, self._architecture = made("problems", load_problem), made("architectures", load_architecture)
        self._table, self._mapping = made("energy_tables", load_energy_table), made("mappings", load_mapping)

    def network(self, raw: Mapping[str, Any]) -> SavedNetwork:
        operations = tuple((str(name), float(energy), int(cycles)) for name, energy, cycles in raw["operations"])
        return SavedNetwork(tuple(map(self._layer, raw["layers"])), operations, tuple(raw["resident"]), str(raw["level"]))

    def _layer(self, raw: Mapping[str, Any]) -> SavedLayer:
        return SavedLayer(
            str(raw["layer"]), float(raw["energy_pj"]), int(raw["cycles"]), float(raw["utilization"]),
            tuple(map(_part, raw["parts"])), self._problem(raw["problem"]), self._architecture(raw["architecture"]),
            self._table(raw["energy_table"]), self._mapping(raw["mapping"]), raw["bits"],
        )  # fmt: skip


def _plain(spec: Any) -> Any:
    """A spec as data: text would be taken for the name of a file."""
    if not isinstance(spec, (dict, list)):
        raise ValueError(f"expected a spec, found {spec!r}")
    return spec


def _part(row: Sequence[Any]) -> Part:
    component, space, energy, instances, *counts = row
    found = tuple(int(number) for number in counts)
    return Part(str(component), str(space), float(energy), found if len(found) == 4 else None, int(instances))
