"""Holds hwloop against recorded Timeloop runs: a corpus of records, or folders with the files of a run."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
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
from hwloop.validate.compare import Difference, compare_stats

FEASIBILITY = "feasibility"
PART_QUANTITIES = ("energy per compute", "leakage", "data space energy", "utilization")
EXACT_QUANTITIES = ("computes", "tile size", "instances")
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


@dataclass(frozen=True)
class Slack:
    """What counts as rounding.

    Attributes:
        counts: by how much a count may differ.
        counts_relative: or by which fraction.
        cycles: by which fraction cycles may differ.
        energy: by which fraction the energy of everything may differ, beyond the printed decimals.
        parts: likewise that of a component or data space, which a single count may weigh on.
    """

    counts: int = 0
    counts_relative: float = 0.0
    cycles: float = 0.0
    energy: float = 0.0
    parts: float = 0.0

    def allows(self, difference: Difference) -> bool:
        """Whether a difference is no more than that. What a case computes is always exact."""
        gap, whole = abs(difference.expected - difference.found), abs(difference.expected)
        if difference.quantity in EXACT_QUANTITIES:
            return gap == 0
        if difference.quantity == "energy":
            return gap <= self.energy * whole
        if difference.quantity in PART_QUANTITIES:
            return gap <= self.parts * whole
        if "cycles" in difference.quantity:
            return gap <= self.cycles * whole
        return gap <= max(self.counts, self.counts_relative * whole)


DENSE_SLACK = Slack()
# The sparse analysis rounds an expectation at every step, and the real one computes it through logarithms, so that what is
# a whole number may come out a little above it and round up.
SPARSE_SLACK = Slack(counts=1, counts_relative=1e-6, cycles=1e-5, energy=1e-4, parts=1e-3)


@dataclass
class Agreement:
    """How one quantity agrees over all cases.

    Attributes:
        compared: how many numbers.
        equal: how many of them are equal, energies as far as they are printed.
        close: how many differ by no more than rounding may.
        worst: the largest relative difference.
        cases: ids of the cases where one differs by more, with the first difference of each.
        rounded: likewise, of those that are close.
    """

    compared: int = 0
    equal: int = 0
    close: int = 0
    worst: float = 0.0
    cases: dict[str, str] = field(default_factory=dict)
    rounded: dict[str, str] = field(default_factory=dict)

    def add(self, case: str, equal: bool, difference: Difference, close: bool = False) -> None:
        """Counts one number."""
        self.compared += 1
        self.equal += equal
        if equal:
            return
        gap = abs(difference.expected - difference.found) / max(abs(difference.expected), 1e-12)
        self.worst = max(self.worst, gap)
        where = f"{difference.where}: " if difference.where else ""
        self.close += close
        (self.rounded if close else self.cases).setdefault(
            case, f"{where}Timeloop {difference.expected:.12g}, hwloop {difference.found:.12g}"
        )


@dataclass
class Report:
    """Agreement of everything compared.

    Attributes:
        quantities: by name.
        cases: how many runs.
        refused: how many of them both refuse.
        failed: cases that hwloop could not read or simulate, with its message.
    """

    quantities: dict[str, Agreement] = field(default_factory=dict)
    cases: int = 0
    refused: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether nothing differs by more than rounding."""
        return not self.failed and all(a.equal + a.close == a.compared for a in self.quantities.values())

    def add(self, case: str, pairs: Iterable[tuple[bool, Difference]], slack: Slack) -> None:
        """Counts the numbers of one case."""
        for equal, difference in pairs:
            close = not equal and slack.allows(difference)
            self.quantities.setdefault(difference.quantity, Agreement()).add(case, equal, difference, close)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        quantities = {
            name: {
                "compared": a.compared,
                "equal": a.equal,
                "rounding": a.close,
                "worst_relative": a.worst,
                "differ": a.cases,
                "rounded": a.rounded,
            }
            for name, a in self.quantities.items()
        }
        return {
            "agrees": self.agrees, "cases": self.cases, "both_refuse": self.refused, "failed": self.failed,
            "quantities": quantities,
        }  # fmt: skip


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
    agreement = report.quantities.setdefault(FEASIBILITY, Agreement())
    agreement.compared += 1
    if (cost is None) != (case.expected is None):
        last = case.reason.splitlines()[-1] if case.reason else "refuses"
        agreement.worst = 1.0
        agreement.cases[case.id] = f"hwloop refuses: {refusal}" if cost is None else f"hwloop runs it, Timeloop: {last}"
        return
    agreement.equal += 1
    if cost is None or case.expected is None:
        report.refused += 1
        return
    sparse = any("Actual Computes (total)" in block for block in case.expected["components"].values())
    report.add(case.id, compare_stats(cost, case.expected), SPARSE_SLACK if sparse and not exact else DENSE_SLACK)


def lines_of(report: Report) -> Iterator[str]:
    """The report as text: one line a quantity, then what differs."""
    yield f"{report.cases} runs, {report.refused} of them refused by both"
    yield f"{'quantity':24} {'compared':>9} {'equal':>9} {'rounding':>9} {'differ':>9}  worst difference"
    for name, a in report.quantities.items():
        differ = a.compared - a.equal - a.close
        yield f"{name:24} {a.compared:9d} {a.equal:9d} {a.close:9d} {differ:9d}  {f'{a.worst:.1e}' if a.worst else '-'}"
    rounded = sorted({case for a in report.quantities.values() for case in a.rounded})
    if rounded:
        yield f"rounding in {len(rounded)} runs: {', '.join(rounded)}"
    for name, a in report.quantities.items():
        for case, what in a.cases.items():
            yield f"differs: {name} of {case}: {what}"
    for case, message in report.failed.items():
        yield f"failed: {case}: {message}"
