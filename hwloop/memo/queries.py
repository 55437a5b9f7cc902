"""What people ask a memo table: sums by network, single rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwloop.errors import SpecError
from hwloop.memo.store import Store

FILTERS = ("network", "layer", "arch", "dataflow", "objective")
_SUMMARY = """
    SELECT network, arch, dataflow, count(*) AS rows, sum(NOT feasible) AS infeasible, sum(seconds) AS seconds,
        sum(evaluated) AS evaluated
    FROM results GROUP BY network, arch, dataflow ORDER BY network, arch, dataflow
"""


def summary(store: Store) -> list[dict[str, Any]]:
    """Rows, infeasible rows, mapping time [s] and mappings looked at, by network, accelerator and dataflow."""
    return [dict(row) for row in store.query(_SUMMARY)]


def find_rows(
    store: Store, filters: Mapping[str, str] | None = None, infeasible: bool = False, limit: int = 20
) -> list[dict[str, Any]]:
    """Rows of the table, newest first.

    Args:
        store: the table.
        filters: a value by column, of `FILTERS`.
        infeasible: only requests that no mapping fits.
        limit: how many at the most.

    Raises:
        SpecError: another column, or a limit below 1.
    """
    given = dict(filters or {})
    for name in given:
        if name not in FILTERS:
            raise SpecError("<arguments>", "filters", f"one of {FILTERS}", name)
    if limit < 1:
        raise SpecError("<arguments>", "limit", "1 row or more", limit)
    where = [f"{name} = ?" for name in given] + (["NOT feasible"] if infeasible else [])
    clause = f"WHERE {' AND '.join(where)}" if where else ""
    sql = f"SELECT * FROM results {clause} ORDER BY created DESC, rowid DESC LIMIT ?"
    return [dict(row) for row in store.query(sql, (*given.values(), limit))]
