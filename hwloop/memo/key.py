"""The key of a result: SHA-256 over the canonical form of everything that can change it.

Two requests that mean the same have the same key: the order of dict entries, whole numbers written as floats, and names that
are only for people (of the layer, the accelerator, the constraint set, the source of an energy) do not count. Everything else
does, down to the source code of the mapper and the simulator, so that no row outlives the program that made it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import hwloop
from hwloop.backend.request import MapRequest
from hwloop.backend.simulators import EMBEDDED, find_simulator
from hwloop.errors import SpecError
from hwloop.spec.architecture import Architecture
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.problem import Problem

KEY_VERSION = 1  # raise it when the canonical form changes
_PACKAGE = Path(hwloop.__file__).parent
_CODE = ("spec", "simulator", "mapper", "backend")  # what a result depends on


_keys: WeakKeyDictionary[MapRequest, str] = WeakKeyDictionary()


def request_key(request: MapRequest) -> str:
    """Hex SHA-256 of a request and of the program that answers it; kept for as long as the request lives."""
    if request not in _keys:
        _keys[request] = digest(
            {
                "key_version": KEY_VERSION,
                "simulator": simulator_version(request.simulator),
                "problem": _problem_form(request.problem),
                "bits": None if request.bits is None else {name: int(bits) for name, bits in request.bits.items()},
                "architecture": digest_of_architecture(request.arch),
                "energy_table": digest_of_energy_table(request.ert),
                "constraints": None if request.constraints is None else _without_names(request.constraints.to_dict()),
                "objective": request.objective,
                "start": [mapping.to_list() for mapping in request.start or ()],
                "seed": int(request.seed),
                "effort": request.effort,
            }
        )
    return _keys[request]


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces; whole floats are written as integers.

    Raises:
        TypeError: something that is not plain data.
        ValueError: NaN or infinity.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """Hex SHA-256 of the canonical form."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


@cache
def simulator_version(simulator: str = EMBEDDED) -> str:
    """Name and version of the mapper and simulator, with a digest of their source code, and of the outside one if named.

    Raises:
        SpecError: there is no such simulator.
        SimulatorError: the outside simulator is not there.
    """
    outside = find_simulator(simulator)
    code = hashlib.sha256()
    for room in _CODE:
        for file in sorted((_PACKAGE / room).rglob("*.py")):
            code.update(str(file.relative_to(_PACKAGE)).encode() + b"\0" + file.read_bytes())
    own = f"hwloop {hwloop.__version__}+{code.hexdigest()[:12]}"
    return own if simulator == EMBEDDED else f"{own}, {simulator} {outside.version}"


_architectures: dict[int, tuple[Architecture, str]] = {}
_energy_tables: dict[int, tuple[EnergyTable, str]] = {}
_KEPT = 4096


def digest_of_architecture(arch: Architecture) -> str:
    """SHA-256 of the accelerator without the names that are for people; kept by object, as a search asks for it often."""
    known = _architectures.get(id(arch))
    if known is None or known[0] is not arch:
        form = _without_names(arch.to_dict())
        form["kinds"] = [level.kind for level in arch.levels]
        known = _remember(_architectures, arch, digest(form))
    return known[1]


def digest_of_energy_table(ert: EnergyTable) -> str:
    """SHA-256 of the energies and areas by component, without their sources."""
    known = _energy_tables.get(id(ert))
    if known is None or known[0] is not ert:
        form = {c.name: {"actions": c.energies_pj, "area_um2": c.area_um2} for c in ert.components}
        known = _remember(_energy_tables, ert, digest(form))
    return known[1]


def _remember(kept: dict[int, tuple[Any, str]], thing: Any, digest_: str) -> tuple[Any, str]:
    if len(kept) >= _KEPT:
        kept.clear()
    kept[id(thing)] = (thing, digest_)  # holds on to the object, so that its id stays its own
    return kept[id(thing)]


def _problem_form(problem: Problem) -> dict[str, Any]:
    form = problem.to_dict()
    for _, density in problem.densities:
        if density.filename:  # what the file says counts, not what it is called
            form.setdefault("density_files", []).append(_file_digest(density.filename))
    return form


def _file_digest(filename: str) -> str:
    try:
        return hashlib.sha256(Path(filename).read_bytes()).hexdigest()
    except OSError as error:
        raise SpecError("<problem>", "densities", "a readable file of counts", filename, str(error)) from None


def _without_names(form: dict[str, Any]) -> dict[str, Any]:
    """An architecture's or a constraint set's dict less what is only for people."""
    out = {key: value for key, value in form.items() if key not in ("name", "description")}
    if "architecture_constraints" in out:
        out["architecture_constraints"] = _without_names(out["architecture_constraints"])
    if "architecture" in out:
        out["architecture"] = [{k: v for k, v in tree.items() if k != "name"} for tree in out["architecture"]["subtree"]]
    if "targets" in out:
        out["targets"] = sorted(out["targets"], key=canonical)
    return out


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, MappingABC):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence):
        return [_plain(entry) for entry in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(entry) for entry in value), key=str)
    if hasattr(value, "item"):  # a numpy number
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, (int, float)):
        return value
    raise TypeError(f"expected plain data, found {type(value).__name__}")
