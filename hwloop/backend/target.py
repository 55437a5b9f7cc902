"""What a network is costed on: an accelerator under a dataflow, with its energies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from hwloop.energy import estimate_energy_table
from hwloop.errors import EnergyTableError, SpecError
from hwloop.spec.architecture import Architecture
from hwloop.spec.bits import Bits, array_bits
from hwloop.spec.constraints import Constraints
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.resources import open_architecture, open_mapping, open_table

ArchitectureLike = str | Path | Architecture
DataflowLike = str | Path | Constraints | None
ACTIVATIONS = ("streamed", "resident")  # feature maps go through the outermost level, or stay on chip where that pays
EnergySource = Callable[[dict[str, int]], EnergyTable]


@dataclass(frozen=True)
class Target:
    """An accelerator under a dataflow.

    Attributes:
        name: for tables and file names.
        arch: the accelerator.
        constraints: the dataflow; None leaves what the accelerator itself allows.
        energies: makes the energy table for `{data space: bits}`; `table` keeps what it made.
        resident: whether feature maps may stay on chip between layers, where that makes a network cheaper.
    """

    name: str
    arch: Architecture
    constraints: Constraints | None
    energies: EnergySource
    resident: bool = False
    _tables: dict[tuple[tuple[str, int], ...], EnergyTable] = field(default_factory=dict, init=False, repr=False, compare=False)

    def table(self, bits: Bits | None = None) -> EnergyTable:
        """The energy table for these widths of operands; a data space that is not named has the accelerator's own.

        An operation is done at the width that a value has in the array (`*` where widths are given by level); an access of a
        storage costs what a row does, whatever lies in it.

        Raises:
            EnergyTableError: no source has a figure for a component.
        """
        key = tuple(sorted(array_bits(bits).items()))
        if key not in self._tables:
            self._tables[key] = self.energies(dict(key))
        return self._tables[key]

    @cached_property
    def sees_zeros(self) -> bool:
        """Whether densities change costs: without gating, skipping or a compressed format zeros save nothing."""
        return any(bool(level.sparse) for level in self.arch.levels)

    def codes(self, level: str, data_space: str) -> bool:
        """Whether a level has a format for a data space."""
        return any(entry.data_space == data_space for entry in self.arch.level(level).sparse.representation)

    @property
    def file_name(self) -> str:
        """The name as part of a file name."""
        return file_name(self.name)


def file_name(target: str) -> str:
    """A target's name as part of a file name."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in target)


def make_targets(
    archs: ArchitectureLike | Target | Sequence[ArchitectureLike | Target],
    dataflows: DataflowLike | Sequence[DataflowLike] = None,
    energy: Any = "shipped",
    activations: str = "streamed",
) -> tuple[Target, ...]:
    """Every accelerator under every dataflow.

    Args:
        archs: names of shipped accelerators, files, or `Architecture`s; whole `Target`s are passed on as they are.
        dataflows: names of shipped constraint files, files, or `Constraints`; None is what the accelerator itself allows.
        energy: an energy source of `estimate_energy_table`; `table` means the table file beside the accelerator's, which does
            not follow bits.
        activations: `streamed`: feature maps go through the outermost level from layer to layer; `resident`: they stay on chip
            where that makes a network cheaper.

    Raises:
        SpecError: an unknown name or word, two targets of the same name, or a dataflow that is not this accelerator's.
        EnergyTableError: `table` where there is none.
    """
    if activations not in ACTIVATIONS:
        raise SpecError("<arguments>", "activations", " or ".join(ACTIVATIONS), activations)
    targets: list[Target] = []
    for arch_like in _as_list(archs):
        if isinstance(arch_like, Target):
            targets.append(arch_like)
            continue
        arch = arch_like if isinstance(arch_like, Architecture) else open_architecture(arch_like)
        where = arch.name if isinstance(arch_like, Architecture) else Path(arch_like).stem
        arch = replace(arch, name=where)  # two variants of an accelerator may call themselves the same
        source = _table_beside(arch_like) if energy == "table" else energy
        for flow_like in _as_list(dataflows) or [None]:
            flow = flow_like if isinstance(flow_like, Constraints) or flow_like is None else open_mapping(flow_like)
            arch.with_constraints(flow)  # refuses the dataflow of another accelerator before any work
            name = where if flow is None else f"{where} {flow.name or 'dataflow'}"
            targets.append(Target(name, arch, flow, partial(_energies, arch, source), activations == "resident"))
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
