"""From a mapping to its loops: which level, on which axis, innermost first, with what is kept where."""

from __future__ import annotations

from functools import lru_cache

from hwloop.errors import InfeasibleMappingError, SpecError
from hwloop.simulator.compiled import Compiled
from hwloop.simulator.nest import SPATIAL_X, SPATIAL_Y, TEMPORAL, Flags, Loop
from hwloop.spec.batch import with_flags
from hwloop.spec.loops import complete_permutation
from hwloop.spec.mapping import Bypass, Loops, Mapping

_NO_FLAGS = Flags()


def mapping_loops(compiled: Compiled, mapping: Mapping) -> tuple[list[Loop], list[list[bool]], Flags]:
    """The loops with a bound above 1, innermost first, `keep[level][data space]`, and the reuse that is forbidden.

    Within a level the spatial loops (X, then Y, in the order of the permutation) lie inside the temporal ones.

    Raises:
        SpecError: a target, dimension or data space that is not there.
        InfeasibleMappingError: factors that do not multiply to a dimension, loops on a fan-out that is not there, or a data
            space that no level keeps.
    """
    count = len(compiled.levels)
    by_level: list[list[Loop]] = [[] for _ in range(count)]
    temporal: list[list[Loop]] = [[] for _ in range(count)]
    for target in mapping.loops:
        level = _level(compiled, target.target, target.kind)
        found = _target_loops(compiled, target, level)
        if target.kind == "spatial":
            if found and compiled.fanout[level] == (1, 1):
                raise InfeasibleMappingError(
                    f"{target.target}: has no fan-out to the level below, so it cannot hold the spatial loops "
                    f"{_names(compiled, found)}; move their factors to a level with a fan-out or to a temporal target",
                    target.target,
                )
            by_level[level] = found
        else:
            temporal[level] = found
    loops: list[Loop] = []
    for level in range(count - 1, -1, -1):
        loops += by_level[level]
        loops += temporal[level]
    _check_products(compiled, loops)
    return loops, _kept(compiled, mapping.bypass), mapping_flags(compiled, mapping)


def _level(compiled: Compiled, target: str, kind: str = "") -> int:
    level = compiled.level_index.get(target)
    if level is None or (kind == "spatial" and compiled.fanout[level] == (1, 1)):
        level = compiled.level_index.get(compiled.architecture.level_of(target, kind) or "")
    if level is None:
        raise SpecError("mapping", "target", f"a level among {list(compiled.level_index)}", target)
    return level


def _names(compiled: Compiled, loops: list[Loop]) -> str:
    return " ".join(f"{compiled.dimensions[loop.dimension]}{loop.bound}" for loop in loops)


@lru_cache(maxsize=4096)
def _complete(permutation: tuple[str, ...], dimensions: tuple[str, ...]) -> dict[str, int]:
    return {d: i for i, d in enumerate(complete_permutation(permutation, dimensions))}


def _target_loops(compiled: Compiled, target: Loops, level: int) -> list[Loop]:
    spatial = target.kind == "spatial"
    index = compiled.dimension_index
    place = _complete(target.permutation, compiled.dimensions)
    if len(place) != len(index):
        unknown = [p for p in target.permutation if p not in index and p != "*"]
        raise SpecError("mapping", f"{target.target}.permutation", f"dimensions among {list(index)}", unknown[0])
    found: list[tuple[int, Loop]] = []
    for dimension, written, rest in target.factors:
        d = index.get(dimension)
        if d is None:
            raise SpecError("mapping", f"{target.target}.factors", f"a dimension among {list(index)}", dimension)
        bound = written or compiled.bounds[d]
        if bound == 1:
            continue
        axis = TEMPORAL
        if spatial:
            axis = SPATIAL_X if target.split is None or place[dimension] < target.split else SPATIAL_Y
        found.append((place[dimension], Loop(level, axis, d, bound, rest or bound)))
    if len(found) > 1:
        found.sort(key=lambda pair: pair[0])
    return [loop for _, loop in found]


def _check_products(compiled: Compiled, loops: list[Loop]) -> None:
    """Timeloop's rule with remainders: fold ((r3 - 1) * b2 + r2 - 1) * b1 + ... from the outermost loop, plus 1."""
    covered = [0] * len(compiled.bounds)
    for loop in reversed(loops):
        covered[loop.dimension] = covered[loop.dimension] * loop.bound + loop.remainder - 1
    for d, last in enumerate(covered):
        if last + 1 != compiled.bounds[d]:
            factors = " x ".join(str(x.bound) for x in reversed(loops) if x.dimension == d) or "1"
            raise InfeasibleMappingError(
                f"dimension {compiled.dimensions[d]}: the factors {factors} (outermost first) cover {last + 1}, "
                f"the problem has {compiled.bounds[d]}"
            )


def _kept(compiled: Compiled, entries: tuple[Bypass, ...]) -> list[list[bool]]:
    keep = [list(row) for row in compiled.default_keep]
    index = {space.name: i for i, space in enumerate(compiled.spaces)}
    for entry in entries:
        level = _level(compiled, entry.target)
        for names, kept in ((entry.keep, True), (entry.bypass, False)):
            for name in names:
                s = index.get(name)
                if s is None:
                    raise SpecError("mapping", f"{entry.target}.keep/bypass", f"a data space among {list(index)}", name)
                if kept and compiled.levels[level].spatial:
                    raise SpecError("mapping", f"{entry.target}.keep", "nothing: a fan-out stores no data", name)
                keep[level][s] = kept
    for s, space in enumerate(compiled.spaces):
        if not any(row[s] for row in keep):
            raise InfeasibleMappingError(f"{space.name}: no level keeps it; keep it in the outermost one", "", space.name)
    return keep


def constraint_flags(compiled: Compiled) -> Flags:
    """The reuse that the accelerator's constraints forbid in every mapping of a search."""
    return mapping_flags(compiled, with_flags(Mapping(()), compiled.architecture))


def mapping_flags(compiled: Compiled, mapping: Mapping) -> Flags:
    """The reuse that a mapping forbids.

    Raises:
        SpecError: a target or data space that is not there.
    """
    index = {space.name: i for i, space in enumerate(compiled.spaces)}
    found: dict[str, set[tuple[int, int]]] = {}

    def note(kind: str, level: int, names: tuple[str, ...], field: str) -> None:
        for name in names:
            if name not in index:
                raise SpecError("mapping", field, f"a data space among {list(index)}", name)
            found.setdefault(kind, set()).add((level, index[name]))

    for target in mapping.loops:
        if not (target.no_reuse or target.no_link_transfer or target.rmw_first_update):
            continue
        level = _level(compiled, target.target, target.kind)
        note("apart" if target.kind == "spatial" else "forgets", level, target.no_reuse, f"{target.target}.no_reuse")
        note("unlinked", level, target.no_link_transfer, f"{target.target}.no_link_transfer")
        note("reads_first", level, target.rmw_first_update, f"{target.target}.rmw_first_update")
    for entry in mapping.bypass:
        if entry.no_coalesce:
            note("passing", _level(compiled, entry.target), entry.no_coalesce, f"{entry.target}.no_coalesce")
    return Flags(**{kind: frozenset(pairs) for kind, pairs in found.items()}) if found else _NO_FLAGS
