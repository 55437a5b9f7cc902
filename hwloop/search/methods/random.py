"""Random search: the yardstick for every other method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwloop.errors import SpecError
from hwloop.search.integer import IntegerProblem
from hwloop.search.operators import sample
from hwloop.search.space import Space
from hwloop.search.study import Study


@dataclass(frozen=True)
class Random:
    """Draws rows, the space's starting points first.

    Attributes:
        evaluations: candidates to draw; those drawn before count too.
        batch: candidates evaluated at a time.
        anchored: whether to begin with the space's starting points and to draw every second row level within its groups;
            otherwise every variable is drawn on its own.
    """

    name: ClassVar[str] = "random"
    evaluations: int = 1000
    batch: int = 40
    anchored: bool = True

    def __post_init__(self) -> None:
        for name in ("evaluations", "batch"):
            if getattr(self, name) < 1:
                raise SpecError("<arguments>", f"method option {name}", "1 or more", getattr(self, name))

    def expected(self) -> int:
        """Candidates that it asks for."""
        return self.evaluations

    def run(self, study: Study, space: Space) -> None:
        """Draws and evaluates."""
        problem, rng = IntegerProblem(study, space), np.random.default_rng(study.seed)
        if self.anchored:
            rows = sample(self.evaluations, problem.lower, problem.upper, problem.groups, problem.anchors, rng)
        else:
            rows = rng.integers(problem.lower, problem.upper + 1, (self.evaluations, len(problem.lower)))
        batches = [rows[i : i + self.batch] for i in range(0, len(rows), self.batch)]
        for batch in batches:
            study.step(problem.records(batch), len(batches))
