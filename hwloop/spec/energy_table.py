"""The energy reference table (ERT) and area reference table (ART): pJ an action, um^2 an instance, each with its source."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hwloop.errors import EnergyTableError, SpecError, SpecWarning
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

    def as_storage(self, access_pj: float) -> ComponentEnergy:
        """The table as a storage reads it: one that names actions, but no read, fill, write or update, has `access_pj` for them.

        That is the estimate of the program itself (`hwloop.spec.builtin`); a `SpecWarning` says so.
        """
        names = self.energies_pj
        if not names or any(word in name for name in names for word in ("read", "fill", "write", "update")):
            return self
        message = (
            f"energy table: {self.name!r} has no read and no write, only {sorted(names)}; the real program's own estimate counts"
        )
        warnings.warn(f"{message}: {access_pj:.4g} pJ", SpecWarning, stacklevel=2)
        return replace(self, actions=(*self.actions, ("read", access_pj), ("write", access_pj)))


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
            actions: list[dict[str, Any]] = []
            for action, energy in c.actions:
                several = [(a, e) for n, a, e in c.by_argument if n == action] or [((), energy)]
                actions += [{"name": action, "arguments": dict(a), "energy": e} for a, e in several]
            entry: dict[str, Any] = {"name": c.name, "actions": actions}
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
        return _build([_Row(key, _plain_actions(Fields(raw, name, key))) for key, raw in fields.items()], {}, name)
    rows: list[_Row] = []
    for ert in _tables(fields, "ERT"):
        rows += _rows(ert)
    areas: dict[str, float] = {}
    for art in _tables(fields, "ART"):
        areas |= _read_areas(art)
    return _build(rows, areas, name)


@dataclass(frozen=True)
class _Row:
    """One component's entries: (action, arguments, energy [pJ])."""

    name: str
    entries: tuple[tuple[str, tuple[tuple[str, int | float | str], ...], float], ...]
    note: str = ""


def _tables(fields: Fields, key: str) -> Iterable[Fields]:
    """The blocks under `ERT` or `ART`: one, a list of them, or (of an ERT) the document itself."""
    raw = fields.raw(key)
    if raw is None:
        return [fields] if key == "ERT" and "tables" in fields else []
    blocks = raw if isinstance(raw, list) else [raw]
    return [Fields(block, fields.source, key if len(blocks) == 1 else f"{key}[{i}]") for i, block in enumerate(blocks)]


def _rows(ert: Fields) -> Iterable[_Row]:
    raw = ert.raw("tables") or []
    if not isinstance(raw, (Mapping, list)):
        raise ert.error("tables", "a list of components", raw)
    if isinstance(raw, Mapping):  # version 0.2: {component: {action: energies}}
        block = Fields(raw, ert.source, ert.where("tables"))
        return [_Row(name, _old_actions(Fields(actions or {}, ert.source, block.where(name)))) for name, actions in block.items()]
    flat = [entry for part in raw for entry in (part if isinstance(part, list) else [part])]
    return [_read_row(Fields(entry, ert.source, ert.where(f"tables[{i}]"))) for i, entry in enumerate(flat)]


def _read_row(entry: Fields) -> _Row:
    component = entry.take("name", str)
    note = entry.text("source")
    actions = []
    for action in entry.each("actions"):
        actions.append((action.take("name", str), _arguments(action), _energy(action, "energy", action.raw("energy"))))
    return _Row(component, tuple(actions), note)


def _old_actions(fields: Fields) -> tuple[tuple[str, tuple[tuple[str, int | float | str], ...], float], ...]:
    out = []
    for action, raw in fields.items():
        for i, entry in enumerate(raw if isinstance(raw, list) else [raw]):
            part = Fields(entry, fields.source, f"{fields.where(action)}[{i}]")
            out.append((action, _arguments(part), _energy(part, "energy", part.raw("energy"))))
    return tuple(out)


def _plain_actions(fields: Fields) -> tuple[tuple[str, tuple[tuple[str, int | float | str], ...], float], ...]:
    return tuple((action, (), _energy(fields, action, value)) for action, value in fields.items())


def _arguments(action: Fields) -> tuple[tuple[str, int | float | str], ...]:
    raw = action.raw("arguments")
    if not isinstance(raw, Mapping):
        return ()
    return tuple((str(k), v if isinstance(v, (int, float, str)) else str(v)) for k, v in raw.items())


def _build(rows: Iterable[_Row], areas: Mapping[str, float], source: str) -> EnergyTable:
    """The table; of several energies of one action the greatest counts, as in the program."""
    found: dict[str, ComponentEnergy] = {}
    for row in rows:
        name = _component_name(row.name)
        if name in found:
            raise SpecError(source, "ERT.tables", "each component once", row.name)
        energies: dict[str, float] = {}
        for action, _, energy in row.entries:
            energies[action] = max(energy, energies.get(action, 0.0))
        several = {action for action, _, _ in row.entries if sum(a == action for a, _, _ in row.entries) > 1}
        by_argument = tuple(entry for entry in row.entries if entry[0] in several)
        found[name] = ComponentEnergy(name, tuple(energies.items()), areas.get(name), row.note, by_argument)
    return EnergyTable(tuple(found.values()))


def _energy(fields: Fields, name: str, value: Any) -> float:
    if isinstance(value, str):
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise fields.error(name, "an energy [pJ], a number of at least 0", value)
    return float(value)


def _read_areas(fields: Fields) -> dict[str, float]:
    areas: dict[str, float] = {}
    for entry in fields.each("tables"):
        areas[_component_name(entry.take("name", str))] = _energy(entry, "area", entry.raw("area"))
    return areas
