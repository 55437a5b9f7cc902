"""The one adapter between hwloop's `SearchProblem` and pymoo's `Problem`."""

from __future__ import annotations

from typing import Any

import numpy as np
from pymoo.core.problem import Problem

from hwloop.search.method import SearchProblem


class PymooProblem(Problem):  # type: ignore[misc]
    """A `SearchProblem` as pymoo sees it; whole populations at a time."""

    def __init__(self, problem: SearchProblem) -> None:
        super().__init__(
            n_var=problem.n_var, n_obj=problem.n_obj, n_ieq_constr=problem.n_constr, xl=problem.lower, xu=problem.upper, vtype=int
        )
        self.wrapped = problem

    def _evaluate(self, X: Any, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        F, G = self.wrapped.evaluate(np.asarray(X).astype(np.int64))
        out["F"] = F
        if self.wrapped.n_constr:
            out["G"] = G
