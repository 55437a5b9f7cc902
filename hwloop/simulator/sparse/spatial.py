"""Spatial skipping: instances below a level that would get an empty tile are given the next one that is not empty.

The level's spatial loops then need fewer instances: at most as many as a fiber has nonempty elements, and on average in
proportion to the chance that an element is not empty. What one level leaves out is carried inwards to the next level with
spatial skipping.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.simulator.density import DensityModel, Floats, Ints
from hwloop.simulator.nest import SPATIAL_X, Nest
from hwloop.simulator.numeric import Number, maximum, where
from hwloop.simulator.sparse.context import Saving, SparseContext
from hwloop.simulator.sparse.distinct import by_distinct
from hwloop.simulator.sparse.holdings import Held
from hwloop.simulator.sparse.nesting import Nesting
from hwloop.simulator.sparse.refusals import Refusals
from hwloop.simulator.sparse.savings import Saved
from hwloop.simulator.sparse.shape import SparseNest

Spread = tuple[Number, Number, Number]  # instances on average, spread along X, along Y


@dataclass(slots=True)
class Spreads:
    """Instances in use: `tiles[level][data space]`, of the compute units, and what spatial skipping leaves out."""

    tiles: list[list[Spread]]
    compute: Spread
    saved: dict[tuple[int, int], Number]


def spatial_skipping(
    context: SparseContext, nest: Nest, shape: SparseNest, held: list[list[Held]], saved: dict[tuple[int, int], Saved],
    refusals: Refusals,
) -> Spreads:  # fmt: skip
    """How many instances are in use, with or without spatial skipping."""
    count = len(nest.tiles)
    spaces = range(len(context.spaces))
    if not context.spatial_savings:
        tiles = [
            [(nest.instances[m] * held[m][s].present, nest.x_expansion[m], nest.y_expansion[m]) for s in spaces]
            for m in range(count)
        ]
        return Spreads(tiles, (nest.compute_instances, nest.compute_x, nest.compute_y), {})
    nesting = shape.nesting
    # below[m]: the instances that level m feeds, so those of level m + 1 or, last, the compute units
    wide = [
        [[nest.x_expansion[m], nest.y_expansion[m]] for m in range(count)] + [[nest.compute_x, nest.compute_y]] for _ in spaces
    ]
    ratio: list[list[Number]] = [[1.0] * (count + 1) for _ in spaces]
    _by_metadata(context, nest, nesting, wide, ratio, held, refusals)
    before = [[tuple(extents) for extents in row] for row in wide]
    skipped = set()
    for saving in context.spatial_savings:
        target = saving.options[0].target
        skipped.add((saving.level, target))
        _by_leaders(context, nest, nesting, saving, wide[target], ratio[target], held, refusals)
    result: dict[tuple[int, int], Number] = {}
    tiles = [[(0, 1, 1)] * len(context.spaces) for _ in range(count)]
    compute: Spread = (0, 0, 0)
    for s in spaces:
        _check_used(context, s, wide[s], refusals)
        for m in range(count + 1):
            share = ratio[s][m]
            x, y = wide[s][m]
            if m > 0 and (m - 1, s) in skipped:
                result[m - 1, s] = 1.0 - share
            if m < count:
                tiles[m][s] = (nest.instances[m] * share, x, y)
                _carry(wide[s], ratio[s], m, before[s][m], {i: True for i, t in skipped if t == s})
                _check_used(context, s, wide[s], refusals)
            else:
                instances = nest.compute_instances * share
                compute = tuple(maximum(a, b) for a, b in zip(compute, (instances, x, y), strict=True))  # type: ignore[assignment]
        _check_fanout(context, wide[s], refusals)
    for key in result:
        if key in saved:
            names = context.compiled.levels[key[0]].name, context.spaces[key[1]].name
            refusals.add(saved[key].probability > 0, f"{names[1]} is both skipped in time and in space here; choose one", *names)
    return Spreads(tiles, compute, {key: value for key, value in result.items() if key not in saved})


def _whole(x: Number, single: bool) -> Number:
    """Spreads are whole numbers in the real program: each scaling cuts off."""
    return int(x) if single else np.floor(x).astype(np.int64)


def _carry(
    wide: list[list[Number]], ratio: list[Number], level: int, before: tuple[Number, ...], stops: dict[int, Number]
) -> None:
    """Takes what a level leaves out into the levels inside it; its share only up to the next one with a share of its own."""
    scale = [now / then for now, then in zip(wide[level], before, strict=True)]
    changed = (scale[0] != 1) | (scale[1] != 1)
    single = not isinstance(changed, np.ndarray)
    carried: Number = changed
    for m in range(level + 1, len(wide)):
        if m - 1 in stops:
            carried = where(stops[m - 1], False, carried)
        ratio[m] = ratio[m] * where(carried, ratio[level], 1.0)
        wide[m] = [_whole(where(changed, extent * s, extent), single) for extent, s in zip(wide[m], scale, strict=True)]


def _check_used(context: SparseContext, s: int, wide: list[list[Number]], refusals: Refusals) -> None:
    """Refuses mappings of which rounding down leaves no instance of a storage level (the real program divides by that number)."""
    for level, extents in zip(context.compiled.levels, wide[:-1], strict=True):
        for axis, extent in enumerate(extents):
            name = context.spaces[s].name
            refusals.add(extent < 1, f"skipping_spatial leaves no instance along {'XY'[axis]} for {name}", level.name, name)
            extents[axis] = maximum(extent, 1)


def _check_fanout(context: SparseContext, wide: list[list[Number]], refusals: Refusals) -> None:
    for m, level in enumerate(context.compiled.levels):
        for axis, have in enumerate(context.compiled.fanout[m]):
            below, here = wide[m + 1][axis], wide[m][axis]
            needed = below // maximum(here, 1)
            refusals.add(needed > have, f"spatial skipping needs a fan-out of more than {have} along {'XY'[axis]}", level.name)


def _loops_of(nesting: Nesting, level: int) -> range:
    """Positions of a level's spatial loops, innermost first."""
    layout = nesting.layout
    start = layout.start[level]
    return range(start, start + layout.dimensions) if layout.fanned[level] else range(0)


def _shrink(extents: list[Number], nesting: Nesting, position: int, share: NDArray[np.float64], single: bool) -> None:
    on_x = nesting.axes[position] == SPATIAL_X
    for axis in (0, 1):
        along = on_x if axis == 0 else ~on_x
        factor = np.where(along, share, 1.0)
        extents[axis] = _whole(extents[axis] * (float(factor[0]) if single else factor), single)


def _elements(
    context: SparseContext, index: int, nesting: Nesting, mold: NDArray[np.int64], position: int, used: NDArray[np.bool_],
    level: str, refusals: Refusals,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """Chance that an element of the fiber over a loop is not empty, and the most nonempty elements as a share of the loop."""
    space = context.spaces[index]
    dims, bounds = nesting.dims[position], nesting.bounds[position]
    whole = mold.copy()
    for d in range(len(mold)):
        whole[d] *= np.where(dims == d, bounds, 1)
    refusals.add(
        used & (space.size(whole) % space.size(mold) != 0), f"skipping_spatial: tiles of {space.name} overlap", level,
        space.name,
    )  # fmt: skip
    element, fiber = space.keys(space.extents(mold)), space.keys(space.extents(whole))
    wide = len(element)

    def answer(model: DensityModel, rows: Ints) -> Floats:
        elements, fibers = rows[:, 1 : 1 + wide], rows[:, 1 + wide :]
        return np.column_stack([1.0 - model.empty(elements), model.most_elements(fibers, elements)])

    columns = [space.model_column, *element, *fiber]
    found = by_distinct(
        columns, context.remembered("elements", index), lambda rows: space.by_model(rows, 2, answer), refusals.single
    )
    filled, most = refusals.no_tile(found, space.name, level)
    return np.atleast_1d(filled), np.atleast_1d(most) / bounds


def _by_metadata(
    context: SparseContext, nest: Nest, nesting: Nesting, wide: list[list[list[Number]]], ratio: list[list[Number]],
    held: list[list[Held]], refusals: Refusals,
) -> None:  # fmt: skip
    """A level with metadata of a data space needs no instances for its empty tiles."""
    count, single = len(nest.tiles), refusals.single
    for s, space in enumerate(context.spaces):
        for level in range(count):
            source = next((m for m in range(level, -1, -1) if nest.tiles[m][s].kept), 0)
            if held[source][s].form is None:
                continue
            share = np.ones(nesting.batch)
            seen = np.zeros(nesting.batch, np.bool_)
            for position in _loops_of(nesting, level):
                used = (nesting.bounds[position] > 1) & space.relevant[nesting.dims[position]]
                if not used.any():
                    continue
                name = context.compiled.levels[level].name
                filled, most = _elements(context, s, nesting, nesting.molds[position], position, used, name, refusals)
                share = np.where(used & ~seen, filled, share)
                seen |= used
                _shrink(wide[s][level + 1], nesting, position, np.where(used, most, 1.0), single)
            ratio[s][level + 1] = float(share[0]) if single else share
        original = [(nest.x_expansion[m], nest.y_expansion[m]) for m in range(count)]
        reduced = {m - 1: ratio[s][m] != 1.0 for m in range(1, count + 1)}
        for level in range(count):
            _check_used(context, s, wide[s], refusals)
            _carry(wide[s], ratio[s], level, original[level], reduced)


def _by_leaders(
    context: SparseContext, nest: Nest, nesting: Nesting, saving: Saving, wide: list[list[Number]], ratio: list[Number],
    held: list[list[Held]], refusals: Refusals,
) -> None:  # fmt: skip
    """A level with spatial skipping needs no instances where a leader's tile is empty."""
    option, level, single = saving.options[0], saving.level, refusals.single
    target = context.spaces[option.target]
    inner = any(nest.tiles[m][option.target].kept for m in range(level + 1, len(nest.tiles)))
    total: NDArray[np.float64] = np.ones(nesting.batch)
    for index in option.leaders:
        leader = context.spaces[index]
        source = next((m for m in range(level, -1, -1) if nest.tiles[m][index].kept), None)
        if source is None or held[source][index].form is None:
            continue  # nothing tells where the leader's zeros are
        share = np.ones(nesting.batch)
        seen = np.zeros(nesting.batch, np.bool_)
        for position in _loops_of(nesting, level):
            dims = nesting.dims[position]
            used = (nesting.bounds[position] > 1) & leader.relevant[dims]
            if not used.any():
                continue
            mold = nesting.molds[position]
            if inner:
                mold = np.where(used & target.relevant[dims], _standing(context, nest, nesting, option.target, level, mold), mold)
            name = context.compiled.levels[level].name
            filled, most = _elements(context, index, nesting, mold, position, used, name, refusals)
            share = np.where(used & ~seen, filled, share)
            seen |= used
            _shrink(wide[level + 1], nesting, position, np.where(used, most, 1.0), single)
        total = total * share
    ratio[level + 1] = float(total[0]) if single else total


def _standing(
    context: SparseContext, nest: Nest, nesting: Nesting, target: int, level: int, mold: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The mold grown by the temporal loops, from this level to the one that sends the target, under which the target stays."""
    layout = nesting.layout
    source = next((m for m in range(level, -1, -1) if nest.tiles[m][target].kept), 0)
    index = np.arange(layout.count)[:, None]
    temporal = (index >= layout.start[level]) & (index < layout.stop(source)) & ~layout.spatial[:, None] & (nesting.bounds > 1)
    moves = temporal & context.spaces[target].relevant[nesting.dims]
    until = np.where(moves.any(axis=0), np.argmax(moves, axis=0), layout.count)
    grown = mold.copy()
    for d in range(layout.dimensions):
        grown[d] *= np.where(temporal & (index < until) & (nesting.dims == d), nesting.bounds, 1).prod(axis=0)
    return grown
