"""What a sweep found: a row for every accelerator, dataflow, network and treatment, and which rows no other one beats."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hwloop.pareto import non_dominated
from hwloop.report.frames import frame, write_rows
from hwloop.units import UM2_PER_MM2

if TYPE_CHECKING:
    import pandas

OBJECTIVES = ("energy_pj", "latency_s", "area_um2")
Fields = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class SweepRow:
    """One accelerator under one dataflow, running one network.

    Attributes:
        basis: digest of all that the numbers depend on besides what stands in this row.
        design: number of the accelerator in the sweep, from 1.
        arch: the accelerator that was varied.
        fields: (path, value) of what was changed.
        dataflow: its name; empty for what the accelerator itself allows.
        network: its name.
        weight_bits, activation_bits: None for the accelerator's own.
        density, input_density: fraction of weights and of inputs that is kept.
        area_um2: of all components [um^2]; None where the energy table has no areas.
        energy_pj: of one run of the network; None where it does not fit.
        cycles: likewise.
        latency_s: cycles at the accelerator's clock.
        utilization: part of the compute units' time that they compute, 0-1.
        component_energy_pj: by component [pJ].
        problem: why there are no numbers; empty where there are.
        failed: the problem is the machine's, not the accelerator's: asked again when the sweep goes on.
    """

    basis: str
    design: int
    arch: str
    fields: Fields
    dataflow: str
    network: str
    weight_bits: int | None
    activation_bits: int | None
    density: float
    input_density: float
    area_um2: float | None = None
    energy_pj: float | None = None
    cycles: int | None = None
    latency_s: float | None = None
    utilization: float | None = None
    component_energy_pj: dict[str, float] = field(default_factory=dict)
    problem: str = ""
    failed: bool = False

    @property
    def edp(self) -> float | None:
        """Energy times delay [pJ x cycles]."""
        return None if self.energy_pj is None or self.cycles is None else self.energy_pj * self.cycles

    @property
    def area_mm2(self) -> float | None:
        """`area_um2` in [mm^2]."""
        return None if self.area_um2 is None else self.area_um2 / UM2_PER_MM2

    @property
    def question(self) -> tuple[Any, ...]:
        """What the accelerator is asked to run: rows of one question are compared with each other."""
        return (self.network, self.weight_bits, self.activation_bits, self.density, self.input_density)

    @property
    def place(self) -> tuple[Any, ...]:
        """What tells rows apart."""
        return (self.basis, self.arch, json.dumps(self.fields), self.dataflow, *self.question)

    def columns(self) -> dict[str, Any]:
        """As one flat row of a table: a column a field, the numbers, and the energy of each component."""
        out: dict[str, Any] = {"design": self.design, "arch": self.arch, "dataflow": self.dataflow, "network": self.network}
        out |= {path: value if isinstance(value, (int, float, str, bool)) else json.dumps(value) for path, value in self.fields}
        for name in ("weight_bits", "activation_bits", "density", "input_density"):
            out[name] = getattr(self, name)
        for name in ("energy_pj", "cycles", "latency_s", "edp", "area_um2", "utilization"):
            out[name] = getattr(self, name)
        out["problem"] = self.problem
        return out | {f"energy_pj.{name}": energy for name, energy in self.component_energy_pj.items()}


@dataclass(frozen=True)
class SweepResult:
    """A finished sweep.

    Attributes:
        rows: in the order asked.
        notes: what the numbers hold for, in sentences.
        paths: the fields that were varied.
        folder: where it was kept; None when nowhere.
        files: written, by kind.
        known: rows that were taken from an earlier run of the sweep.
    """

    rows: tuple[SweepRow, ...]
    notes: tuple[str, ...]
    paths: tuple[str, ...]
    folder: Path | None = None
    files: dict[str, Path] = field(default_factory=dict)
    known: int = 0

    @cached_property
    def on_front(self) -> tuple[bool, ...]:
        """For each row whether no other of the same question needs at most its energy, delay and area, and less of one.

        Where areas are not known, energy and delay alone count.
        """
        keep = np.zeros(len(self.rows), bool)
        questions: dict[tuple[Any, ...], list[int]] = {}
        for at, row in enumerate(self.rows):
            if row.energy_pj is not None:
                questions.setdefault(row.question, []).append(at)
        for places in questions.values():
            values = [[getattr(self.rows[at], name) or 0.0 for name in OBJECTIVES] for at in places]
            keep[np.array(places)[non_dominated(values)]] = True
        return tuple(keep.tolist())

    @property
    def front(self) -> tuple[SweepRow, ...]:
        """The Pareto set of each question: rows that no other beats, by question, then by rising energy."""
        asked = list(dict.fromkeys(row.question for row in self.rows))
        best = [row for row, kept in zip(self.rows, self.on_front, strict=True) if kept]
        return tuple(sorted(best, key=lambda row: (asked.index(row.question), row.energy_pj or 0.0)))

    @cached_property
    def columns(self) -> list[dict[str, Any]]:
        """Every row as a flat dict, with `pareto`."""
        flat = [row.columns() | {"pareto": kept} for row, kept in zip(self.rows, self.on_front, strict=True)]
        names = dict.fromkeys(name for row in flat for name in row)
        first = [name for name in names if not name.startswith("energy_pj.")]
        return [{name: row.get(name) for name in (*first, *(n for n in names if n not in first))} for row in flat]

    def frame(self) -> pandas.DataFrame:
        """A pandas frame, a line a row, with the units in the names of its columns."""
        return frame(self.columns)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"notes": list(self.notes), "fields": list(self.paths), "rows": self.columns}

    def write(self, path: str | Path) -> None:
        """Writes every row as `.csv`, `.json` or `.parquet`.

        Raises:
            SpecError: another ending.
            DataError: the disk refuses.
        """
        write_rows(self.columns, path)
