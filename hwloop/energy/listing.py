"""The numbers of a printed energy table: a line for every action of every component, and two tables side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hwloop.errors import EnergyTableError
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.levels import Architecture, Level


@dataclass(frozen=True)
class ActionLine:
    """One action of one component.

    Attributes:
        component: the level's name.
        instances: how many there are.
        action: e.g. `read`.
        energy_pj: of one access (a row of a storage, one operation of a compute unit, one instance's leakage in a cycle) [pJ].
        word_pj: of one word of `datawidth` bits [pJ]; None where an access is not made of words (leakage, metadata, counters).
        area_um2: of one instance [um^2], None when unknown.
        source: who says so.
    """

    component: str
    instances: int
    action: str
    energy_pj: float
    word_pj: float | None
    area_um2: float | None
    source: str


@dataclass(frozen=True)
class Difference:
    """One quantity under two sources.

    Attributes:
        component: the level's name.
        quantity: an action [pJ] or `area` [um^2].
        first: under the first source, None when it does not give it.
        second: under the second.
    """

    component: str
    quantity: str
    first: float | None
    second: float | None

    @property
    def relative(self) -> float | None:
        """second / first - 1; None when either is missing, 0 when both are 0."""
        if self.first is None or self.second is None:
            return None
        if self.first == 0:
            return 0.0 if self.second == 0 else None
        return self.second / self.first - 1


def action_lines(arch: Architecture, table: EnergyTable) -> list[ActionLine]:
    """Every action of every component, in the accelerator's order, outermost first.

    Raises:
        EnergyTableError: the table lacks a component.
    """
    lines = []
    for level in _components(arch):
        entry = table.component(level.name)
        for action, energy_pj in entry.actions:
            word_pj = energy_pj / words_per_access(level) if action in ("read", "write", "update", "fill") else None
            lines.append(ActionLine(level.name, level.instances, action, energy_pj, word_pj, entry.area_um2, entry.source))
    return lines


def words_per_access(level: Level) -> int:
    """Words of `datawidth` bits in one vector access, 1 for a compute unit."""
    return 1 if level.kind == "compute" else level.block_size


def differences(arch: Architecture, first: EnergyTable, second: EnergyTable) -> list[Difference]:
    """Every action and area that either table has.

    Raises:
        EnergyTableError: neither has a component.
    """
    out = []
    for level in _components(arch):
        if level.name not in first and level.name not in second:
            raise EnergyTableError(f"energy table: neither source has component {level.name!r}")
        energies = [dict(t.component(level.name).actions) if level.name in t else {} for t in (first, second)]
        areas = [t.component(level.name).area_um2 if level.name in t else None for t in (first, second)]
        for action in dict.fromkeys((*energies[0], *energies[1])):
            out.append(Difference(level.name, action, energies[0].get(action), energies[1].get(action)))
        out.append(Difference(level.name, "area", areas[0], areas[1]))
    return out


def _components(arch: Architecture) -> Iterator[Level]:
    return (level for level in arch.levels if level.kind != "spatial")
