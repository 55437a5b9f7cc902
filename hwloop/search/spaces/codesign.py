"""The accelerator beside the network: fields of its spec in front of the variables of any other space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from hwloop.search.space import Genes, Space, check_row
from hwloop.spec.axes import Axis
from hwloop.spec.plan import Plan


@dataclass(frozen=True)
class Codesign:
    """A row holds the position of a value on each axis of the accelerator, then the row of the space of networks.

    Attributes:
        inner: what may be changed of the network.
        axes: what may be changed of the accelerator.
    """

    name: ClassVar[str] = "codesign"
    inner: Space
    axes: tuple[Axis, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """`accelerator:<path>` of each axis, then those of the network."""
        return (*(f"accelerator:{'+'.join(axis.paths)}" for axis in self.axes), *self.inner.names)

    @cached_property
    def lower(self) -> Genes:
        """The first values, and the least of the network's."""
        return np.concatenate([np.zeros(len(self.axes), np.int64), self.inner.lower])

    @cached_property
    def upper(self) -> Genes:
        """The last values, and the greatest of the network's."""
        return np.concatenate([self._last, self.inner.upper])

    @cached_property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """Each axis of the accelerator alone, then the network's."""
        k = len(self.axes)
        return (*((i, i + 1) for i in range(k)), *((start + k, end + k) for start, end in self.inner.groups))

    def anchors(self) -> Genes:
        """The network's anchors, on the accelerators of first, middle and last values in turn."""
        rows = np.asarray(self.inner.anchors(), np.int64).reshape(-1, len(self.inner.lower))
        kinds = [self._last // 2, np.zeros_like(self._last), self._last]
        found = [np.concatenate([kinds[(at + turn) % 3], row]) for turn in range(3) for at, row in enumerate(rows)]
        return np.array(found, np.int64).reshape(-1, len(self.lower))

    def corners(self) -> list[Plan]:
        """The network's: each accelerator looks for mappings at them."""
        return self.inner.corners()

    def plan(self, row: Sequence[int] | Genes) -> Plan:
        """The network's plan, on an accelerator."""
        values = check_row(row, self.lower, self.upper)
        k = len(self.axes)
        chosen = [axis.points[at] for axis, at in zip(self.axes, values[:k].tolist(), strict=True)]
        return replace(self.inner.plan(values[k:]), accelerator=tuple(pair for point in chosen for pair in point))

    def row(self, plan: Plan) -> tuple[int, ...]:
        """The row that means `plan`."""
        said = dict(plan.accelerator)
        places = []
        for axis in self.axes:
            here = tuple((path, said.get(path)) for path in axis.paths)
            if here not in axis.points:
                raise ValueError(f"a plan that is not in the space: {plan.to_dict()}")
            places.append(axis.points.index(here))
        if len(said) != sum(len(axis.paths) for axis in self.axes):
            raise ValueError(f"a plan that is not in the space: {plan.to_dict()}")
        return (*places, *self.inner.row(replace(plan, accelerator=())))

    @cached_property
    def _last(self) -> Genes:
        return np.array([len(axis.points) - 1 for axis in self.axes], np.int64)
