"""What a level sends to the level below it for one data space: reuse over time, multicast and neighbour links over space.

The model is Timeloop's (Parashar et al., ISPASS 2019), whose recursion over the nest is solved here in closed form:

- A tile is a box in the tensor. When the loops around it step, the box moves and only what the last box did not hold is sent.
- A step of loop `k` resets the loops inside it. Timeloop runs every loop for two passes and lets the second stand for the rest,
  so a reset moves the box back by *one* step of each inner loop: it moves by `stride[k] - sum(stride[j] for inner j)`, and the
  step happens `(bound[k] - 1) * product(bound[j] for outer j)` times.
- Hardware follows one pattern of moves. The pattern is that of the innermost loop that moves the box; any other move sends the
  whole box again, except that a box that stays needs nothing.
- Over space, each instance sends what is equal for several children once (multicast). A child whose new data is exactly what a
  neighbour (left, right, above or below on the mesh) received in the step before gets it over a link, if that lowers the traffic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

Vector = tuple[int, ...]  # a move in the tensor, by rank
Loops = Sequence[tuple[int, Vector]]  # innermost first: (bound, move of the box in one pass)
Step = tuple[int, int, Vector]  # one kind of step: how often it happens, the words of new data, how the box moved
Shares = dict[tuple[int, int], float]  # (children that share a word, groups that do so) -> words sent


@dataclass(slots=True)
class Mesh:
    """The children of one instance: spatial loops on a mesh `width` wide and `height` high (in Timeloop's linear order).

    Attributes:
        apart: whether every child gets its data by itself, also what others get (`no_reuse` of a spatial target).
        linked: whether neighbours may pass data on.
        counted: whether hops are counted.
    """

    loops: list[tuple[int, Vector]]
    width: int
    height: int
    apart: bool = False
    linked: bool = True
    counted: bool = False


def volume(extents: Vector) -> int:
    """Words of a box."""
    out = 1
    for extent in extents:
        out *= extent
    return out


def new_words(extents: Vector, move: Vector) -> int:
    """Words of a box that lie outside the same box before it moved."""
    overlap = full = 1
    for extent, m in zip(extents, move, strict=True):
        full *= extent
        overlap *= max(extent - abs(m), 0)
    return full - overlap


def steps(extents: Vector, loops: Loops, points: bool) -> list[Step]:
    """Every kind of step of a tile: the first arrival, then one for each temporal loop around it, innermost first.

    Args:
        extents: size of the box by rank.
        loops: the temporal loops around the tile.
        points: the children are compute units: they hold nothing, so every step sends its point again.
    """
    zero = (0,) * len(extents)
    full = volume(extents)
    out: list[Step] = [(1, full, zero)]
    outer = 1
    for bound, _ in loops:
        outer *= bound
    back = zero
    pattern: Vector | None = None
    for bound, stride in loops:
        outer //= bound
        if stride == zero:
            move = tuple([-b for b in back]) if pattern else zero
        else:
            move = tuple([s - b for s, b in zip(stride, back, strict=True)]) if pattern else stride
            back = tuple([b + s for s, b in zip(stride, back, strict=True)]) if pattern else stride
        if points:
            size = full
        elif move == zero:
            size = 0
        else:
            size = full if pattern and move != pattern else new_words(extents, move)
        if pattern is None and move != zero:
            pattern = move
        out.append(((bound - 1) * outer, size, move))
    return out


def words_over_time(extents: Vector, loops: Loops, simple: bool) -> int:
    """Words that one tile receives over all steps.

    Args:
        extents: size of the tile by rank.
        loops: the temporal loops around it.
        simple: no rank sums two dimensions, so that every move sends the whole tile.
    """
    if not simple:
        return sum([weight * size for weight, size, _ in steps(extents, loops, points=False)])
    words = volume(extents)
    still = True
    for bound, stride in loops:
        if still and not any(stride):
            continue
        still = False
        words *= bound
    return words


def multicast(mesh: Mesh) -> dict[int, int]:
    """Children that share their data: {how many share: number of such groups}."""
    same, groups = 1, 1
    used: set[int] = set()
    for bound, move in mesh.loops:
        moved = {r for r, m in enumerate(move) if m}
        if moved & used and not mesh.apart:
            return dict(Counter(Counter(_offsets(mesh)).values()))
        used |= moved
        if moved or mesh.apart:
            groups *= bound
        else:
            same *= bound
    return {same: groups}


def mesh_hops(mesh: Mesh, without: Collection[int] = ()) -> dict[int, float]:
    """Hops of a word to each group of children that share it, summed over the groups: {how many share: hops}.

    A word enters at the middle of the left edge, goes along X as far as it must and from there along Y.

    Args:
        mesh: the children.
        without: children that get their data in another way.
    """
    groups: dict[object, list[int]] = {}
    for i, own in enumerate(_offsets(mesh)):
        if i not in without:
            groups.setdefault(i if mesh.apart else own, []).append(i)
    out: dict[int, float] = {}
    for members in groups.values():
        out[len(members)] = out.get(len(members), 0.0) + group_hops(members, mesh.width, mesh.height)
    return out


def group_hops(members: Iterable[int], width: int, height: int) -> float:
    """Hops of one word to these children."""
    centre = (height - 1) / 2
    rows: dict[int, list[int]] = {}
    for i in members:
        rows.setdefault(i % width, []).append(i // width)
    hops = float(max(rows))
    for column in rows.values():
        hops += max(centre - min(column), 0.0) + max(max(column) - centre, 0.0)
    return hops


def _offsets(mesh: Mesh) -> list[Vector]:
    """Where each child's data lies relative to the first one's, children in linear order (innermost loop fastest)."""
    out: list[Vector] = [(0,) * len(mesh.loops[0][1])]
    for bound, move in mesh.loops:
        out = [tuple([o + i * m for o, m in zip(base, move, strict=True)]) for i in range(bound) for base in out]
    return out


def linked(mesh: Mesh, gap: Vector) -> tuple[set[int], dict[int, int]]:
    """Children that get their data from a neighbour, and the multicast groups among the others.

    Args:
        mesh: the children.
        gap: how far a neighbour's data must lie from the child's own to be what it received in the step before.
    """
    offsets = _offsets(mesh)
    count, width, height = len(offsets), mesh.width, mesh.height
    hits: set[int] = set()
    rest: list[object] = []
    for i, own in enumerate(offsets):
        wanted = tuple([o + g for o, g in zip(own, gap, strict=True)])
        h, v = i % width, i // width
        if (
            (v > 0 and offsets[i - width] == wanted)
            or (v < height - 1 and i + width < count and offsets[i + width] == wanted)
            or (h > 0 and offsets[i - 1] == wanted)
            or (h < width - 1 and i + 1 < count and offsets[i + 1] == wanted)
        ):
            hits.add(i)
        else:
            rest.append(i if mesh.apart else own)
    return hits, dict(Counter(Counter(rest).values()))


@dataclass(slots=True)
class Sent:
    """What an instance sends to its children over the whole nest.

    Attributes:
        shares: words, by how many children share them and how many groups do so.
        links: words that children pass among themselves instead.
        hops: hops of the words of `shares`, by the same keys; empty unless they are counted.
    """

    shares: Shares
    links: int = 0
    hops: Shares = field(default_factory=dict)


def spread(extents: Vector, loops: Loops, mesh: Mesh, points: bool, simple: bool) -> Sent:
    """What an instance sends to its children.

    Args:
        extents: size of a child's box by rank.
        loops: temporal loops around the child.
        mesh: the children.
        points: the children hold nothing from one step to the next: compute units, or `no_reuse` of a temporal target.
        simple: no rank sums two dimensions.
    """
    groups = multicast(mesh)
    hops = mesh_hops(mesh) if mesh.counted else {}
    if not points and (simple or not loops or not any(loops[0][1])):  # no move can match a neighbour's
        words = words_over_time(extents, loops, simple)
        return Sent(
            {(share, count): count * words for share, count in groups.items()},
            hops={(share, count): hops[share] * words for share, count in groups.items() if hops},
        )
    reach = [sum([abs(move[r]) * (bound - 1) for bound, move in mesh.loops]) for r in range(len(extents))]
    sent = sum(groups.values())
    out = Sent({})
    found: dict[Vector, tuple[set[int], dict[int, int], dict[int, float]]] = {}
    for (_, size, move), before, weight in _pairs(steps(extents, loops, points), loops):
        if size == 0:
            continue
        used, used_hops = groups, hops
        near = mesh.linked and before is not None and before[1] == size
        if near and all(-limit <= m <= limit for m, limit in zip(move, reach, strict=True)):
            if move not in found:
                hits, rest = linked(mesh, move)
                found[move] = hits, rest, mesh_hops(mesh, hits) if mesh.counted else {}
            hits, rest, rest_hops = found[move]
            if sum(rest.values()) < sent:
                used, used_hops = rest, rest_hops
                out.links += len(hits) * size * weight
        for share, count in used.items():
            key = share, count
            out.shares[key] = out.shares.get(key, 0) + count * size * weight
            if mesh.counted:
                out.hops[key] = out.hops.get(key, 0.0) + used_hops[share] * size * weight
    return out


def _pairs(kinds: list[Step], loops: Loops) -> list[tuple[Step, Step | None, int]]:
    """(step, the step before it, how often): an outer loop's step follows one of the innermost loop, and the other way round."""
    first, rest = kinds[0], kinds[1:]
    out: list[tuple[Step, Step | None, int]] = [(first, None, 1)]
    if not rest:
        return out
    innermost = rest[0]
    passes = loops[0][0] - 1
    out.append((innermost, first, passes))
    for step in rest[1:]:
        out.append((innermost, step, passes * step[0]))
        out.append((step, innermost, step[0]))
    return out
