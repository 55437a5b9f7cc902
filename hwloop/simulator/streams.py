"""Data that a storage level sends or takes outside of any layer: what element-wise work and pooling read and write.

A stream is read or written once from end to end. Its zeros are left out where the level's format leaves them out, as one fiber
from end to end would have it; the arithmetic of element-wise work is not priced, nor does anything leak meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from hwloop.simulator.compiled import CompiledLevel
from hwloop.simulator.formats import rank_words
from hwloop.simulator.packing import Packing, pack
from hwloop.simulator.pricing import compile_simulation
from hwloop.simulator.sparse import prepare, sparse_needed
from hwloop.simulator.sparse.occupancy import Format
from hwloop.spec.architecture import Architecture
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.problem import conv2d_shape, make_problem


@dataclass(frozen=True)
class Stream:
    """Values that are read from a level or written to it, each once.

    Attributes:
        level: the level's name.
        values: how many.
        bits: of a value; None for the level's `datawidth`.
        density: fraction of them that are not zero, 0-1.
        written: whether they are written.
    """

    level: str
    values: int
    bits: int | None = None
    density: float = 1.0
    written: bool = False


@dataclass(frozen=True)
class StreamCost:
    """What streams cost that run at the same time.

    Attributes:
        energy_pj: by level [pJ].
        cycles: until the last has passed, with nothing else on the way.
    """

    energy_pj: dict[str, float]
    cycles: int


@dataclass(frozen=True)
class StreamAccesses:
    """What a stream reads or writes at its level.

    Attributes:
        values: that are moved, without zeros that a format leaves out.
        packing: how they lie in rows.
        rows: that are accessed.
        row_pj: energy of one [pJ].
        metadata_bits: that come with them.
        metadata_rows: accesses of the metadata storage.
        metadata_pj: energy of one [pJ].
    """

    values: int
    packing: Packing
    rows: int
    row_pj: float
    metadata_bits: int
    metadata_rows: int
    metadata_pj: float


class Streams:
    """Streams on an accelerator.

    Args:
        architecture: the accelerator.
        energy_table: energies [pJ] per vector access.

    Raises:
        EnergyTableError: a component or action that the table lacks.
    """

    def __init__(self, architecture: Architecture, energy_table: EnergyTable) -> None:
        shape = conv2d_shape()
        compiled = compile_simulation(make_problem(shape, {}), architecture, energy_table)
        self._levels = {level.name: level for level in compiled.levels if not level.spatial}
        self._names = [space.name for space in shape.data_spaces]
        formats: Sequence[Sequence[Format | None]] = [[None] * len(self._names)] * len(compiled.levels)
        if sparse_needed(compiled):
            formats = prepare(compiled).formats
        named = [dict(zip(self._names, row, strict=True)) for row in formats]
        self._formats = {level.name: row for level, row in zip(compiled.levels, named, strict=True)}

    def cost(self, streams: Sequence[Stream]) -> StreamCost:
        """What streams cost that run at the same time.

        Raises:
            KeyError: a level that the accelerator does not have.
        """
        energy: dict[str, float] = {}
        moved: dict[str, list[float]] = {}
        for stream in streams:
            level = self._levels[stream.level]
            pj, words = self._one(level, stream)
            energy[level.name] = energy.get(level.name, 0.0) + pj
            moved.setdefault(level.name, [0.0, 0.0])[stream.written] += words
        cycles = 0
        for name, (read, written) in moved.items():
            level = self._levels[name]
            for have, words in (
                (level.read_bandwidth, read), (level.write_bandwidth, written), (level.shared_bandwidth, read + written),
            ):  # fmt: skip
                if have is not None:
                    cycles = max(cycles, ceil(words / have))
        return StreamCost(energy, cycles)

    def _one(self, level: CompiledLevel, stream: Stream) -> tuple[float, float]:
        """Energy [pJ], and words of the level's bandwidth."""
        found = self.accesses(stream)
        energy = found.rows * found.row_pj
        if found.metadata_rows:
            energy += found.metadata_rows * found.metadata_pj
        return energy, found.values * found.packing.bandwidth_scale + found.metadata_bits / level.word_bits

    def accesses(self, stream: Stream) -> StreamAccesses:
        """What one stream reads or writes.

        Raises:
            KeyError: a level that the accelerator does not have.
        """
        level = self._levels[stream.level]
        space = "Outputs" if stream.written else "Inputs"
        packing = pack(level, level.packing[self._names.index(space)].bandwidth_scale, stream.bits)
        form = self._formats[level.name][space]
        kind = ("random", "update" if stream.written else "read")
        values, bits = stream.values, 0
        if form is not None:
            bits = _metadata_bits(form, values, stream.density)
            values = ceil(values * stream.density) if form.compressed else values
        metadata_rows = -(-bits // level.metadata_width) if bits else 0
        each, metadata = float(level.energy_pj[kind]), float(level.metadata_pj[kind])
        return StreamAccesses(values, packing, int(packing.rows(values)), each, bits, metadata_rows, metadata)


def _metadata_bits(form: Format, values: int, density: float) -> int:
    """Metadata of one fiber of values: the innermost rank's, and one entry of each rank around it."""
    out = 0.0
    for rank in form.ranks:  # innermost first
        size = values if rank is form.ranks[0] else 1
        empty = np.array(1.0 - density) if rank is form.ranks[0] else np.array(0.0)
        metadata, payloads = rank_words(rank.kind, 1, size, np.array(0.0), empty)
        out += float(metadata) * rank.metadata_bits + (0.0 if rank is form.ranks[0] else float(payloads) * rank.payload_bits)
    return ceil(out)
