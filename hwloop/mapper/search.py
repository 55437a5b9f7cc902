"""The search over tilings with the cost model: all of them where they are few, else from many good starts downhill.

Nothing is sampled that the structure already settles: loop orders follow from the tiling (`model`), and the starts are tilings
whose spatial loops fill the array best. From each start the search moves one dimension's iterations between two slots, and pairs
of such moves of two dimensions, which is what a full buffer asks for (one grows, the other makes room). Where it is free
what the levels keep, it starts anew from the best point of many such choices (`basins`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np

from hwloop.mapper.basins import Basins
from hwloop.mapper.factors import FactorTable
from hwloop.mapper.genes import Archive, Genes, Ints
from hwloop.mapper.mapspace import Mapspace
from hwloop.mapper.model import CostModel
from hwloop.mapper.objective import Objective, objective_values
from hwloop.mapper.view import Array

FITS = 1.0 + 1e-9
# where keeps are free: so many steps before only the best climbers go on; so many times the climbers start anew in a restart; so
# many restarts in a row without gain end the search
FIRST_STEPS, SHAKES, PATIENCE = 4, 2, 6


@dataclass(frozen=True)
class Effort:
    """How hard to look.

    Attributes:
        exhaustive: tilings up to which all are costed.
        starts: tilings that are costed to choose the climbers from.
        climbers: how many climb.
        heats: so many times the climbers take the first steps where keeps are free; few restarts need more.
        rounds: steps of a climber at most.
        pairs: best single moves of a climber that are combined in pairs.
        shortlist: tilings that the simulator costs.
        restarts: how often the best are shaken and climb again, at most; two without gain are enough.
        table: rows of a dimension's table with imperfect factors.
        imperfect: steps that the simulator may walk to cost mappings with imperfect factors; 0 leaves them out.
    """

    exhaustive: int
    starts: int
    climbers: int
    heats: int
    rounds: int
    pairs: int
    shortlist: int
    restarts: int
    table: int
    imperfect: int


EFFORTS = {
    "quick": Effort(10_000, 1536, 6, 5, 12, 8, 16, 1, 300, 0),
    "normal": Effort(40_000, 4096, 10, 3, 30, 12, 48, 8, 2000, 3000),
    "thorough": Effort(1_000_000, 32_768, 48, 3, 100, 20, 256, 12, 3000, 100_000),
}


@dataclass
class _Climbers:
    points: Ints
    score: Array

    def __getitem__(self, which: Ints) -> _Climbers:
        return _Climbers(self.points[which], self.score[which])


class TilingSearch:
    """Finds points of low estimated objective.

    Args:
        space: the mapspace.
        model: costs tilings.
        objective: what is minimised.
        effort: how hard to look.
        seed: of the random part; the same seed gives the same answer.
    """

    def __init__(self, space: Mapspace, model: CostModel, objective: Objective, effort: Effort, seed: int) -> None:
        self.model, self.objective, self.effort = model, objective, effort
        self.rng = np.random.default_rng(seed)
        self.tables = model.tables
        self.genes = Genes(space, model.tables)
        if self.genes.columns:  # more kinds of dataflow to choose from
            self.effort = replace(effort, climbers=2 * effort.climbers, restarts=effort.restarts + effort.restarts // 2)
        self._groups = [_spatial_groups(t, model) for t in self.tables]
        width = len(self.genes.sizes)
        self.archive = Archive(
            effort.shortlist, np.zeros((0, width), np.int64), np.zeros(0), np.zeros((0, model.n_levels), np.int64)
        )

    @cached_property
    def _combos(self) -> Ints:
        return self._spatial_combos([uses for uses, _, _ in self._groups])

    @cached_property
    def _basins(self) -> Basins:
        return Basins(self.genes, [rows for _, rows, _ in self._groups], self._combos, self.rng)

    def run(self, starts: Ints) -> Archive:
        """Searches the mapspace.

        Args:
            starts: `(n, gene)` known good points, e.g. a neighbour's; may be none.
        """
        size = prod(self.genes.sizes)
        if size <= self.effort.exhaustive:
            for start in range(0, size, 8192):
                numbers = np.arange(start, min(start + 8192, size))
                self._score(np.stack(np.unravel_index(numbers, self.genes.sizes), axis=1))
            return self.archive
        points = np.concatenate([starts, self.starts(self.effort.starts)])
        score, _ = self._score(points)
        best = self._different(points, np.argsort(score, kind="stable"))
        climbers = _Climbers(points[best], score[best])
        if self.genes.columns:  # the first steps tell more than the start does
            climbers = self._climb(climbers, FIRST_STEPS)
            climbers = climbers[np.argsort(climbers.score, kind="stable")[: self.effort.climbers]]
        self._climb(climbers, self.effort.rounds)
        without_gain = 0
        patience = PATIENCE if self.genes.columns else 2
        for _ in range(self.effort.restarts):
            before = self.archive.score[0] if len(self.archive.score) else np.inf
            self._climb(self._shaken(), self.effort.rounds)
            without_gain = without_gain + 1 if len(self.archive.score) and self.archive.score[0] >= before else 0
            if without_gain == patience:
                break
        return self.archive

    def _different(self, points: Ints, ranked: Ints) -> Ints:
        """The best points, one for each way to use the array: the others would climb to the same place."""
        kinds = np.stack([group[points[ranked, d]] for d, (_, _, group) in enumerate(self._groups)], axis=1)
        _, first = np.unique(kinds, axis=0, return_index=True)
        return ranked[np.sort(first)[: self.effort.climbers * (self.effort.heats if self.genes.columns else 1)]]

    def _score(self, points: Ints) -> tuple[Array, Array]:
        """Estimated objective, punished where a point does not fit by how much (and then in no archive), and unpunished."""
        estimate = self.model.evaluate(self.genes.rows(points), self.genes.keep(points))
        value, tie = objective_values(self.objective, estimate)
        value = value + np.abs(value) * 1e-9 * np.log(np.maximum(tie, 1.0))
        fits = estimate.overflow <= FITS
        self.archive.add(points, np.where(fits, value, np.inf), estimate)
        punished = value + np.maximum(np.abs(value), 1e-30) * 1e6 * np.minimum(estimate.overflow, 1e9) ** 8
        return np.where(fits, value, punished), value

    def starts(self, n: int) -> Ints:
        """Points to begin with: most with spatial loops that fill the array best, the rest at random."""
        groups, combos = self._groups, self._combos
        out = np.empty((n, len(self.genes.sizes)), np.int64)
        random_part = n // 4
        small = self.rng.choice([0.0, 0.5, 0.9], size=n - random_part)
        for d, table in enumerate(self.tables):
            out[:random_part, d] = self.rng.integers(len(table), size=random_part)
            picks = combos[np.arange(n - random_part) % len(combos), d]
            u = self.rng.random(n - random_part)
            members, offsets, counts = groups[d][1]
            at = (u * counts[picks]).astype(np.int64)
            # members of a group come with the smallest inner tiles first: those nearly always fit
            at = np.where(self.rng.random(n - random_part) < small, np.minimum(at, counts[picks] // 8), at)
            out[random_part:, d] = members[offsets[picks] + at]
        out[:, len(self.tables) :] = self.genes.random_keeps(self.rng, n)
        return out

    def _shaken(self) -> _Climbers:
        """The best points with a few genes drawn anew; where keeps are free, starts made from the best of many basins."""
        if self.genes.columns:
            points = self._basins.starts(SHAKES * self.effort.climbers)
        else:
            points = self.archive.points[: self.effort.climbers].copy()
            for _ in range(2):
                for point in points:
                    gene = int(self.rng.integers(len(self.genes.sizes)))
                    point[gene] = self.rng.integers(self.genes.sizes[gene])
        return _Climbers(points, self._score(points)[0] if len(points) else np.zeros(0))

    def _spatial_combos(self, uses: list[Array]) -> Ints:
        """Choices of a spatial pattern for every dimension that fit the fan-outs, those that use most of the array first.

        Args:
            uses: by dimension `(pattern, axis)` how far the pattern spreads along each axis of each fan-out.
        """
        rooms = np.array([self.model.compiled.fanout[level][axis] for level in self.model.spatial for axis in (0, 1)], float)
        chosen = np.zeros((1, 0), np.int64)
        used = np.ones((1, len(rooms)))
        for use in uses:
            wide = used[:, None, :] * use[None, :, :]
            ok = (wide <= rooms).all(2) if len(rooms) else np.ones(wide.shape[:2], bool)
            at = np.nonzero(ok)
            chosen = np.concatenate([chosen[at[0]], at[1][:, None]], axis=1)
            used = wide[at]
            if len(chosen) > 6000:
                order = np.argsort(-used.prod(1), kind="stable")
                rest = order[2000:]
                keep = np.concatenate([order[:2000], rest[self.rng.permutation(len(rest))[:2000]]])
                chosen, used = chosen[keep], used[keep]
        if len(chosen) == 0:  # constraints ask for more than fits; let the costs say so
            return np.zeros((1, len(uses)), np.int64)
        order = np.argsort(-used.prod(1), kind="stable")[: max(self.effort.starts // 8, 16)]
        return chosen[order]

    def _climb(self, climbers: _Climbers, rounds: int) -> _Climbers:
        """Moves every climber to its best neighbour until none is better; two that meet go on as one; those on the way."""
        visited = {p.tobytes() for p in climbers.points}
        for _ in range(rounds):
            if not len(climbers.points):
                break
            if self.genes.columns:
                self._basins.add(climbers.points, climbers.score)
            moved = self._step(climbers)
            fresh = []
            for i in np.argsort(moved.score, kind="stable"):
                key = moved.points[i].tobytes()
                if key not in visited:
                    visited.add(key)
                    fresh.append(i)
            climbers = moved[np.array(fresh, np.int64)]
        return climbers

    def _step(self, climbers: _Climbers) -> _Climbers:
        """Where each climber goes next: its best neighbour, left out where none is better."""
        singles = [self.genes.moves(p) for p in climbers.points]
        counts = np.array([len(s[0]) for s in singles])
        owner = np.repeat(np.arange(len(counts)), counts)
        genes, values = np.concatenate([s[0] for s in singles]), np.concatenate([s[1] for s in singles])
        points = climbers.points[owner]
        points[np.arange(len(points)), genes] = values
        if not len(points):
            return climbers[np.zeros(0, np.int64)]
        score, raw = self._score(points)
        starts = np.concatenate([[0], np.cumsum(counts)])
        first, second = [], []
        for k in range(len(counts)):
            part = slice(starts[k], starts[k + 1])
            good = [np.argsort(x[part], kind="stable")[: self.effort.pairs] for x in (raw, score)]
            best = np.unique(np.concatenate(good)) + starts[k]
            a, b = np.triu_indices(len(best), 1)
            first.append(best[a])
            second.append(best[b])
        a, b = np.concatenate(first), np.concatenate(second)
        other = genes[a] != genes[b]
        a, b = a[other], b[other]
        both = points[a]
        both[np.arange(len(b)), genes[b]] = values[b]
        if len(both):
            more, _ = self._score(both)
            points, owner, score = (
                np.concatenate([points, both]),
                np.concatenate([owner, owner[a]]),
                np.concatenate([score, more]),
            )
        order = np.lexsort((score, owner))
        _, leaders = np.unique(owner[order], return_index=True)
        leaders = order[leaders]
        better = score[leaders] < climbers.score[owner[leaders]]
        return _Climbers(points[leaders[better]], score[leaders[better]])


def _spatial_groups(table: FactorTable, model: CostModel) -> tuple[Array, tuple[Ints, Ints, Ints], Ints]:
    """A table's rows grouped by their spatial loops.

    Returns:
        `(group, axis)` spread along each axis of each fan-out; (rows by group, those with the smallest tiles first, where each
        group starts, its size); and the group of each row.
    """
    n = len(table)
    columns = []
    for slot in model.spatial.values():
        columns += [
            np.where(table.on_y[:, slot], 1, table.bounds[:, slot]),
            np.where(table.on_y[:, slot], table.bounds[:, slot], 1),
        ]
    if not columns:
        return np.ones((1, 0)), (np.arange(n), np.zeros(1, np.int64), np.array([n])), np.zeros(n, np.int64)
    key = np.zeros(n, np.int64)
    for column in columns:
        key = key * (int(column.max()) + 1) + column
    _, first, inverse, counts = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    uses = np.stack([column[first] for column in columns], axis=1).astype(np.float64)
    members = np.lexsort((np.log(table.extents).sum(1), inverse))
    return uses, (members, np.concatenate([[0], np.cumsum(counts)[:-1]]), counts), inverse
