"""Mixed precision on Timeloop, which knows one `datawidth` a level: a level becomes one level for each data space it keeps.

The new levels stand one below the other where the old one stood; each keeps one data space, with that data space's bits as its
`datawidth`. The innermost of them carries the old level's loops, so that the tiles are the old ones; the others' factors are 1.

What the old level's data spaces share, the new levels cannot, so it is shared out:

- Rows. Each new level has all the rows; whether the data spaces fit together is checked on what Timeloop counted (`check_fit`).
- Bandwidth. Each new level gets a share in proportion to the traffic that Timeloop counted in a first run (`share_bandwidth`), so
  that each throttles exactly as much as the old level does.
- Leakage and area stay with the innermost.

A row holds floor(row bits / bits) words; a word wider than a row takes several rows, each paid for. Compressed rows of a
number of words that Timeloop has no figures for (3, 5, ...) are moved word by word, each for its share of the row's energy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hwloop.errors import InfeasibleMappingError
from hwloop.simulator import DataSpaceCost, LayerCost
from hwloop.simulator.formats import COMPRESSED
from hwloop.simulator.packing import Packing, pack
from hwloop.simulator.sparse.context import rank_bits
from hwloop.spec.bits import Bits, width_at
from hwloop.spec.energy_table import ComponentEnergy, EnergyTable
from hwloop.spec.levels import Architecture, Level
from hwloop.spec.mapping import Bypass, Loops
from hwloop.spec.mapping import Mapping as LoopMapping
from hwloop.spec.problem import Problem
from hwloop.spec.sparsity import SparseOptimizations

ROUND_DOWN = 1 + 1e-12  # shares of a row are fractions: what is a whole number of cycles must not round up
_BANDWIDTHS = ("read_bandwidth", "write_bandwidth", "shared_bandwidth", "bandwidth")
_COMPRESSED_ROWS = (1, 2, 4, 8, 16, 32)  # words a row for which Timeloop knows how compressed tiles fill it
_LATENCIES = ("network_fill_latency", "network_drain_latency")
_SIZES = ("width", "depth", "entries", "sizeKB", "block_size", "cluster_size", "min_utilization")


@dataclass(frozen=True)
class SplitSystem:
    """An accelerator with some levels split.

    Attributes:
        architecture: the accelerator with the new levels, which have no bandwidth yet.
        mapping: the mapping on it.
        table: the energy table with the new components.
        origin: name of each new level -> name of the level it comes from.
        throttled: whether a level that was split has a bandwidth.
    """

    architecture: Architecture
    mapping: LoopMapping
    table: EnergyTable
    origin: dict[str, str]
    throttled: bool


def split_levels(
    problem: Problem,
    architecture: Architecture,
    mapping: LoopMapping,
    table: EnergyTable,
    bits: Bits,
    apart: str | None = None,
) -> SplitSystem:
    """Splits each level that keeps a data space whose bits differ from the level's `datawidth`.

    The part that stands outermost takes the place of the old level towards the instances beside it. Only there does Timeloop
    see data that a neighbour can pass on, so the data space whose tiles overlap (a convolution's inputs) stands there.

    Args:
        problem: the layer.
        architecture: the accelerator.
        mapping: a mapping that says for every level what it keeps.
        table: its energy table, per row.
        bits: bits of a value by data space and level; what is not named keeps the level's `datawidth`.
        apart: a level that is split whatever the bits are.
    """
    levels: list[Level] = []
    loops: list[Loops] = []
    bypass: list[Bypass] = []
    components = list(table.components)
    origin: dict[str, str] = {}
    renamed: dict[str, str] = {}
    throttled = False
    for level in architecture.storage:
        entry = mapping.find_bypass(level.name)
        own_loops = [e for e in mapping.loops if e.target == level.name]
        kept = entry.keep if entry is not None else ()
        widths = {space: _width(bits, space, level) for space in kept}
        if level.kind == "spatial" or (level.name != apart and all(width == level.word_bits for width in widths.values())):
            levels.append(level)
            loops += own_loops
            bypass += [entry] if entry is not None else []
            continue
        assert entry is not None
        spaces = (*entry.keep, *entry.bypass)
        kept = tuple(sorted(kept, key=lambda s: all(len(rank) == 1 for rank in problem.shape.data_space(s).projection)))
        whole = table.component(level.name)
        components.remove(whole)
        throttled = throttled or any(level.values.get(name) is not None for name in _BANDWIDTHS)
        for space in kept:
            name = f"{level.name}_{space}"
            innermost = space == kept[-1]
            packing = pack(level, 1.0, widths[space])
            origin[name] = level.name
            targets = (space, *entry.bypass) if space == kept[0] else (space,)  # savings on data kept farther out stay on the way
            block = _block(level, space, packing)
            levels.append(_narrow(level, name, targets, widths[space], packing, block, innermost))
            loops += [replace(e, target=name) for e in own_loops] if innermost else []
            bypass.append(Bypass(name, (space,), tuple(s for s in spaces if s != space)))
            components.append(_component(whole, name, packing.word_rows * block / packing.row_words, innermost))
        renamed[level.name] = f"{level.name}_{kept[-1]}"
    levels = [_gate_with(level, renamed) for level in levels]
    return SplitSystem(
        replace(architecture, levels=(*levels, architecture.compute)),
        LoopMapping(tuple(loops), tuple(bypass)),
        EnergyTable(tuple(components)),
        origin,
        throttled,
    )


def share_bandwidth(
    system: SplitSystem, architecture: Architecture, counted: LayerCost, known: Mapping[str, Mapping[str, float]] | None = None
) -> Architecture:
    """The split accelerator with each old level's bandwidth shared out.

    Args:
        system: the split accelerator.
        architecture: the accelerator it comes from.
        counted: what Timeloop counted on `system`, by split level.
        known: of split levels that move something else than that, how much, by kind of bandwidth, in the old level's words.
    """
    shared: dict[str, dict[str, float]] = {}
    for level in architecture.storage:
        parts = [name for name, whole in system.origin.items() if whole == level.name]
        both = level.number("bandwidth", 0.0)
        have = {name: level.number(name, both / 2) for name in ("read_bandwidth", "write_bandwidth")}
        have["shared_bandwidth"] = level.number("shared_bandwidth", 0.0)
        for kind, bandwidth in have.items():
            needs = {part: _row_share(system, level, part) * _words(system, counted, part, kind) for part in parts}
            total = sum(known[part][kind] if known and part in known else needs[part] for part in parts)
            for part in parts if bandwidth and total else ():
                if needs[part]:
                    share = needs[part] / total / _row_share(system, level, part)
                    shared.setdefault(part, {})[kind] = bandwidth * share * ROUND_DOWN
    levels = [replace(x, attributes=(*x.attributes, *shared.get(x.name, {}).items())) for x in system.architecture.levels]
    return replace(system.architecture, levels=tuple(levels))


def check_fit(architecture: Architecture, cost: LayerCost, *bits: Bits) -> LayerCost:
    """Counts capacity in rows, and whether the data spaces of each level fit together, which split levels cannot tell.

    Args:
        architecture: the accelerator.
        cost: what Timeloop said, by the accelerator's own levels.
        bits: bits of a value by data space and level; of several, the one that takes most counts. A level of which they say
            nothing is counted in words.

    Returns:
        The cost with capacities in rows.

    Raises:
        InfeasibleMappingError: they do not fit; it names level, need and room.
    """
    components = dict(cost.components)
    for level in reversed(architecture.storage):
        component = cost.components.get(level.name)
        if component is None:
            continue
        by_rows = any(width_at(value, level.name) is not None for given in bits for value in given.values())
        needs = {space: part.capacity for space, part in component.dataspaces.items()}
        if by_rows:
            for space, part in component.dataspaces.items():
                needs[space] = max(pack(level, 1.0, _width(given, space, level)).rows(part.capacity) for given in bits)
            spaces = {space: replace(part, capacity=needs[space]) for space, part in component.dataspaces.items()}
            components[level.name] = replace(component, dataspaces=spaces)
        if level.entries is None:
            continue
        words = int(level.entries / (level.number("multiple_buffering", 1.0) or 1.0))
        block, unit = (level.block_size, "rows") if by_rows else (1, "words")
        need, room = sum(needs.values()), words // block
        detail = ", ".join(f"{space} {rows}" for space, rows in needs.items())
        if need > room:
            raise InfeasibleMappingError(f"{level.name}: {detail} need {need} {unit}, {room} {unit} fit", level.name)
        least = words * level.number("min_utilization", 0.0) / block
        if need < least:
            raise InfeasibleMappingError(
                f"{level.name}: {need} {unit} are used, min_utilization asks for {least:g}", level.name
            )  # fmt: skip
    return replace(cost, components=components)


def roomy(architecture: Architecture, name: str) -> Architecture:
    """The accelerator with room for anything at a level."""
    bounded = ("entries", "metadata_storage_depth")
    levels = [
        replace(level, attributes=tuple((k, v) for k, v in level.attributes if k not in bounded)) if level.name == name else level
        for level in architecture.levels
    ]
    return replace(architecture, levels=tuple(levels))


def _width(bits: Bits, space: str, level: Level) -> int:
    width = width_at(bits.get(space), level.name)
    return level.word_bits if width is None else width


def _narrow(
    level: Level, name: str, targets: tuple[str, ...], word_bits: int, packing: Packing, block: int, innermost: bool
) -> Level:
    """The part of a level that keeps `targets[0]`; data passes its network once, however many parts there are."""
    dropped = (*_SIZES, *_BANDWIDTHS, *(() if innermost else _LATENCIES))
    attributes: dict[str, object] = {k: v for k, v in level.attributes if k not in dropped}
    cluster = level.cluster_size
    attributes |= {"datawidth": word_bits, "cluster_size": cluster, "width": word_bits * block * cluster}
    if level.entries is not None:
        attributes["entries"] = level.entries // level.block_size // packing.word_rows * packing.row_words
    sparse = SparseOptimizations(
        tuple(r for r in level.sparse.representation if r.data_space == targets[0]),
        tuple(
            kept
            for action in level.sparse.actions
            if (kept := replace(action, options=tuple(o for o in action.options if o.target in targets))).options
        ),
    )
    return replace(level, name=name, attributes=tuple(attributes.items()), sparse=sparse)  # type: ignore[arg-type]


def _block(level: Level, space: str, packing: Packing) -> int:
    """Words in one access: a row's, or one, each paid for its share of the row, where Timeloop cannot take compressed rows."""
    compressed = any(
        rank.format in COMPRESSED for r in level.sparse.representation if r.data_space == space for rank in r.ranks
    )  # fmt: skip
    return 1 if compressed and packing.row_words not in _COMPRESSED_ROWS else packing.row_words


def _component(whole: ComponentEnergy, name: str, rows: float, innermost: bool) -> ComponentEnergy:
    """Energies of one part: a data access pays for `rows`; only the innermost part leaks and has an area."""
    actions = tuple(
        (action, energy if "metadata" in action or "compression" in action or action == "leak" else energy * rows)
        for action, energy in whole.actions
        if innermost or action != "leak"
    )
    return replace(whole, name=name, actions=actions, area_um2=whole.area_um2 if innermost else 0.0)


def _gate_with(level: Level, renamed: Mapping[str, str]) -> Level:
    gate = level.values.get("power_gated_at")
    if gate not in renamed:
        return level
    return replace(level, attributes=tuple((k, renamed[str(gate)] if k == "power_gated_at" else v) for k, v in level.attributes))


def row_share(level: Level, packing: Packing) -> float:
    """How many of the level's own words the transfer of a word takes that lies as `packing` says."""
    return float(level.block_size * packing.word_rows / packing.row_words)


def _row_share(system: SplitSystem, level: Level, part: str) -> float:
    return row_share(level, pack(level, 1.0, system.architecture.level(part).word_bits))


def _words(system: SplitSystem, counted: LayerCost, part: str, kind: str) -> float:
    """Words that a split level moves over the whole problem, metadata included as Timeloop counts it."""
    if part not in counted.components:  # it keeps nothing
        return 0.0
    [space] = counted.components[part].dataspaces.values()
    level = system.architecture.level(part)
    read = space.reads + space.gated_reads + metadata_bits(level, space, ("read",)) // level.word_bits
    written = space.fills + space.gated_fills + space.updates + space.gated_updates
    written += metadata_bits(level, space, ("fill", "update")) // level.word_bits
    return {"read_bandwidth": read, "write_bandwidth": written, "shared_bandwidth": read + written}[kind]


def metadata_bits(level: Level, space: DataSpaceCost, kinds: tuple[str, ...]) -> int:
    """Metadata that a level that keeps one data space moves, gated accesses included [bits].

    Args:
        level: the level.
        space: what Timeloop counted.
        kinds: of accesses: `read`, `fill`, `update`.
    """
    bits = 0.0
    for ranks in (space.metadata[name] for kind in kinds for name in (kind, f"gated_{kind}") if name in space.metadata):
        for (metadata, payload), rank in zip(ranks, level.sparse.representation[0].ranks, strict=True):
            metadata_word, payload_word = rank_bits(level, rank)
            bits += metadata * metadata_word + payload * payload_word
    return int(bits)
