"""The energy reference table (ERT) and area reference table (ART): pJ an action, um^2 an instance, each with its source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hwloop.errors import EnergyTableError, SpecError
from hwloop.spec.document import Fields, to_yaml
from hwloop.spec.source import read_spec


@dataclass(frozen=True)
class ComponentEnergy:
    """The table of one component.

    Attributes:
        name: the level's name.
        actions: (action, energy [pJ]) pairs. Storage actions are per vector access (a row of width / datawidth words), compute
            actions per operation, `leak` per instance and cycle.
        area_um2: area of one instance, None when unknown.
        source: estimator, version and options that made the numbers; for people and for the record.
        by_argument: (action, ((argument, value), ...), energy [pJ]) where an action has several entries that differ in their
            arguments; `actions` then holds the dearest.
    """

    name: str
    actions: tuple[tuple[str, float], ...]
    area_um2: float | None = None
    source: str = field(default="", compare=False)
    by_argument: tuple[tuple[str, tuple[tuple[str, int | float | str], ...], float], ...] = ()

    @cached_property
    def energies_pj(self) -> dict[str, float]:
        """Energy [pJ] by action."""
        return dict(self.actions)

    def energy_pj(self, *names: str, default: float | None = None) -> float:
        """Energy [pJ] of the first of these actions that the table has: the fall-back chain.

        Raises:
            EnergyTableError: none of them is there and there is no default.
        """
        for name in names:
            if name in self.energies_pj:
                return self.energies_pj[name]
        if default is not None:
            return default
        raise EnergyTableError(
            f"energy table: component {self.name!r} has no action {' or '.join(names)}; "
            f"it has {sorted(self.energies_pj)}; add one of them [pJ]"
        )


@dataclass(frozen=True)
class EnergyTable:
    """Energies and areas of an accelerator's components."""

    components: tuple[ComponentEnergy, ...]

    @cached_property
    def wire_pj(self) -> float | None:
        """Energy of a bit over a millimetre of wire [pJ] from the entry `wire`, None when there is none or it is 0.

        It replaces the wire energy of every network that is inferred from a level's attributes.
        """
        wires = [c.energies_pj.get("transfer_random", 0.0) for c in self.components if c.name in ("wire", "Wire")]
        return next((w for w in reversed(wires) if w), None)

    @cached_property
    def _by_name(self) -> dict[str, ComponentEnergy]:
        return {c.name: c for c in self.components}

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def component(self, name: str) -> ComponentEnergy:
        """The table of a component.

        Raises:
            EnergyTableError: there is none.
        """
        if name not in self._by_name:
            raise EnergyTableError(
                f"energy table: no component {name!r}; it has {sorted(self._by_name)}; add an entry with its actions [pJ]"
            )
        return self._by_name[name]

    def to_dict(self) -> dict[str, Any]:
        """Accelergy's ERT and, where areas are known, ART; the sources stand beside the actions."""
        tables = []
        for c in self.components:
            entry: dict[str, Any] = {"name": c.name, "actions": [{"name": n, "arguments": {}, "energy": e} for n, e in c.actions]}
            if c.source:
                entry["source"] = c.source
            tables.append(entry)
        out: dict[str, Any] = {"ERT": {"version": 0.4, "tables": tables}}
        areas = [{"name": c.name, "area": c.area_um2} for c in self.components if c.area_um2 is not None]
        if areas:
            out["ART"] = {"version": 0.4, "tables": areas}
        return out

    def to_yaml(self) -> str:
        """A file that `load_energy_table` and the Timeloop binaries read."""
        return to_yaml(self.to_dict())


_NAME = re.compile(r"(?:.*\.)?([^.\[\]]+?)(?:\[[^\]]*\])?")


def _component_name(written: str) -> str:
    match = _NAME.fullmatch(written.strip())
    return match[1] if match else written


def load_energy_table(source: Any, variables: Mapping[str, Any] | None = None, include: Iterable[str | Path] = ()) -> EnergyTable:
    """Reads an Accelergy ERT (with an ART beside it if there is one), `{component: {action: pJ}}`, or a list of such pairs.

    Raises:
        SpecError: with the file and the field; energies must be finite numbers of at least 0.
    """
    if isinstance(source, EnergyTable):
        return source
    document, name = read_spec(source, variables, include)
    if isinstance(document, (list, tuple)):
        if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in document):
            raise SpecError(name, "(top)", "[component, {action: pJ}] pairs", document)
        document = {str(component): actions for component, actions in document}
    fields = Fields(document, name, "")
    if "ERT" not in fields and "tables" not in fields:
        rows = [(key, _read_actions(Fields(raw, name, key)), "") for key, raw in fields.items()]
        return _build(rows, {}, name)
    ert = fields.sub("ERT") or fields
    ert.raw("version")
    ert.raw("units")
    rows = []
    for i, raw in enumerate(ert.raw("tables") or []):
        entry = Fields(raw, name, ert.where(f"tables[{i}]"))
        component = entry.take("name", str)
        note = str(entry.raw("source", "") or "")
        actions = list(_read_action_list(entry))
        for passed in ("estimator", "primitive_estimation(s)", "primitive_estimations"):
            entry.raw(passed)
        entry.finish()
        rows.append((component, tuple(actions), note))
    return _build(rows, _read_areas(fields.sub("ART")), name)


def _build(
    rows: Iterable[tuple[str, tuple[tuple[str, float], ...], str]], areas: Mapping[str, float], source: str
) -> EnergyTable:
    components = [ComponentEnergy(_component_name(n), a, areas.get(_component_name(n)), s) for n, a, s in rows]
    names = [c.name for c in components]
    if len(set(names)) != len(names):
        raise SpecError(source, "ERT.tables", "each component once", sorted(n for n in names if names.count(n) > 1))
    return EnergyTable(tuple(components))


def _energy(fields: Fields, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise fields.error(name, "an energy [pJ], a number of at least 0", value)
    return float(value)


def _read_actions(fields: Fields) -> tuple[tuple[str, float], ...]:
    return tuple((action, _energy(fields, action, value)) for action, value in fields.items())


def _read_action_list(entry: Fields) -> Iterable[tuple[str, float]]:
    seen: dict[str, float] = {}
    for j, raw in enumerate(entry.raw("actions") or []):
        action = Fields(raw, entry.source, entry.where(f"actions[{j}]"))
        seen[action.take("name", str)] = _energy(action, "energy", action.raw("energy"))
    return seen.items()


def _read_areas(fields: Fields | None) -> dict[str, float]:
    if fields is None:
        return {}
    areas: dict[str, float] = {}
    for i, raw in enumerate(fields.raw("tables") or []):
        entry = Fields(raw, fields.source, fields.where(f"tables[{i}]"))
        areas[_component_name(entry.take("name", str))] = _energy(entry, "area", entry.raw("area"))
    return areas
