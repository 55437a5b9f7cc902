"""What of the sparse analysis follows from the loop nest alone, whatever the densities and bits.

Which loops belong to which rank of a format, which tile of a leader decides over a follower's, and which mappings do not line
up with the formats: worked out once for a mapping, however many candidates are then costed on it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwloop.simulator.density import Ints
from hwloop.simulator.nest import Nest
from hwloop.simulator.numeric import Number
from hwloop.simulator.sparse.context import SparseContext
from hwloop.simulator.sparse.leaders import Follower, follower, leader_tile
from hwloop.simulator.sparse.nesting import Nesting
from hwloop.simulator.sparse.occupancy import Format
from hwloop.simulator.sparse.one_mapping import (
    MappingLoops,
    OneFollower,
    one_follower,
    one_format_trees,
    one_leader_tile,
    one_plain_tree,
)
from hwloop.simulator.sparse.ranks import Trees, format_trees, plain_tree
from hwloop.simulator.sparse.refusals import Refusals
from hwloop.simulator.sparse.spaces import Space, Vector


@dataclass
class SparseNest:
    """The nest as formats, gating and skipping see it.

    Attributes:
        loops: the complete loops; one mapping's are Python's numbers, and so is all that follows from them.
        trees: (level, data space) -> the trees of fibers, where some level has a format.
        refused: where formats and loops do not line up, `(batch,)`.
    """

    loops: Nesting | MappingLoops
    trees: dict[tuple[int, int], Trees]
    refused: NDArray[np.bool_]
    _tiles: dict[tuple[int, int], Vector | Ints] = field(default_factory=dict)
    _followers: dict[tuple[int, int], Follower | OneFollower] = field(default_factory=dict)
    _leaders: dict[tuple[int, int, int, int], tuple[Vector | Ints, Number]] = field(default_factory=dict)

    @property
    def single(self) -> bool:
        """Whether there is one mapping."""
        return isinstance(self.loops, MappingLoops)

    @property
    def batch(self) -> int:
        """Number of mappings."""
        return 1 if isinstance(self.loops, MappingLoops) else self.loops.batch

    @cached_property
    def nesting(self) -> Nesting:
        """The loops as arrays."""
        return self.loops.arrays() if isinstance(self.loops, MappingLoops) else self.loops

    def tile(self, context: SparseContext, level: int, s: int) -> Vector | Ints:
        """`(rank, batch)` extents of a data space's tile at a level."""
        if (level, s) not in self._tiles:
            mold = self.loops.molds[self.loops.layout.stop(level)]
            self._tiles[level, s] = context.spaces[s].extents(mold)
        return self._tiles[level, s]

    def leader(self, context: SparseContext, nest: Nest, source: int, target: int, leader: int) -> tuple[Vector | Ints, Number]:
        """The leader's tile for a follower that `source` sends, and where nothing is saved; see `leader_tile`.

        Returns:
            `(rank, batch)` extents, `(rank, candidate, batch)` where candidates' vectors differ in length; likewise the mask.
        """
        given = context.compiled.levels[source].packing[target].row_words
        if not isinstance(given, np.ndarray):
            return self._leader(context, nest, source, target, leader, int(given))
        blocks, inverse = np.unique(given, return_inverse=True)
        found = [self._leader(context, nest, source, target, leader, int(block)) for block in blocks]
        which = inverse.reshape(-1)
        return np.stack([tile for tile, _ in found], axis=1)[:, which], np.stack([nothing for _, nothing in found])[which]

    def _leader(
        self, context: SparseContext, nest: Nest, source: int, target: int, leader: int, block: int
    ) -> tuple[Vector | Ints, Number]:
        key = (source, target, leader, block)
        if key not in self._leaders:
            space, leading, loops = context.spaces[target], context.spaces[leader], self.loops
            if (source, target) not in self._followers:
                child = nest.tiles[source][target].child
                start = 0 if child is None else loops.layout.stop(child)
                where = (start, loops.layout.stop(source), child is None)
                found = one_follower(space, loops, *where) if isinstance(loops, MappingLoops) else follower(space, loops, *where)
                self._followers[source, target] = found
            known = self._followers[source, target]
            if isinstance(loops, MappingLoops):
                assert isinstance(known, OneFollower)
                self._leaders[key] = one_leader_tile(known, space, leading, loops, block)
            else:
                assert isinstance(known, Follower)
                self._leaders[key] = leader_tile(known, space, leading, loops, block)
        return self._leaders[key]


def sparse_nest(context: SparseContext, nest: Nest, loops: Nesting | MappingLoops) -> SparseNest:
    """Lines formats up with loops.

    Args:
        context: from `prepare`.
        nest: the analysed nest, of one mapping or of a batch that shares what is kept where.
        loops: its complete loops.

    Raises:
        InfeasibleMappingError: one mapping, whose formats do not line up with its loops.
    """
    single = isinstance(loops, MappingLoops)
    refusals = Refusals(single, 1 if isinstance(loops, MappingLoops) else loops.batch)
    trees: dict[tuple[int, int], Trees] = {}
    for s, space in enumerate(context.spaces):
        kept = [level for level, row in enumerate(nest.tiles) if row[s].kept]
        forms = {level: context.formats[level][s] for level in kept}
        _check_changes(context, space, kept, forms, refusals)
        if any(forms.values()):
            found = _trees(context, nest, loops, s, kept, forms, refusals)
            trees |= {(level, s): tree for level, tree in found.items()}
    return SparseNest(loops, trees, refusals.mask)


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
    context: SparseContext, nest: Nest, loops: Nesting | MappingLoops, s: int, kept: list[int], forms: dict[int, Format | None],
    refusals: Refusals,
) -> dict[int, Trees]:  # fmt: skip
    space, layout = context.spaces[s], loops.layout
    trees: dict[int, Trees] = {}
    for level in reversed(kept):
        form, child = forms[level], nest.tiles[level][s].child
        if form is None:
            trees[level] = _plain(space, loops, layout.stop(level))
            continue
        start = 0 if child is None else layout.stop(child)
        stop = layout.stop(level)
        inherit: Number = False
        if child is not None and form.compressed:
            inherit = nest.tiles[child][s].size > 1
            if np.any(inherit) and not _aligned(form, forms[child]):
                names = [context.compiled.levels[i].name for i in (level, child)]
                refusals.add(
                    inherit, f"the ranks of {space.name} do not line up with those in {names[1]}: the innermost must be "
                    f"{names[1]}'s, and one for what that level cuts up further", names[0], space.name,
                )  # fmt: skip
                inherit = False
        below = trees[child] if child is not None and np.any(inherit) else None
        trees[level] = _formatted(space, form, loops, start, stop, below)
        if below is not None and not np.all(inherit):
            trees[level] = _merge(inherit, trees[level], _formatted(space, form, loops, start, stop, None))
        refusals.add(
            trees[level].unmapped, f"more compression ranks of {space.name} are needed than its format's {len(form.ranks)}",
            context.compiled.levels[level].name, space.name,
        )  # fmt: skip
    return trees


def _plain(space: Space, loops: Nesting | MappingLoops, stop: int) -> Trees:
    return one_plain_tree(space, loops, stop) if isinstance(loops, MappingLoops) else plain_tree(space, loops, stop)


def _formatted(
    space: Space, form: Format, loops: Nesting | MappingLoops, start: int, stop: int, child: Trees | None
) -> Trees:  # fmt: skip
    if isinstance(loops, MappingLoops):
        return one_format_trees(space, form.ranks, form.outer_to_inner, loops, start, stop, child)
    return format_trees(space, form.ranks, form.outer_to_inner, loops, start, stop, child)


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
