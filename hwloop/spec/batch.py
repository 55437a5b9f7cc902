"""Many mappings of one problem on one architecture as integer arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import SpecError
from hwloop.spec.architecture import Architecture
from hwloop.spec.loops import REUSE_FLAGS, complete_permutation, spatial_sequence
from hwloop.spec.mapping import Bypass, Loops, Mapping
from hwloop.spec.problem import ProblemShape

TEMPORAL, SPATIAL_X, SPATIAL_Y = 0, 1, 2


@dataclass(frozen=True)
class MappingBatch:
    """Mappings as arrays. Levels are `architecture.storage` (outermost first), dimensions and data spaces the shape's.

    Attributes:
        factors: `(batch, level, 3, dimension)` int64: loop bounds, in time, on X and on Y.
        order: `(batch, level, dimension)` int8: dimension indices of the temporal loops, innermost first.
        keep: `(batch, level, data space)` bool: whether the level stores the data space; always False at spatial levels.
        remainders: like `factors`, the bound in the last pass of the loops above (imperfect factors); None when all are equal.
        spatial_order: like `order`, of the spatial loops, those on X before those on Y; None for the shape's order. It
            matters to skipping alone, which sees the tiles between one spatial loop and the next.
    """

    factors: NDArray[np.int64]
    order: NDArray[np.int8]
    keep: NDArray[np.bool_]
    remainders: NDArray[np.int64] | None = None
    spatial_order: NDArray[np.int8] | None = None

    def __len__(self) -> int:
        return len(self.factors)

    def __getitem__(self, rows: slice | NDArray[np.int64] | NDArray[np.bool_]) -> MappingBatch:
        rest = None if self.remainders is None else self.remainders[rows]
        spatial = None if self.spatial_order is None else self.spatial_order[rows]
        return MappingBatch(self.factors[rows], self.order[rows], self.keep[rows], rest, spatial)

    @classmethod
    def concatenate(cls, batches: Sequence[MappingBatch]) -> MappingBatch:
        """One batch after the other; all of the same problem shape and architecture."""
        rests = spatial = None
        if any(b.remainders is not None for b in batches):
            rests = np.concatenate([b.factors if b.remainders is None else b.remainders for b in batches])
        if any(b.spatial_order is not None for b in batches):
            spatial = np.concatenate([_natural_order(b.order) if b.spatial_order is None else b.spatial_order for b in batches])
        return cls(
            np.concatenate([b.factors for b in batches]),
            np.concatenate([b.order for b in batches]),
            np.concatenate([b.keep for b in batches]),
            rests,
            spatial,
        )

    @classmethod
    def from_mappings(
        cls, mappings: Sequence[Mapping], shape: ProblemShape, bounds: Sequence[int], architecture: Architecture
    ) -> MappingBatch:
        """Lays mappings out as arrays. A bound of 0 becomes the whole dimension, as Timeloop has it.

        Reuse that a mapping forbids is not in the arrays: all mappings of a batch forbid what the accelerator's constraints do.

        Raises:
            SpecError: a target that is no level of the architecture, an unknown dimension or data space, data kept at a spatial
                level, or reuse forbidden that the architecture's constraints do not forbid.
        """
        levels, dims = architecture.storage, shape.dimensions
        spaces = [d.name for d in shape.data_spaces]
        factors = np.ones((len(mappings), len(levels), 3, len(dims)), np.int64)
        rests = np.ones_like(factors)
        order = np.empty((len(mappings), len(levels), len(dims)), np.int8)
        keep = np.zeros((len(mappings), len(levels), len(spaces)), np.bool_)
        spatial = _natural_order(order)
        default_keep = [[_default_keep(architecture, i, s) for s in spaces] for i in range(len(levels))]
        index = {d: i for i, d in enumerate(dims)}
        names = {level.name: i for i, level in enumerate(levels)}
        forbidden = set(_flags(with_flags(Mapping(()), architecture)))
        for b, mapping in enumerate(mappings):
            more = sorted(set(_flags(mapping)) - forbidden)
            if more:
                raise SpecError(
                    f"mapping {b}", f"{more[0][0]}.{more[0][2]}", "what the accelerator's constraints say too", more[0][3],
                    "put it into the constraints, or simulate the mapping alone",
                )  # fmt: skip
            order[b] = [index[d] for d in complete_permutation((), dims)]
            keep[b] = default_keep
            for loops in mapping.loops:
                i = _find(loops.target, loops.kind, names, architecture, b)
                permutation = _permutation(loops, dims, b)
                split = len(dims) if loops.split is None else loops.split
                if loops.kind == "spatial":
                    permutation, split = spatial_sequence(permutation, split, _running(loops, index, bounds))
                (order if loops.kind == "temporal" else spatial)[b, i] = [index[d] for d in permutation]
                for dim, bound, rest in loops.factors:
                    if dim not in index:
                        raise SpecError(f"mapping {b}", f"{loops.target}.factors", f"a dimension among {list(dims)}", dim)
                    axis = TEMPORAL
                    if loops.kind == "spatial":
                        axis = SPATIAL_X if permutation.index(dim) < split else SPATIAL_Y
                    factors[b, i, axis, index[dim]] = bound or bounds[index[dim]]
                    rests[b, i, axis, index[dim]] = rest or bounds[index[dim]]
            for entry in mapping.bypass:
                i = _find(entry.target, "bypass", names, architecture, b)
                for names_of, kept in ((entry.keep, True), (entry.bypass, False)):
                    for space in names_of:
                        if space not in spaces:
                            raise SpecError(f"mapping {b}", f"{entry.target}.keep/bypass", f"a data space among {spaces}", space)
                        if kept and levels[i].kind == "spatial":
                            raise SpecError(
                                f"mapping {b}",
                                f"{entry.target}.keep",
                                "nothing: this level is a fan-out and stores no data",
                                space,
                            )
                        keep[b, i, spaces.index(space)] = kept
        return cls(factors, order, keep, None if np.array_equal(factors, rests) else rests, spatial)

    def to_mapping(self, row: int, shape: ProblemShape, architecture: Architecture) -> Mapping:
        """One mapping of the batch as a `Mapping`, every level written out, with the reuse that the constraints forbid."""
        dims = shape.dimensions
        spaces = [d.name for d in shape.data_spaces]
        rests = self.factors if self.remainders is None else self.remainders
        loops: list[Loops] = []
        bypass: list[Bypass] = []
        for i, level in enumerate(architecture.storage):
            kept = tuple(s for j, s in enumerate(spaces) if self.keep[row, i, j])
            bypass.append(Bypass(level.name, kept, tuple(s for s in spaces if s not in kept)))
            if architecture.fanout[i] != (1, 1):
                ordered = dims if self.spatial_order is None else tuple(dims[k] for k in self.spatial_order[row, i])
                on_y = [d for d in ordered if self.factors[row, i, SPATIAL_Y, dims.index(d)] > 1]
                on_x = [d for d in ordered if d not in on_y]
                both = [d for d in on_y if self.factors[row, i, SPATIAL_X, dims.index(d)] > 1]
                if both:
                    raise ValueError(
                        f"dimension {both[0]} lies on X and on Y of {level.name}: Timeloop's mapping has no place for that"
                    )
                axis = {d: (SPATIAL_Y if d in on_y else SPATIAL_X) for d in dims}
                factors = tuple(
                    (d, int(self.factors[row, i, axis[d], j]), int(rests[row, i, axis[d], j])) for j, d in enumerate(dims)
                )
                loops.append(Loops(level.name, "spatial", factors, (*on_x, *on_y), len(on_x)))
            factors = tuple(
                (d, int(self.factors[row, i, TEMPORAL, j]), int(rests[row, i, TEMPORAL, j])) for j, d in enumerate(dims)
            )
            loops.append(Loops(level.name, "temporal", factors, tuple(dims[k] for k in self.order[row, i])))
        return with_flags(Mapping(tuple(loops), tuple(bypass)), architecture)


def with_flags(mapping: Mapping, architecture: Architecture) -> Mapping:
    """The mapping, which also forbids the reuse that the accelerator's constraints forbid."""
    loops = {(entry.target, entry.kind): entry for entry in mapping.loops}
    bypass = {entry.target: entry for entry in mapping.bypass}
    for c in architecture.constraints.loops:
        if any(getattr(c, name) for name in REUSE_FLAGS):
            own = loops.get((c.target, c.kind), Loops(c.target, c.kind, ()))
            flags: dict[str, Any] = {name: tuple(dict.fromkeys((*getattr(own, name), *getattr(c, name)))) for name in REUSE_FLAGS}
            loops[c.target, c.kind] = replace(own, **flags)
    for d in architecture.constraints.data_spaces:
        if d.no_coalesce:
            entry = bypass.get(d.target, Bypass(d.target))
            bypass[d.target] = replace(entry, no_coalesce=tuple(dict.fromkeys((*entry.no_coalesce, *d.no_coalesce))))
    return Mapping(tuple(loops.values()), tuple(bypass.values()))


def _flags(mapping: Mapping) -> Iterator[tuple[str, str, str, str]]:
    """(target, kind, flag, data space) of all reuse that a mapping forbids."""
    for entry in mapping.loops:
        for name in REUSE_FLAGS:
            for space in getattr(entry, name):
                yield entry.target, entry.kind, name, space
    for bypass in mapping.bypass:
        for space in bypass.no_coalesce:
            yield bypass.target, "bypass", "no_coalesce", space


def _running(loops: Loops, index: dict[str, int], bounds: Sequence[int]) -> list[str]:
    """The dimensions whose loop has more than one pass."""
    return [d for d, bound, _ in loops.factors if d in index and (bound or bounds[index[d]]) > 1]


def _natural_order(order: NDArray[np.int8]) -> NDArray[np.int8]:
    """The shape's own order of dimensions, laid out like `order`."""
    return np.broadcast_to(np.arange(order.shape[-1], dtype=np.int8), order.shape).copy()


def _default_keep(architecture: Architecture, level: int, data_space: str) -> bool:
    if architecture.storage[level].kind == "spatial":
        return False
    constraint = architecture.constraints.data_space(architecture.storage[level].name)
    return constraint is None or not architecture.front_end or data_space not in constraint.bypass


def _find(target: str, kind: str, names: dict[str, int], architecture: Architecture, row: int) -> int:
    found = architecture.level_of(target, kind)
    if found is None:
        raise SpecError(f"mapping {row}", "target", f"a level among {list(names)}", target)
    return names[found]


def _permutation(loops: Loops, dims: Sequence[str], row: int) -> tuple[str, ...]:
    unknown = [d for d in loops.permutation if d not in dims and d != "*"]
    if unknown:
        raise SpecError(f"mapping {row}", f"{loops.target}.permutation", f"dimensions among {list(dims)}", unknown[0])
    return complete_permutation(loops.permutation, dims)
