"""Results where they wait for their reader, on the real program, which knows one width a level and one density a data space.

There finished values have a width and a density of their own, and partial sums have others (`hwloop.spec.bits`,
`hwloop.spec.density`). Where only finished values arrive, a run at their width is the answer; their density would hold for the
whole of the program, so the level's part comes from a run with it and everything else from a run without. Where both arrive,
the program is run at each width: it counts the same accesses in both, and what they cost together lies between the two runs as
the rows that are moved do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from hwloop.backend.timeloop.split import SplitSystem, metadata_bits, row_share
from hwloop.errors import SimulatorError
from hwloop.simulator import DataSpaceCost, LayerCost
from hwloop.simulator.compiled import STORAGE_ACTIONS
from hwloop.simulator.formats import COMPRESSED
from hwloop.simulator.packing import Packing, pack
from hwloop.spec.bits import Bits, elsewhere, width_at
from hwloop.spec.builtin import builtin_access_pj
from hwloop.spec.energy_table import ComponentEnergy, EnergyTable
from hwloop.spec.levels import Architecture, Level
from hwloop.spec.mapping import Mapping as LoopMapping
from hwloop.spec.problem import Problem

_WRITES = ("fills", "gated_fills", "updates", "gated_updates")


@dataclass(frozen=True)
class Waiting:
    """A result where it waits, with finished values of their own width or density.

    Attributes:
        level: the outermost level that keeps it.
        space: the result.
        partial: widths with which all of its values there are partial sums.
        finished: widths with which all are finished values.
        coded: the layer with the density of finished values for the whole result; None where zeros are as good as any value.
        shared: product of the spatial loops farther out: instances among which the result lies, or which add up parts of it.
        words: values of the result, as the loops cover it.
    """

    level: Level
    space: str
    partial: Bits
    finished: Bits
    coded: Problem | None
    shared: int
    words: int

    def packings(self) -> tuple[Packing, Packing]:
        """How partial sums and finished values lie in the level's rows."""
        widths = (width_at(bits.get(self.space), self.level.name) for bits in (self.partial, self.finished))
        partial, finished = (pack(self.level, 1.0, w) for w in widths)
        return partial, finished

    def done(self, updates: int, partition: int) -> int:
        """Of so many updates of an instance that is responsible for `partition` words, those that are a word's last."""
        apart = self.level.instances == 1 or partition * self.shared == self.words
        return min(partition, updates) if apart else 0


def find_waiting(problem: Problem, architecture: Architecture, mapping: LoopMapping, bits: Bits) -> Waiting | None:
    """Where a layer's result waits under a mapping; None where finished values are as partial sums there.

    Args:
        problem: the layer.
        architecture: the accelerator.
        mapping: a mapping that says for every level what it keeps.
        bits: widths as in `hwloop.simulate`.
    """
    space = next(s for s in problem.shape.data_spaces if s.read_write)
    keeping = [b.target for b in mapping.bypass if space.name in b.keep]
    names = [level.name for level in architecture.storage]
    at = min((names.index(name) for name in keeping), default=None)
    if at is None:
        return None
    level, given, density = architecture.storage[at], bits.get(space.name), problem.density(space.name)
    formatted = any(r.data_space == space.name for r in level.sparse.representation)
    coded = density.level == level.name and formatted
    wide, narrow = elsewhere(given), width_at(given, level.name)
    if not coded and (level.word_bits if wide is None else wide) == (level.word_bits if narrow is None else narrow):
        return None
    covered = {d: prod(f[1] for loops in mapping.loops for f in loops.factors if f[0] == d) for d in problem.shape.dimensions}
    values = problem.coefficient_values
    words = prod(1 + sum((values[c] if c else 1) * (covered[d] - 1) for d, c in rank) for rank in space.projection)
    partial: dict[str, int | Mapping[str, int]] = dict(bits)
    if isinstance(given, Mapping):
        partial[space.name] = {**given, level.name: level.word_bits if wide is None else wide}
    outside = {loops.target for loops in mapping.loops if names.index(loops.target) < at}
    return Waiting(
        level,
        space.name,
        partial,
        bits,
        problem.with_densities({**dict(problem.densities), space.name: replace(density, level="")}) if coded else None,
        prod(f[1] for e in mapping.loops if e.kind == "spatial" and e.target in outside for f in e.factors),
        words,
    )


def refuse_coded_sums(waiting: Waiting) -> None:
    """Partial sums under a format that drops zeros, beside finished values of another width or density.

    Raises:
        SimulatorError: they are.
    """
    ranks = [r for form in waiting.level.sparse.representation if form.data_space == waiting.space for r in form.ranks]
    if waiting.coded is not None or any(rank.format in COMPRESSED for rank in ranks):
        raise SimulatorError(
            f"{waiting.level.name}: partial sums of {waiting.space} come by where finished values are held in a format; the real "
            "program has one width and one density for both. Let the embedded simulator cost this mapping, or keep partial sums "
            "farther in"
        )


def recompose(waiting: Waiting, sums: DataSpaceCost, values: DataSpaceCost, done: int, table: EnergyTable) -> DataSpaceCost:
    """A result where partial sums and finished values meet.

    Args:
        waiting: where.
        sums: what the program said with all of its values as wide as partial sums.
        values: what it said with all as wide as finished values.
        done: updates that are finished values.
        table: energies per row.

    Raises:
        SimulatorError: the two runs count different accesses.
    """
    kinds = [f"{prefix}{kind}s" for prefix in ("", "gated_", "skipped_") for kind in ("read", "fill", "update")]
    for name in ("tile_size", "instances", "temporal_reductions", *kinds):
        if getattr(sums, name) != getattr(values, name):
            raise SimulatorError(
                f"{waiting.level.name}: {name} of {waiting.space} differ between the runs at the widths of partial sums and of "
                f"finished values: {getattr(sums, name)} and {getattr(values, name)} (rows are gated or skipped as a whole). Let "
                "the embedded simulator cost this mapping"
            )
    prices = _row_prices(waiting.level, table.component(waiting.level.name))
    partial, finished = waiting.packings()
    done = min(done, sums.updates)
    last, whole = ("random", "update"), done == sums.updates
    others = {key: _words(sums, key) for key in STORAGE_ACTIONS if key != last}
    wide, narrow = (
        sum(prices[key] * packing.rows(_words(sums, key)) for key in STORAGE_ACTIONS) for packing in (partial, finished)
    )
    mixed = sum(
        prices[key] * (finished if whole and key[1] == "update" else partial).rows(words) for key, words in others.items()
    )
    mixed += prices[last] * partial.rows_with(sums.updates - done, done, finished)
    share = 1.0 if wide == narrow else (mixed - narrow) / (wide - narrow)
    energy = values.energy_pj + share * (sums.energy_pj - values.energy_pj)
    return replace(sums, energy_pj=energy, finished_updates=done)


def moved(waiting: Waiting, system: SplitSystem, part: str, space: DataSpaceCost, done: int) -> dict[str, float]:
    """What a result moves at the level where it waits, by kind of bandwidth, in the level's own words.

    Args:
        waiting: where.
        system: the split accelerator whose `part` keeps it.
        part: the split level.
        space: what the program counted.
        done: updates that are finished values.
    """
    partial, finished = waiting.packings()
    own = system.architecture.level(part)
    read_bits, write_bits = (metadata_bits(own, space, kinds) for kinds in (("read",), ("fill", "update")))
    done += space.gated_updates if done == space.updates else 0
    read = space.reads + space.gated_reads + read_bits // partial.bits
    written = sum(getattr(space, name) for name in _WRITES) + write_bits // partial.bits - done
    wide, narrow = (row_share(waiting.level, packing) for packing in (partial, finished))
    reads, writes = read * wide, written * wide + done * narrow
    return {"read_bandwidth": reads, "write_bandwidth": writes, "shared_bandwidth": reads + writes}


def with_space(cost: LayerCost, component: str, space: str, part: DataSpaceCost) -> LayerCost:
    """The cost with another cost of one data space at one level."""
    old = cost.components[component]
    more = part.energy_pj - old.dataspaces[space].energy_pj
    new = replace(old, energy_pj=old.energy_pj + more, dataspaces={**old.dataspaces, space: part})
    return replace(cost, energy_pj=cost.energy_pj + more, components={**cost.components, component: new})


def _row_prices(level: Level, component: ComponentEnergy) -> dict[tuple[str, str], float]:
    """Energy of an access of a row by (state, kind) [pJ]."""
    fixed = level.vector_access_pj
    if fixed is not None:
        return {key: fixed if key[0] == "random" else 0.0 for key in STORAGE_ACTIONS}
    known = component.as_storage(builtin_access_pj(level))
    return {key: known.energy_pj(*chain, default=0.0) for key, chain in STORAGE_ACTIONS.items()}


def _words(space: DataSpaceCost, key: tuple[str, str]) -> int:
    state, kind = key
    count: int = getattr(space, f"{kind}s" if state == "random" else f"{state}_{kind}s")
    return count
