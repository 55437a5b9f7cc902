"""The search over tilings with the cost model: all of them where they are few, else from many good starts downhill.

Nothing is sampled that the structure already settles: loop orders follow from the tiling (`model`), and the starts are tilings
whose spatial loops fill the array best. From each start the search moves one dimension's iterations between two slots, and pairs
of such moves of two dimensions, which is what a full buffer asks for (one grows, the other makes room).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray

from hwloop.mapper.factors import FactorTable
from hwloop.mapper.model import CostModel, Estimate
from hwloop.mapper.objective import Array, Objective, objective_values

FITS = 1.0 + 1e-9
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Effort:
    """How hard to look.

    Attributes:
        exhaustive: tilings up to which all are costed.
        starts: tilings that are costed to choose the climbers from.
        climbers: how many climb.
        rounds: steps of a climber at most.
        pairs: best single moves of a climber that are combined in pairs.
        shortlist: tilings that the simulator costs.
        patterns: keep patterns that are tried, where bypass is free.
        table: rows of a dimension's table with imperfect factors.
    """

    exhaustive: int
    starts: int
    climbers: int
    rounds: int
    pairs: int
    shortlist: int
    patterns: int
    table: int


EFFORTS = {
    "quick": Effort(10_000, 1024, 4, 6, 8, 16, 4, 300),
    "normal": Effort(40_000, 4096, 10, 16, 16, 48, 12, 600),
    "thorough": Effort(1_000_000, 32_768, 64, 60, 40, 256, 64, 3000),
}


@dataclass
class Archive:
    """The best tilings seen, each once.

    Attributes:
        size: how many are held.
        rows: `(held, dimension)`.
        pattern: `(held,)` number of the keep pattern.
        score: `(held,)` estimated objective.
        rests: `(held, level)` data space that rests.
        evaluated: how many tilings were costed.
    """

    size: int
    rows: Rows
    pattern: NDArray[np.int64]
    score: Array
    rests: NDArray[np.int64]
    evaluated: int = 0
    seen: set[bytes] = field(default_factory=set)

    @classmethod
    def empty(cls, size: int, dimensions: int, levels: int) -> Archive:
        """Nothing seen yet."""
        whole = np.zeros((0, dimensions), np.int64)
        return cls(size, whole, np.zeros(0, np.int64), np.zeros(0), np.zeros((0, levels), np.int64))

    def add(self, rows: Rows, pattern: int, score: Array, estimate: Estimate) -> None:
        """Takes in what is better than what is held."""
        self.evaluated += len(rows)
        limit = self.score[-1] if len(self.score) == self.size else np.inf
        better = np.flatnonzero(score < limit)
        if len(better) > self.size:
            better = better[np.argpartition(score[better], self.size - 1)[: self.size]]
        better = better[np.argsort(score[better], kind="stable")]
        fresh = []
        for i in better:
            key = bytes([pattern % 256, pattern // 256]) + rows[i].tobytes()
            if key not in self.seen:
                self.seen.add(key)
                fresh.append(i)
        if not fresh:
            return
        at = np.array(fresh)
        rests = np.zeros((len(at), self.rests.shape[1]), np.int64)
        for level, which in estimate.rests.items():
            rests[:, level] = which[at]
        score_all = np.concatenate([self.score, score[at]])
        order = np.argsort(score_all, kind="stable")[: self.size]
        self.rows = np.concatenate([self.rows, rows[at]])[order]
        self.pattern = np.concatenate([self.pattern, np.full(len(at), pattern)])[order]
        self.rests = np.concatenate([self.rests, rests])[order]
        self.score = score_all[order]


class TilingSearch:
    """Finds tilings of low estimated objective.

    Args:
        model: costs tilings.
        objective: what is minimised.
        effort: how hard to look.
        seed: of the random part; the same seed gives the same answer.
    """

    def __init__(self, model: CostModel, objective: Objective, effort: Effort, seed: int) -> None:
        self.model, self.objective, self.effort = model, objective, effort
        self.rng = np.random.default_rng(seed)
        self.tables = model.tables
        self.archive = Archive.empty(effort.shortlist, len(self.tables), model.n_levels)
        self.overflow: Array = np.zeros(0)
        self._near: dict[tuple[int, int], NDArray[np.int64]] = {}

    def run(self, patterns: tuple[NDArray[np.bool_], ...], starts: Rows) -> Archive:
        """Searches under each keep pattern.

        Args:
            patterns: `(level, data space)` each.
            starts: `(n, dimension)` known good tilings, e.g. a neighbour's; may be none.
        """
        self.patterns = patterns
        if prod(len(t) for t in self.tables) * len(patterns) <= self.effort.exhaustive:
            for p in range(len(patterns)):
                self._enumerate(p)
        else:
            self._explore(starts)
        return self.archive

    def _score(self, rows: Rows, pattern: int) -> tuple[Array, Array]:
        """Estimated objective and overflow; what does not fit scores infinity and enters no archive."""
        estimate = self.model.evaluate(rows, self.patterns[pattern])
        value, tie = objective_values(self.objective, estimate)
        value = value * (1.0 + 1e-9 * np.log(np.maximum(tie, 1.0)))
        score = np.where(estimate.overflow <= FITS, value, np.inf)
        self.archive.add(rows, pattern, score, estimate)
        return np.where(estimate.overflow <= FITS, value, value * 1e6 * estimate.overflow**8), estimate.overflow

    def _enumerate(self, pattern: int) -> None:
        shape = tuple(len(t) for t in self.tables)
        for start in range(0, prod(shape), 8192):
            numbers = np.arange(start, min(start + 8192, prod(shape)))
            self._score(np.stack(np.unravel_index(numbers, shape), axis=1), pattern)

    def _explore(self, known: Rows) -> None:
        rows = np.concatenate([known, self._starts(self.effort.starts)])
        climbers: list[tuple[float, int, Rows]] = []
        share = max(len(rows) // len(self.patterns), 256) if len(self.patterns) > 1 else len(rows)
        for p in range(len(self.patterns)):
            part = rows if p == 0 else rows[self.rng.permutation(len(rows))[:share]]
            score, _ = self._score(part, p)
            best = np.argsort(score, kind="stable")[: self.effort.climbers]
            climbers += [(float(score[i]), p, part[i]) for i in self._different(part[best], best)]
        climbers.sort(key=lambda c: c[0])
        self._climb(climbers[: self.effort.climbers])

    def _different(self, rows: Rows, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        _, first = np.unique(rows, axis=0, return_index=True)
        return np.asarray(numbers[np.sort(first)])

    def _starts(self, n: int) -> Rows:
        """Tilings to begin with: half with spatial loops that fill the array best, half at random."""
        groups = [_spatial_groups(t, self.model) for t in self.tables]
        combos = self._spatial_combos([g[0] for g in groups])
        out = np.empty((n, len(self.tables)), np.int64)
        random_part = n // 4
        for d, table in enumerate(self.tables):
            out[:random_part, d] = self.rng.integers(len(table), size=random_part)
            picks = combos[np.arange(n - random_part) % len(combos), d]
            u = self.rng.random(n - random_part)
            members, offsets, counts = groups[d][1]
            out[random_part:, d] = members[offsets[picks] + (u * counts[picks]).astype(np.int64)]
        return out

    def _spatial_combos(self, uses: list[Array]) -> NDArray[np.int64]:
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

    def _neighbours(self, d: int, row: int) -> NDArray[np.int64]:
        """Rows of a dimension's table that differ from `row` in at most two slots."""
        if (d, row) not in self._near:
            table = self.tables[d]
            signed = np.where(table.on_y, -table.bounds, table.bounds)
            moved = (signed != signed[row]).sum(1)
            self._near[d, row] = np.flatnonzero((moved > 0) & (moved <= 2))
        return self._near[d, row]

    def _climb(self, climbers: list[tuple[float, int, Rows]]) -> None:
        active = climbers
        visited: set[bytes] = {bytes([c[1]]) + c[2].tobytes() for c in climbers}
        for _ in range(self.effort.rounds):
            if not active:
                return
            moved: list[tuple[float, int, Rows]] = []
            for p in sorted({c[1] for c in active}):
                moved += self._step([c for c in active if c[1] == p], p)
            active = []
            for climber in sorted(moved, key=lambda c: c[0]):
                key = bytes([climber[1]]) + climber[2].tobytes()
                if key not in visited:
                    visited.add(key)
                    active.append(climber)

    def _step(self, climbers: list[tuple[float, int, Rows]], pattern: int) -> list[tuple[float, int, Rows]]:
        """Where each climber goes next: its best neighbour, left out where none is better."""
        singles = [self._single_moves(c[2]) for c in climbers]
        owner = np.repeat(np.arange(len(climbers)), [len(s[0]) for s in singles])
        base = np.stack([c[2] for c in climbers])[owner]
        dims, values = np.concatenate([s[0] for s in singles]), np.concatenate([s[1] for s in singles])
        base[np.arange(len(base)), dims] = values
        if len(base) == 0:
            return []
        score, overflow = self._score(base, pattern)
        raw = np.where(overflow <= FITS, score, score / (1e6 * np.maximum(overflow, 1.0) ** 8))
        pairs, pair_owner = [], []
        for k, climber in enumerate(climbers):
            mine = np.flatnonzero(owner == k)
            best = np.concatenate([mine[np.argsort(raw[mine], kind="stable")[: self.effort.pairs]],
                                   mine[np.argsort(score[mine], kind="stable")[: self.effort.pairs]]])  # fmt: skip
            best = np.unique(best)
            a, b = np.triu_indices(len(best), 1)
            a, b = best[a], best[b]
            other = dims[a] != dims[b]
            a, b = a[other], b[other]
            rows = np.repeat(climber[2][None], len(a), axis=0)
            rows[np.arange(len(a)), dims[a]] = values[a]
            rows[np.arange(len(a)), dims[b]] = values[b]
            pairs.append(rows)
            pair_owner.append(np.full(len(a), k))
        both, who = np.concatenate(pairs), np.concatenate(pair_owner)
        if len(both):
            pair_score, _ = self._score(both, pattern)
            base, owner, score = np.concatenate([base, both]), np.concatenate([owner, who]), np.concatenate([score, pair_score])
        out = []
        for k, climber in enumerate(climbers):
            mine = np.flatnonzero(owner == k)
            best_one = mine[np.argmin(score[mine])]
            if score[best_one] < climber[0]:
                out.append((float(score[best_one]), pattern, base[best_one]))
        return out

    def _single_moves(self, row: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        near = [self._neighbours(d, int(row[d])) for d in range(len(self.tables))]
        return np.repeat(np.arange(len(near)), [len(n) for n in near]), np.concatenate(near)


def _spatial_groups(
    table: FactorTable, model: CostModel
) -> tuple[Array, tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """A table's rows grouped by their spatial loops.

    Returns:
        `(group, axis)` spread along each axis of each fan-out, and (rows by group, where each group starts, its size).
    """
    columns = []
    for slot in model.spatial.values():
        columns += [np.where(table.on_y[:, slot], 1, table.bounds[:, slot]), np.where(table.on_y[:, slot], table.bounds[:, slot], 1)]
    if not columns:
        n = len(table)
        return np.ones((1, 0)), (np.arange(n), np.zeros(1, np.int64), np.array([n]))
    uses, inverse, counts = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True, return_counts=True)
    members = np.argsort(inverse.ravel(), kind="stable")
    return uses.astype(np.float64), (members, np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
