"""What the simulator needs of a problem and an architecture, looked up once instead of per mapping.

Bits and energies are filled in by `hwloop.simulator.pricing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hwloop.errors import SpecError
from hwloop.simulator.networks import WirePrices, network_latency
from hwloop.simulator.numeric import Number
from hwloop.simulator.packing import Packing, Waiting
from hwloop.spec.architecture import Architecture, Level
from hwloop.spec.builtin import builtin_access_pj
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

    @cached_property
    def coefficients(self) -> tuple[tuple[int, ...], ...]:
        """By dimension, how far a pass of it moves each rank."""
        last = max(self.dimensions, default=-1)
        return tuple(tuple(sum(c for at, c in rank if at == d) for rank in self.ranks) for d in range(last + 1))


@dataclass(frozen=True)
class CompiledLevel:
    """A storage level as the cost model reads it. Bandwidths are words of `word_bits` per cycle and instance.

    What depends on bits or energies is a number, or an array `(candidate, 1)` where candidates differ.

    Attributes:
        name: the level's name.
        spatial: whether it is a fan-out that stores nothing.
        word_bits: `datawidth` [bits].
        block_size: words of `word_bits` in one vector access.
        packing: per data space, how its words lie here.
        waiting: per data space, how results lie here when this is the outermost level that keeps them; None where all lie as
            `packing` says.
        capacity: what one instance holds, None when unbounded: words of `word_bits`, or rows when `by_rows`.
        by_rows: whether capacity counts rows (some data space has its own width).
        metadata_capacity_bits: metadata one instance holds [bits], None when unbounded.
        min_capacity: least capacity that must be used.
        read_bandwidth: None when unlimited; likewise `write_bandwidth` and, for both together, `shared_bandwidth`.
        instances: how many there are; `mesh_x` x `mesh_y`.
        clusters: groups of instances that share one row and one energy per access.
        builtin_pj: energy of an access [pJ] where the table names none at all, None of a fan-out.
        metadata_width: bits of one metadata access, 0 when there is no metadata storage.
        energy_pj: (state, kind) -> energy of a data access [pJ].
        metadata_pj: (state, kind) -> energy of a metadata access [pJ].
        decompression_pj: energy of one decompression [pJ].
        compression_pj: energy of one compression [pJ].
        leak_pj: leakage of an instance in a cycle [pJ].
        vector_pj: energy of every read, fill and update [pJ] where the spec gives one, in place of the energy table's.
        address_pj: energy of one address generation [pJ].
        power_gate: index of the level whose instances this one is power-gated with, its own unless the spec says.
    """

    name: str
    spatial: bool
    word_bits: int
    block_size: int
    packing: tuple[Packing, ...]
    waiting: tuple[Waiting | None, ...]
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
    builtin_pj: float | None
    metadata_width: int
    energy_pj: dict[tuple[str, str], Number]
    metadata_pj: dict[tuple[str, str], Number]
    decompression_pj: Number
    compression_pj: Number
    leak_pj: Number
    vector_pj: float | None
    address_pj: float
    power_gate: int


@dataclass(frozen=True)
class Compiled:
    """A problem on an architecture with an energy table, ready to be asked about mappings.

    Attributes:
        wires: the networks that cost something.
        counts_hops: whether the nest analysis counts hops.
    """

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
    compute_pj: dict[str, Number]
    compute_leak_pj: Number
    network_latency: int
    wires: tuple[WirePrices, ...] = ()
    counts_hops: bool = True


def compile_structure(problem: Problem, architecture: Architecture) -> Compiled:
    """Everything but bits and energies: enough to analyse nests. Every energy is 0, every value has its level's `datawidth`.

    Raises:
        SpecError: a constraint of the accelerator on a dimension or data space that the problem does not have, or a density at a
            level that the accelerator does not have.
    """
    architecture = architecture.for_problem(problem)
    _check_densities(problem, [level.name for level in architecture.storage if level.kind != "spatial"])
    spaces = tuple(_compile_space(problem, name) for name in (d.name for d in problem.shape.data_spaces))
    names = [level.name for level in architecture.storage]
    compute = architecture.compute
    return Compiled(
        problem=problem,
        architecture=architecture,
        dimensions=problem.shape.dimensions,
        dimension_index={d: i for i, d in enumerate(problem.shape.dimensions)},
        bounds=problem.bounds,
        spaces=spaces,
        levels=tuple(_compile_level(level, names, [space.name for space in spaces]) for level in architecture.storage),
        level_index={name: i for i, name in enumerate(names)},
        fanout=architecture.fanout,
        default_keep=tuple(
            tuple(_kept_by_default(architecture, level, s.name) for s in spaces) for level in architecture.storage
        ),
        compute_name=compute.name,
        compute_instances=compute.instances,
        compute_mesh=(compute.mesh_x, compute.mesh_y),
        compute_pj=dict.fromkeys(COMPUTE_ACTIONS, 0.0),
        compute_leak_pj=0.0,
        network_latency=network_latency(architecture),
    )


def _check_densities(problem: Problem, levels: list[str]) -> None:
    for name, density in problem.densities:
        if density.level and not problem.shape.data_space(name).read_write:
            raise SpecError("problem", f"densities.{name}.level", "no level: a density at one level is a result's", density.level)
        if density.level and density.level not in levels:
            raise SpecError("problem", f"densities.{name}.level", f"a storage level among {levels}", density.level)


def _kept_by_default(architecture: Architecture, level: Level, data_space: str) -> bool:
    if level.kind == "spatial":
        return False
    constraint = architecture.constraints.data_space(level.name)
    return constraint is None or not architecture.front_end or data_space not in constraint.bypass


def _compile_space(problem: Problem, name: str) -> CompiledSpace:
    data_space = problem.shape.data_space(name)
    index = {d: i for i, d in enumerate(problem.shape.dimensions)}
    values = problem.coefficient_values
    ranks = tuple(_merged(tuple((index[d], values[c] if c else 1) for d, c in rank)) for rank in data_space.projection)
    used = [d for rank in ranks for d, _ in rank]
    simple = all(len(rank) == 1 for rank in ranks)
    return CompiledSpace(name, ranks, frozenset(used), data_space.read_write, simple)


def _merged(rank: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """A rank's terms with each dimension once: p + 2 p is 3 p."""
    out: dict[int, int] = {}
    for d, coefficient in rank:
        out[d] = out.get(d, 0) + coefficient
    return tuple(out.items())


def _bandwidth(level: Level, name: str) -> float | None:
    if level.values.get(name) is None:
        return None
    value = level.number(name, 0.0)
    if value <= 0:
        raise SpecError("architecture", f"{level.name}.attributes.{name}", "words per cycle, more than 0", value)
    return value


def _compile_level(level: Level, names: list[str], spaces: list[str]) -> CompiledLevel:
    block, scales = level.block_size, dict(level.bandwidth_scale)
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
        spatial=level.kind == "spatial",
        word_bits=level.word_bits,
        block_size=block,
        packing=tuple(Packing(level.word_bits, block, 1, scales.get(space, 1.0)) for space in spaces),
        waiting=(None,) * len(spaces),
        capacity=capacity,
        by_rows=False,
        metadata_capacity_bits=None if level.entries is None else int(metadata_bits / buffering),
        min_capacity=(capacity or 0) * level.number("min_utilization", 0.0),
        read_bandwidth=_bandwidth(level, "read_bandwidth") or half,
        write_bandwidth=_bandwidth(level, "write_bandwidth") or half,
        shared_bandwidth=_bandwidth(level, "shared_bandwidth"),
        instances=level.instances,
        mesh_x=level.mesh_x,
        mesh_y=level.mesh_y,
        clusters=level.instances // level.cluster_size,
        builtin_pj=None if level.kind == "spatial" else builtin_access_pj(level),
        metadata_width=int(level.number("metadata_storage_width", 0)),
        energy_pj=dict.fromkeys(STORAGE_ACTIONS, 0.0),
        metadata_pj=dict.fromkeys(METADATA_ACTIONS, 0.0),
        decompression_pj=0.0,
        compression_pj=0.0,
        leak_pj=0.0,
        vector_pj=level.vector_access_pj,
        address_pj=max(level.number("addr_gen_energy", 0.0), 0.0),
        power_gate=names.index(level.name) if gate is None else names.index(str(gate)),
    )
