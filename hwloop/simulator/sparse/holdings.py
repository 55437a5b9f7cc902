"""What every level holds of every data space: occupancy, metadata, and how much of it the level above never sends."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.simulator.density import Key
from hwloop.simulator.nest import Nest
from hwloop.simulator.numeric import Number
from hwloop.simulator.sparse.context import SparseContext
from hwloop.simulator.sparse.nesting import Nesting
from hwloop.simulator.sparse.occupancy import Format, Tree, expected_holding, metadata_bits, vector_ratio
from hwloop.simulator.sparse.ranks import Trees, format_trees, plain_tree
from hwloop.simulator.sparse.refusals import Refusals
from hwloop.simulator.sparse.spaces import Space

Ints = NDArray[np.int64]
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], np.uint64)


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


def hold(context: SparseContext, nest: Nest, nesting: Nesting, refusals: Refusals) -> list[list[Held]]:
    """`[level][data space]`: what is held where.

    Refuses mappings whose formats do not line up with their loops.
    """
    levels = range(len(nest.tiles))
    out: list[list[Held]] = [[] for _ in levels]
    for s, space in enumerate(context.spaces):
        kept = [level for level in levels if nest.tiles[level][s].kept]
        forms = {level: context.formats[level][s] for level in kept}
        _check_changes(context, space, kept, forms, refusals)
        trees = _trees(context, nest, nesting, s, kept, forms, refusals) if any(forms.values()) else {}
        for level in levels:
            if level not in forms:
                out[level].append(Held(None, 0, 1.0, 1.0, 0))
                continue
            parent = nest.tiles[level][s].parent
            knows = parent is not None and forms[parent] is not None
            form = forms[level]
            if form is None and not knows:
                size = nest.tiles[level][s].size
                density = space.model.value_density()
                out[level].append(Held(None, size * density, density, 1.0, size))
                continue
            out[level].append(_held(context, nest, nesting, level, s, trees.get(level) if form else None, knows, refusals.single))
    return out


def _check_changes(
    context: SparseContext, space: Space, kept: list[int], forms: dict[int, Format | None], refusals: Refusals
) -> None:
    """Where a data space changes between compressed and uncompressed, the level must be able to do it."""
    for above, level in itertools.pairwise(kept):
        upper, lower = forms[above], forms[level]
        name = context.compiled.levels[level].name
        if upper is None or not upper.compressed:
            if lower is not None and lower.compressed:
                refusals.all(
                    f"{space.name} is compressed below {context.compiled.levels[above].name}, which holds it uncompressed; "
                    "the model knows no compression on the way down", name, space.name,
                )  # fmt: skip
            continue
        if lower is None or not lower.compressed:
            if not context.decompresses[level]:
                refusals.all(f"decompression of {space.name} is needed, but decompression_supported is not set", name, space.name)
            if space.read_write and not context.compresses[level]:
                refusals.all(f"compression of {space.name} is needed, but compression_supported is not set", name, space.name)
        elif len(upper.ranks) < len(lower.ranks):
            refusals.all(
                f"{space.name} has {len(lower.ranks)} ranks here and {len(upper.ranks)} in the level above; "
                "cutting up at run time is not supported", name, space.name,
            )  # fmt: skip


def _trees(
    context: SparseContext, nest: Nest, nesting: Nesting, s: int, kept: list[int], forms: dict[int, Format | None],
    refusals: Refusals,
) -> dict[int, Trees]:  # fmt: skip
    space, layout = context.spaces[s], nesting.layout
    trees: dict[int, Trees] = {}
    for level in reversed(kept):
        form, child = forms[level], nest.tiles[level][s].child
        if form is None:
            trees[level] = plain_tree(space, nesting, layout.stop(level))
            continue
        start = 0 if child is None else layout.stop(child)
        stop = layout.stop(level)
        inherit = np.zeros(nesting.batch, np.bool_)
        if child is not None and form.compressed:
            inherit = np.broadcast_to(np.asarray(nest.tiles[child][s].size) > 1, (nesting.batch,))
            if inherit.any() and not _aligned(form, forms[child]):
                names = [context.compiled.levels[i].name for i in (level, child)]
                refusals.add(
                    inherit, f"the ranks of {space.name} do not line up with those in {names[1]}: the innermost must be "
                    f"{names[1]}'s, and one for what that level cuts up further", names[0], space.name,
                )  # fmt: skip
                inherit = np.zeros(nesting.batch, np.bool_)
        assign = (space, form.ranks, form.outer_to_inner, nesting, start, stop)
        if inherit.all() and child is not None:
            trees[level] = format_trees(*assign, trees[child])
        elif inherit.any() and child is not None:
            trees[level] = _merge(inherit, format_trees(*assign, trees[child]), format_trees(*assign, None))
        else:
            trees[level] = format_trees(*assign, None)
        refusals.add(
            trees[level].unmapped, f"more compression ranks of {space.name} are needed than its format's {len(form.ranks)}",
            context.compiled.levels[level].name, space.name,
        )  # fmt: skip
    return trees


def _aligned(form: Format, child: Format | None) -> bool:
    """Whether a child's ranks can be the innermost ones; uncompressed, it counts as one rank of any kind."""
    if child is None:
        return True
    if len(child.ranks) > len(form.ranks):
        return False
    return not child.compressed or all(a.kind == b.kind for a, b in zip(form.ranks, child.ranks, strict=False))


def _merge(choose: NDArray[np.bool_], a: Trees, b: Trees) -> Trees:
    shapes = [np.where(choose, x, y) for x, y in zip(a.shapes, b.shapes, strict=True)]
    parts = [np.where(choose, x, y) for x, y in zip(a.parts, b.parts, strict=True)]
    return Trees(shapes, parts, np.where(choose, a.unmapped, b.unmapped))


def _held(
    context: SparseContext, nest: Nest, nesting: Nesting, level: int, s: int, trees: Trees | None, parent_knows: bool,
    single: bool,
) -> Held:  # fmt: skip
    space, form = context.spaces[s], context.formats[level][s]
    count = len(form.ranks) if form else 0
    tile = space.extents(nesting.molds[nesting.layout.stop(level)])
    columns = list(space.keys(tile))
    wide = len(columns)
    if trees is not None:
        columns += trees.shapes[:count]
        for part in trees.parts[:count]:
            columns += space.keys(part)
    block = context.compiled.levels[level].row_words[s]

    fixed = nest.tiles[level][s].size if nest.imperfect else None

    def function(row: Key) -> tuple[float, ...]:
        size = prod(row[:wide]) if fixed is None else fixed
        return _one(space, form, row, wide, size, parent_knows, block)

    values = by_distinct(columns, context.lookup.cache(level, s, parent_knows), function, single)
    held = Held(form, *values[:6])
    expected, worst = values[6 : 6 + 2 * count], values[6 + 2 * count :]
    held.words = list(zip(expected[::2], expected[1::2], strict=True))
    held.largest = list(zip(worst[::2], worst[1::2], strict=True))
    return held


def _one(space: Space, form: Format | None, row: Key, wide: int, size: int, parent_knows: bool, block: int) -> tuple[float, ...]:
    """The numbers of one tile: `row` is its key, then its tree's shapes, then the keys of its parts."""
    model, tile = space.model, row[:wide]
    if form is None:
        holding = expected_holding(model, tile, size, None, None, parent_knows)
        return (holding.occupancy, holding.occupancy / size, holding.held, size, 0, 1.0)
    count = len(form.ranks)
    shapes, rest = row[wide : wide + count], row[wide + count :]
    tree = Tree(shapes, tuple(rest[i : i + wide] for i in range(0, len(rest), wide)))
    holding = expected_holding(model, tile, size, form, tree, parent_knows)
    density = holding.occupancy / size
    ratio = vector_ratio(model, tile, size, density, block) if form.compressed else 1.0
    bits = metadata_bits(form, holding.largest)
    most = model.most_occupancy(tile)
    return (holding.occupancy, density, holding.held, most, bits, ratio, *holding.words, *holding.largest)


def by_distinct(
    columns: list[Ints], cache: dict[Key, Any], function: Callable[[Key], tuple[float, ...]], single: bool
) -> list[Any]:
    """`function` of every row of the columns, evaluated once for each distinct row and remembered in `cache`.

    Returns:
        One number a value for a batch of one, else one array `(batch,)` a value.
    """
    if single:
        row = tuple(int(column[0]) for column in columns)
        found = cache.get(row)
        if found is None:
            found = cache[row] = function(row)
        return list(found)
    mixed = np.zeros(columns[0].shape, np.uint64)
    for i, column in enumerate(columns):
        mixed = (mixed ^ (mixed >> np.uint64(29))) * _MIX[i % 4] + column.astype(np.uint64) * _MIX[(i + 1) % 4]
    _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
    rows = np.stack([column[first] for column in columns], axis=1).tolist()
    values = []
    for entry in rows:
        row = tuple(entry)
        found = cache.get(row)
        if found is None:
            found = cache[row] = function(row)
        values.append(found)
    table = np.array(values, np.float64)
    return list(table.T[:, inverse])
