"""Measures the tables of a space's units: damages on a few images, costs on the target for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hwloop.search.knapsack import totals
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
    """Fills in what the target says; returns the base's.

    Units are not quite additive on hardware: fewer bits of activations save less where most weights are gone, and a map that
    several layers read waits at the most bits of any. So each choice is costed with all units of other kinds half-way, where
    candidates of interest are, and all of its kind alike; the base's costs are what fits to that.
    """
    metrics = [metric for metric in costs if metric in _HARDWARE]
    if not metrics:
        return {}
    space, start = tables.space, tables.space.plan(tables.start)
    halves = [[len(severities(space, column)) // 2 for column in unit.columns] for unit in space.units]
    picks = np.array([[list(unit_choices(space, unit)).index(tuple(at)) for unit, at in zip(space.units, halves, strict=True)]])
    centre = tables.rows(picks)[0]
    if not study.layer_costs([space.plan(centre)], start)[0].layers:
        picks, centre = np.zeros_like(picks), tables.start
    alone = [(at, k) for at, unit in enumerate(space.units) if not unit.layers for k in range(1, len(tables.choices[at]))]
    alone += _own_layer_costs(study, tables, centre, costs, metrics)
    asked = dict.fromkeys([(at, 0) for at, _ in alone] + alone)
    plans = [space.plan(tables.chosen(at, choice, centre)) for at, choice in asked]
    middle, *found = study.layer_costs([space.plan(centre), *plans], start)
    records = dict(zip(asked, found, strict=True))
    for at, choice in alone:
        for metric in metrics:
            then, now = (records[at, k].metrics.get(metric, np.inf) for k in (0, choice))
            costs[metric][at][choice] = now - then if np.isfinite(now) and np.isfinite(then) else np.inf
    return {metric: middle.metrics.get(metric, np.inf) - float(totals(costs[metric], picks)[0]) for metric in metrics}


def _own_layer_costs(
    study: Study, tables: UnitTables, centre: Genes, costs: Costs, metrics: Sequence[str]
) -> list[tuple[int, int]]:
    """Fills in costs of units that act on layers, by those of the layers: one choice of many units in each plan.

    Returns:
        (unit, choice) of plans with a layer that fits no mapping: each has to be tried alone.
    """
    space, unknown = tables.space, []
    for part in _apart(space):
        rows = []
        for choice in range(max(len(tables.choices[at]) for at in part)):
            row = centre
            for at in part:
                row = tables.chosen(at, min(choice, len(tables.choices[at]) - 1), row)
            rows.append(row)
        records = study.layer_costs([space.plan(row) for row in rows], space.plan(tables.start))
        shares = [{layer.name: layer for layer in record.layers} for record in records]
        for at, choice in [(unit, choice) for unit in part for choice in range(1, len(tables.choices[unit]))]:
            if not shares[choice] or not shares[0]:
                unknown.append((at, choice))
                continue
            layers = space.units[at].layers
            for metric in metrics:
                then, now = ([getattr(found[name], metric) for name in layers] for found in (shares[0], shares[choice]))
                costs[metric][at][choice] = sum(now) - sum(then)
    return unknown


def _apart(space: UnitSpace) -> list[list[int]]:
    """Units that act on layers, in parts within which no layer is acted on twice."""
    parts: list[tuple[list[int], set[str]]] = []
    for at, unit in enumerate(space.units):
        if unit.layers:
            part = next((part for part in parts if not part[1] & set(unit.layers)), None)
            if part is None:
                parts.append(part := ([], set()))
            part[0].append(at)
            part[1].update(unit.layers)
    return [units for units, _ in parts]
