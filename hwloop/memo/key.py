"""The key of a result: SHA-256 over the canonical form of everything that can change it.

Two requests that mean the same have the same key: the order of dict entries, whole numbers written as floats, and names that
are only for people (of the layer, the accelerator, the constraint set, the source of an energy) do not count. Everything else
does, and so does who answers: the backend's identity, which names the version of every model that makes its answers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from hwloop.backend.request import MapRequest
from hwloop.errors import MemoError, SpecError
from hwloop.spec.architecture import Architecture
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.problem import Problem

KEY_VERSION = 2  # raise it when the canonical form changes
_digests: WeakKeyDictionary[MapRequest, str] = WeakKeyDictionary()


def request_key(request: MapRequest, identity: str) -> str:
    """Hex SHA-256 of a request and of who answers it.

    Args:
        request: the question; its digest is kept for as long as it lives.
        identity: the backend's.

    Raises:
        MemoError: the objective is a function.
        SpecError: a density counts a file that cannot be read.
    """
    if request not in _digests:
        _digests[request] = digest(_form(request))
    return hashlib.sha256(f"{KEY_VERSION} {identity} {_digests[request]}".encode()).hexdigest()


def _form(request: MapRequest) -> dict[str, Any]:
    settings = request.settings
    if not isinstance(settings.objective, str):
        raise MemoError("objective: a function has no canonical form, so its results cannot be stored; use hwloop.map_problem")
    return {
        "problem": _problem_form(request.problem),
        "bits": {name: int(bits) for name, bits in request.bits.items()} if request.bits else None,
        "architecture": digest_of_architecture(request.arch),
        "energy_table": digest_of_energy_table(request.ert),
        "constraints": None if request.constraints is None else _without_names(request.constraints.to_dict()),
        "objective": settings.objective,
        "effort": settings.effort,
        "seed": int(settings.seed),
        "start": [mapping.to_list() for mapping in request.start],
    }


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
    """Sizes and coefficients each in a list of their own, as a coefficient may be called like a dimension."""
    return {
        "shape": problem.shape.to_dict(),
        "sizes": list(problem.bounds),
        "coefficients": list(problem.coefficients),
        "densities": {name: density.to_dict() for name, density in problem.densities},
        "counted": [_file_digest(density.filename) for _, density in problem.densities if density.filename],
    }


def _file_digest(filename: str) -> str:
    """What a file of counts says counts, not what it is called."""
    try:
        if not Path(filename).is_file():  # a device or a pipe would be waited for
            raise OSError("not a regular file")
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
