"""Results as rows of the table, and back. A row carries a checksum, so that nothing is served that was not written."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hwloop.backend.request import MapRequest, Outcome
from hwloop.errors import HwloopError, InfeasibleMappingError, MemoError
from hwloop.mapper.result import MapResult
from hwloop.memo.key import digest_of_architecture, digest_of_energy_table, request_key
from hwloop.spec.bits import elsewhere, plain

Row = Mapping[str, Any]
CHECKSUM = "checksum"


def documents_of(request: MapRequest) -> list[dict[str, Any]]:
    """The accelerator and the energy table that a row refers to."""
    pairs = (
        ("architecture", digest_of_architecture(request.arch), request.arch.name, request.arch.to_dict()),
        ("energy_table", digest_of_energy_table(request.ert), "", request.ert.to_dict()),
    )
    return [{"digest": d, "kind": kind, "name": name, "document": json.dumps(form)} for kind, d, name, form in pairs]


def row_of(request: MapRequest, outcome: Outcome, identity: str) -> dict[str, Any]:
    """One row of `results`."""
    found = outcome if isinstance(outcome, MapResult) else None
    bits = dict(request.bits or {})
    row: dict[str, Any] = {
        "key": request_key(request, identity),
        "feasible": int(found is not None),
        "reason": "" if found else str(outcome),
        "energy_pj": float(found.cost.energy_pj) if found else None,
        "cycles": int(found.cost.cycles) if found else None,
        "utilization": float(found.cost.utilization) if found else None,
        "computes": int(found.cost.computes) if found else None,
        "network": request.network,
        "layer": request.name,
        "arch": request.arch.name,
        "dataflow": request.constraints.name if request.constraints else "",
        "objective": str(request.settings.objective),
        "effort": request.settings.effort,
        "seed": int(request.settings.seed),
        "weight_bits": _whole(elsewhere(bits.get("Weights"))),
        "activation_bits": _whole(elsewhere(bits.get("Inputs"))),
        "weight_density": float(request.problem.density("Weights").density),
        "input_density": float(request.problem.density("Inputs").density),
        "evaluated": int(found.evaluated) if found else 0,
        "seconds": float(found.seconds) if found else 0.0,
        "simulator": identity,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "architecture": digest_of_architecture(request.arch),
        "energy_table": digest_of_energy_table(request.ert),
        "problem": json.dumps(request.problem.to_dict()),
        "bits": json.dumps(plain(bits)) if bits else None,
    }
    if found:
        form = found.to_dict()
        parts = {"mapping": form.pop("mapping"), "cost": form.pop("cost"), "details": form}
        row |= {name: json.dumps(part, default=_number) for name, part in parts.items()}
    else:
        assert isinstance(outcome, InfeasibleMappingError)
        where = {"level": outcome.level, "data_space": outcome.data_space}
        row |= {"mapping": None, "cost": None, "details": json.dumps(where)}
    return row | {CHECKSUM: checksum(row)}


def outcome_of(row: sqlite3.Row) -> Outcome:
    """What a row holds.

    Raises:
        MemoError: the row is damaged: it is not what was written, or is no result.
    """
    values = dict(row)
    if values.pop(CHECKSUM, None) != checksum(values):
        raise MemoError("its checksum does not match what it holds")
    try:
        details = json.loads(row["details"])
        if not row["feasible"]:
            return InfeasibleMappingError(str(row["reason"]), str(details["level"]), str(details["data_space"]))
        mapping, cost = json.loads(row["mapping"]), json.loads(row["cost"])
        if not isinstance(mapping, list):  # anything else could be read as the name of a file
            raise MemoError("its mapping is not a list of targets")
        return MapResult.from_dict({**details, "mapping": mapping, "cost": cost})
    except (HwloopError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MemoError(f"it holds no result ({type(error).__name__}: {error})") from error


def checksum(row: Row) -> str:
    """Hex SHA-256 over every column but the checksum itself."""
    values = {name: value for name, value in row.items() if name != CHECKSUM}
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=repr).encode()).hexdigest()


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _number(value: Any) -> Any:
    """A numpy number as Python's, for JSON."""
    return value.item()
