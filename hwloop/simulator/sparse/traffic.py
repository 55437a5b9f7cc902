"""What remains of the algorithmic accesses: after compression, after gating and skipping here and further out.

MICRO 2022 section 5.4: accesses are first cut to what the format keeps, then each level's optimisations take their share, and
what an outer level has saved never reaches the inner ones. Counts are whole numbers; a share that is saved is rounded down (up
for results that are read), as the real program does it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hwloop.simulator.activity import finished_updates, waits
from hwloop.simulator.nest import Nest, Tile
from hwloop.simulator.numeric import Number, ceil, floor, maximum, minimum, where
from hwloop.simulator.sparse.context import SparseContext
from hwloop.simulator.sparse.holdings import Held
from hwloop.simulator.sparse.savings import Saved

Words = list[list[Number]]  # [rank][metadata, payload], innermost rank first


@dataclass(slots=True)
class Traffic:
    """Accesses of one data space at one level, in words per instance.

    Attributes:
        reads, fills, updates: those still to be made.
        gated_reads, gated_updates, skipped_reads, skipped_updates: those saved here.
        metadata: words still to be moved, by kind (`read`, `fill`, `update`).
        saved_metadata: words saved here, by (`gated` or `skipped`, kind).
        temporal_reductions: words still to be added to a value already here.
        finished: of `updates`, those that are finished values, where results wait for their reader.
    """

    reads: Number
    fills: Number
    updates: Number
    metadata: dict[str, Words]
    temporal_reductions: Number = 0
    gated_reads: Number = 0
    gated_updates: Number = 0
    skipped_reads: Number = 0
    skipped_updates: Number = 0
    saved_metadata: dict[tuple[str, str], Words] = field(default_factory=dict)
    finished: Number = 0


def traffic(
    context: SparseContext, nest: Nest, held: list[list[Held]], saved: dict[tuple[int, int], Saved],
    spatial: dict[tuple[int, int], Number],
) -> tuple[list[list[Traffic]], Number, dict[int, Number]]:  # fmt: skip
    """Accesses of every level and data space, computes still to be made, and by what chance each operand's last level saves.

    Args:
        context: problem and accelerator.
        nest: algorithmic counts.
        held: occupancy and metadata.
        saved: gating and skipping.
        spatial: (level, data space) -> share of the instances below it that spatial skipping leaves out.
    """
    out = [[_compressed(context, nest, level, s, held[level][s]) for s in range(len(context.spaces))]
           for level in range(len(nest.tiles))]  # fmt: skip
    computes: Number = floor(nest.computes)
    operands: dict[int, Number] = {}
    for s, space in enumerate(context.spaces):
        tiles = [row[s] for row in nest.tiles]
        column = [row[s] for row in out]
        saving = sorted({level for level, t in [*saved, *spatial] if t == s})
        outer: Number = -1.0  # share that the nearest outer optimisation saves, -1 where there is none
        single: Number = False  # whether that level's metadata has one rank
        for level, inner in zip(saving, [*saving[1:], len(column) - 1], strict=False):
            share = saved[level, s].probability if (level, s) in saved else spatial[level, s]
            active = share >= 0
            if (level, s) in saved:
                rest = where(outer < 1.0, 1.0 - maximum(outer, 0.0), 1.0)
                own = where(outer < 0, share, 1.0 - (1.0 - share) / rest)
                below_another = active & (outer >= 0)
                here = column[level].metadata  # below another optimisation the real program counts updates for reads
                here["read"] = [
                    [where(below_another, u, r) for r, u in zip(reads, updates, strict=True)]
                    for reads, updates in zip(here["read"], here["update"], strict=True)
                ]
                _save(
                    column[level], tiles[level], held, level, s, where(active, own, 0.0), saved[level, s].gated, space.read_write
                )
            outer = where(active, share, outer)
            single = where(active, len(held[level][s].words) == 1, single)
            for m in range(level + 1, inner + 1):
                if tiles[m].kept:
                    _reduce(column[m], maximum(outer, 0.0), single)
        if saving and not space.read_write:
            computes = computes - floor(computes * maximum(outer, 0.0))
            operands[s] = outer
        for level, tile in enumerate(tiles):
            if space.read_write and tile.kept:
                column[level].temporal_reductions = _reductions(tile, column[level].updates)
                column[level].finished = minimum(column[level].finished, column[level].updates)
    return out, computes, operands


def _compressed(context: SparseContext, nest: Nest, level: int, s: int, held: Held) -> Traffic:
    """Accesses after the format has dropped the zeros."""
    tile, read_write = nest.tiles[level][s], context.spaces[s].read_write
    if not tile.kept:
        return Traffic(0, 0, 0, {"read": [], "fill": [], "update": []})
    reads, fills, updates, finished = tile.reads, tile.fills, tile.updates, 0
    ready = held if held.finished is None else held.finished
    whole: Number = 0
    if held.finished is not None or waits(context.compiled, nest, level, s):
        finished = whole = finished_updates(context.compiled, nest, level, s)
        updates = updates if held.finished is None else updates - finished  # partial sums
    metadata: dict[str, Words] = {"read": [], "fill": [], "update": []}
    if held.form is not None:
        for kind, accesses in (("read", reads), ("fill", fills), ("update", updates)):
            metadata[kind] = _format_words(held, accesses, tile)
        zeros = 1.0 - held.density
        reads, fills = reads - floor(reads * zeros), fills - floor(fills * zeros)
        if read_write:
            updates = updates - floor(updates * zeros)
        finished = finished - floor(finished * (1.0 - ready.density))
    if held.finished is not None:
        more = _format_words(ready, whole, tile)
        metadata["update"] = [[a + b for a, b in zip(*pair, strict=True)] for pair in zip(metadata["update"], more, strict=True)]
        updates = updates + finished
    return Traffic(reads, fills, updates, metadata, tile.temporal_reductions, finished=finished)


def _format_words(held: Held, accesses: Number, tile: Tile) -> Words:
    """Metadata and payload words by rank that go with so many accesses."""
    if isinstance(accesses, int) and accesses == 0:  # of a whole batch too: the updates of what is only read
        return [[0, 0] for _ in held.words]
    ratio = accesses / tile.size
    return [[ceil(words * ratio), ceil(payloads * ratio)] for words, payloads in held.words]


def _reduce(here: Traffic, share: Number, scale_format: Number) -> None:
    """Takes away what an outer level has saved. Of the metadata only a single rank of that level's is ever reduced."""
    here.fills = here.fills - floor(here.fills * share)
    here.reads = here.reads - floor(here.reads * share)
    here.updates = here.updates - floor(here.updates * share)
    share = where(scale_format, share, 0.0)
    for kind in ("fill", "read"):
        for rank in here.metadata[kind][:1]:
            rank[:] = [words - floor(words * share) for words in rank]


def _save(
    here: Traffic, tile: Tile, held: list[list[Held]], level: int, s: int, share: Number, gated: Number, read_write: bool
) -> None:
    """Takes away what this level saves, and notes it as gated or skipped.

    Where an inner level saves less than an outer one already has, the saved count is negative (see `unsigned`).
    """
    reads = ceil(here.reads * share) if read_write else floor(here.reads * share)
    updates = floor(here.updates * share)
    here.reads, here.updates = here.reads - reads, here.updates - updates
    here.gated_reads, here.skipped_reads = where(gated, reads, 0), where(gated, 0, reads)
    here.gated_updates, here.skipped_updates = where(gated, updates, 0), where(gated, 0, updates)
    ranks = len(held[level if tile.child is None else tile.child][s].words)  # of the metadata that is sent down
    for kind in ("read", "update"):
        rest = here.metadata[kind]
        taken: Words = [[0, 0] for _ in rest]
        for r in range(min(ranks, len(rest))):
            taken[r] = [floor(words * share) for words in rest[r]]
            rest[r] = [words - less for words, less in zip(rest[r], taken[r], strict=True)]
        here.saved_metadata["gated", kind] = [[where(gated, x, 0) for x in rank] for rank in taken]
        here.saved_metadata["skipped", kind] = [[where(gated, 0, x) for x in rank] for rank in taken]


def _reductions(tile: Tile, updates: Number) -> Number:
    """Only updates that happen are added to something."""
    done = tile.temporal_reductions * updates
    return where(tile.updates == 0, 0, ceil(done / where(tile.updates == 0, 1, tile.updates)))
