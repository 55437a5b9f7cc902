"""A study over a space, as methods on integer arrays see it: rows in, objectives and violations out."""

from __future__ import annotations

import numpy as np

from hwloop.search.records import Record
from hwloop.search.seams import Floats
from hwloop.search.space import Genes, Space
from hwloop.search.study import Study


class IntegerProblem:
    """Rows of whole numbers in, `F` and `G` out.

    Attributes:
        lower, upper: `(n_var,)` ends of each variable, inclusive.
        groups: (from, to) columns of the same kind.
        anchors: `(k, n_var)` starting points.
        n_obj: objectives, all minimised.
        n_constr: constraints, feasible where `G <= 0`.
        evaluated: rows that were asked for, as tuples.
    """

    def __init__(self, study: Study, space: Space) -> None:
        self.study, self.space = study, space
        self.lower, self.upper, self.groups = space.lower, space.upper, space.groups
        self.anchors = np.asarray(space.anchors(), np.int64).reshape(-1, len(space.lower))
        self.evaluated: set[tuple[int, ...]] = set()
        self.n_obj, self.n_constr = len(study.objectives), 1 + len(study.budgets)

    def evaluate(self, X: Genes, race: bool = False) -> tuple[Floats, Floats]:
        """`(n, n_var)` int to `F (n, n_obj)` and `G (n, n_constr)`; `race` as in `Study.evaluate`.

        Raises:
            BudgetSpent: the study's budget is used up.
        """
        records = self.records(X, race)
        return self.study.to_f(records), self.study.to_g(records)

    def records(self, X: Genes, race: bool = False) -> list[Record]:
        """The record of each row.

        Raises:
            BudgetSpent: the study's budget is used up.
        """
        self.evaluated.update(tuple(row) for row in X.tolist())
        return self.study.evaluate([self.space.plan(row) for row in X], race=race)
