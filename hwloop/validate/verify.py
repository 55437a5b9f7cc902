"""Holds hwloop against recorded Timeloop runs: a corpus of records, or folders with the files of a run."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwloop.backend.timeloop.stats import parse_stats
from hwloop.errors import DataError, HwloopError, InfeasibleMappingError
from hwloop.simulator import LayerCost, simulate
from hwloop.spec.architecture import load_architecture
from hwloop.spec.document import read_document
from hwloop.spec.energy_table import EnergyTable, load_energy_table
from hwloop.spec.levels import Architecture
from hwloop.spec.mapping import Mapping, load_mapping
from hwloop.spec.problem import Problem, load_problem
from hwloop.validate.agreement import DENSE_SLACK, FEASIBILITY, SPARSE_SLACK, Agreement, Report
from hwloop.validate.causes import Explainer
from hwloop.validate.compare import compare_stats

_STATS = ("stats.txt", "timeloop-model.stats.txt", "timeloop-mapper.stats.txt")
_TABLES = ("ERT.yaml", "timeloop-model.ERT.yaml")
_MAPPINGS = ("mapping.yaml", "timeloop-mapper.map.yaml", "map.yaml")


@dataclass(frozen=True)
class Case:
    """One recorded run.

    Attributes:
        id: names it: the record's own id, or the folder.
        problem: the layer.
        architecture: the accelerator.
        mapping: the loop nest.
        table: energies.
        expected: what Timeloop printed, as `parse_stats` returns it; None when it refused the mapping.
        reason: its words when it refused.
    """

    id: str
    problem: Problem
    architecture: Architecture
    mapping: Mapping
    table: EnergyTable
    expected: dict[str, Any] | None
    reason: str = ""


def find_cases(path: Path) -> list[Callable[[], Case]]:
    """What a path holds: the records of a `.jsonl` or `.jsonl.gz` file, or the runs in a folder and the folders in it.

    Returns:
        Readers, so that a record that cannot be read spoils only itself.

    Raises:
        DataError: there is nothing of the kind.
    """
    if path.is_file():
        return [lambda text=text, i=i: _read_record(text, f"{path.name}[{i}]") for i, text in enumerate(_lines(path))]  # type: ignore[misc]
    if not path.is_dir():
        raise DataError(f"{path}: neither a file nor a folder")
    folders = sorted({file.parent for name in _STATS for file in path.rglob(name)})
    if not folders:
        raise DataError(f"{path}: no folder in it has a {_STATS[0]}; a run is input.yaml [mapping.yaml ERT.yaml] stats.txt")
    return [lambda folder=folder: read_run(folder, str(folder.relative_to(path.parent))) for folder in folders]  # type: ignore[misc]


def _lines(path: Path) -> list[str]:
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            return [line for line in file if line.strip()]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as JSON lines: {error}") from None


def _read_record(text: str, place: str) -> Case:
    try:
        record = json.loads(text)
        name = f"{place} {record.get('id', '')}".strip()
        return Case(
            name,
            load_problem(record["problem"]),
            load_architecture(record["arch"]),
            load_mapping(record["mapping"]),
            load_energy_table(dict(record["ert"])),
            record["expected"] if record.get("feasible", True) else None,
            str(record.get("reason", "")).strip(),
        )
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{place}: not a record of a corpus: {type(error).__name__} {error}") from None


def read_run(folder: Path, name: str) -> Case:
    """The files of one Timeloop run: `input.yaml`, `stats.txt`, and `ERT.yaml`, `mapping.yaml` unless the input has them.

    Raises:
        DataError: a file is missing.
        SpecError: a file cannot be read.
        SimulatorError: `stats.txt` is not complete.
    """
    if not (folder / "input.yaml").is_file():
        raise DataError(f"{folder}: no input.yaml")
    stats = next(folder / file for file in _STATS if (folder / file).is_file())
    mapping = next((folder / file for file in _MAPPINGS if (folder / file).is_file()), folder / "input.yaml")
    document, _ = read_document(folder / "input.yaml")
    if "problem" not in document:
        raise DataError(f"{folder / 'input.yaml'}: no problem in it")
    table = next((folder / file for file in _TABLES if (folder / file).is_file()), None)
    if table is None and "ERT" not in document:
        raise DataError(f"{folder}: no ERT.yaml, and no ERT in input.yaml")
    return Case(
        name,
        load_problem(document["problem"]),
        load_architecture(folder / "input.yaml"),
        load_mapping(mapping),
        load_energy_table(table or document),
        parse_stats(stats.read_text()),
    )


def verify(readers: Iterable[Callable[[], Case]], exact: bool = False, on_case: Callable[[], None] | None = None) -> Report:
    """Simulates every case and compares.

    Args:
        readers: from `find_cases`.
        exact: let nothing pass as rounding; else sparse runs may differ by `SPARSE_SLACK`.
        on_case: called after each case.
    """
    report = Report()
    for number, read in enumerate(readers):
        report.cases += 1
        name = f"case {number}"
        try:
            case = read()
            name = case.id
            _verify_one(case, report, exact)
        except HwloopError as error:
            report.failed[name] = str(error)
        if on_case is not None:
            on_case()
    return report


def _verify_one(case: Case, report: Report, exact: bool) -> None:
    cost: LayerCost | None = None
    refusal = ""
    try:
        cost = simulate(case.problem, case.architecture, case.mapping, case.table)
    except InfeasibleMappingError as error:
        refusal = error.reason
    explainer = Explainer(case.problem, case.architecture, case.mapping, case.table)
    agreement = report.quantities.setdefault(FEASIBILITY, Agreement())
    agreement.compared += 1
    if (cost is None) != (case.expected is None):
        last = case.reason.splitlines()[-1] if case.reason else "refuses"
        what = f"hwloop refuses: {refusal}" if cost is None else f"hwloop runs it, Timeloop: {last}"
        report.refusal(case.id, what, explainer.refusal(cost is not None), exact)
        return
    agreement.equal += 1
    if cost is None or case.expected is None:
        report.refused += 1
        return
    sparse = any("Actual Computes (total)" in block for block in case.expected["components"].values())
    pairs, expected = compare_stats(cost, case.expected), case.expected
    causes = explainer.causes(pairs, lambda other: compare_stats(other, expected))
    report.add(case.id, pairs, SPARSE_SLACK if sparse and not exact else DENSE_SLACK, causes, exact)
