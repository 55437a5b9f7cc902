"""Accelergy, run live, as a source of energy tables: the same bill of primitives as every other source, priced by its plug-ins.

All primitives of an accelerator go to one run of the program, as an architecture of primitive components only. Energies of
logic are asked for 32 bits (Aladdin's own width) and divided; the clock is 1 ns, the one Aladdin's tables have.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from hwloop.energy.components import component_energy
from hwloop.energy.primitives import Figures
from hwloop.errors import EnergyTableError, SimulatorError
from hwloop.programs import find_program, run_program, tail
from hwloop.spec.document import read_document
from hwloop.spec.energy_table import EnergyTable, load_energy_table
from hwloop.spec.levels import Architecture
from hwloop.units import PJ_PER_J

PROGRAM = "accelergy"
TIMEOUT_S = 600.0
_CYCLE_S = 1e-9
_UNIT_BITS = 32
_DRAM_BITS = 64
_OPERATION = {"register": "read", "comparator": "compare", "adder": "add", "multiplier": "multiply"}
Request = tuple[str, ...]  # what is asked, as text: it becomes part of a cache key


def estimate_energy_table(arch: Architecture, bits: Mapping[str, int] | None = None) -> EnergyTable:
    """The accelerator's table, priced by the Accelergy on PATH.

    Raises:
        SimulatorError: Accelergy is not there, failed, or knows no plug-in for a primitive; with the tail of its log.
        EnergyTableError: a component that cannot be broken down, or a primitive only a placeholder plug-in would price.
    """
    levels = [level for level in arch.levels if level.kind != "spatial"]
    collector = _Collector()
    for level in levels:
        component_energy(level, collector, arch.cycle_s, bits)
    answers = _Answers(_run(tuple(collector.requests)))
    return EnergyTable(tuple(component_energy(level, answers, arch.cycle_s, bits) for level in levels))


@dataclass
class _Collector:
    """Writes down what is asked; its answers are thrown away."""

    name: str = PROGRAM
    requests: dict[Request, None] = field(default_factory=dict)

    def _note(self, *request: object) -> Figures:
        self.requests[tuple(str(part) for part in request)] = None
        return Figures(1.0, 1.0, 1.0, 1.0, "")

    def sram(self, node_nm: float, depth: int, width_bits: int, banks: int) -> Figures:
        return self._note("sram", f"{node_nm:g}", depth, width_bits, banks)

    def logic(self, kind: str, node_nm: float) -> Figures:
        return self._note(kind, f"{node_nm:g}")

    def dram(self, kind: str) -> Figures:
        return self._note("dram", kind)


@dataclass(frozen=True)
class _Answers:
    """What Accelergy said to each request."""

    figures: Mapping[Request, Figures]
    name: str = PROGRAM

    def sram(self, node_nm: float, depth: int, width_bits: int, banks: int) -> Figures:
        return self.figures["sram", f"{node_nm:g}", str(depth), str(width_bits), str(banks)]

    def logic(self, kind: str, node_nm: float) -> Figures:
        return self.figures[kind, f"{node_nm:g}"]

    def dram(self, kind: str) -> Figures:
        return self.figures["dram", kind]


def _component(name: str, request: Request) -> dict[str, Any]:
    kind, *rest = request
    if kind == "sram":
        node, depth, width, banks = rest
        attributes = {"technology": f"{node}nm", "depth": int(depth), "width": int(width), "n_banks": int(banks), "n_rw_ports": 1}
        return {"name": name, "class": "SRAM", "attributes": attributes, "required_actions": ["read", "write", "leak"]}
    if kind == "dram":
        attributes = {"type": rest[0], "width": _DRAM_BITS}
        return {"name": name, "class": "DRAM", "attributes": attributes, "required_actions": ["read", "write", "leak"]}
    widths = ("width_a", "width_b") if kind == "multiplier" else ("width",)
    actions = [_OPERATION[kind], *(["write"] if kind == "register" else []), "leak"]
    attributes = {"technology": f"{rest[0]}nm", **dict.fromkeys(widths, _UNIT_BITS)}
    return {"name": name, "class": f"aladdin_{kind}", "attributes": attributes, "required_actions": actions}


@lru_cache(maxsize=64)
def _run(requests: tuple[Request, ...]) -> Mapping[Request, Figures]:
    """One run of Accelergy over these primitives."""
    program = find_program(PROGRAM)
    if program is None:
        raise SimulatorError(
            f"energy source 'accelergy': {PROGRAM} is not on PATH; install it with its CACTI, Library and Aladdin plug-ins "
            "(https://github.com/Accelergy-Project/accelergy), or use --energy shipped"
        )
    names = {f"p{i}": request for i, request in enumerate(requests)}
    tree = {
        "name": "system",
        "attributes": {"technology": "45nm", "global_cycle_seconds": _CYCLE_S},  # each component names its own node
        "local": [_component(name, request) for name, request in names.items()],
    }
    with tempfile.TemporaryDirectory(prefix="hwloop-accelergy-") as place:
        folder = Path(place)
        # Accelergy tells text from expressions by YAML's double quotes, which JSON always writes.
        document = json.dumps({"architecture": {"version": "0.4", "subtree": [tree]}}, indent=1)
        (folder / "primitives.yaml").write_text(document, encoding="utf-8")
        command = [program, "primitives.yaml", "-o", "out", "-f", "ERT", "ART", "ERT_summary"]
        status, log = run_program(command, folder, TIMEOUT_S)
        files = [folder / "out" / f"{name}.yaml" for name in ("ERT", "ART", "ERT_summary")]
        if status != 0 or not all(file.is_file() for file in files):
            raise SimulatorError("accelergy gave no energy table", command, status, tail(log))
        ert, art, summary = (read_document(file)[0] for file in files)
    table = load_energy_table({**ert, **art})
    plug_ins = {
        entry["name"].rpartition(".")[2]: entry["primitive_estimation(s)"][0]["estimator"]
        for entry in summary["ERT_summary"]["table_summary"]
    }
    return {request: _figures(table, name, request, plug_ins.get(name, "")) for name, request in names.items()}


def _figures(table: EnergyTable, name: str, request: Request, plug_in: str) -> Figures:
    if not plug_in or "dummy" in plug_in.lower():
        raise EnergyTableError(
            f"energy source 'accelergy': only a placeholder prices {' '.join(request)}; install the plug-in that knows it"
        )
    entry = table.component(name)
    kind = request[0]
    scale = {"sram": 1, "dram": _DRAM_BITS, "multiplier": _UNIT_BITS**2}.get(kind, _UNIT_BITS)
    read_pj = entry.energy_pj(_OPERATION.get(kind, "read")) / scale
    write_pj = entry.energy_pj("write") / scale if kind in ("sram", "dram", "register") else read_pj
    leak_w = entry.energy_pj("leak") / PJ_PER_J / _CYCLE_S / scale
    if entry.area_um2 is None:
        raise EnergyTableError(f"energy source 'accelergy': no area for {' '.join(request)}")
    where = f", {request[1]} nm" if kind != "dram" else f" {request[1]}"
    banks = f", {request[4]} banks" if kind == "sram" else ""
    return Figures(read_pj, write_pj, leak_w, entry.area_um2 / scale, f"Accelergy, plug-in {plug_in}: {kind}{where}{banks}")
