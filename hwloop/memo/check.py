"""Whether a memo table can be trusted: a whole file, rows as they were written, and the same costs when simulated again."""

from __future__ import annotations

import json
import math
import random
import sqlite3
from dataclasses import dataclass
from typing import Any

from hwloop.backend.embedded import Embedded
from hwloop.backend.request import Outcome
from hwloop.errors import HwloopError, InfeasibleMappingError, MemoError, SpecError
from hwloop.memo.rows import outcome_of
from hwloop.memo.store import Store
from hwloop.simulator import simulate
from hwloop.spec.architecture import load_architecture
from hwloop.spec.energy_table import load_energy_table
from hwloop.spec.problem import load_problem

_RELATIVE_TOLERANCE = 1e-9
_LOST = """
    SELECT key FROM results
    WHERE architecture NOT IN (SELECT digest FROM documents) OR energy_table NOT IN (SELECT digest FROM documents)
"""


@dataclass(frozen=True)
class Check:
    """What a check found.

    Attributes:
        rows: in the table.
        infeasible: of them, requests that no mapping fits.
        others: of them, made by another backend or another version of a model than the embedded one now is.
        simulated: rows simulated again.
        faults: one sentence each; empty when all is well.
        damaged: keys of the rows that are not what was written.
        removed: how many of those were removed.
    """

    rows: int
    infeasible: int
    others: int
    simulated: int
    faults: tuple[str, ...]
    damaged: tuple[str, ...] = ()
    removed: int = 0


def check(store: Store, sample: int = 50, seed: int = 0, repair: bool = False) -> Check:
    """Checks the file's structure and every row's checksum, then simulates a random sample of the embedded backend's rows again.

    Args:
        store: the table.
        sample: how many rows to simulate, all when there are no more.
        seed: of the draw.
        repair: take damaged rows out; they are computed again when they are asked for.

    Raises:
        MemoError: the file cannot be read at all, or not written where it is to be repaired.
        SpecError: a sample below 0.
    """
    if sample < 0:
        raise SpecError("<arguments>", "sample", "a number of rows, 0 or more", sample)
    faults = [f"file: {line}" for (line,) in store.query("PRAGMA integrity_check") if line != "ok"]
    keys = [row["key"] for row in store.query("SELECT key FROM results ORDER BY key")]
    counted = {"infeasible": 0, "others": 0}
    damaged: list[str] = []
    ours: list[str] = []
    for row in _rows(store, keys):
        try:
            outcome = outcome_of(row)
        except MemoError as why:
            damaged.append(row["key"])
            faults.append(f"row {_name(row)} is damaged: {why}")
            continue
        infeasible, other = isinstance(outcome, InfeasibleMappingError), row["simulator"] != Embedded.identity
        counted["infeasible"] += infeasible
        counted["others"] += other
        if not infeasible and not other:
            ours.append(row["key"])
    faults += [f"row {row['key'][:12]}: its architecture or energy table is missing" for row in store.query(_LOST)]
    chosen = ours if len(ours) <= sample else sorted(random.Random(seed).sample(ours, sample))
    documents = {row["digest"]: row["document"] for row in store.query("SELECT digest, document FROM documents")}
    for row in _rows(store, chosen):
        fault = _simulate_again(row, outcome_of(row), documents)
        if fault:
            faults.append(f"row {_name(row)}: {fault}")
    removed = sum(store.execute("DELETE FROM results WHERE key = ?", (key,)) for key in damaged) if repair else 0
    return Check(len(keys), counted["infeasible"], counted["others"], len(chosen), tuple(faults), tuple(damaged), removed)


def _rows(store: Store, keys: list[str]) -> Any:
    for at in range(0, len(keys), 500):
        yield from store.get_many(keys[at : at + 500]).values()


def _name(row: sqlite3.Row) -> str:
    values = dict(row)  # a damaged table may lack columns
    return f"{str(values['key'])[:12]} ({values.get('network')} {values.get('layer')} on {values.get('arch')})"


def _simulate_again(row: sqlite3.Row, outcome: Outcome, documents: dict[str, str]) -> str:
    if isinstance(outcome, InfeasibleMappingError):
        return ""
    try:
        arch = load_architecture(_block(documents[row["architecture"]]))
        ert = load_energy_table(_block(documents[row["energy_table"]]))
        bits = json.loads(row["bits"]) if row["bits"] else None
        cost = simulate(load_problem(_block(row["problem"])), arch, outcome.mapping, ert, bits=bits)
    except (HwloopError, ValueError, KeyError, TypeError, RecursionError) as error:
        return f"cannot be simulated again: {error}"
    for name in ("energy_pj", "cycles", "utilization"):
        now = float(getattr(cost, name))
        for where, then in (("served", float(getattr(outcome.cost, name))), ("in its column", float(row[name]))):
            if not math.isclose(now, then, rel_tol=_RELATIVE_TOLERANCE):
                return f"{name} is {then:.9g} {where} and {now:.9g} when simulated again"
    return ""


def _block(text: str) -> dict[str, Any]:
    """A JSON object; anything else could be read as the name of a file."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("a stored document is no JSON object")
    return found
