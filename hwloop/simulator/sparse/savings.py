"""Gating and skipping: with what chance each level saves the accesses to each data space (MICRO 2022 section 5.3.4)."""

from __future__ import annotations

from dataclasses import dataclass

from hwloop.simulator.nest import Nest
from hwloop.simulator.numeric import Number, where
from hwloop.simulator.sparse.context import GATE, Option, SparseContext
from hwloop.simulator.sparse.distinct import by_distinct
from hwloop.simulator.sparse.holdings import Held
from hwloop.simulator.sparse.refusals import Refusals
from hwloop.simulator.sparse.shape import SparseNest


@dataclass(slots=True)
class Saved:
    """Accesses saved at one (level, data space): with this probability, by gating or else by skipping."""

    probability: Number
    gated: Number


def savings(
    context: SparseContext, nest: Nest, shape: SparseNest, held: list[list[Held]], refusals: Refusals
) -> dict[tuple[int, int], Saved]:
    """(level, data space) -> what is saved there.

    An optimisation at a level that does not keep its target acts on the next level outward that does. Where two act on the same
    tile the more effective one stands.
    """
    out: dict[tuple[int, int], Saved] = {}
    for saving in context.savings:
        found: list[tuple[int, int, Number, Number]] = []
        for option in saving.options:
            source = next((m for m in range(saving.level, -1, -1) if nest.tiles[m][option.target].kept), None)
            if source is None:
                space = context.spaces[option.target].name
                name = context.compiled.levels[saving.level].name
                refusals.all(f"{space} is gated or skipped here, but neither this level nor one above it keeps it", name, space)
                break
            chance = _probability(context, nest, shape, option, source)
            benefit = _benefit(context, nest, held, option.target, source, chance) if len(saving.options) > 1 else 0.0
            found.append((source, option.target, chance, benefit))
        else:
            _record(out, found, saving.kind == GATE)
    return out


def _record(out: dict[tuple[int, int], Saved], found: list[tuple[int, int, Number, Number]], gated: bool) -> None:
    """Takes the option that saves most (the last of equals), for each mapping on its own."""
    best: Number = 0
    chosen: Number = 0
    for i, (_, _, _, benefit) in enumerate(found):
        better = benefit >= best
        best, chosen = where(better, benefit, best), where(better, i, chosen)
    for i, (level, target, chance, _) in enumerate(found):
        mine = chosen == i
        if mine is False:
            continue
        old = out.get((level, target))
        # -1 marks mappings for which nothing is saved here (another option is taken).
        if old is None:
            old = Saved(where(mine, -1.0, -1.0), where(mine, False, False))
        stronger = mine & (old.probability < chance) if mine is not True else old.probability < chance
        out[level, target] = Saved(where(stronger, chance, old.probability), where(stronger, gated, old.gated))


def _probability(context: SparseContext, nest: Nest, shape: SparseNest, option: Option, source: int) -> Number:
    """Chance that an access to the target is saved: that some leader's tile is empty."""
    needed: Number = 1.0
    for index in option.leaders:
        leader = context.spaces[index]
        extents, nothing = shape.leader(context, nest, source, option.target, index)
        columns = [leader.model_column, *leader.keys(extents)]
        (empty,) = by_distinct(columns, context.remembered("empty", index), leader.empty, shape.single)
        needed = where(nothing, needed, needed * (1.0 - empty))
    return 1.0 - needed


def _benefit(context: SparseContext, nest: Nest, held: list[list[Held]], target: int, source: int, chance: Number) -> Number:
    """What an option saves, for comparison: energy of a tile's values and metadata, times the chance."""
    level = context.compiled.levels[source]
    child = nest.tiles[source][target].child
    sent = held[source if child is None else child][target]
    metadata: Number = 0.0
    for words, payloads in sent.words:
        metadata = metadata + words + payloads
    data_words = context.metadata_word_bits[source] // level.packing[target].bits  # whole ones, as the real program has it
    occupancy = held[source][target].occupancy + metadata * data_words
    return level.energy_pj["random", "read"] / level.packing[target].row_words * occupancy * chance
