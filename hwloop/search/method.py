"""The seam for search methods: a problem on integer arrays, and what a method must do. A method is one module.

To add a method (reinforcement learning, GeneCAI, ...): write a module with a class that has `name` and `run`, and name it in
`hwloop.search.methods`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Genes = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SearchProblem:
    """A problem on whole numbers.

    Attributes:
        lower, upper: `(n_var,)` ends of each variable, inclusive.
        n_obj: objectives, all minimised.
        n_constr: constraints, feasible where `G <= 0`.
        evaluate: `(n, n_var)` int to `F (n, n_obj)` and `G (n, n_constr)`; the same row always gives the same numbers.
        anchors: `(k, n_var)` starting points.
        groups: (from, to) columns of the same kind.
    """

    lower: Genes
    upper: Genes
    n_obj: int
    n_constr: int
    evaluate: Callable[[Genes], tuple[Floats, Floats]]
    anchors: Genes
    groups: tuple[tuple[int, int], ...]

    @property
    def n_var(self) -> int:
        """Number of variables."""
        return len(self.lower)


@dataclass(frozen=True)
class SearchBudget:
    """How long a method may look.

    Attributes:
        population: candidates held at a time.
        generations: how often the population is renewed, the first included; `population * generations` bounds the evaluations.
    """

    population: int = 40
    generations: int = 25


@dataclass(frozen=True)
class Step:
    """Where a method stands.

    Attributes:
        generation: from 1.
        generations: how many there will be.
        F: `(n, n_obj)` of the candidates it holds.
        G: `(n, n_constr)`.
    """

    generation: int
    generations: int
    F: Floats
    G: Floats


OnStep = Callable[[Step], None]


class SearchMethod(Protocol):
    """A search method. It asks `problem.evaluate` for everything it needs; the caller keeps what was evaluated.

    The result depends on the problem and the seed alone, so that a run that is started again and answered from its log ends
    the same.
    """

    @property
    def name(self) -> str:
        """As a user writes it."""
        ...

    def run(self, problem: SearchProblem, budget: SearchBudget, seed: int, on_step: OnStep | None = None) -> None:
        """Evaluates candidates until the budget is used up."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """Plain data: what its choices depend on beside the problem, the budget and the seed."""
        ...
