"""Fronts before any search: the paths of the knapsack over a space's tables, and which candidates on them to evaluate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hwloop.errors import SpecError
from hwloop.pareto import non_dominated
from hwloop.search.knapsack import sweep, totals
from hwloop.search.measured_tables import CAP, measure_tables, most_measurements
from hwloop.search.objectives import Budget, Objective
from hwloop.search.records import Record
from hwloop.search.space import Genes
from hwloop.search.study import Study
from hwloop.search.unit_tables import Floats, UnitTables, additive
from hwloop.search.units import UnitSpace, base_rows, canonical

LEAST_IMAGES = 16  # of one damage
SHARE = 0.25  # of the budget's images, at most, that tables may take
_HOPELESS = 2.0  # damage [nats] at which a path's first look ends


@dataclass(frozen=True, eq=False)
class Path:
    """Candidates of one base from the least damage to the least cost.

    Attributes:
        rows: `(n, n_var)`, canonical and distinct.
        damage: `(n,)` as the tables have it, rising.
        cost: `(n,)` weighted, as a part of the base's, falling.
    """

    rows: Genes
    damage: Floats
    cost: Floats


def cost_metrics(objectives: Sequence[Objective], budgets: Sequence[Budget]) -> tuple[str, ...]:
    """What candidates cost: the metrics of objectives and budgets that are no accuracy; energy where there are none."""
    every = [*objectives, *(budget.objective for budget in budgets)]
    return tuple(dict.fromkeys(o.metric for o in every if not o.maximise)) or ("energy_pj",)


def table_images(study: Study, space: UnitSpace, bases: int, wanted: int) -> int:
    """How many images each damage may look at: as wanted, or what a quarter of the budget's images allows; 0 when too few."""
    if study.images_left is None:
        return wanted
    most = int(SHARE * study.images_left) // _most_measurements(space, bases)
    images = min(wanted, most)
    return images if images >= LEAST_IMAGES else 0


def measure_bases(study: Study, space: UnitSpace, bases: int, images: int) -> list[UnitTables]:
    """The tables of at most `bases` base networks, without those that fit no mapping.

    They are spread evenly over the bases that still do what the mildest does, about: tables of a network that is lost already
    would say nothing.

    Raises:
        SpecError: the budget's images are too few.
    """
    each = table_images(study, space, bases, images)
    if not each:
        needed = int(LEAST_IMAGES * _most_measurements(space, bases) / SHARE)
        hint = "or measure fewer bases (method option bases), or allow fewer choices"
        raise SpecError("<arguments>", "images", f"{needed} or more, of which a quarter measure layers", study.images_left, hint)
    rows = base_rows(space)
    first, *others = [space.plan(row) for row in rows]
    lost = study.divergences(others, first, each)
    alive = [0, *(at for at, damage in enumerate(lost, 1) if damage < CAP)]
    chosen = sorted({alive[round(at)] for at in np.linspace(0, len(alive) - 1, min(bases, len(alive)))})
    metrics = tuple(dict.fromkeys(m for name in cost_metrics(study.objectives, study.budgets) for m in additive(name)))
    tables = [measure_tables(study, space, rows[at], metrics, each) for at in chosen]
    return [table for table in tables if np.isfinite(list(table.base_costs.values())).all()]


def _most_measurements(space: UnitSpace, bases: int) -> int:
    """How many divergences the tables of as many bases take at most."""
    every = base_rows(space)
    return max(min(bases, len(every)) * most_measurements(space) + len(every) - 1, 1)


def weightings(metrics: Sequence[str]) -> list[dict[str, float]]:
    """Weights of the costs that paths are made for: each alone, and all alike."""
    each = [{metric: 1.0} for metric in metrics]
    return each if len(metrics) == 1 else [dict.fromkeys(metrics, 1.0 / len(metrics)), *each]


def path(tables: UnitTables, weights: Mapping[str, float]) -> Path:
    """The sweep of one base for one weighting of the costs."""
    costs = tables.weighted(weights)
    picks = sweep(costs, tables.damages)
    rows = canonical(tables.space, tables.rows(picks))
    keep = sorted(np.unique(rows, axis=0, return_index=True)[1].tolist())
    total = totals(costs, picks) + sum(weights[name] * len(additive(name)) for name in weights)
    return Path(rows[keep], tables.damage(picks)[keep], np.maximum(total[keep], 1e-9))


def explore(
    study: Study,
    space: UnitSpace,
    paths: Sequence[Path],
    count: int,
    batch: int = 4,
    on_batch: Callable[[], None] = lambda: None,
) -> Genes:
    """Evaluates about `count` candidates on the paths where they are worth most, and returns their rows.

    The ends of each path first, then again and again the middle of the stretch in which a candidate could add the most to the
    front: the drop of accuracy over it times its fall in cost (as a factor), nothing where the better end of all its objectives
    is dominated already.

    Raises:
        BudgetSpent: after those that the budget allowed.
    """
    known: dict[tuple[int, int], Record] = {}
    asked = [(p, at) for p, each in enumerate(paths) for at in _ends(each)][:count]
    while asked:
        plans = [space.plan(paths[p].rows[at]) for p, at in asked]
        known |= dict(zip(asked, study.evaluate(plans), strict=True))
        on_batch()
        distinct = len({record.key for record in known.values()})
        asked = _most_worth(study, paths, known, min(batch, count - distinct))
    rows = np.array([paths[p].rows[at] for p, at in known], np.int64)
    return np.unique(rows.reshape(len(known), len(space.lower)), axis=0)


def _ends(path: Path) -> list[int]:
    """The mildest candidate and the first that is hopeless, or the last."""
    hopeless = np.flatnonzero(path.damage >= _HOPELESS)
    return sorted({0, int(hopeless[0]) if len(hopeless) else len(path.rows) - 1})


def _most_worth(
    study: Study, paths: Sequence[Path], known: Mapping[tuple[int, int], Record], count: int
) -> list[tuple[int, int]]:
    """The middles of the most promising stretches."""
    F = study.to_f(list(known.values()))
    front = F[non_dominated(F)]
    found = []
    for p, each in enumerate(paths):
        places = sorted(at for q, at in known if q == p)
        for low, high in pairwise(places):
            if high - low < 2:
                continue
            ends = [known[p, low], known[p, high]]
            best = study.to_f(ends).min(axis=0)
            if ((front <= best).all(axis=1) & (front < best).any(axis=1)).any():
                continue
            drop = max(ends[0].metrics["accuracy"] - ends[1].metrics["accuracy"], 0.0)
            logs = np.log(each.cost[low : high + 1])
            middle = low + 1 + int(np.abs(logs[1:-1] - (logs[0] + logs[-1]) / 2).argmin())
            found.append((-drop * float(logs[0] - logs[-1]), p, middle))
    return [(p, at) for _, p, at in sorted(found)[: max(count, 0)]]
