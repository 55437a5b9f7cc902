"""Words along one rank of a window that slides: what the loop orders can leave of them, at least.

In the simulator (`hwloop.simulator.reuse`) a step of a loop moves the box by its stride less one step of each loop inside it. The
innermost loop that moves the box, the lead, sets the pattern: a step that moves the box as the lead does keeps the halo, one that
does not move it sends nothing, any other sends the whole box. Whether a loop's step can do either follows from strides alone.

With an incomplete pass boxes are walked instead (`hwloop.simulator.walk`): loops inside may stand at their last pass as well as
at their second, boxes that differ in size are compared by their centres. A step that could come near either counts as free.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.mapper.bound_rows import Part

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
MOST_LOOPS = 4  # inside a loop of an incomplete dimension; beyond it the loop's steps count as free


@dataclass(frozen=True)
class _Loop:
    """One temporal loop of a rank, arrays `(way,)`; `slot` and `place`, of its dimension in the part, are numbers."""

    place: int
    slot: int
    stride: Array
    bound: Array
    last: Array

    @property
    def active(self) -> Mask:
        return np.asarray(self.bound > 1.0)


class Window:
    """One rank of a data space over the ways of a part.

    Args:
        part: the part.
        local: (place in the part, coefficient) of the rank's dimensions.
        time: by slot, the temporal loops outside the tile.
        extent: words of the tile along the rank.
    """

    def __init__(self, part: Part, local: list[tuple[int, int]], time: Mask, extent: Array) -> None:
        self.part, self.local, self.extent = part, local, extent
        self.slots = [int(i) for i in np.flatnonzero(time)]
        loops = [
            _Loop(j, i, c * part.covered[:, j, i], part.bounds[:, j, i], part.last[:, j, i]) for j, c in local for i in self.slots
        ]
        self.loops = [loop for loop in loops if loop.active.any()]
        self.turns = {j: part.effective[:, j][:, time].prod(1) for j, _ in local}
        self.total = np.asarray(np.prod(list(self.turns.values()), axis=0))
        self.cut = np.any([(part.last[:, j] != part.bounds[:, j]).any(1) for j, _ in local], axis=0)
        begin = self.slots[0] if self.slots else 0
        short = [c * (part.covered[:, j, begin] - self._last_tile(j, begin)) for j, c in local]
        self.uneven = np.asarray(np.sum(short, axis=0))  # how much smaller the last box is

    def _last_tile(self, j: int, begin: int) -> Array:
        """Iterations of a dimension that the last tile covers."""
        out = np.ones(len(self.part))
        for i in range(begin):
            out = out + self.part.covered[:, j, i] * (self.part.last[:, j, i] - 1.0)
        return out

    def words(self, lead: int | None, twins: frozenset[tuple[int, int]] | None) -> Array:
        """Words over all of time.

        Args:
            lead: the lead's dimension; None where that is open.
            twins: (dimension, slot) of the loops that may move the box as the lead does; None for all.
        """
        if lead is None:
            every = [self._led(j, twins) for j, _ in self.local]
            return np.asarray(np.min(every, axis=0))
        places = [j for j, _ in self.local if self.part.dims[j] == lead]
        return self._led(places[0], twins) if places else self.extent * self.total

    def _led(self, lead: int, twins: frozenset[tuple[int, int]] | None) -> Array:
        n = len(self.part)
        step, first, passes, runs = np.full(n, np.inf), np.full(n, -1), np.ones(n), np.ones(n)
        for loop in sorted(self.loops, key=lambda loop: -loop.slot):
            if loop.place == lead:
                outer = np.prod([self.part.bounds[:, lead, i] for i in self.slots if i > loop.slot], axis=0)
                here = loop.active
                step, first = np.where(here, loop.stride, step), np.where(here, loop.slot, first)
                runs = np.where(here, outer, runs)
                passes = np.where(here, self.part.effective[:, lead, loop.slot], passes)
        each = np.maximum(self.turns[lead] / runs, 1.0)  # passes of the lead, on average
        near = np.minimum(self.extent, step)
        kept, free = 1.0 - 1.0 / passes, np.zeros(n)
        for loop in self.loops:
            if twins is not None and (self.part.dims[loop.place], loop.slot) not in twins:
                continue
            ways = np.flatnonzero(loop.active & ~((first == loop.slot) & (loop.place == lead)))
            if not len(ways):
                continue
            outer = np.prod([self.part.bounds[:, loop.place, i] for i in self.slots if i > loop.slot], axis=0)
            share = (loop.bound - 1.0) * outer / self.turns[loop.place] / (1.0 if loop.place == lead else each)
            still, alike = self._moves(loop, lead, step, first, ways)
            free[ways] += np.where(still, share[ways], 0.0)
            kept[ways] += np.where(alike & ~still, share[ways], 0.0)
        most = 1.0 - 1.0 / self.total
        free = np.minimum(free, most)
        kept = np.minimum(kept, most - free)
        return np.asarray(self.total * (self.extent - (self.extent - near) * kept - self.extent * free))

    def _moves(self, loop: _Loop, lead: int, step: Array, first: NDArray[np.int64], ways: NDArray[np.int64]) -> tuple[Mask, Mask]:
        """For some ways, whether steps of a loop can leave the box in place, and whether they can move it as the lead does."""
        inner = [
            other for other in self.loops
            if (other.slot < loop.slot or (other.slot == loop.slot and other.place != loop.place)) and other.active[ways].any()
        ]  # fmt: skip
        still, alike = np.zeros(len(ways), bool), np.zeros(len(ways), bool)
        even = ~self.cut[ways]
        at = ways[even]
        if len(at):
            sums = np.zeros((1, len(at)))
            for other in inner:
                own = other.active[at] & ~((first[at] == other.slot) & (other.place == lead))
                more = sums + np.where(own, other.stride[at], 0.0)
                sums = more if other.slot < loop.slot else np.concatenate([sums, more])
            wanted = loop.stride[at] - step[at]
            still[even] = (np.abs(sums - wanted) < 1e-6).any(0)
            alike[even] = (np.abs(sums - (wanted - step[at])) < 1e-6).any(0)
        at = ways[~even]
        if len(at):
            still[~even] = self._near(loop, inner, step[at], at)
        return still, alike

    def _near(self, loop: _Loop, inner: list[_Loop], step: Array, at: NDArray[np.int64]) -> Mask:
        """Whether a loop's step can come near the lead's, or near none, for ways with an incomplete pass."""
        if len(inner) > MOST_LOOPS:
            return np.ones(len(at), bool)
        hit = np.zeros(len(at), bool)
        reach = [loop.stride[at] * np.maximum(k, 1.0) for k in (1.0, loop.bound[at] - 2.0, loop.bound[at] - 3.0)]
        for back in itertools.product(*(list(self._places(other, at)) for other in inner)):
            moved = np.sum(back, axis=0) if back else np.zeros(len(at))
            for forth in reach:
                for wanted in (0.0, np.where(np.isfinite(step), step, 0.0)):
                    hit |= np.abs(forth - moved - wanted) <= np.ceil(self.uneven[at] / 2.0) + 1e-6
        return hit

    def _places(self, loop: _Loop, at: NDArray[np.int64]) -> Iterator[Array]:
        """How far a loop may stand from its first pass where a loop outside it steps."""
        for k in (0.0, 1.0, loop.bound[at] - 1.0, loop.last[at] - 1.0):
            yield np.where(loop.active[at], loop.stride[at] * k, 0.0)
