"""The sparse analysis of one mapping or of a batch: from the dense nest to what is actually done (Sparseloop, MICRO 2022)."""

from __future__ import annotations

from typing import Any

from hwloop.simulator.activity import Activity, ComputeActivity, MetadataTraffic, TileActivity, finished_updates, waits
from hwloop.simulator.nest import Nest
from hwloop.simulator.numeric import Number, ceil, ceil_div, where
from hwloop.simulator.sparse.computes import computes
from hwloop.simulator.sparse.context import SparseContext, resized
from hwloop.simulator.sparse.holdings import Held, hold
from hwloop.simulator.sparse.nesting import nesting_of_batch
from hwloop.simulator.sparse.occupancy import Format
from hwloop.simulator.sparse.one_mapping import MappingLoops, loops_of_mapping
from hwloop.simulator.sparse.refusals import Refusals
from hwloop.simulator.sparse.savings import savings
from hwloop.simulator.sparse.shape import SparseNest, sparse_nest
from hwloop.simulator.sparse.spatial import spatial_skipping
from hwloop.simulator.sparse.traffic import Traffic, Words, traffic
from hwloop.spec.mapping import Mapping


def nest_of_mapping(context: SparseContext, nest: Nest, mapping: Mapping) -> tuple[SparseContext, SparseNest]:
    """The stage before the densities, for one mapping; with imperfect factors its tensors are larger than the problem's.

    Raises:
        InfeasibleMappingError: formats that do not line up with the mapping's loops.
    """
    loops = _loops(context, mapping)
    if nest.imperfect:
        context = resized(context, loops.molds[-1])
    return context, sparse_nest(context, nest, loops)


def shape_of_mapping(context: SparseContext, nest: Nest, mapping: Mapping) -> tuple[SparseNest, tuple[int, ...]]:
    """The stage before the densities of a mapping whose nest is `widened`, and what its factors cover of each dimension."""
    loops = _loops(context, mapping)
    return sparse_nest(context, nest, loops.arrays()), loops.molds[-1]


def _loops(context: SparseContext, mapping: Mapping) -> MappingLoops:
    compiled = context.compiled
    names = tuple([level.name for level in compiled.levels])
    return loops_of_mapping(context.layout, mapping, names, compiled.dimensions, compiled.bounds)


def nest_of_batch(context: SparseContext, nest: Nest) -> SparseNest:
    """The stage before the densities, for a batch that shares what is kept where."""
    return sparse_nest(context, nest, nesting_of_batch(context.layout, nest))


def sparse_activity(context: SparseContext, nest: Nest, shape: SparseNest) -> Activity:
    """What every level and the compute units do.

    Args:
        context: from `prepare`.
        nest: the analysed nest, of one mapping or of a batch that shares what is kept where.
        shape: from `nest_of_mapping` or `nest_of_batch`.

    Raises:
        InfeasibleMappingError: one mapping that the accelerator's optimisations cannot run. For a batch those are in
            `Activity.infeasible`.
    """
    refusals = Refusals(shape.single, shape.batch)
    refusals.mask = shape.refused
    held = hold(context, nest, shape, refusals)
    saved = savings(context, nest, shape, held, refusals)
    spread = spatial_skipping(context, nest, shape, held, saved, refusals)
    done, left, operands = traffic(context, nest, held, saved, spread.saved)
    work = computes(context, nest, left, operands, refusals)
    tiles = [
        [
            _tile(context, nest, level, s, held[level][s], done[level][s], spread.tiles[level][s])
            for s in range(len(context.spaces))
        ]
        for level in range(len(nest.tiles))
    ]
    _count_changes(context, nest, tiles)
    instances, x, y = spread.compute
    compute = ComputeActivity(work.done, work.gated, work.skipped, instances, x, y)
    return Activity(tiles, compute, infeasible=False if refusals.single else refusals.mask)


def _tile(
    context: SparseContext, nest: Nest, level: int, s: int, held: Held, done: Traffic, spread: tuple[Number, Number, Number]
) -> TileActivity:
    instances, x, y = spread
    if not nest.tiles[level][s].kept:
        return TileActivity(instances=instances, x_expansion=x, y_expansion=y)
    metadata: dict[tuple[str, str], MetadataTraffic] = {}
    if held.form is not None:
        width = context.compiled.levels[level].metadata_width
        for kind in ("read", "fill", "update"):
            metadata["random", kind] = _metadata(held.form, done.metadata[kind], width)
        for key, words in done.saved_metadata.items():
            metadata[key] = _metadata(held.form, words, width)
    capacity, bits, density = held.capacity, held.capacity_bits, held.density
    ready = held if held.finished is None else held.finished
    if held.finished is not None:
        whole = finished_updates(context.compiled, nest, level, s) == nest.tiles[level][s].updates  # no partial sum comes by
        capacity, bits = where(whole, ready.capacity, capacity), where(whole, ready.capacity_bits, bits)
        density = ready.density
    return TileActivity(
        capacity=capacity,
        metadata_capacity_bits=bits,
        instances=instances,
        x_expansion=x,
        y_expansion=y,
        reads=done.reads,
        fills=done.fills,
        updates=done.updates,
        gated_reads=done.gated_reads,
        gated_updates=done.gated_updates,
        skipped_reads=done.skipped_reads,
        skipped_updates=done.skipped_updates,
        temporal_reductions=done.temporal_reductions,
        vector_ratio=held.vector_ratio,
        metadata=metadata,
        metadata_ranks=tuple((ceil(words), ceil(payloads)) for words, payloads in reversed(held.largest)),
        density=density,
        waits=held.finished is not None or waits(context.compiled, nest, level, s),
        finished=done.finished,
        finished_ratio=ready.vector_ratio,
    )


def _metadata(form: Format, words: Words, width: int) -> MetadataTraffic:
    if width == 0:
        return MetadataTraffic(ranks=tuple((rank[0], rank[1]) for rank in reversed(words)))
    bits: Any = 0
    for rank, (count, payloads) in zip(form.ranks, words, strict=True):
        bits = bits + count * rank.metadata_bits + payloads * rank.payload_bits
    return MetadataTraffic(bits, ceil_div(bits, width), tuple((rank[0], rank[1]) for rank in reversed(words)))


def _count_changes(context: SparseContext, nest: Nest, tiles: list[list[TileActivity]]) -> None:
    """Decompressions of what arrives compressed at a level that holds it uncompressed, and compressions of what it sends back."""
    for level, row in enumerate(nest.tiles):
        for s, tile in enumerate(row):
            form = context.formats[level][s]
            if not tile.kept or tile.parent is None or (form is not None and form.compressed):
                continue
            above = context.formats[tile.parent][s]
            if above is None or not above.compressed:
                continue
            tiles[level][s].decompressions = tiles[level][s].fills
            if context.spaces[s].read_write:
                tiles[level][s].compressions = tiles[tile.parent][s].updates
