"""What the sparse analysis needs of a problem on an accelerator, looked up once instead of per mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hwloop.errors import SpecError
from hwloop.simulator.compiled import Compiled, CompiledSpace
from hwloop.simulator.formats import COMPRESSED, Rank
from hwloop.simulator.sparse.distinct import Cache, Lookup
from hwloop.simulator.sparse.nesting import Layout
from hwloop.simulator.sparse.occupancy import Format
from hwloop.simulator.sparse.spaces import Space, density_model
from hwloop.spec.density import Density
from hwloop.spec.levels import Level
from hwloop.spec.sparsity import RankFormat, RepresentationFormat

GATE, SKIP = "gated", "skipped"


@dataclass(frozen=True)
class Option:
    """A follower (`target`) and its leaders, by index of the data space."""

    target: int
    leaders: tuple[int, ...]


@dataclass(frozen=True)
class Saving:
    """A choice of options at a level; the one that saves most is taken."""

    level: int
    kind: str
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Finished:
    """The finished values of a result.

    Attributes:
        level: where they wait.
        space: the data space with their density.
    """

    level: int
    space: Space


@dataclass(frozen=True)
class SparseContext:
    """A problem on an accelerator with sparse optimisations.

    Attributes:
        compiled: problem, accelerator and energies.
        spaces: the data spaces.
        finished: per data space, its finished values where they wait with a density of their own; None where they do not.
        layout: positions of the loops.
        formats: per level and data space, the format or None.
        savings: gating, then skipping, each from the innermost level outwards, as the real program goes through them.
        spatial_savings: spatial skipping.
        gate_compute: whether a compute with a zero operand is gated.
        skip_compute: whether one with an operand that is not there is skipped.
        metadata_word_bits: per level, the width of a metadata word unless a rank says otherwise [bits].
        decompresses: per level, whether it may hold uncompressed what the level above holds compressed.
        compresses: per level, whether it may send compressed what it holds uncompressed.
        lookup: what is known of tiles seen before; None to remember nothing.
    """

    compiled: Compiled
    spaces: tuple[Space, ...]
    finished: tuple[Finished | None, ...]
    layout: Layout
    formats: tuple[tuple[Format | None, ...], ...]
    savings: tuple[Saving, ...]
    spatial_savings: tuple[Saving, ...]
    gate_compute: bool
    skip_compute: bool
    metadata_word_bits: tuple[int, ...]
    decompresses: tuple[bool, ...]
    compresses: tuple[bool, ...]
    lookup: Lookup | None = field(default_factory=Lookup, compare=False)

    def remembered(self, *question: Any) -> Cache | None:
        """The cache of one kind of question, if anything is remembered."""
        return None if self.lookup is None else self.lookup.cache(*question)

    @property
    def any_format(self) -> bool:
        """Whether some data space has a format somewhere."""
        return any(form is not None for row in self.formats for form in row)

    @property
    def operands(self) -> tuple[int, ...]:
        """Indices of the data spaces that are read."""
        return tuple(i for i, space in enumerate(self.spaces) if not space.read_write)


def sparse_needed(compiled: Compiled) -> bool:
    """Whether any level has a sparse optimisation: densities alone change nothing."""
    return any(bool(level.sparse) for level in compiled.architecture.levels)


def prepare(compiled: Compiled) -> SparseContext:
    """Looks everything up.

    Raises:
        SpecError: an optimisation that names an unknown data space, or asks for what no such level can do.
    """
    problem, architecture = compiled.problem, compiled.architecture
    count = len(compiled.dimensions)
    spaces = tuple(_space(compiled, s, problem.bounds) for s in compiled.spaces)
    names = [space.name for space in spaces]
    if sum(not space.read_write for space in spaces) != 2:
        operands = [space.name for space in spaces if not space.read_write]
        raise SpecError("problem", "shape.data_spaces", "exactly two that are read, for the sparse analysis", operands)
    storage = architecture.storage
    formats = tuple(_formats(level, names, compiled) for level in storage)
    savings = [s for kind in ("gating", "skipping") for s in _savings(storage, kind, names)]
    compute = architecture.compute.sparse
    if compute.representation or compute.actions:
        raise SpecError(
            "architecture", f"{architecture.compute.name}.sparse_optimizations", "compute_optimization only", compute.to_dict()
        )
    for level in storage:
        if level.sparse.compute:
            raise SpecError(
                "architecture", f"{level.name}.sparse_optimizations", "no compute_optimization", level.sparse.compute,
                f"put it on the compute level {architecture.compute.name!r}",
            )  # fmt: skip
    return SparseContext(
        compiled=compiled,
        spaces=spaces,
        finished=tuple(_finished(compiled, formats, s, problem.bounds) for s in range(len(spaces))),
        layout=Layout.of(count, tuple(fan != (1, 1) for fan in architecture.fanout)),
        formats=formats,
        savings=tuple(savings),
        spatial_savings=tuple(_savings(storage, "skipping_spatial", names)),
        gate_compute="gating" in compute.compute,
        skip_compute="skipping" in compute.compute,
        metadata_word_bits=tuple(int(level.number("metadata_datawidth", 0)) for level in storage),
        decompresses=tuple(bool(level.values.get("decompression_supported", False)) for level in storage),
        compresses=tuple(bool(level.values.get("compression_supported", False)) for level in storage),
    )


def resized(context: SparseContext, bounds: tuple[int, ...]) -> SparseContext:
    """The context for a mapping whose imperfect factors cover more than the problem: its tensors are that much larger."""
    spaces = tuple(_space(context.compiled, s, bounds) for s in context.compiled.spaces)
    finished = tuple(_finished(context.compiled, context.formats, s, bounds) for s in range(len(spaces)))
    return replace(context, spaces=spaces, finished=finished, lookup=Lookup())


def with_densities(
    context: SparseContext, compiled: Compiled, densities: Mapping[str, Sequence[Density]], bounds: tuple[int, ...]
) -> SparseContext:
    """The context of many candidates for one layer.

    Args:
        context: of the layer.
        compiled: with what the candidates pay.
        densities: by data space, each candidate's; those of one data space all at the same level, or all at none.
        bounds: of the dimensions, as a mapping's factors cover them.
    """
    spaces = tuple(_space(compiled, s, bounds, densities.get(s.name)) for s in compiled.spaces)
    finished = tuple(
        _finished(compiled, context.formats, s, bounds, densities.get(space.name)) for s, space in enumerate(compiled.spaces)
    )
    return replace(context, compiled=compiled, spaces=spaces, finished=finished, lookup=None)


def _finished(
    compiled: Compiled, formats: tuple[tuple[Format | None, ...], ...], s: int, bounds: tuple[int, ...],
    densities: Sequence[Density] | None = None,
) -> Finished | None:  # fmt: skip
    """A result's finished values; without a format where they wait, zeros are as good as any value."""
    space = compiled.spaces[s]
    given = [compiled.problem.density(space.name)] if densities is None else densities
    if not given[0].level:
        return None
    level = compiled.level_index[given[0].level]
    if formats[level][s] is None:
        return None
    return Finished(level, _space(compiled, space, bounds, [replace(density, level="") for density in given]))


def _space(
    compiled: Compiled, space: CompiledSpace, bounds: tuple[int, ...], densities: Sequence[Density] | None = None
) -> Space:
    extents = tuple(1 + sum(c * (bounds[d] - 1) for d, c in rank) for rank in space.ranks)
    relevant = np.array([d in space.dimensions for d in range(len(bounds))])
    given = [compiled.problem.density(space.name)] if densities is None else densities
    known: dict[Density, int] = {}
    which = [known.setdefault(Density() if density.level else density, len(known)) for density in given]
    models = tuple(density_model(density, space.name, extents) for density in known)
    index = 0 if len(models) == 1 else np.array(which)[:, None]
    return Space(space.name, space.ranks, relevant, space.read_write, models, index)


def _index(level: Level, field_name: str, data_space: str, names: list[str]) -> int:
    if data_space not in names:
        where = f"{level.name}.sparse_optimizations.{field_name}"
        raise SpecError("architecture", where, f"a data space among {names}", data_space)
    return names.index(data_space)


def _savings(storage: tuple[Level, ...], kind: str, names: list[str]) -> list[Saving]:
    out = []
    for index in range(len(storage) - 1, -1, -1):
        level = storage[index]
        for action in level.sparse.actions:
            if action.kind != kind:
                continue
            options = tuple(
                Option(
                    _index(level, "action_optimization.target", option.target, names),
                    tuple(_index(level, "action_optimization.condition_on", leader, names) for leader in option.condition_on),
                )
                for option in action.options
            )
            if kind == "skipping_spatial" and len(options) != 1:
                where = f"{level.name}.sparse_optimizations.action_optimization"
                raise SpecError("architecture", where, "one option for skipping_spatial", len(options))
            out.append(Saving(index, GATE if kind == "gating" else SKIP, options))
    return out


def _formats(level: Level, names: list[str], compiled: Compiled) -> tuple[Format | None, ...]:
    out: list[Format | None] = [None] * len(names)
    if level.sparse.representation and level.entries is not None and level.values.get("allow_overbooking"):
        where = f"{level.name}.attributes.allow_overbooking"
        raise SpecError("architecture", where, "false at a level with a format", True, "tiles are held at their fullest here")
    for written in level.sparse.representation:
        space = _index(level, "representation_format", written.data_space, names)
        out[space] = _format(level, written, compiled)
    return tuple(out)


def _format(level: Level, written: RepresentationFormat, compiled: Compiled) -> Format:
    ranks = tuple(
        Rank(
            rank.format,
            *rank_bits(level, rank),
            groups=tuple(
                frozenset(compiled.dimension_index[d] for d in group if d in compiled.dimension_index)
                for group in rank.flattened_rank_ids
            ),
        )
        for rank in reversed(written.ranks)
    )
    plain = False
    for rank in ranks:
        if plain and rank.kind in COMPRESSED:
            where = f"{level.name}.sparse_optimizations.representation_format.{written.data_space}"
            raise SpecError("architecture", where, "compressed ranks (CP, B, RLE) below uncompressed ones (UOP, UB)", rank.kind)
        plain = plain or rank.kind not in COMPRESSED
    return Format(ranks, outer_to_inner=written.rank_application_order != "inner_to_outer")


def rank_bits(level: Level, rank: RankFormat) -> tuple[int, int]:
    """Bits of a metadata word and of a payload word of a rank at a level."""
    metadata = _word_bits(level, rank, rank.metadata_word_bits, default=1 if rank.format == "B" else None)
    return metadata, _word_bits(level, rank, rank.payload_word_bits, default=None)


def _word_bits(level: Level, rank: RankFormat, bits: int | None, default: int | None) -> int:
    """Bits of a metadata or payload word: made to divide the row of the metadata storage, as the real program does."""
    row = int(level.number("metadata_storage_width", 0))
    wanted = default if bits is None or rank.format == "UB" else bits
    if wanted is None:
        adjusted = int(level.number("metadata_datawidth", 0))
    elif wanted != 0 and row % wanted:
        adjusted = next((b for b in range(wanted, 2 * wanted) if row % b == 0), 2 * wanted)
    else:
        adjusted = wanted
    if adjusted > row:
        where = f"{level.name}.attributes.metadata_storage_width"
        raise SpecError("architecture", where, f"at least the {adjusted} bits of a {rank.format} metadata or payload word", row)
    return adjusted
