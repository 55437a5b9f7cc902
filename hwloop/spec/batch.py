"""Many mappings of one problem on one architecture as integer arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import SpecError
from hwloop.spec.architecture import Architecture
from hwloop.spec.loops import complete_permutation
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

        Raises:
            SpecError: a target that is no level of the architecture, an unknown dimension or data space, or data kept at a
                spatial level.
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
        for b, mapping in enumerate(mappings):
            order[b] = [index[d] for d in complete_permutation((), dims)]
            keep[b] = default_keep
            for loops in mapping.loops:
                i = _find(loops.target, loops.kind, names, architecture, b)
                permutation = _permutation(loops, dims, b)
                (order if loops.kind == "temporal" else spatial)[b, i] = [index[d] for d in permutation]
                split = len(dims) if loops.split is None else loops.split
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
        """One mapping of the batch as a `Mapping`, every level written out."""
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
        return Mapping(tuple(loops), tuple(bypass))


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
