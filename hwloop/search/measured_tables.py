"""Measures the tables of a space's units: damages on a few images, costs on the target for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hwloop.search.space import Genes
from hwloop.search.study import Study
from hwloop.search.unit_tables import Floats, UnitTables
from hwloop.search.units import UnitSpace, severities, unit_choices

FLOOR, CAP = 1e-4, 1.0  # damages [nats] below which milder choices, and above which harsher ones, are not measured
_MILDER, _HARSHER = 0.25, 2.0  # what is taken for each step beyond; one bit more leaves 0.25 of a squared rounding error
_HARDWARE, _STORED = ("energy_pj", "cycles"), ("size_bits", "macs")
Costs = dict[str, list[Floats]]  # by metric and unit


def measure_tables(study: Study, space: UnitSpace, start: Genes, metrics: Sequence[str], images: int) -> UnitTables:
    """Measures damages, whose images count in the study's budget, and costs.

    The damage of two variables of one unit is taken to be the sum of what each does alone.

    Args:
        study: who answers.
        space: whose units.
        start: `(n_var,)` the base, everything else at its mildest.
        metrics: those that add up over layers: `energy_pj`, `cycles`, `size_bits`, `macs`.
        images: for each damage.

    Raises:
        BudgetSpent: the images would go beyond the budget.
    """
    single = measure_damages(study, space, start, images)
    choices, damages = [], []
    for unit in space.units:
        picks = np.array(list(unit_choices(space, unit)), np.int64)
        values = [severities(space, column)[picks[:, i]] for i, column in enumerate(unit.columns)]
        choices.append(np.stack(values, axis=1))
        damages.append(np.sum([single[column][picks[:, i]] for i, column in enumerate(unit.columns)], axis=0))
    bare = UnitTables(space, start, choices, damages, {}, {})
    costs: Costs = {metric: [np.zeros(len(each)) for each in choices] for metric in metrics}
    base = _stored_costs(study, bare, costs) | _hardware_costs(study, bare, costs)
    return UnitTables(space, start, choices, damages, costs, base)


def most_measurements(space: UnitSpace) -> int:
    """How many damages one base takes at most."""
    return sum(len(severities(space, column)) - 1 for unit in space.units for column in unit.columns)


def measure_damages(study: Study, space: UnitSpace, start: Genes, images: int) -> dict[int, Floats]:
    """By column of a unit `(values,)`, the mildest first: each value alone.

    It begins in the middle and goes on, to both ends, until choices do next to nothing or far too much; the rest is taken from
    there, and damages are made to rise.
    """
    columns = [column for unit in space.units for column in unit.columns]
    values = {column: severities(space, column) for column in columns}
    seen: dict[int, dict[int, float]] = {column: {} for column in columns}
    base = space.plan(start)
    while asked := [(column, at) for column in columns for at in _next(seen[column], len(values[column]))]:
        plans = []
        for column, at in asked:
            row = start.copy()
            row[column] = values[column][at]
            plans.append(space.plan(row))
        fresh = [plan for plan in plans if plan != base]
        found = dict(zip([plan.key for plan in fresh], study.divergences(fresh, base, images), strict=True))
        for (column, at), plan in zip(asked, plans, strict=True):
            seen[column][at] = found.get(plan.key, 0.0)
    return {column: _filled(seen[column], len(values[column])) for column in columns}


def _next(seen: Mapping[int, float], count: int) -> list[int]:
    """Which positions to measure next, among 1 to `count` - 1."""
    if not seen:
        return [count // 2] if count > 1 else []
    least, most = min(seen), max(seen)
    milder = [least - 1] if least > 1 and seen[least] > FLOOR else []
    return milder + ([most + 1] if most + 1 < count and seen[most] < CAP else [])


def _filled(seen: Mapping[int, float], count: int) -> Floats:
    """`(count,)` what was measured, and what is taken for the rest; rising from 0."""
    out = np.zeros(count)
    if seen:
        least, most = min(seen), max(seen)
        for at in range(1, count):
            milder = seen[least] * _MILDER ** (least - at)
            harsher = max(seen[most], CAP) * _HARSHER ** (at - most)
            out[at] = milder if at < least else harsher if at > most else seen[at]
    return np.maximum.accumulate(out)


def _stored_costs(study: Study, tables: UnitTables, costs: Costs) -> dict[str, float]:
    """Fills in what depends on the stored network alone; returns the base's."""
    metrics = [metric for metric in costs if metric in _STORED]
    if not metrics:
        return {}
    space = tables.space
    base = study.sizes(space.plan(tables.start))
    for at, choices in enumerate(tables.choices):
        for choice in range(1, len(choices)):
            found = study.sizes(space.plan(tables.chosen(at, choice)))
            for metric in metrics:
                costs[metric][at][choice] = found[metric] - base[metric]
    return {metric: base[metric] for metric in metrics}


def _hardware_costs(study: Study, tables: UnitTables, costs: Costs) -> dict[str, float]:
    """Fills in what the target says; returns the base's."""
    metrics = [metric for metric in costs if metric in _HARDWARE]
    if not metrics:
        return {}
    units = tables.space.units
    alone = [(at, k) for at, unit in enumerate(units) if not unit.layers for k in range(1, len(tables.choices[at]))]
    alone += _own_layer_costs(study, tables, costs, metrics)
    start = tables.space.plan(tables.start)
    base, *found = study.layer_costs([start, *(tables.space.plan(tables.chosen(*each)) for each in alone)], start)
    for (at, choice), record in zip(alone, found, strict=True):
        for metric in metrics:
            fits = metric in record.metrics and metric in base.metrics
            costs[metric][at][choice] = record.metrics[metric] - base.metrics[metric] if fits else np.inf
    return {metric: base.metrics.get(metric, float("inf")) for metric in metrics}


def _own_layer_costs(study: Study, tables: UnitTables, costs: Costs, metrics: Sequence[str]) -> list[tuple[int, int]]:
    """Fills in costs of units that change those of their own layers alone: one choice of all of them in each plan.

    Returns:
        (unit, choice) of plans with a layer that fits no mapping: each has to be tried alone.
    """
    space = tables.space
    own = [(at, unit) for at, unit in enumerate(space.units) if unit.layers]
    rows = []
    for choice in range(max((len(tables.choices[at]) for at, _ in own), default=0)):
        row = tables.start.copy()
        for at, unit in own:
            if choice < len(tables.choices[at]):
                row[list(unit.columns)] = tables.choices[at][choice]
        rows.append(row)
    records = study.layer_costs([space.plan(row) for row in rows], space.plan(tables.start))
    shares = [{layer.name: layer for layer in record.layers} for record in records]
    unknown = []
    for at, unit in own:
        for choice in range(1, len(tables.choices[at])):
            if not shares[choice] or not shares[0]:
                unknown.append((at, choice))
                continue
            for metric in metrics:
                then, now = ([getattr(found[name], metric) for name in unit.layers] for found in (shares[0], shares[choice]))
                costs[metric][at][choice] = sum(now) - sum(then)
    return unknown
