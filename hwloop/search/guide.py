"""What single layers' damages and costs add to an evolutionary search: first candidates, children, and a filter of children."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwloop.search.paths import cost_metrics, explore, measure_bases, path, table_images, weightings
from hwloop.search.predictor import Predictor
from hwloop.search.proposals import Proposer
from hwloop.search.space import Genes, Space
from hwloop.search.study import Study
from hwloop.search.units import UnitSpace


@dataclass(frozen=True, eq=False)
class Guide:
    """The help of the tables.

    Attributes:
        seeds: `(k, n_var)` evaluated rows to begin with; k may be 0.
        proposer: moves rows along the tables.
        predictor: of candidates, from the tables and what was evaluated.
    """

    seeds: Genes
    proposer: Proposer
    predictor: Predictor


def make_guide(study: Study, space: Space, seeds: int, bases: int, images: int) -> Guide | None:
    """Measures the tables and evaluates `seeds` candidates on the knapsack's paths.

    Args:
        study: who answers, and whose budget counts.
        space: where candidates come from.
        seeds: how many to evaluate; may be 0.
        bases: base networks that are measured.
        images: for each damage.

    Returns:
        None where the space has no units, the budget's images are too few for the tables, or no base fits a mapping.

    Raises:
        BudgetSpent: before all seeds were evaluated.
    """
    if not isinstance(space, UnitSpace) or not table_images(study, space, bases, images):
        return None
    metrics = cost_metrics(study.objectives, study.budgets)
    weighted = weightings(metrics)
    tables = measure_bases(study, space, bases, images)
    if not tables:
        return None
    rows = np.zeros((0, len(space.lower)), np.int64)
    if seeds:
        rows = explore(study, space, [path(each, weights) for weights in weighted for each in tables], seeds)
    proposer = Proposer(tables, weighted)
    return Guide(rows, proposer, Predictor(study, proposer, metrics))
