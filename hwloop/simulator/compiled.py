"""What the simulator needs of a problem, an architecture and an energy table, looked up once instead of per mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hwloop.errors import EnergyTableError, SpecError
from hwloop.spec.architecture import Architecture, Level
from hwloop.spec.energy_table import ComponentEnergy, EnergyTable
from hwloop.spec.problem import Problem

# Fall-back chains of the actions of a storage level: (state, kind) -> names in the energy table, first found wins.
STORAGE_ACTIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("random", "read"): ("random_read", "read"),
    ("random", "fill"): ("random_fill", "random_write", "fill", "write"),
    ("random", "update"): ("random_update", "random_write", "update", "write"),
    ("gated", "read"): ("gated_read",),
    ("gated", "fill"): ("gated_fill", "gated_write"),
    ("gated", "update"): ("gated_update", "gated_write"),
    ("skipped", "read"): ("skipped_read", "gated_read"),
    ("skipped", "fill"): ("skipped_fill", "skipped_write", "gated_fill", "gated_write"),
    ("skipped", "update"): ("skipped_update", "skipped_write", "gated_update", "gated_write"),
}
METADATA_ACTIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("random", "read"): ("random_metadata_read", "metadata_read"),
    ("random", "fill"): ("random_metadata_fill", "random_metadata_write", "metadata_fill", "metadata_write"),
    ("random", "update"): ("random_metadata_update", "random_metadata_write", "metadata_update", "metadata_write"),
    ("gated", "read"): ("gated_metadata_read",),
    ("gated", "fill"): ("gated_metadata_fill", "gated_metadata_write"),
    ("gated", "update"): ("gated_metadata_update", "gated_metadata_write"),
    ("skipped", "read"): ("skipped_metadata_read", "gated_metadata_read"),
    ("skipped", "fill"): ("skipped_metadata_fill", "skipped_metadata_write", "gated_metadata_fill", "gated_metadata_write"),
    ("skipped", "update"): (
        "skipped_metadata_update", "skipped_metadata_write", "gated_metadata_update", "gated_metadata_write",
    ),
}  # fmt: skip
COMPUTE_ACTIONS: dict[str, tuple[str, ...]] = {
    "computes": ("mac_random", "mult_random", "mac", "mult", "compute"),
    "gated": ("mac_gated", "mult_gated", "compute_gated", "mac", "mult", "compute"),
    "skipped": (
        "mac_skipped", "mult_skipped", "compute_skipped", "mac_gated", "mult_gated", "compute_gated", "mac", "mult", "compute",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class CompiledSpace:
    """A data space by index.

    Attributes:
        name: its name.
        ranks: per rank the (dimension index, coefficient) terms.
        dimensions: indices of the dimensions that index it.
        read_write: True for the result.
        simple: no rank sums two dimensions, so that tiles never overlap.
    """

    name: str
    ranks: tuple[tuple[tuple[int, int], ...], ...]
    dimensions: frozenset[int]
    read_write: bool
    simple: bool


@dataclass(frozen=True)
class CompiledLevel:
    """A storage level as the cost model reads it. Bandwidths are words of `word_bits` per cycle and instance.

    Attributes:
        name: the level's name.
        spatial: whether it is a fan-out that stores nothing.
        word_bits: `datawidth` [bits].
        space_bits: per data space, the width of its words [bits]: its own, else `word_bits`.
        block_size: words of `word_bits` in one vector access.
        row_words: per data space, words in a row; 1 when a word is wider than a row.
        word_rows: per data space, rows a word takes; 1 unless it is wider than a row.
        bandwidth_scale: per data space, how many words of `word_bits` the transfer of one of its words takes.
        capacity: what one instance holds, None when unbounded: words of `word_bits`, or rows when `by_rows`.
        by_rows: whether capacity counts rows (some data space has its own width).
        metadata_capacity_bits: metadata one instance holds [bits], None when unbounded.
        min_capacity: least capacity that must be used.
        read_bandwidth: None when unlimited; likewise `write_bandwidth` and, for both together, `shared_bandwidth`.
        instances: how many there are; `mesh_x` x `mesh_y`.
        clusters: groups of instances that share one row and one energy per access.
        metadata_width: bits of one metadata access, 0 when there is no metadata storage.
        energy_pj: (state, kind) -> energy of a data access [pJ].
        metadata_pj: (state, kind) -> energy of a metadata access [pJ].
        decompression_pj: energy of one decompression [pJ].
        compression_pj: energy of one compression [pJ].
        leak_pj: leakage of an instance in a cycle [pJ].
        address_pj: energy of one address generation [pJ].
        power_gate: index of the level whose instances this one is power-gated with, its own unless the spec says.
    """

    name: str
    spatial: bool
    word_bits: int
    space_bits: tuple[int, ...]
    block_size: int
    row_words: tuple[int, ...]
    word_rows: tuple[int, ...]
    bandwidth_scale: tuple[float, ...]
    capacity: int | None
    by_rows: bool
    metadata_capacity_bits: int | None
    min_capacity: float
    read_bandwidth: float | None
    write_bandwidth: float | None
    shared_bandwidth: float | None
    instances: int
    mesh_x: int
    mesh_y: int
    clusters: int
    metadata_width: int
    energy_pj: dict[tuple[str, str], float]
    metadata_pj: dict[tuple[str, str], float]
    decompression_pj: float
    compression_pj: float
    leak_pj: float
    address_pj: float
    power_gate: int


@dataclass(frozen=True)
class Compiled:
    """A problem on an architecture with an energy table, ready to be asked about mappings."""

    problem: Problem
    architecture: Architecture
    dimensions: tuple[str, ...]
    dimension_index: dict[str, int]
    bounds: tuple[int, ...]
    spaces: tuple[CompiledSpace, ...]
    levels: tuple[CompiledLevel, ...]
    level_index: dict[str, int]
    fanout: tuple[tuple[int, int], ...]
    default_keep: tuple[tuple[bool, ...], ...]
    compute_name: str
    compute_instances: int
    compute_mesh: tuple[int, int]
    compute_pj: dict[str, float]
    network_latency: int


def compile_simulation(
    problem: Problem, architecture: Architecture, energy_table: EnergyTable, bits: Mapping[str, int] | None = None
) -> Compiled:
    """Looks everything up.

    Args:
        problem: the layer.
        architecture: the accelerator.
        energy_table: energies [pJ] per vector access; never rescaled.
        bits: width of the values of a data space [bits]; a data space not named has each level's `datawidth`. With bits up to
            the row's, a row holds floor(row / bits) words, otherwise a word takes ceil(bits / row) rows. Capacity counts rows,
            energy counts vector accesses (rows), bandwidth counts the share of a row that a word takes. That is what the real
            program does when the level is split into one level per data space (`!Parallel`) that share depth and bandwidth.

    Raises:
        SpecError: bits of a data space that is not there, or below 1.
        EnergyTableError: a component or an action that the table lacks.
    """
    architecture = architecture.for_problem(problem)
    spaces = tuple(_compile_space(problem, name) for name in (d.name for d in problem.shape.data_spaces))
    for name, width in (bits or {}).items():
        if name not in {s.name for s in spaces}:
            raise SpecError("bits", name, f"a data space among {[s.name for s in spaces]}", width)
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise SpecError("bits", name, "a whole number of at least 1", width)
    names = [level.name for level in architecture.storage]
    widths = [None if bits is None else bits.get(space.name) for space in spaces]
    levels = tuple(_compile_level(level, names, energy_table, widths) for level in architecture.storage)
    compute = architecture.compute
    table = energy_table.component(compute.name)
    latency = sum(int(level.number(f"network_{end}_latency", 0)) for level in architecture.storage for end in ("fill", "drain"))
    return Compiled(
        problem=problem,
        architecture=architecture,
        dimensions=problem.shape.dimensions,
        dimension_index={d: i for i, d in enumerate(problem.shape.dimensions)},
        bounds=problem.bounds,
        spaces=spaces,
        levels=levels,
        level_index={name: i for i, name in enumerate(names)},
        fanout=architecture.fanout,
        default_keep=tuple(
            tuple(_kept_by_default(architecture, level, s.name) for s in spaces) for level in architecture.storage
        ),
        compute_name=compute.name,
        compute_instances=compute.instances,
        compute_mesh=(compute.mesh_x, compute.mesh_y),
        compute_pj={kind: table.energy_pj(*chain) for kind, chain in COMPUTE_ACTIONS.items()},
        network_latency=latency,
    )


def _kept_by_default(architecture: Architecture, level: Level, data_space: str) -> bool:
    if level.kind == "spatial":
        return False
    constraint = architecture.constraints.data_space(level.name)
    return constraint is None or not architecture.front_end or data_space not in constraint.bypass


def _compile_space(problem: Problem, name: str) -> CompiledSpace:
    data_space = problem.shape.data_space(name)
    index = {d: i for i, d in enumerate(problem.shape.dimensions)}
    values = problem.coefficient_values
    ranks = tuple(tuple((index[d], values[c] if c else 1) for d, c in rank) for rank in data_space.projection)
    used = [d for rank in ranks for d, _ in rank]
    simple = all(len(rank) == 1 for rank in ranks)
    return CompiledSpace(name, ranks, frozenset(used), data_space.read_write, simple)


def _energies(
    table: ComponentEnergy | None, chains: dict[tuple[str, str], tuple[str, ...]], required: bool
) -> dict[tuple[str, str], float]:
    if table is None:
        return dict.fromkeys(chains, 0.0)
    return {
        key: table.energy_pj(*chain) if required and key[0] == "random" else table.energy_pj(*chain, default=0.0)
        for key, chain in chains.items()
    }


def _bandwidth(level: Level, name: str) -> float | None:
    if level.values.get(name) is None:
        return None
    value = level.number(name, 0.0)
    if value <= 0:
        raise SpecError("architecture", f"{level.name}.attributes.{name}", "words per cycle, more than 0", value)
    return value


def _compile_level(level: Level, names: list[str], energy_table: EnergyTable, widths: list[int | None]) -> CompiledLevel:
    spatial = level.kind == "spatial"
    if not spatial and level.name not in energy_table:
        raise EnergyTableError(f"energy table: no component {level.name!r}; add an entry with its actions [pJ per vector access]")
    table = energy_table.component(level.name).as_storage(level.cluster_size) if level.name in energy_table else None
    block, row_bits = level.block_size, level.block_size * level.word_bits
    row_words = tuple(block if w is None else max(row_bits // w, 1) for w in widths)
    word_rows = tuple(1 if w is None else -(-w // row_bits) for w in widths)
    by_rows = any(w is not None for w in widths)
    buffering = level.number("multiple_buffering", 1.0) or 1.0
    capacity = None if level.entries is None else int(level.entries / buffering)
    metadata_bits = level.number("metadata_storage_depth", 0) * level.number("metadata_storage_width", 0)
    both = _bandwidth(level, "bandwidth")
    half = None if both is None else both / 2
    gate = level.values.get("power_gated_at")
    if gate is not None and gate not in names:
        raise SpecError("architecture", f"{level.name}.attributes.power_gated_at", f"a storage level among {names}", gate)
    return CompiledLevel(
        name=level.name,
        spatial=spatial,
        word_bits=level.word_bits,
        space_bits=tuple(level.word_bits if w is None else w for w in widths),
        block_size=block,
        row_words=row_words,
        word_rows=word_rows,
        bandwidth_scale=tuple(1.0 if w is None else block * r / n for w, r, n in zip(widths, word_rows, row_words, strict=True)),
        capacity=capacity if capacity is None or not by_rows else capacity // block,
        by_rows=by_rows,
        metadata_capacity_bits=None if level.entries is None else int(metadata_bits / buffering),
        min_capacity=(capacity or 0) * level.number("min_utilization", 0.0) / (block if by_rows else 1),
        read_bandwidth=_bandwidth(level, "read_bandwidth") or half,
        write_bandwidth=_bandwidth(level, "write_bandwidth") or half,
        shared_bandwidth=_bandwidth(level, "shared_bandwidth"),
        instances=level.instances,
        mesh_x=level.mesh_x,
        mesh_y=level.mesh_y,
        clusters=level.instances // level.cluster_size,
        metadata_width=int(level.number("metadata_storage_width", 0)),
        energy_pj=_energies(table, STORAGE_ACTIONS, required=not spatial),
        metadata_pj=_energies(table, METADATA_ACTIONS, required=False),
        decompression_pj=table.energy_pj("decompression_count", default=0.0) if table else 0.0,
        compression_pj=table.energy_pj("compression_count", default=0.0) if table else 0.0,
        leak_pj=table.energy_pj("leak", default=0.0) if table else 0.0,
        address_pj=max(level.number("addr_gen_energy", 0.0), 0.0),
        power_gate=names.index(level.name) if gate is None else names.index(str(gate)),
    )
