"""What a network is costed on: an accelerator under a dataflow, with its energies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from hwloop.energy import estimate_energy_table
from hwloop.errors import EnergyTableError, SpecError
from hwloop.spec.architecture import Architecture
from hwloop.spec.constraints import Constraints
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.resources import open_architecture, open_mapping, open_table

ArchitectureLike = str | Path | Architecture
DataflowLike = str | Path | Constraints | None
EnergySource = Callable[[dict[str, int]], EnergyTable]


@dataclass(frozen=True)
class Target:
    """An accelerator under a dataflow.

    Attributes:
        name: for tables and file names.
        arch: the accelerator.
        constraints: the dataflow; None leaves what the accelerator itself allows.
        energies: makes the energy table for `{data space: bits}`; `table` keeps what it made.
    """

    name: str
    arch: Architecture
    constraints: Constraints | None
    energies: EnergySource
    _tables: dict[tuple[tuple[str, int], ...], EnergyTable] = field(default_factory=dict, init=False, repr=False, compare=False)

    def table(self, bits: Mapping[str, int] | None = None) -> EnergyTable:
        """The energy table for `{data space: bits}`; a data space that is not named has the accelerator's own width.

        Raises:
            EnergyTableError: no source has a figure for a component.
        """
        key = tuple(sorted((bits or {}).items()))
        if key not in self._tables:
            self._tables[key] = self.energies(dict(key))
        return self._tables[key]

    @property
    def sees_zeros(self) -> bool:
        """Whether densities change costs: without gating, skipping or a compressed format zeros save nothing."""
        return any(bool(level.sparse) for level in self.arch.levels)

    @property
    def file_name(self) -> str:
        """The name as part of a file name."""
        return "".join(c if c.isalnum() or c in "._-" else "-" for c in self.name)


def make_targets(
    archs: ArchitectureLike | Sequence[ArchitectureLike],
    dataflows: DataflowLike | Sequence[DataflowLike] = None,
    energy: Any = "shipped",
) -> tuple[Target, ...]:
    """Every accelerator under every dataflow.

    Args:
        archs: names of shipped accelerators, files, or `Architecture`s.
        dataflows: names of shipped constraint files, files, or `Constraints`; None is what the accelerator itself allows.
        energy: an energy source of `estimate_energy_table`; `table` means the table file beside the accelerator's, which does
            not follow bits.

    Raises:
        SpecError: an unknown name, two targets of the same name, or a dataflow that is not this accelerator's.
        EnergyTableError: `table` where there is none.
    """
    targets = []
    for arch_like in _as_list(archs):
        arch = arch_like if isinstance(arch_like, Architecture) else open_architecture(arch_like)
        where = arch.name if isinstance(arch_like, Architecture) else Path(arch_like).stem
        arch = replace(arch, name=where)  # two variants of an accelerator may call themselves the same
        source = _table_beside(arch_like) if energy == "table" else energy
        for flow_like in _as_list(dataflows) or [None]:
            flow = flow_like if isinstance(flow_like, Constraints) or flow_like is None else open_mapping(flow_like)
            arch.with_constraints(flow)  # refuses the dataflow of another accelerator before any work
            name = where if flow is None else f"{where} {flow.name or 'dataflow'}"
            targets.append(Target(name, arch, flow, partial(_energies, arch, source)))
    names = [target.name for target in targets]
    if len({target.file_name for target in targets}) != len(names):  # a target's evaluations are kept under it
        raise SpecError("<arguments>", "arch, dataflow", "targets that differ", names, "name each accelerator and dataflow once")
    if len(targets) > 1 and len({t.arch for t in targets}) == 1:  # one accelerator: the dataflow says it all
        targets = [replace(t, name=t.constraints.name if t.constraints else t.name) for t in targets]
    return tuple(targets)


def _energies(arch: Architecture, source: Any, bits: dict[str, int]) -> EnergyTable:
    return estimate_energy_table(arch, source, bits or None)


def _table_beside(arch_like: ArchitectureLike) -> EnergyTable:
    table = None if isinstance(arch_like, Architecture) else open_table(arch_like)
    if table is None:
        raise EnergyTableError(
            f"accelerator {arch_like}: there is no energy table beside it; give another energy source or a file"
        )
    return table


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
