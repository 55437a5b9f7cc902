"""From names of accelerators, dataflows and an energy source to targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hwloop.energy import estimate_energy_table
from hwloop.errors import EnergyTableError, SpecError
from hwloop.search.hardware import Target
from hwloop.spec.architecture import Architecture
from hwloop.spec.constraints import Constraints
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.resources import open_architecture, open_mapping, open_table

ArchitectureLike = str | Path | Architecture
DataflowLike = str | Path | Constraints | None


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
    if len(set(names)) != len(names):
        raise SpecError("<arguments>", "arch, dataflow", "targets that differ", names, "name each accelerator and dataflow once")
    if len(targets) > 1 and len({t.arch for t in targets}) == 1:  # one accelerator: the dataflow says it all
        targets = [Target(t.constraints.name if t.constraints else t.name, t.arch, t.constraints, t.energy) for t in targets]
    return tuple(targets)


def file_name(target: str) -> str:
    """A target's name as part of a file name."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in target)


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
