"""What every storage level and the compute level actually do: the record between the analyses and the cost.

Without sparsity `dense_activity` makes it straight from the nest; `hwloop.simulator.sparse` makes it from the nest, the
densities and the sparse optimisations. `hwloop.simulator.cost` turns it into capacity, energy and cycles. All numbers are
Python numbers for one mapping and arrays `(batch,)` for a batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hwloop.simulator.compiled import Compiled
from hwloop.simulator.nest import Nest
from hwloop.simulator.numeric import Number, floor, minimum, where


@dataclass(slots=True)
class MetadataTraffic:
    """Metadata accesses of one kind (read, fill or update) at one (level, data space), per instance.

    Attributes:
        bits: bits moved, over all ranks.
        vectors: accesses of `metadata_storage_width` bits.
        ranks: words by rank, outermost first: (metadata, payload).
    """

    bits: Number = 0
    vectors: Number = 0
    ranks: tuple[tuple[Number, Number], ...] = ()


@dataclass(slots=True)
class TileActivity:
    """One data space at one level, in words per instance; everything is 0 where the level does not keep it.

    Attributes:
        capacity: words the level must hold (the worst-case occupancy when compressed).
        metadata_capacity_bits: bits of metadata it must hold.
        instances: instances used on average.
        x_expansion: spread of the used instances along X.
        y_expansion: likewise along Y.
        even: whether every instance within that spread is always in use, as in a dense nest with perfect factors.
        reads: words read (the actual ones), and so on for fills and updates.
        gated_reads: words whose read was gated, and so on.
        skipped_reads: words whose read was skipped, and so on.
        temporal_reductions: words added to a value already here.
        vector_ratio: vector accesses relative to words / block size rounded up (compressed tiles fill vectors unevenly).
        metadata: (state, kind) -> traffic, with state `random`, `gated`, `skipped` and kind `read`, `fill`, `update`; absent
            where there is none.
        metadata_ranks: worst-case metadata occupancy by rank: (metadata, payload) words.
        decompressions: words decompressed.
        compressions: words compressed.
        density: expected density of the tile.
        waits: whether this is where results wait for their reader, in a width or with a density of their own: finished values
            are told from partial sums.
        finished: of `updates`, those that are finished values.
        finished_ratio: `vector_ratio` of these.
    """

    capacity: Number = 0
    metadata_capacity_bits: Number = 0
    instances: Number = 0
    x_expansion: Number = 1
    y_expansion: Number = 1
    even: bool = False
    reads: Number = 0
    fills: Number = 0
    updates: Number = 0
    gated_reads: Number = 0
    gated_fills: Number = 0
    gated_updates: Number = 0
    skipped_reads: Number = 0
    skipped_fills: Number = 0
    skipped_updates: Number = 0
    temporal_reductions: Number = 0
    vector_ratio: Number = 1.0
    metadata: dict[tuple[str, str], MetadataTraffic] = field(default_factory=dict)
    metadata_ranks: tuple[tuple[Number, Number], ...] = ()
    decompressions: Number = 0
    compressions: Number = 0
    density: Number = 1.0
    waits: bool = False
    finished: Number = 0
    finished_ratio: Number = 1.0


@dataclass(slots=True)
class ComputeActivity:
    """The compute level: operations over all units.

    Attributes:
        computes: operations done.
        gated: operations gated (they take a cycle).
        skipped: operations skipped (they take none).
        instances: units used on average.
        x_expansion: spread of the used units along X.
        y_expansion: likewise along Y.
    """

    computes: Number
    gated: Number
    skipped: Number
    instances: Number
    x_expansion: Number
    y_expansion: Number


@dataclass(slots=True)
class Activity:
    """All levels: `tiles[level][data space]`, and the compute level.

    Attributes:
        infeasible: for a batch, where the sparse analysis refuses a mapping; False when it refuses none.
    """

    tiles: list[list[TileActivity]]
    compute: ComputeActivity
    infeasible: Number = False


def dense_activity(compiled: Compiled, nest: Nest) -> Activity:
    """The activity without sparse optimisations: everything the nest asks for is done."""
    tiles = [
        [
            TileActivity(
                capacity=tile.size,
                instances=nest.instances[level],
                x_expansion=nest.x_expansion[level],
                y_expansion=nest.y_expansion[level],
                even=not nest.imperfect,
                reads=tile.reads,
                fills=tile.fills,
                updates=tile.updates,
                temporal_reductions=tile.temporal_reductions,
            )
            for tile in row
        ]
        for level, row in enumerate(nest.tiles)
    ]
    for level, row in enumerate(nest.tiles):
        for s in range(len(row)):
            if waits(compiled, nest, level, s):
                tiles[level][s].waits, tiles[level][s].finished = True, finished_updates(compiled, nest, level, s)
    compute = ComputeActivity(floor(nest.computes), 0, 0, nest.compute_instances, nest.compute_x, nest.compute_y)
    return Activity(tiles, compute)


def waits(compiled: Compiled, nest: Nest, level: int, s: int) -> bool:
    """Whether a result waits for its reader at this level with finished values in a width of their own."""
    tile = nest.tiles[level][s]
    return compiled.levels[level].waiting[s] is not None and tile.kept and tile.parent is None


def finished_updates(compiled: Compiled, nest: Nest, level: int, s: int) -> Number:
    """Updates of a result's outermost level that are the last of their word: one for each word the level is responsible for.

    None where several instances share words, as when they each add up a part of the sum: nothing is finished there.
    """
    tile = nest.tiles[level][s]
    words = minimum(tile.partition_size, tile.updates)
    if compiled.levels[level].instances == 1:
        return words
    whole: Number = 1
    for rank in compiled.spaces[s].ranks:
        whole = whole * (1 + sum(coefficient * (nest.bounds[0][d] - 1) for d, coefficient in rank))
    apart = tile.partition_size * nest.x_expansion[level] * nest.y_expansion[level] == whole
    return where(apart, words, 0)
