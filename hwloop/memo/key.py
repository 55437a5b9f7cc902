"""The key of a result: SHA-256 over the canonical form of everything that can change it.

Two requests that mean the same have the same key: the order of dict entries, of an energy table's components and of constraints,
whole numbers written as floats, and names that are only for people do not count. Everything else does: the form is made from the
fields of the data classes themselves (those that count in a comparison), so that a field added to a spec is in the key from the
start. So is who answers: the backend's identity, which names the version of every model that makes its answers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any
from weakref import WeakKeyDictionary

from hwloop.backend.request import MapRequest
from hwloop.errors import DataError, MemoError, SpecError
from hwloop.reading import read_bytes
from hwloop.spec.architecture import Architecture
from hwloop.spec.bits import plain
from hwloop.spec.constraints import Constraints
from hwloop.spec.density import Density
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.problem import Problem

KEY_VERSION = 2  # raise it when the canonical form changes
UNORDERED = {EnergyTable: ("components",), Constraints: ("loops", "data_spaces")}  # fields whose order means nothing
_COUNTS_BYTES = 100_000_000  # of a file of counts
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
        _digests[request] = hashlib.sha256(_canonical_form(request).encode()).hexdigest()
    return hashlib.sha256(f"{KEY_VERSION} {identity} {_digests[request]}".encode()).hexdigest()


def _canonical_form(request: MapRequest) -> str:
    """The canonical form of a request, put together from those of its parts, many of which other requests have too."""
    if not isinstance(request.settings.objective, str):
        raise MemoError("objective: a function has no canonical form, so its results cannot be stored; use hwloop.map_problem")
    parts = {
        "architecture": canonical(digest_of_architecture(request.arch)),
        "bits": canonical(plain(request.bits) if request.bits else None),
        "constraints": _canonical_part(request.constraints),
        "energy_table": canonical(digest_of_energy_table(request.ert)),
        "problem": _canonical_part(request.problem),
        "settings": _canonical_part(request.settings),
        "start": canonical(form_of(tuple(request.start))),
    }
    return "{" + ",".join(f'"{name}":{parts[name]}' for name in sorted(parts)) + "}"


def _canonical_part(part: Any) -> str:
    """The canonical form of a spec, kept by object, unless a file is part of it, which may change."""
    if isinstance(part, Problem) and any(getattr(density, "filename", "") for given in part.densities for density in given):
        return canonical(form_of(part))
    known = _parts.get(id(part))
    if known is None or known[0] is not part:
        known = _remember(_parts, part, canonical(form_of(part)))
    return known[1]


def form_of(value: Any) -> Any:
    """A spec as plain data: the fields that count when two of its kind are compared.

    Raises:
        SpecError: a density counts a file that cannot be read.
    """
    if isinstance(value, tuple):
        return [form_of(entry) for entry in value]
    if not is_dataclass(value) or isinstance(value, type):
        return value
    out = {field.name: form_of(getattr(value, field.name)) for field in fields(value) if field.compare}
    for name in UNORDERED.get(type(value), ()):
        out[name] = sorted(out[name], key=canonical)
    for name in ("attributes", "actions"):  # (name, value) pairs
        if out.get(name) and all(isinstance(pair, list) and len(pair) == 2 for pair in out[name]):
            out[name] = dict(out[name])
    if isinstance(value, Density) and value.filename:
        out["filename"] = _file_digest(value.filename)
    return out


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
_parts: dict[int, tuple[Any, str]] = {}
_KEPT = 4096


def digest_of_architecture(arch: Architecture) -> str:
    """SHA-256 of the accelerator without the names that are for people; kept by object, as a search asks for it often."""
    known = _architectures.get(id(arch))
    if known is None or known[0] is not arch:
        known = _remember(_architectures, arch, digest(form_of(arch)))
    return known[1]


def digest_of_energy_table(ert: EnergyTable) -> str:
    """SHA-256 of the energies and areas by component, without their sources."""
    known = _energy_tables.get(id(ert))
    if known is None or known[0] is not ert:
        known = _remember(_energy_tables, ert, digest(form_of(ert)))
    return known[1]


def _remember(kept: dict[int, tuple[Any, str]], thing: Any, digest_: str) -> tuple[Any, str]:
    if len(kept) >= _KEPT:
        kept.clear()
    kept[id(thing)] = (thing, digest_)  # holds on to the object, so that its id stays its own
    return kept[id(thing)]


def _file_digest(filename: str) -> str:
    """What a file of counts says counts, not what it is called."""
    try:
        return hashlib.sha256(read_bytes(filename, _COUNTS_BYTES)).hexdigest()
    except DataError as error:
        raise SpecError("<problem>", "densities", "a readable file of counts", filename, str(error)) from None


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
