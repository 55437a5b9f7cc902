"""How many images candidates get right; one whose chances are gone by what it has shown so far need not see the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hwloop.network.data.batches import Inputs, as_scores
from hwloop.network.scoring import HeldBatches, good

Floats = NDArray[np.float64]
Hopeless = Callable[[Floats, Floats], NDArray[np.bool_]]
Score = tuple[float, bool]  # an accuracy and True; or what it is at most, and False
BLOCK_BATCHES = 4  # between two looks at who has a chance


class Runner(Protocol):
    """Runs members of a group, see `hwloop.network.accuracy.together.Together`."""

    order: list[int]

    def outputs(self, at: int, block: object, images: Sequence[Inputs]) -> list[Any]:
        """What the network of member `at` gives for batches of images."""
        ...


class Race:
    """Candidates and what is known of their accuracies.

    Args:
        batches: the images.
        count: how many candidates there are.
        hopeless: given what each accuracy is at least and at most, `(count,)` each, says which need not be known any better.
            None: all must be known.

    Attributes:
        right: `(count,)` images that were right so far.
        blocks: `(count,)` blocks of images seen so far.
        seen: `(count,)` images seen so far.
    """

    def __init__(self, batches: HeldBatches, count: int, hopeless: Hopeless | None = None) -> None:
        self._batches, self._hopeless, self._total = batches, hopeless, len(batches.split)
        self.right, self.blocks, self.seen = (np.zeros(count, np.int64) for _ in range(3))

    def start(self, at: int, right: int, blocks: int, seen: int) -> None:
        """Candidate `at` has seen the first images before."""
        self.right[at], self.blocks[at], self.seen[at] = right, blocks, seen

    def state(self, at: int) -> tuple[int, int, int]:
        """What `start` takes to go on with a candidate."""
        return int(self.right[at]), int(self.blocks[at]), int(self.seen[at])

    def scores(self) -> list[Score]:
        """What is known of each candidate's accuracy."""
        return [(float(most), bool(seen == self._total)) for most, seen in zip(self._most(), self.seen, strict=True)]

    def run(self, runner: Runner, positions: Sequence[int]) -> None:
        """Runs a group until all of it is known as well as it must be.

        Args:
            runner: of the group.
            positions: of the group's members among all candidates.

        Raises:
            DataError: the network gives no scores of classes.
        """
        for number, block in enumerate(self._batches.blocks(BLOCK_BATCHES)):
            if not self._open(positions):
                return
            images = [inputs for inputs, _ in block]
            for member in runner.order:
                at = positions[member]
                if self.blocks[at] != number or not self._open([at]):
                    continue
                for output, (_, labels) in zip(runner.outputs(member, (self._batches, number), images), block, strict=True):
                    self.right[at] += int(good(as_scores(output), labels).sum())
                    self.seen[at] += len(labels)
                self.blocks[at] += 1

    def _open(self, positions: Iterable[int]) -> bool:
        """Whether more must be known of any of these candidates."""
        need = self.seen < self._total
        if self._hopeless is not None and need.any():
            need &= ~self._hopeless(self.right / self._total, self._most())
        return bool(need[list(positions)].any())

    def _most(self) -> Floats:
        return (self._total - self.seen + self.right) / self._total  # type: ignore[no-any-return]
