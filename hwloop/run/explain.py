"""A cost opened down to accesses times entries of the energy table: of one layer, one mapping, or a whole network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from hwloop.backend.memory_plan import MapPlaces
from hwloop.backend.network_maps import network_maps
from hwloop.backend.operations import OperationCosts
from hwloop.backend.request import request_for
from hwloop.backend.target import ArchitectureLike, Target
from hwloop.errors import SpecError
from hwloop.report.breakdown import Row
from hwloop.report.case import Asked, Case, head
from hwloop.report.frames import frame
from hwloop.report.opened import explanation_text, opened_rows
from hwloop.run.simulation import simulate_layer
from hwloop.simulator.ledger import Entry, open_cost, open_streams
from hwloop.spec.mapping import Mapping
from hwloop.spec.problem import Problem

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Explanation:
    """What an energy is made of. Prints as tables.

    Attributes:
        head: what was asked.
        parts: (layer or operation, its entries), in execution order; energies of all entries add up to the total.
        chosen: what was asked to be seen, in words; empty for everything.
        whole_pj: energy of the whole network or layer [pJ].
    """

    head: str
    parts: tuple[tuple[str, tuple[Entry, ...]], ...]
    chosen: str
    whole_pj: float

    @property
    def energy_pj(self) -> float:
        """Sum of the entries that are seen [pJ]."""
        return sum(entry.energy_pj for _, entries in self.parts for entry in entries)

    def rows(self, _kind: str = "") -> list[Row]:
        """A plain row an entry."""
        return opened_rows(self.parts)

    def frame(self) -> pandas.DataFrame:
        """`rows` as a pandas frame."""
        return frame(self.rows())

    def document(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {"head": self.head, "energy_pj": self.energy_pj, "of_pj": self.whole_pj, "entries": self.rows()}

    def text(self, width: int | None = None) -> str:
        """The tables; names of layers are shortened where they are wider than `width`."""
        return explanation_text(self.head, self.parts, self.chosen, self.energy_pj, self.whole_pj, width)

    def __str__(self) -> str:
        return self.text()


def explain(
    case: Case, layer: str | None = None, level: str | None = None, data_space: str | None = None
) -> Explanation:  # fmt: skip
    """Opens the energy of a mapped network.

    Args:
        case: of `hwloop.compare`.
        layer: of one layer, or one piece of work between layers; all when None.
        level: of one component; all when None.
        data_space: of one data space, `leakage`, `between layers`, or empty for operations; all when None.

    Raises:
        SpecError: there is none of that name.
    """
    _check("layer", layer, [share.name for share in case.cost.shares])
    parts = list(_opened(case, layer))
    levels = list(dict.fromkeys(entry.component for _, entries in parts for entry in entries))
    spaces = list(dict.fromkeys(entry.data_space for _, entries in parts for entry in entries))
    _check("level", level, levels)
    _check("data space", data_space, spaces)
    return Explanation(case.head(), select(parts, level, data_space), chosen_text(layer, level, data_space), case.cost.energy_pj)


def explain_mapping(
    problem: Problem | Any, arch: ArchitectureLike | Target, mapping: Mapping | Any, asked: Asked | None = None,
    level: str | None = None, data_space: str | None = None,
) -> Explanation:  # fmt: skip
    """Opens the energy of one layer under one mapping.

    Args:
        problem, arch, mapping, asked: as in `simulate_layer`.
        level, data_space: as in `explain`.

    Raises:
        InfeasibleMappingError, EnergyTableError: as `simulate_layer`.
        SpecError: likewise, or there is no such level or data space.
    """
    found = simulate_layer(problem, arch, mapping, asked=asked)
    parts = [(found.problem.name, found.ledger.entries)]
    _check("level", level, list(dict.fromkeys(entry.component for entry in found.ledger.entries)))
    _check("data space", data_space, list(dict.fromkeys(entry.data_space for entry in found.ledger.entries)))
    text = head(found.problem, found.target, found.asked)
    return Explanation(text, select(parts, level, data_space), chosen_text(level, data_space), found.cost.energy_pj)


def select(parts: Any, level: str | None, data_space: str | None) -> tuple[tuple[str, tuple[Entry, ...]], ...]:
    """The entries of a level and a data space, without layers that have none."""
    kept = [
        (name, tuple(e for e in entries if level in (None, e.component) and data_space in (None, e.data_space)))
        for name, entries in parts
    ]
    return tuple((name, entries) for name, entries in kept if entries)


def chosen_text(*names: str | None) -> str:
    """What is seen, in words."""
    return " ".join(name or "operations" for name in names if name is not None)


def _check(what: str, name: str | None, known: list[str]) -> None:
    if name is not None and name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else ""
        raise SpecError("<arguments>", what, f"one of {', '.join(repr(each) for each in known)}", name, hint)


def _opened(case: Case, only: str | None) -> Iterator[tuple[str, tuple[Entry, ...]]]:
    """Each layer's entries as it was costed, maps that stay on chip included, then those of the work between layers."""
    plan = case.asked.plan(case.workload)
    planned = plan.apply(case.workload)
    maps = network_maps(case.workload, plan, planned)
    places = MapPlaces(planned, maps, case.target)
    for at, (layer, share) in enumerate(zip(planned, case.cost.layers, strict=True)):
        if only in (None, share.name):
            residency = places.residency(at, case.cost.resident)
            request = request_for(layer, case.target, case.asked.settings, case.workload.name, residency=residency)
            mapping = share.mapped.mapping
            yield share.name, open_cost(request.problem, request.arch, mapping, request.ert, request.bits).entries
    for name, streams in OperationCosts(case.target).streams(maps, case.cost.resident, case.cost.level):
        if only in (None, name):
            yield name, open_streams(case.target.arch, case.target.table(), streams)
