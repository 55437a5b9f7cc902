"""Why no mapping exists: the constraint, fan-out or capacity that rules every one out."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import InfeasibleMappingError
from hwloop.mapper.factors import FactorTable
from hwloop.mapper.mapspace import Mapspace
from hwloop.mapper.model import CostModel
from hwloop.mapper.search import FITS


def explain(space: Mapspace, tables: tuple[FactorTable, ...], model: CostModel, detail: str = "") -> InfeasibleMappingError:
    """The error to raise for a mapspace without a feasible mapping.

    Args:
        space: the mapspace.
        tables: its factor tables.
        model: the cost model, for what the levels need and hold.
        detail: what the simulator said of the nearest mapping, when the model found room.
    """
    for found in (_fan_out(space, tables), _capacity(space, tables, model), _utilization(space, tables, model)):
        if found is not None:
            return found
    reason = detail or _nearest(space, tables, model)
    return InfeasibleMappingError(f"no mapping satisfies all constraints and capacities together: {reason}")


def _fan_out(space: Mapspace, tables: tuple[FactorTable, ...]) -> InfeasibleMappingError | None:
    for i, slot in enumerate(space.slots):
        if not slot.spatial:
            continue
        name = space.architecture.storage[slot.level].name
        least = [int(t.bounds[:, i].min()) for t in tables]
        x, y = (prod(n for d, n in enumerate(least) if slot.axes[d] == (axis,)) for axis in (1, 2))
        held = _held(space, least)
        for axis, need, room in (("X", x, slot.room[0]), ("Y", y, slot.room[1])):
            if need > room:
                return InfeasibleMappingError(
                    f"{name} must spread {held} along {axis} (constraint), it has room for {room}", name
                )
        if prod(least) > slot.room[0] * slot.room[1]:
            reason = f"{name} must spread {held} (constraint), it has room for {slot.room[0]} x {slot.room[1]}"
            return InfeasibleMappingError(reason, name)
    return None


def _held(space: Mapspace, extents: list[int]) -> str:
    dims = space.problem.shape.dimensions
    return " ".join(f"{dims[d]}={n}" for d, n in enumerate(extents) if n > 1) or "one value"


def _least_extents(space: Mapspace, tables: tuple[FactorTable, ...], level: int) -> list[int]:
    last = max((i for i, s in enumerate(space.slots) if s.level >= level), default=-1)
    return [int(t.extents[:, last].min()) if last >= 0 else 1 for t in tables]


def _capacity(space: Mapspace, tables: tuple[FactorTable, ...], model: CostModel) -> InfeasibleMappingError | None:
    for index in range(model.n_levels - 1, -1, -1):
        level = model.compiled.levels[index]
        kept = [s for s in range(len(model.compiled.spaces)) if space.keep[index][s] == 1]
        if level.capacity is None or not kept:
            continue
        extents = _least_extents(space, tables, index)
        needs = [_need(model, index, s, extents) for s in kept]
        if sum(needs) <= level.capacity:
            continue
        names = [model.compiled.spaces[s].name for s in kept]
        unit = "rows" if level.by_rows else "words"
        what = " + ".join(f"{name} {need:g}" for name, need in zip(names, needs, strict=True))
        why = " (constraint)" if any(n > 1 for n in extents) else ""
        reason = (
            f"{level.name} must hold {_held(space, extents)}{why} of {' and '.join(names)}: "
            f"needs {sum(needs):g} {unit} ({what}), {level.capacity} fit"
        )
        return InfeasibleMappingError(reason, level.name, names[0] if len(names) == 1 else "")
    return None


def _need(model: CostModel, index: int, s: int, extents: list[int]) -> float:
    level, space = model.compiled.levels[index], model.compiled.spaces[s]
    tile = np.array([float(prod(1 + sum(c * (extents[d] - 1) for d, c in rank) for rank in space.ranks))])
    words = float(model.prices.stored(index, s, tile)[0])
    if level.by_rows:
        return float(np.ceil(words / level.packing[s].row_words) * level.packing[s].word_rows)
    return float(np.ceil(words))


def _utilization(space: Mapspace, tables: tuple[FactorTable, ...], model: CostModel) -> InfeasibleMappingError | None:
    floor = space.architecture.constraints.min_utilization
    if floor <= 0:
        return None
    most = 1.0
    for i, slot in enumerate(space.slots):
        if slot.spatial:
            for axis in (1, 2):
                widest = prod(int(t.bounds[:, i].max()) for d, t in enumerate(tables) if axis in slot.axes[d])
                most *= min(widest, slot.room[axis - 1])
    have = model.compiled.compute_instances
    if most < floor * have:
        reason = f"min_utilization asks for {floor:g} of {have} compute units, the constraints let loops use {most:g} at most"
        return InfeasibleMappingError(reason)
    return None


def _nearest(space: Mapspace, tables: tuple[FactorTable, ...], model: CostModel) -> str:
    """What a fixed sample of tilings shows: how near they come, and whether it is the minimum utilization that fails."""
    rng = np.random.default_rng(0)
    rows = np.stack([rng.integers(len(t), size=4096) for t in tables], axis=1)
    keep: NDArray[np.bool_] = np.equal(space.keep, 1)
    floor, have = space.architecture.constraints.min_utilization, model.compiled.compute_instances
    constraints = replace(space.architecture.constraints, min_utilization=0.0)
    relaxed = replace(space, architecture=replace(space.architecture, constraints=constraints))
    overflow = CostModel(relaxed, tables, model.compiled, model.prices).evaluate(rows, keep).overflow
    fit = rows[overflow <= FITS]
    if floor > 0 and len(fit):
        spatial = [i for i, slot in enumerate(space.slots) if slot.spatial]
        used = np.prod([t.bounds[fit[:, d]][:, spatial].prod(1) for d, t in enumerate(tables)], axis=0)
        return f"min_utilization asks for {floor:g} of {have} compute units, tilings that fit use {used.max()} at most"
    return f"the nearest tiling found needs {overflow.min():.2f} times what a fan-out or capacity holds"
