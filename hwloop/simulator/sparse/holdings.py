"""What every level holds of every data space: occupancy, metadata, and how much of it the level above never sends."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hwloop.simulator.density import DensityModel, Floats, Ints, chunks
from hwloop.simulator.nest import Nest
from hwloop.simulator.numeric import Number
from hwloop.simulator.sparse.context import SparseContext
from hwloop.simulator.sparse.distinct import by_distinct
from hwloop.simulator.sparse.occupancy import Format, Tree, expected_holding, metadata_bits, vector_ratio
from hwloop.simulator.sparse.refusals import Refusals
from hwloop.simulator.sparse.shape import SparseNest
from hwloop.simulator.sparse.spaces import Space


@dataclass(slots=True)
class Held:
    """One data space at one level.

    Attributes:
        form: its format, None when it has none or is not kept.
        occupancy: expected nonzeros of a tile.
        density: expected density of a tile.
        present: fraction of tiles that are sent here at all.
        capacity: words it must hold at worst.
        capacity_bits: metadata it must hold at worst [bits].
        vector_ratio: vector accesses relative to words / block size.
        words: expected (metadata, payload) words by rank, innermost first.
        largest: likewise at worst.
        finished: of a result where it waits for its reader: finished values, the rest being partial sums; None elsewhere.
    """

    form: Format | None
    occupancy: Number
    density: Number
    present: Number
    capacity: Number
    capacity_bits: Number = 0
    vector_ratio: Number = 1.0
    words: list[tuple[Number, Number]] = field(default_factory=list)
    largest: list[tuple[Number, Number]] = field(default_factory=list)
    finished: Held | None = None


def hold(context: SparseContext, nest: Nest, shape: SparseNest, refusals: Refusals) -> list[list[Held]]:
    """`[level][data space]`: what is held where; refuses tiles that a density model does not have."""
    out: list[list[Held]] = [[] for _ in nest.tiles]
    for s, space in enumerate(context.spaces):
        for level, row in enumerate(nest.tiles):
            tile, form = row[s], context.formats[level][s]
            knows = tile.parent is not None and context.formats[tile.parent][s] is not None
            if not tile.kept:
                out[level].append(Held(None, 0, 1.0, 1.0, 0))
            elif form is None and not knows:
                density = space.value_density()
                out[level].append(Held(None, tile.size * density, density, 1.0, tile.size))
            else:
                out[level].append(_held(context, nest, shape, level, s, space, knows, refusals))
            finished = context.finished[s]
            if finished is not None and finished.level == level and tile.kept and tile.parent is None:
                out[level][s].finished = _held(context, nest, shape, level, s, finished.space, knows, refusals)
    return out


def _held(
    context: SparseContext,
    nest: Nest,
    shape: SparseNest,
    level: int,
    s: int,
    space: Space,
    parent_knows: bool,
    refusals: Refusals,
) -> Held:
    form = context.formats[level][s]
    count = len(form.ranks) if form else 0
    finished = space is not context.spaces[s]
    own = context.compiled.levels[level]
    waiting = own.waiting[s] if nest.tiles[level][s].parent is None else None
    packing = own.packing[s] if waiting is None else waiting.finished if finished else waiting.partial
    block = packing.row_words if form and form.compressed else 1
    columns = [space.model_column, block, *space.keys(shape.tile(context, level, s))]
    if form:
        trees = shape.trees[level, s]
        columns += trees.shapes[:count]
        for part in trees.parts[:count]:
            columns += space.keys(part)
    fixed = nest.tiles[level][s].size if nest.imperfect else None

    def of_model(model: DensityModel, rows: Ints) -> Floats:
        return _numbers(model, space, form, rows, fixed, parent_knows)

    def function(rows: Ints) -> Floats:
        lengths = space.by_model(
            rows, 1, lambda model, some: model.cases(some[:, 2 : 2 + space.wide])[:, None].astype(np.float64)
        )
        out = np.empty((len(rows), 6 + 4 * count))
        for chosen in chunks(lengths[:, 0].astype(np.int64)):
            out[chosen] = space.by_model(rows[chosen], out.shape[1], of_model)
        return out

    values = refusals.no_tile(
        by_distinct(columns, context.remembered(level, s, parent_knows, finished), function, shape.single),
        space.name, context.compiled.levels[level].name,
    )  # fmt: skip
    if shape.single:
        values[3], values[4] = int(values[3]), int(values[4])
    held = Held(form, *values[:6])
    expected, worst = values[6 : 6 + 2 * count], values[6 + 2 * count :]
    held.words = list(zip(expected[::2], expected[1::2], strict=True))
    held.largest = list(zip(worst[::2], worst[1::2], strict=True))
    return held


def _numbers(
    model: DensityModel, space: Space, form: Format | None, rows: Ints, fixed: Number | None, parent_knows: bool
) -> Floats:
    """The numbers of tiles: a row is its model, its block size, its key, then its tree's shapes, then the keys of its parts."""
    wide = space.wide
    blocks, tiles = rows[:, 1], rows[:, 2 : 2 + wide]
    sizes = tiles.prod(axis=1) if fixed is None else np.full(len(rows), int(np.ravel(fixed)[0]))
    tree = None
    if form is not None:
        at = 2 + wide + len(form.ranks)
        parts = tuple(rows[:, i : i + wide] for i in range(at, rows.shape[1], wide))
        tree = Tree(rows[:, 2 + wide : at].T, parts)
    holding = expected_holding(model, tiles, sizes, form, tree, parent_knows, blocks)
    density = holding.occupancy / sizes
    bits, ratio, most = np.zeros(len(rows)), np.ones(len(rows)), sizes
    if form is not None:
        bits, most = metadata_bits(form, holding.largest), model.most_occupancy(tiles)
        if form.compressed:
            ratio = vector_ratio(holding.vectors, sizes, density, blocks)
    return np.column_stack([holding.occupancy, density, holding.held, most, bits, ratio, holding.words, holding.largest])
