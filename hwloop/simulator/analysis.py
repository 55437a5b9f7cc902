"""The nest analysis of one mapping: tiles, what is sent between levels, and what each level reads, fills and updates."""

from __future__ import annotations

from collections.abc import Iterable

from hwloop.errors import InfeasibleMappingError
from hwloop.simulator.compiled import Compiled, CompiledSpace
from hwloop.simulator.nest import SPATIAL_X, TEMPORAL, Delivery, Flags, Loop, Nest, Tile
from hwloop.simulator.numeric import round_half_up
from hwloop.simulator.reuse import Mesh, Shares, Vector, spread, volume, words_over_time


class Profile:
    """What the nest asks of every level for one data space before anything is bypassed.

    Attributes:
        sizes: words of the tile, by level.
        spatial_sizes: words of the tiles of all children of one instance together, None where there is no fan-out in use.
        extents: size of the tile by rank, by level.
        shares: what one instance sends to the level below, by how many children share it.
        links: words that children pass among themselves instead.
        hops: hops of the words of `shares`, by the same keys; empty unless some network costs something.
    """

    __slots__ = ("extents", "hops", "links", "shares", "sizes", "spatial_sizes")

    def __init__(self, levels: int) -> None:
        self.sizes = [0] * levels
        self.spatial_sizes: list[int | None] = [None] * levels
        self.extents: list[Vector] = [()] * levels
        self.shares: list[Shares] = [{} for _ in range(levels)]
        self.links: list[float] = [0.0] * levels
        self.hops: list[Shares] = [{} for _ in range(levels)]


def analyse(compiled: Compiled, loops: list[Loop], keep: list[list[bool]], flags: Flags) -> Nest:
    """Analyses a nest whose factors are all perfect.

    Args:
        compiled: problem and architecture.
        loops: loops with a bound above 1, innermost first.
        keep: `keep[level][data space]`.
        flags: reuse that the mapping forbids.

    Raises:
        InfeasibleMappingError: the real program has no answer for the mapping (it stops at an internal check).
    """
    count = len(compiled.levels)
    covered = [1] * len(compiled.bounds)
    strides: list[int] = []
    bounds: list[tuple[int, ...]] = [()] * count
    children: list[tuple[int, ...]] = [()] * count
    starts = [0] * count  # the first temporal loop of each level
    position = 0
    for level in range(count - 1, -1, -1):
        temporal_seen = False
        while position < len(loops) and loops[position].level == level:
            loop = loops[position]
            if loop.axis == TEMPORAL and not temporal_seen:
                temporal_seen = True
                starts[level], children[level] = position, tuple(covered)
            strides.append(covered[loop.dimension])
            covered[loop.dimension] *= loop.bound
            position += 1
        if not temporal_seen:
            starts[level], children[level] = position, tuple(covered)
        bounds[level] = tuple(covered)
    profiles = [_profile(compiled, s, loops, strides, bounds, children, starts, flags) for s in range(len(compiled.spaces))]
    fan_x, fan_y = [1] * count, [1] * count
    iterations = 1
    for loop in loops:
        if loop.axis == TEMPORAL:
            iterations *= loop.bound
        elif loop.axis == SPATIAL_X:
            fan_x[loop.level] *= loop.bound
        else:
            fan_y[loop.level] *= loop.bound
    x_expansion, y_expansion = [1] * (count + 1), [1] * (count + 1)
    for level in range(count):
        x_expansion[level + 1] = x_expansion[level] * fan_x[level]
        y_expansion[level + 1] = y_expansion[level] * fan_y[level]
    instances = [float(x * y) for x, y in zip(x_expansion, y_expansion, strict=True)]
    fanout = [x * y for x, y in zip(fan_x, fan_y, strict=True)]
    tiles = collapse(compiled, profiles, keep, fanout, instances, flags)
    return Nest(
        tiles=tiles,
        deliveries=deliveries(compiled, profiles, tiles),
        bounds=bounds,
        instances=instances[:-1],
        x_expansion=x_expansion[:-1],
        y_expansion=y_expansion[:-1],
        compute_instances=instances[-1],
        compute_x=x_expansion[-1],
        compute_y=y_expansion[-1],
        compute_accesses=iterations,
        temporal_iterations=iterations,
        loops=loops,
    )


def extents_of(space: CompiledSpace, bounds: tuple[int, ...]) -> Vector:
    """Size of each rank of a data space over `bounds` iterations of each dimension."""
    return tuple([1 + sum([c * (bounds[d] - 1) for d, c in rank]) for rank in space.ranks])


def _profile(
    compiled: Compiled, s: int, loops: list[Loop], strides: list[int], bounds: list[tuple[int, ...]],
    children: list[tuple[int, ...]], starts: list[int], flags: Flags,
) -> Profile:  # fmt: skip
    space = compiled.spaces[s]
    count = len(bounds)
    out = Profile(count)
    zero = (0,) * len(space.ranks)
    moves: list[Vector] = [
        tuple([c * stride for c in space.coefficients[loop.dimension]]) if loop.dimension in space.dimensions else zero
        for loop, stride in zip(loops, strides, strict=True)
    ]
    temporal = [(loop.bound, move) for loop, move in zip(loops, moves, strict=True) if loop.axis == TEMPORAL]
    before = [0]  # temporal loops inside position i
    for loop in loops:
        before.append(before[-1] + (loop.axis == TEMPORAL))
    extents: Vector = (1,) * len(space.ranks)
    previous, size = 0, 1
    for level in range(count - 1, -1, -1):
        first = starts[level]
        innermost = level == count - 1
        around = temporal[before[first] :]
        if first > previous:  # spatial loops in use
            mesh = _mesh(compiled, level, loops, moves, previous, first)
            mesh.apart, mesh.linked = (level, s) in flags.apart, (level, s) not in flags.unlinked
            forgets = innermost or (level + 1, s) in flags.forgets
            sent = spread(extents, around, mesh, forgets, space.simple)
            out.shares[level], out.links[level], out.hops[level] = sent.shares, sent.links, sent.hops
            out.spatial_sizes[level] = volume(extents_of(space, children[level]))
        elif innermost or (level + 1, s) in flags.forgets:
            words = volume(extents)
            for bound, _ in around:
                words *= bound
            out.shares[level] = {(1, 1): words}
        else:
            out.shares[level] = {(1, 1): words_over_time(extents, around, space.simple)}
        if innermost or bounds[level] != bounds[level + 1]:
            extents = extents_of(space, bounds[level])
            size = volume(extents)
        out.extents[level], out.sizes[level] = extents, size
        previous = first
        while previous < len(loops) and loops[previous].level == level:
            previous += 1
    return out


def _mesh(compiled: Compiled, level: int, loops: list[Loop], moves: list[Vector], begin: int, end: int) -> Mesh:
    x, y = compiled.fanout[level]
    used_x, used_y = 1, 1
    for loop in loops[begin:end]:
        if loop.axis == SPATIAL_X:
            used_x *= loop.bound
        else:
            used_y *= loop.bound
    passes = [(loops[i].bound, moves[i]) for i in range(begin, end)]
    return Mesh(passes, max(x, used_x), max(y, used_y), counted=compiled.counts_hops)


def collapse(
    compiled: Compiled, profiles: list[Profile], keep: list[list[bool]], fanout: list[int], instances: list[float], flags: Flags
) -> list[list[Tile]]:
    """Takes bypassed levels out of the chain and splits what remains into reads, fills and updates.

    Raises:
        InfeasibleMappingError: the real program stops at an internal check.
    """
    columns = [
        _collapse_space(compiled, s, profiles[s], [row[s] for row in keep], fanout, instances, flags)
        for s in range(len(compiled.spaces))
    ]
    return [[column[level] for column in columns] for level in range(len(keep))]


def _collapse_space(
    compiled: Compiled, s: int, profile: Profile, kept: list[bool], fanout: list[int], instances: list[float], flags: Flags
) -> list[Tile]:
    count = len(kept)
    # kept or not, what is inside asks the level outside
    passing = [(level, s) in flags.passing for level in range(count)] if flags.passing else [False] * count
    space = compiled.spaces[s]
    sizes, shares, links = profile.sizes, profile.shares, profile.links
    partition = [sizes[0]] * count
    for level in range(1, count):
        denominator = profile.spatial_sizes[level - 1] or sizes[level]
        partition[level] = partition[level - 1] * sizes[level] // denominator
    content = [float(sum(shares[level].values())) for level in range(count)]
    arriving = [0.0] * count
    for level in range(1, count):
        arriving[level] = sum([sent * share / fanout[level - 1] for (share, _), sent in _by_share(shares[level - 1])])
    for level in range(count - 1, 0, -1):
        if not kept[level] or passing[level]:
            weighted = sum([sent * share for (share, _), sent in shares[level - 1].items()])
            if weighted:
                factor = content[level] * fanout[level - 1] / weighted
                content[level - 1] = sum([sent * factor for _, sent in _by_share(shares[level - 1])])
                shares[level - 1] = {key: sent * factor for key, sent in shares[level - 1].items()}
            links[level - 1] = 0.0
    if all(passing[level] for level in range(count) if kept[level]):
        raise InfeasibleMappingError(
            f"{space.name}: every level that keeps it passes it on (no_coalesce); keep it in the outermost one", "", space.name
        )
    outermost = next(level for level in range(count) if kept[level] and not passing[level])
    kept = [level >= outermost and here for level, here in enumerate(kept)]
    for level in range(outermost):
        shares[level], links[level] = {}, 0.0
    arriving[outermost] = 0.0
    peer = [0.0] * count
    for level in range(outermost, count - 1):
        if links[level]:
            peer[level + 1] = links[level] / instances[level + 1]
    tiles: list[Tile] = []
    parent: int | None = None
    for level in range(count):
        if not kept[level]:
            tiles.append(Tile(False, profile.extents[level]))
            continue
        tile = Tile(True, profile.extents[level], sizes[level], partition[level], parent=parent)
        if parent is not None:
            tiles[parent].child = level
        first = (level, s) in flags.reads_first
        _count(
            compiled, space, level, tile, content[level], arriving[level], peer[level], level == outermost, passing[level], first
        )
        tiles.append(tile)
        parent = level
    return tiles


def _by_share(shares: Shares) -> Iterable[tuple[tuple[int, int], float]]:
    return shares.items() if len(shares) == 1 else sorted(shares.items())


def _count(
    compiled: Compiled, space: CompiledSpace, level: int, tile: Tile, content: float, arriving: float, peer: float,
    outermost: bool, passing: bool, reads_first: bool,
) -> None:  # fmt: skip
    """Reads, fills and updates. A result's first arrival at a level is written without being read before, but `reads_first`."""
    if not content:
        raise InfeasibleMappingError(
            f"{compiled.levels[level].name}: {space.name} never leaves it because neighbouring instances pass it on among "
            "themselves in every step; the real program stops here",
            compiled.levels[level].name,
            space.name,
        )
    if not space.read_write:
        tile.reads = round_half_up(content + peer)
        tile.fills = int(arriving + peer)
        return
    again = content + peer - tile.partition_size
    if again < 0:
        raise InfeasibleMappingError(
            f"{compiled.levels[level].name}: {space.name} needs fewer updates ({content + peer:g}) than the words it is "
            f"responsible for ({tile.partition_size}); the real program stops here",
            compiled.levels[level].name,
            space.name,
        )
    tile.updates = round_half_up(content)
    if passing or reads_first:
        tile.reads = tile.temporal_reductions = round_half_up(content + peer)
        tile.fills = tile.reads if passing else round_half_up(arriving + peer)
        return
    tile.reads = tile.temporal_reductions = round_half_up(again)
    tile.fills = round_half_up(arriving + peer) if outermost else _wrap(arriving + peer - tile.partition_size)


def _wrap(x: float) -> int:
    """Rounds to a whole number; the real program keeps it in 64 bits without a sign."""
    rounded = int(round_half_up(abs(x)))
    return rounded if x >= 0 else 2**64 - rounded


def deliveries(compiled: Compiled, profiles: list[Profile], tiles: list[list[Tile]]) -> list[list[Delivery]]:
    """What the networks carry, once bypassed levels are taken out: `[level][data space]`, empty where no network costs anything.

    A bypassed level's network carries what passes it, over as many hops as if the level kept its tile: so does the real program.
    """
    if not compiled.counts_hops:
        return []
    return [
        [
            Delivery(
                hops=sum(profile.hops[level].get(key, 0.0) for key in profile.shares[level]),
                links=profile.links[level],
                partition_size=tile.partition_size,
                ingresses=tuple((share, float(words)) for (share, _), words in sorted(profile.shares[level].items())),
                word_hops=tuple(profile.hops[level].get(key, 0.0) for key in sorted(profile.shares[level])),
            )
            for profile, tile in zip(profiles, row, strict=True)
        ]
        for level, row in enumerate(tiles)
    ]
