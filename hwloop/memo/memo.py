"""The memoising wrapper: `map_problem` that remembers on disk, and a whole network looked up in one query."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hwloop.backend.request import MapRequest, Outcome
from hwloop.backend.solve import OnOutcome, Solver, solve_here
from hwloop.errors import InfeasibleMappingError, MemoError
from hwloop.mapper.result import MapResult
from hwloop.memo.key import digest_of_architecture, digest_of_energy_table, request_key, simulator_version
from hwloop.memo.store import Store
from hwloop.spec.architecture import Architecture, load_architecture
from hwloop.spec.constraint_sets import load_constraints
from hwloop.spec.constraints import Constraints
from hwloop.spec.energy_table import EnergyTable, load_energy_table
from hwloop.spec.mapping import Mapping, load_mapping
from hwloop.spec.problem import Problem, load_problem


@dataclass
class MemoStatistics:
    """What this object did since it was made.

    Attributes:
        hits: answers that were in the table.
        misses: answers that had to be found.
        seconds_saved: what the hits took to find, when they were found.
        seconds_spent: what the misses took.
    """

    hits: int = 0
    misses: int = 0
    seconds_saved: float = 0.0
    seconds_spent: float = 0.0


class Memo:
    """Mapper results on disk, shared by any number of processes.

    Args:
        path: the SQLite file; made when missing.
        read_only: look up only; results that are not there are found but not stored.

    Raises:
        MemoError: (on first use) see `Store`.

    An objective that is a function cannot be part of a key: use `hwloop.map_problem` for those.

    Example:
        >>> memo = Memo("memo.sqlite")
        >>> best = memo.map_problem(problem, arch, ert)   # found by the mapper, stored
        >>> best = memo.map_problem(problem, arch, ert)   # read from the table
        >>> memo.statistics.hits
        1
    """

    def __init__(self, path: str | Path, read_only: bool = False) -> None:
        self.store = Store(path, read_only)
        self.statistics = MemoStatistics()

    def __enter__(self) -> Memo:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        self.store.close()

    def map_problem(
        self,
        problem: Problem | Any,
        arch: Architecture | Any,
        ert: EnergyTable | Any,
        constraints: Constraints | Any | None = None,
        objective: str = "edp",
        bits: MappingABC[str, int] | None = None,
        start: Sequence[Mapping | Any] | None = None,
        seed: int = 0,
        effort: str = "normal",
        *,
        network: str = "",
        layer: str = "",
    ) -> MapResult:
        """Like `hwloop.map_problem`, from the table when it is there, into the table when it is not.

        Raises:
            InfeasibleMappingError: no mapping fits; that is remembered too.
            MemoError: the table cannot be read or written.
        """
        if not isinstance(objective, str):
            raise MemoError(
                "objective: a function has no canonical form, so its results cannot be stored; use hwloop.map_problem"
            )
        request = MapRequest(
            load_problem(problem),
            load_architecture(arch),
            load_energy_table(ert),
            None if constraints is None else load_constraints(constraints),
            objective,
            bits,
            None if start is None else tuple(load_mapping(mapping) for mapping in start),
            seed,
            effort,
            network,
            layer,
        )
        [outcome] = self.map_many([request])
        if isinstance(outcome, InfeasibleMappingError):
            raise outcome
        return outcome

    def lookup(self, requests: Sequence[MapRequest]) -> list[Outcome | None]:
        """What the table has, in the order of `requests`, in one query; None where it has nothing. Not counted."""
        rows = self.store.get_many(list({request_key(request) for request in requests}))
        read = {key: _outcome(row) for key, row in rows.items()}
        return [read.get(request_key(request)) for request in requests]

    def map_many(
        self, requests: Sequence[MapRequest], solve: Solver | None = None, on_outcome: OnOutcome | None = None
    ) -> list[Outcome]:
        """All of `requests`: one look-up, then the mapper for what is missing, each result stored as soon as it is there.

        Args:
            requests: equal ones are answered once.
            solve: finds the missing ones and calls back with (index, request, outcome) for each; one after the other in this
                process when None. `hwloop.run` gives one that uses several.
            on_outcome: called with (index, request, outcome) as answers arrive, the table's first.

        Returns:
            A `MapResult` or the `InfeasibleMappingError` for each, in order.
        """
        first: dict[str, int] = {}
        for i, request in enumerate(requests):
            first.setdefault(request_key(request), i)
        unique = list(first.values())
        answers: dict[str, Outcome] = {}
        for i, outcome in zip(unique, self.lookup([requests[i] for i in unique]), strict=True):
            if outcome is not None:
                answers[request_key(requests[i])] = outcome
                self.statistics.hits += 1
                self.statistics.seconds_saved += outcome.seconds if isinstance(outcome, MapResult) else 0.0
                if on_outcome:
                    on_outcome(i, requests[i], outcome)
        missing = [i for i in unique if request_key(requests[i]) not in answers]

        def store(at: int, request: MapRequest, outcome: Outcome) -> None:
            answers[request_key(request)] = outcome
            self.statistics.misses += 1
            self.statistics.seconds_spent += outcome.seconds if isinstance(outcome, MapResult) else 0.0
            if not self.store.read_only:
                self.store.put_many([_row(request, outcome)], _documents(request))
            if on_outcome:
                on_outcome(missing[at], request, outcome)

        if missing:
            (solve or solve_here)([requests[i] for i in missing], store)
        return [answers[request_key(request)] for request in requests]


def _documents(request: MapRequest) -> list[dict[str, Any]]:
    pairs = (
        ("architecture", digest_of_architecture(request.arch), request.arch.name, request.arch.to_dict()),
        ("energy_table", digest_of_energy_table(request.ert), "", request.ert.to_dict()),
    )
    return [{"digest": d, "kind": kind, "name": name, "document": json.dumps(form)} for kind, d, name, form in pairs]


def _row(request: MapRequest, outcome: Outcome) -> dict[str, Any]:
    found = outcome if isinstance(outcome, MapResult) else None
    bits = dict(request.bits or {})
    row: dict[str, Any] = {
        "key": request_key(request),
        "feasible": int(found is not None),
        "reason": "" if found else str(outcome),
        "energy_pj": float(found.cost.energy_pj) if found else None,
        "cycles": int(found.cost.cycles) if found else None,
        "utilization": float(found.cost.utilization) if found else None,
        "computes": int(found.cost.computes) if found else None,
        "network": request.network,
        "layer": request.layer or request.problem.name,
        "arch": request.arch.name,
        "dataflow": request.constraints.name if request.constraints else "",
        "objective": request.objective,
        "effort": request.effort,
        "seed": int(request.seed),
        "weight_bits": bits.get("Weights"),
        "activation_bits": bits.get("Inputs"),
        "weight_density": request.problem.density("Weights").density,
        "input_density": request.problem.density("Inputs").density,
        "evaluated": found.evaluated if found else 0,
        "seconds": found.seconds if found else 0.0,
        "simulator": simulator_version(request.simulator),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "architecture": digest_of_architecture(request.arch),
        "energy_table": digest_of_energy_table(request.ert),
        "problem": json.dumps(request.problem.to_dict()),
        "bits": json.dumps({k: int(v) for k, v in bits.items()}) if bits else None,
    }
    if found:
        form = found.to_dict()
        parts = {"mapping": form.pop("mapping"), "cost": form.pop("cost"), "details": form}
        return row | {name: json.dumps(part, default=_number) for name, part in parts.items()}
    assert isinstance(outcome, InfeasibleMappingError)
    where = {"level": outcome.level, "data_space": outcome.data_space}
    return row | {"mapping": None, "cost": None, "details": json.dumps(where)}


def _number(value: Any) -> Any:
    """A numpy number as Python's, for JSON."""
    return value.item()


def _outcome(row: sqlite3.Row) -> Outcome:
    details = json.loads(row["details"])
    if not row["feasible"]:
        return InfeasibleMappingError(row["reason"], details["level"], details["data_space"])
    return MapResult.from_dict({**details, "mapping": json.loads(row["mapping"]), "cost": json.loads(row["cost"])})
