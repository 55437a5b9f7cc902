"""From activity to cost: capacity, vector accesses, energy, bandwidth and cycles of every level.

Each formula stands once and takes Python numbers (one mapping) or arrays (a batch); see `hwloop.simulator.numeric`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hwloop.simulator.activity import Activity, ComputeActivity, TileActivity
from hwloop.simulator.compiled import Compiled, CompiledLevel
from hwloop.simulator.nest import Nest
from hwloop.simulator.networks import WirePrices, network_energy
from hwloop.simulator.numeric import Number, as_float, ceil, maximum, minimum, unsigned, where
from hwloop.simulator.packing import Packing


@dataclass(slots=True)
class LevelCost:
    """One storage level.

    Attributes:
        cycles: cycles of the whole problem if only this level throttled.
        leakage_pj: leakage of all its instances [pJ].
        energy_pj: accesses and leakage [pJ].
        space_pj: access energy of each data space over all instances [pJ].
    """

    cycles: Number
    leakage_pj: Number
    energy_pj: Number
    space_pj: list[Number]


@dataclass(slots=True)
class Cost:
    """The whole accelerator.

    Attributes:
        cycles: time.
        energy_pj: of everything [pJ].
        utilization: part of the compute units' time that they compute, 0-1.
        levels: by storage level.
        compute_pj: of the compute units' operations [pJ].
        compute_leakage_pj: leakage of all compute units [pJ]; not in `energy_pj`, as the real program counts none.
        networks_pj: by network that costs something, its energy by data space over all instances [pJ].
    """

    cycles: Number
    energy_pj: Number
    utilization: Number
    levels: list[LevelCost]
    compute_pj: Number
    compute_leakage_pj: Number = 0.0
    networks_pj: dict[str, list[Number]] = field(default_factory=dict)


def needed_capacity(level: CompiledLevel, tiles: list[TileActivity]) -> list[Number]:
    """What each data space takes of a level: words, or rows where some data space has a width of its own."""
    if not level.by_rows:
        return [tile.capacity for tile in tiles]
    return [_needed_rows(level, s, tile) for s, tile in enumerate(tiles)]


def _needed_rows(level: CompiledLevel, s: int, tile: TileActivity) -> Number:
    """Rows that a tile takes; where results wait, those of partial sums if any come by."""
    partial, finished = lying(level, s, tile)
    rows = finished.rows(tile.capacity)
    if partial is finished:
        return rows
    return where(tile.updates == tile.finished, rows, maximum(rows, partial.rows(tile.capacity)))


def lying(level: CompiledLevel, s: int, tile: TileActivity) -> tuple[Packing, Packing]:
    """How partial sums and finished values of a data space lie at a level; one and the same but where results wait."""
    waiting = level.waiting[s] if tile.waits else None
    return (level.packing[s],) * 2 if waiting is None else (waiting.partial, waiting.finished)


def evaluate(compiled: Compiled, nest: Nest, activity: Activity) -> Cost:
    """Cost of a mapping that fits."""
    compute = activity.compute
    done = ceil(as_float(compute.computes + compute.gated) / compute.instances)
    # a layer whose every operation is skipped still takes a cycle; the real program divides by 0 there
    compute_cycles = nest.temporal_iterations if nest.imperfect else maximum(done, 1)
    cycles = compute_cycles
    level_cycles: list[Number] = []
    for index, level in enumerate(compiled.levels):
        own = _level_cycles(level, nest, index, activity.tiles[index], compute_cycles)
        level_cycles.append(own)
        cycles = maximum(cycles, own)
    energy = compute_pj = _compute_energy(compiled, compute)
    levels: list[LevelCost] = []
    for index, level in enumerate(compiled.levels):
        space_pj = [
            _access_energy(compiled, level, s, tile) if nest.tiles[index][s].kept else 0.0
            for s, tile in enumerate(activity.tiles[index])
        ]
        leakage = 0.0 if _is_zero(level.leak_pj) else _leakage(compiled, activity, index, cycles)
        total = sum(space_pj) + leakage
        levels.append(LevelCost(level_cycles[index], leakage, total, space_pj))
        energy = energy + total
    networks = {prices.wires.name: _network_energy(compiled, nest, prices) for prices in compiled.wires}
    for spaces in networks.values():
        energy = energy + sum(spaces)
    ideal = as_float(compute.computes + compute.gated) / compiled.compute_instances
    all_cycles = cycles + compiled.network_latency
    leakage = compiled.compute_leak_pj * compiled.compute_instances * cycles
    return Cost(all_cycles, energy, ideal / all_cycles, levels, compute_pj, leakage, networks)


def _network_energy(compiled: Compiled, nest: Nest, prices: WirePrices) -> list[Number]:
    """Energy of a network by data space, over all instances in use [pJ]."""
    level = prices.wires.level
    return [
        network_energy(prices, delivery, space.read_write, space.name) * nest.instances[level]
        for space, delivery in zip(compiled.spaces, nest.deliveries[level], strict=True)
    ]


def _compute_energy(compiled: Compiled, compute: ComputeActivity) -> Number:
    energy = compute.computes * compiled.compute_pj["computes"]
    if not (isinstance(compute.gated, int) and isinstance(compute.skipped, int) and compute.gated == compute.skipped == 0):
        energy = energy + compute.skipped * compiled.compute_pj["skipped"] + compute.gated * compiled.compute_pj["gated"]
    return energy


def _is_zero(x: Number) -> bool:
    return isinstance(x, (int, float)) and x == 0


def _is_one(x: Number) -> bool:
    return isinstance(x, (int, float)) and x == 1


def _access_energy(compiled: Compiled, level: CompiledLevel, s: int, tile: TileActivity) -> Number:
    """Energy of all accesses of a data space over all instances [pJ]."""
    energy: Number = 0.0
    for _, _, vectors, each_pj in access_terms(level, s, tile):
        energy = energy + vectors * each_pj
    total = over_instances(level, tile, energy)
    if level.address_pj:
        total = total + address_generations(compiled, s, tile) * level.address_pj * _clusters(level, tile)
    return total


def access_terms(level: CompiledLevel, s: int, tile: TileActivity) -> Iterator[tuple[tuple[str, str], Number, Number, Number]]:
    """What is paid for at one instance: (state, kind), words, vector accesses and the energy of each [pJ].

    States are `random`, `gated` and `skipped`; behind `metadata ` for accesses of metadata; `counter` is the logic that codes.
    What costs nothing is left out. `vector_ratio` corrects for vectors that compressed tiles fill unevenly.
    """
    partial, finished = lying(level, s, tile)
    whole = tile.updates == tile.finished if tile.waits else False  # no partial sum comes by
    for (state, kind), words in (
        (("random", "read"), tile.reads),
        (("random", "fill"), tile.fills),
        (("random", "update"), tile.updates),
        (("gated", "read"), tile.gated_reads),
        (("gated", "fill"), tile.gated_fills),
        (("gated", "update"), tile.gated_updates),
        (("skipped", "read"), tile.skipped_reads),
        (("skipped", "fill"), tile.skipped_fills),
        (("skipped", "update"), tile.skipped_updates),
    ):
        if _is_zero(words) or _is_zero(level.energy_pj[state, kind]):
            continue
        if tile.waits and (state, kind) == ("random", "update"):
            vectors = _waiting_vectors(level, s, tile)
        else:
            vectors = partial.rows(unsigned(words))
            vectors = vectors if _is_one(tile.vector_ratio) else vectors * tile.vector_ratio
            if kind == "update" and whole is not False:
                vectors = where(whole, finished.rows(unsigned(words)) * tile.finished_ratio, vectors)
        yield (state, kind), words, vectors, level.energy_pj[state, kind]
    for (state, kind), traffic in tile.metadata.items():
        yield (f"metadata {state}", kind), traffic.vectors, traffic.vectors, level.metadata_pj[state, kind]
    if not _is_zero(tile.decompressions):
        yield ("counter", "decompression_count"), tile.decompressions, tile.decompressions, level.decompression_pj
    if not _is_zero(tile.compressions):
        yield ("counter", "compression_count"), tile.compressions, tile.compressions, level.compression_pj


def over_instances(level: CompiledLevel, tile: TileActivity, each: Number) -> Number:
    """What all instances pay of what `each` does: an access of a vector is paid once a cluster."""
    if level.clusters == level.instances:
        return each * tile.instances
    return each * _clusters(level, tile) / (tile.x_expansion * tile.y_expansion) * tile.instances


def _clusters(level: CompiledLevel, tile: TileActivity) -> Number:
    return minimum(tile.x_expansion * tile.y_expansion, level.clusters)


def address_generations(compiled: Compiled, s: int, tile: TileActivity) -> Number:
    """Addresses that a cluster generates for a data space."""
    generations = tile.fills + tile.gated_fills
    if compiled.spaces[s].read_write:
        return generations + tile.updates + tile.gated_updates
    return generations + tile.reads + tile.gated_reads


def _waiting_vectors(level: CompiledLevel, s: int, tile: TileActivity) -> Number:
    """Vector accesses of the updates where results wait: of partial sums, and of finished values."""
    partial, finished = lying(level, s, tile)
    rest = tile.updates - tile.finished
    if _is_one(tile.vector_ratio) and _is_one(tile.finished_ratio):
        return partial.rows_with(rest, tile.finished, finished)
    return partial.rows(rest) * tile.vector_ratio + finished.rows(tile.finished) * tile.finished_ratio


def _level_cycles(level: CompiledLevel, nest: Nest, index: int, tiles: list[TileActivity], compute_cycles: Number) -> Number:
    """Cycles stretched by the bandwidth of a level: read, write, or both shared, whichever is worst."""
    if level.read_bandwidth is None and level.write_bandwidth is None and level.shared_bandwidth is None:
        return compute_cycles
    read: Number = 0.0
    write: Number = 0.0
    shares: Number = False
    for s, tile in enumerate(tiles):
        if not nest.tiles[index][s].kept:
            continue
        words_read = tile.reads if _is_zero(tile.gated_reads) else tile.reads + tile.gated_reads
        words_written = tile.fills
        for more in (tile.gated_fills, tile.updates, tile.gated_updates):
            words_written = words_written if _is_zero(more) else words_written + more
        packing, finished = lying(level, s, tile)
        if tile.metadata:
            words_read = words_read + _metadata_words(packing.bits, tile, ("read",))
            words_written = words_written + _metadata_words(packing.bits, tile, ("fill", "update"))
        done: Number = 0  # finished values, where they have a width of their own
        if finished is not packing:
            done = tile.finished + where(tile.updates == tile.finished, tile.gated_updates, 0)
            words_written = words_written - done
        if not tile.even:
            idle = tile.instances == 0
            ratio = tile.x_expansion * tile.y_expansion / where(idle, 1.0, tile.instances)
            words_read = where(idle, 0, ceil(words_read / ratio))
            words_written = where(idle, 0, ceil(words_written / ratio))
            done = where(idle, 0, ceil(done / ratio))
        scale = packing.bandwidth_scale
        read_rate, write_rate = words_read / compute_cycles, words_written / compute_cycles
        read = read + (read_rate if _is_one(scale) else read_rate * scale)
        write = write + (write_rate if _is_one(scale) else write_rate * scale)
        shares = shares | (level.by_rows & (scale != 1.0))
        if finished is not packing:
            write = write + done / compute_cycles * finished.bandwidth_scale
            shares = shares | (finished.bandwidth_scale != 1.0)
    slowdown: Number = 1.0
    for have, need in ((level.read_bandwidth, read), (level.write_bandwidth, write)):
        if have is not None:
            slowdown = minimum(slowdown, have / maximum(need, have))
    if level.shared_bandwidth is not None:
        slowdown = minimum(slowdown, level.shared_bandwidth / maximum(write + read, level.shared_bandwidth))
    if shares is not False:  # shares of a row are fractions: what is a whole number of cycles must not round up
        slowdown = where(shares, minimum(1.0, slowdown * (1 + 1e-12)), slowdown)
    return ceil(compute_cycles / slowdown)


def _metadata_words(word_bits: int, tile: TileActivity, kinds: tuple[str, ...]) -> Number:
    """Metadata moved, in words of the data space."""
    bits: Number = 0
    for (state, kind), traffic in tile.metadata.items():
        if kind in kinds and state != "skipped":
            bits = bits + traffic.bits
    return bits // word_bits


def _leakage(compiled: Compiled, activity: Activity, index: int, cycles: Number) -> Number:
    """Leakage of the instances that are not power-gated: those in use, and all that share a gate with one in use."""
    return compiled.levels[index].leak_pj * cycles * leaking_instances(compiled, activity, index)


def leaking_instances(compiled: Compiled, activity: Activity, index: int) -> Number:
    """Instances of a level that leak."""
    level = compiled.levels[index]
    gate = compiled.levels[level.power_gate]
    sharing = level.instances / max(gate.instances, 1)
    return sharing * _used(activity.tiles[level.power_gate]) if sharing > 1 else _used(activity.tiles[index])


def _used(tiles: list[TileActivity]) -> Number:
    used: Number = 1
    last: Number = None
    for tile in tiles:
        if tile.instances is not last:  # the data spaces of a dense level share one array
            used, last = maximum(used, tile.instances), tile.instances
    return used
