"""Whether a memo table can be trusted: the file is whole, and rows simulated again cost what they say."""

from __future__ import annotations

import json
import math
import random
import sqlite3
from dataclasses import dataclass

from hwloop.errors import HwloopError
from hwloop.memo.key import simulator_version
from hwloop.memo.store import Store
from hwloop.simulator import simulate
from hwloop.spec.architecture import load_architecture
from hwloop.spec.energy_table import load_energy_table
from hwloop.spec.mapping import load_mapping
from hwloop.spec.problem import load_problem

_RELATIVE_TOLERANCE = 1e-9
_COUNTS = """
    SELECT count(*) AS n, coalesce(sum(NOT feasible), 0) AS bad, coalesce(sum(simulator <> ?), 0) AS other FROM results
"""
_LOST = """
    SELECT key FROM results
    WHERE architecture NOT IN (SELECT digest FROM documents) OR energy_table NOT IN (SELECT digest FROM documents)
"""
_FEASIBLE = "SELECT key FROM results WHERE feasible AND simulator = ? ORDER BY key"


@dataclass(frozen=True)
class Check:
    """What a check found.

    Attributes:
        rows: in the table.
        infeasible: of them, requests that no mapping fits.
        other_versions: of them, made by another version of the simulator, which this one never reads.
        simulated: rows simulated again.
        faults: one sentence each; empty when all is well.
    """

    rows: int
    infeasible: int
    other_versions: int
    simulated: int
    faults: tuple[str, ...]


def check(store: Store, sample: int = 50, seed: int = 0) -> Check:
    """Checks the file's structure, then simulates a random sample of this version's feasible rows again.

    Args:
        store: the table.
        sample: how many rows to simulate, all when there are no more.
        seed: of the draw.

    Raises:
        MemoError: the file cannot be read at all.
    """
    faults = [f"file: {line}" for (line,) in store.query("PRAGMA integrity_check") if line != "ok"]
    version = simulator_version()
    [counts] = store.query(_COUNTS, (version,))
    faults += [f"row {row['key'][:12]}: its architecture or energy table is missing" for row in store.query(_LOST)]
    keys = [row["key"] for row in store.query(_FEASIBLE, (version,))]
    chosen = keys if len(keys) <= sample else random.Random(seed).sample(keys, sample)
    documents = {row["digest"]: row["document"] for row in store.query("SELECT digest, document FROM documents")}
    for row in store.get_many(chosen).values():
        fault = _simulate_again(row, documents)
        if fault:
            faults.append(f"row {row['key'][:12]} ({row['network']} {row['layer']} on {row['arch']}): {fault}")
    return Check(counts["n"], counts["bad"], counts["other"], len(chosen), tuple(faults))


def _simulate_again(row: sqlite3.Row, documents: dict[str, str]) -> str:
    try:
        arch = load_architecture(json.loads(documents[row["architecture"]]))
        ert = load_energy_table(json.loads(documents[row["energy_table"]]))
        bits = json.loads(row["bits"]) if row["bits"] else None
        cost = simulate(load_problem(json.loads(row["problem"])), arch, load_mapping(json.loads(row["mapping"])), ert, bits=bits)
    except (HwloopError, ValueError, KeyError) as error:
        return f"cannot be simulated again: {error}"
    for name in ("energy_pj", "cycles", "utilization"):
        now, then = float(getattr(cost, name)), float(row[name])
        if not math.isclose(now, then, rel_tol=_RELATIVE_TOLERANCE):
            return f"{name} is {then:.9g} in the table and {now:.9g} when simulated again"
    return ""
