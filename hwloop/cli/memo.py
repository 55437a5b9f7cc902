"""`hwloop memo`: what is in a memo table, and whether it can be trusted."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from hwloop.cli.common import Subparsers, add_command, print_json
from hwloop.errors import MemoError, SpecError
from hwloop.memo import Check, Store, check
from hwloop.memo.queries import FILTERS, find_rows, summary
from hwloop.report.tables import count_text, energy_text, percent, table

_EXAMPLE = """hwloop memo runs/lenet5/memo.sqlite
  hwloop memo memo.sqlite show --network lenet5 --limit 5
  hwloop memo memo.sqlite query "SELECT arch, sum(energy_pj) FROM results GROUP BY arch"
  hwloop memo memo.sqlite check --sample 200"""
_DESCRIPTION = """Actions: stats (the default), show (rows, newest first), query (any SELECT over the table
`results`), check (the file is whole, every row is as it was written, and rows simulated again
cost what they say; exit code 1 when not)."""


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    parser = add_command(commands, "memo", "show, query and check a memo table", _EXAMPLE, _DESCRIPTION)
    parser.add_argument("path", metavar="FILE", help="the memo table")
    parser.add_argument(
        "action", nargs="?", default="stats", choices=("stats", "show", "query", "check"), help="(default: %(default)s)"
    )
    parser.add_argument("sql", nargs="?", help="for query: a SELECT")
    for name in FILTERS:
        parser.add_argument(f"--{name}", help="for show: only these rows")
    parser.add_argument("--infeasible", action="store_true", help="for show: only what no mapping fits")
    parser.add_argument("--limit", type=int, default=20, help="for show: how many rows (default: %(default)s)")
    parser.add_argument("--sample", type=int, default=50, help="for check: rows to simulate again (default: %(default)s)")
    parser.add_argument("--repair", action="store_true", help="for check: remove damaged rows; they are found again when needed")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Shows, queries or checks."""
    store = Store(args.path, read_only=not args.repair)
    try:
        if args.action == "check":
            return _check(check(store, args.sample, repair=args.repair), args.json)
        rows = _rows(args, store)
        if args.json:
            print_json(rows)
        elif args.action in ("stats", "show"):
            try:
                _print_stats(rows, store) if args.action == "stats" else _print_rows(rows)
            except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
                raise MemoError(f"{args.path}: holds rows that are damaged; `hwloop memo FILE check` says which") from error
        else:
            print("\t".join(rows[0]) if rows else "no rows")
            for row in rows:
                print("\t".join("" if value is None else str(value) for value in row.values()))
    finally:
        store.close()
    return 0


def _rows(args: argparse.Namespace, store: Store) -> list[dict[str, Any]]:
    if args.action == "stats":
        found = summary(store)
    elif args.action == "show":
        filters = {name: getattr(args, name) for name in FILTERS if getattr(args, name)}
        found = find_rows(store, filters, args.infeasible, args.limit)
    elif args.sql:
        found = [dict(row) for row in store.query(args.sql)]
    else:
        raise SpecError("<arguments>", "query", 'a SELECT, e.g. "SELECT layer, energy_pj FROM results"', None)
    return [{name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()} for row in found]


def _print_stats(rows: list[dict[str, Any]], store: Store) -> None:
    header = ("network", "accelerator", "dataflow", "rows", "infeasible", "mapping time", "mappings")
    cells = []
    for r in rows:
        counts = (str(r["rows"]), str(r["infeasible"]), f"{r['seconds']:.1f} s", count_text(r["evaluated"]))
        cells.append((r["network"], r["arch"], r["dataflow"] or "-", *counts))
    print(table(cells, header, left=(0, 1, 2)))
    total, seconds = sum(r["rows"] for r in rows), sum(r["seconds"] for r in rows)
    print(f"\n{total} results that took {seconds:.1f} s to find, {store.size_bytes() / 1e6:.1f} MB")


def _print_rows(rows: list[dict[str, Any]]) -> None:
    header = (
        "key",
        "network",
        "layer",
        "accelerator",
        "dataflow",
        "bits W/A",
        "density W/A",
        "energy",
        "cycles",
        "used",
        "reason",
    )
    cells = []
    for r in rows:
        bits = f"{r['weight_bits'] or '-'}/{r['activation_bits'] or '-'}"
        densities = f"{r['weight_density']:.2f}/{r['input_density']:.2f}"
        cost = (
            (energy_text(r["energy_pj"]), count_text(r["cycles"]), percent(r["utilization"], 0))
            if r["feasible"]
            else ("-", "-", "-")
        )
        cells.append(
            (r["key"][:10], r["network"], r["layer"], r["arch"], r["dataflow"] or "-", bits, densities, *cost, r["reason"][:60])
        )
    print(table(cells, header, left=(0, 1, 2, 3, 4, 10)))


def _check(found: Check, as_json: bool) -> int:
    if as_json:
        print_json(asdict(found))
    else:
        print(f"{found.rows} rows, {found.infeasible} of them infeasible, {found.others} by another simulator or version")
        removed = f", {found.removed} of them removed" if found.removed else ""
        print(f"{len(found.damaged)} rows damaged{removed}")
        print(f"{found.simulated} rows simulated again: {'all equal' if not found.faults else f'{len(found.faults)} faults'}")
        for fault in found.faults:
            print(f"  {fault}")
    return 1 if found.faults else 0
