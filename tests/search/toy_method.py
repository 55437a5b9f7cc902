"""A method of a user's own, in one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwloop.search.space import Space
from hwloop.search.study import Study


@dataclass(frozen=True)
class Climb:
    """Moves one variable at a time, keeps where it stands, goes on from there."""

    name: ClassVar[str] = "climb"
    steps: int = 30
    stride: int = 1

    def expected(self) -> int:
        return self.steps

    def run(self, study: Study, space: Space) -> None:
        kept = study.kept()
        at, here = (0, (space.lower + space.upper) // 2) if kept is None else (kept[0], np.frombuffer(kept[1:], np.int64))
        for step in range(at, self.steps):
            rng = np.random.default_rng((study.seed, step))
            there = here.copy()
            there[rng.integers(len(there))] += rng.choice((-self.stride, self.stride))
            there = np.clip(there, space.lower, space.upper)
            records = study.evaluate([space.plan(here), space.plan(there)])
            better = study.to_f(records).sum(axis=1)
            here = there if better[1] <= better[0] else here
            study.step(records, self.steps)
            study.keep(bytes([step + 1]) + here.tobytes())
