"""Accelerators and dataflows by name or path: a name such as `eyeriss_168` means the shipped file, anything else a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hwloop.spec.architecture import load_architecture
from hwloop.spec.constraint_sets import load_constraints
from hwloop.spec.constraints import Constraints
from hwloop.spec.energy_table import EnergyTable, load_energy_table
from hwloop.spec.levels import Architecture
from hwloop.spec.shipped import find_architecture, find_mapping, find_table


def open_architecture(
    name: str | Path, variables: Mapping[str, Any] | None = None, include: Iterable[str | Path] = ()
) -> Architecture:
    """Reads an accelerator by name or path; `variables` and `include` are of a template."""
    return load_architecture(find_architecture(name), variables, include)


def open_mapping(name: str | Path) -> Constraints:
    """Reads a dataflow's constraints by name or path."""
    return load_constraints(find_mapping(name))


def open_table(architecture: str | Path) -> EnergyTable | None:
    """Reads the energy table beside an accelerator's file, None when there is none."""
    file = find_table(architecture)
    return None if file is None else load_energy_table(file)
