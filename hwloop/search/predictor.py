"""What candidates will probably be, from the tables and from what was evaluated: accuracy by damage, costs by the tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwloop.search.knapsack import Picks
from hwloop.search.objectives import to_f, to_g
from hwloop.search.proposals import Proposer
from hwloop.search.records import Record
from hwloop.search.space import Genes
from hwloop.search.study import Study
from hwloop.search.unit_tables import Floats

_LEAST = 6  # candidates of one base from which its own line is drawn


class Predictor:
    """Predicts `F` and `G` of rows.

    Accuracy is taken to fall with damage, base by base: isotonic regression over what was evaluated. Costs are the tables',
    times what the tables were wrong by, in the median, for what was evaluated.

    Args:
        study: whose records it learns from.
        proposer: has the tables.
        metrics: that candidates cost.
    """

    def __init__(self, study: Study, proposer: Proposer, metrics: Sequence[str]) -> None:
        self._study, self._proposer, self._metrics = study, proposer, tuple(metrics)
        self._rows: dict[str, tuple[int, ...]] = {}

    def predict(self, X: Genes) -> tuple[Floats, Floats]:
        """`F (n, n_obj)` and `G (n, 1 + n_budgets)` as they are expected."""
        records = [r for r in self._study.records if not r.how and {"accuracy", "energy_pj"} <= r.metrics.keys()]
        known = self._known(records)
        at, damage = self._proposer.expected(X)
        metrics = {"accuracy": self._accuracy(records, known, at, damage)}
        for metric in self._metrics:
            found = np.array([record.metrics[metric] for record in records])
            wrong = np.median(found / self._proposer.cost(metric, known)) if len(records) else 1.0
            metrics[metric] = self._proposer.cost(metric, X) * (wrong if np.isfinite(wrong) else 1.0)
        entries = []
        for i in range(len(X)):
            entry = {name: float(values[i]) for name, values in metrics.items() if np.isfinite(values[i])}
            fits = all(name in entry for name in self._metrics)
            entries.append({"energy_pj": 0.0, **entry} if fits else {"accuracy": entry["accuracy"]})
        return to_f(entries, self._study.objectives), to_g(entries, self._study.budgets)

    def _known(self, records: Sequence[Record]) -> Genes:
        """`(n, n_var)` rows of records."""
        for record in records:
            if record.plan.key not in self._rows:
                self._rows[record.plan.key] = self._proposer.space.row(record.plan)
        rows = [self._rows[record.plan.key] for record in records]
        return np.array(rows, np.int64).reshape(len(records), len(self._proposer.space.lower))

    def _accuracy(self, records: Sequence[Record], known: Genes, at: Picks, damage: Floats) -> Floats:
        accuracy = np.array([record.metrics["accuracy"] for record in records])
        of, have = self._proposer.expected(known)
        out = np.zeros(len(at))
        for base in set(at.tolist()):
            mine = of == base if (of == base).sum() >= _LEAST else np.ones(len(of), bool)
            wanted = at == base
            out[wanted] = falling(have[mine], accuracy[mine], damage[wanted])
        return out


def falling(x: Floats, y: Floats, at: Floats) -> Floats:
    """Isotonic regression of y, falling with x (pool adjacent violators, Barlow et al., 1972), read off between its blocks.

    Args:
        x, y: `(n,)` seen; with none of them the answer falls with `at` itself.
        at: `(m,)` where to read it off.
    """
    if not len(x):
        return -at
    blocks: list[list[float]] = []  # sum of y, sum of x, count
    for i in np.lexsort((-y, x)).tolist():
        blocks.append([float(y[i]), float(x[i]), 1.0])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][2] <= blocks[-1][0] / blocks[-1][2]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    centres = np.array([block[1] / block[2] for block in blocks])
    read: Floats = np.interp(at, centres, np.array([block[0] / block[2] for block in blocks]))
    return read
