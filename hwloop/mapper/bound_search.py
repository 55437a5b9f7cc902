"""Branch and bound over a mapspace: the least that any mapping in it costs.

Every node decides something of the mapping (which levels keep what, what the loop orders spare, which loop moves a window first,
which ways to spread a dimension are left) and has a convex relaxation whose least value no mapping of the node goes below
(`bound_solve`). The node with the least value is split until the least reaches the mapping that is known, or until the nodes are
spent: the least value of all that is open holds at any time.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, replace
from itertools import count
from math import prod

import numpy as np
from numpy.typing import NDArray

from hwloop.mapper.bound_leaf import Leaves, Score
from hwloop.mapper.bound_model import BoundModel, Decisions, Sum
from hwloop.mapper.bound_orders import ALL, FIRST, LEVEL, Halo, apart, barred, first_moving, order_cases, rests, unshared
from hwloop.mapper.bound_rows import make_parts
from hwloop.mapper.bound_solve import Convex, Merit, Mixture, minimise, slopes
from hwloop.mapper.bound_terms import Product, Products
from hwloop.mapper.mapspace import Mapspace
from hwloop.mapper.prices import cheapest, tile_reach
from hwloop.mapper.simulation import BatchSimulation

Array = NDArray[np.float64]
Rows = tuple[NDArray[np.int64], ...]
SAFE = 1e-9  # relative, for rounding in floating point
FEW, AT_ONCE = 4000, 40  # tilings of a node that is split by tilings first, and of one that is costed in full
WALKED_AT_ONCE = 4  # of these, tilings with incomplete passes, which take long
WALKS_A_NODE = 4  # loop nests with incomplete passes that take as long as a node


@dataclass(frozen=True)
class Node:
    """Part of the mapspace.

    Attributes:
        decided: of keeps and loop orders.
        rows: by part, the ways that are left.
        mixture: where to begin.
    """

    decided: Decisions
    rows: Rows
    mixture: Mixture | None


class BoundSearch:
    """Branch and bound on one mapspace.

    Args:
        space: the mapspace.
        simulation: the problem on the accelerator.
        imperfect: whether mappings with incomplete passes count.
    """

    def __init__(self, space: Mapspace, simulation: BatchSimulation, imperfect: bool = True) -> None:
        self.space, self.compiled = space, cheapest(simulation.compiled)
        given = [space.problem.density(s.name) for s in self.compiled.spaces] if simulation.sparse else []
        densities = [density.density for density in given if not density.level]
        prices = simulation.least_prices(self.compiled)
        self.model = BoundModel(space, self.compiled, prices, float(np.prod(densities)))
        reach = tile_reach(space, self.compiled, prices)
        self.parts = make_parts(space, self.compiled, reach, imperfect)
        self.products = Products(space, self.compiled, self.parts)
        self.cases = {level: order_cases(space, self.compiled, level) for level in range(len(self.compiled.levels))}
        self.cases = {level: cases for level, cases in self.cases.items() if cases}
        self.leaves = Leaves(space, simulation, self.parts)
        self.nodes = 0

    def root(self) -> Node:
        """The whole mapspace."""
        cases = tuple((level, cases[0] if len(cases) == 1 else None) for level, cases in self.cases.items())
        return Node(Decisions(self.space.keep, cases), tuple(np.arange(len(p)) for p in self.parts), None)

    def run(self, weights: tuple[float, float], known: float, most: int, score: Score | None = None) -> float:
        """The bound on `weights[0]` times energy [pJ] plus `weights[1]` times cycles, or on a score that is nowhere less.

        Args:
            weights: as above.
            known: what a known mapping scores.
            most: nodes at most.
            score: of energies and cycles; that sum when None.
        """
        own: Score = score or (lambda energy, cycles: weights[0] * energy + weights[1] * cycles)
        number = count()
        root = self.root()
        found = self._solve(root, weights, known, -np.inf)
        if found is None:
            return known
        heap = [(found[0], next(number), found[1])]
        spent = 1
        closed = np.inf
        enough = known * (1 - SAFE) if weights[0] else np.ceil(known) - 1 + 1e-6  # cycles are whole
        while heap and heap[0][0] < min(enough, closed) and spent < most:
            least, _, node = heapq.heappop(heap)
            exact = self._exact(node, own)
            spent, self.leaves.walked = spent + self.leaves.walked // WALKS_A_NODE, 0
            if exact is not None:
                closed = min(closed, max(least, exact))
                continue
            children = self._split(node, weights)
            if not children:
                closed = min(closed, least)
                continue
            for child in children:
                spent += 1
                found = self._solve(child, weights, known, least)
                if found is not None and found[0] < known:
                    heapq.heappush(heap, (found[0], next(number), found[1]))
        self.nodes += spent
        least = min([closed, *(entry[0] for entry in heap[:1])])
        return float(min(least, known)) * (1 - SAFE)

    def _solve(self, node: Node, weights: tuple[float, float], known: float, floor: float) -> tuple[float, Node] | None:
        """The node's bound and the node with its mixture; None where it holds no mapping."""
        rows = self._allowed(node)
        if any(not len(r) for r in rows):
            return None
        problem, logs = self._convex(node.decided, rows, weights)
        if not logs:
            energy, times = problem.values(np.zeros(len(problem.energy)))
            return max(floor, weights[0] * energy + weights[1] * float(times.max())), node
        solution = minimise(problem, logs, _local(node.mixture, rows), known)
        ways = [r[w] for r, w in zip(rows, solution.mixture.ways, strict=True)]
        return max(floor, solution.bound), replace(node, rows=rows, mixture=Mixture(ways, solution.mixture.weights))

    def _exact(self, node: Node, score: Score) -> float | None:
        """What a node of few tilings really scores, None for other nodes and where that cannot be told."""
        if _tilings(node) > AT_ONCE or any(k == -1 for row in node.decided.keep for k in row):
            return None
        uneven = _tilings(node) - prod(int((~part.cut[rows]).sum()) for part, rows in zip(self.parts, node.rows, strict=True))
        if uneven > WALKED_AT_ONCE:
            return None
        best, keep = np.inf, np.equal(node.decided.keep, 1)
        for ways in itertools.product(*node.rows):
            value = self.leaves.least([int(way) for way in ways], keep, score)
            if value is None:
                return None
            best = min(best, value)
        return best

    def _allowed(self, node: Node) -> Rows:
        """The ways that the decisions on loop orders leave."""
        cases = dict(node.decided.cases)
        banned: dict[int, set[int]] = {}  # by slot
        needed: set[tuple[int, int]] = set()
        slot_of = {s.level: i for i, s in enumerate(self.space.slots) if not s.spatial}
        for level, case in cases.items():
            if case is not None:
                banned[slot_of[level]] = set(range(len(self.compiled.bounds))) - case.allowed
        for (level, s), halo in node.decided.halos:
            at = first_moving(self.space, cases, level, s)
            case = None if at is None else cases[at]
            if at is not None and case is not None and halo.lead >= 0:
                banned[slot_of[at]] |= barred(case, self.compiled, s, halo.lead)
                banned[slot_of[at]] |= unshared(self.space, self.compiled, at, s, halo)
                needed.add((halo.lead, slot_of[at]))
        out = []
        for part, rows in zip(self.parts, node.rows, strict=True):
            ok = np.ones(len(rows), bool)
            for j, d in enumerate(part.dims):
                for slot, dims in banned.items():
                    if d in dims:
                        ok &= part.bounds[rows, j, slot] <= 1.0
                for lead, slot in needed:
                    if d == lead:
                        ok &= part.bounds[rows, j, slot] > 1.0
            out.append(rows[ok])
        return tuple(out)

    def _convex(self, decided: Decisions, rows: Rows, weights: tuple[float, float]) -> tuple[Convex, list[Array]]:
        energy, times = self.model.energy(decided), self.model.times(decided)
        rooms, axes = self.model.rooms(decided), self.model.axes()
        used: dict[Product, None] = {}
        for part in (energy, *times):
            used |= dict.fromkeys([*part.plus, *part.minus])
        for room in rooms:
            used |= dict.fromkeys(room)
        used |= dict.fromkeys(product for product, _ in axes)
        index = {product: i for i, product in enumerate(used)}
        logs = [np.stack([self.products.log(k, q)[r] for q in used]) for k, r in enumerate(rows)]
        low = np.sum([log.min(1) for log in logs], axis=0) if logs else np.zeros(len(used))
        high = np.sum([log.max(1) for log in logs], axis=0) if logs else np.zeros(len(used))
        lines = [_line(part, index, low, high) for part in (energy, *times)]
        stacked = [np.array(x) for x in zip(*lines, strict=True)]
        held = np.zeros((len(rooms), len(used)))
        for i, room in enumerate(rooms):
            for product, coefficient in room.items():
                held[i, index[product]] = coefficient
        linear = np.zeros((len(axes), len(used)))
        for i, (product, _) in enumerate(axes):
            linear[i, index[product]] = 1.0
        convex = Convex(
            energy=stacked[0][0], slope=stacked[1][0], base=float(stacked[2][0]), times=stacked[0][1:],
            time_slope=stacked[1][1:], time_base=stacked[2][1:], rooms=held, linear=linear,
            limit=np.array([limit for _, limit in axes]), weights=weights,
        )  # fmt: skip
        return convex, logs

    def _split(self, node: Node, weights: tuple[float, float]) -> list[Node]:
        """The node in parts; none where nothing is left to decide."""
        decided = node.decided
        for level, row in enumerate(decided.keep):
            for s, kept in enumerate(row):
                if kept == -1:
                    keeps = [(*decided.keep[:level], (*row[:s], k, *row[s + 1 :]), *decided.keep[level + 1 :]) for k in (1, 0)]
                    return [
                        replace(node, decided=replace(decided, keep=k))
                        for k in keeps
                        if all(any(c) for c in zip(*k, strict=True))
                    ]
        if _tilings(node) <= FEW:  # soon costed one by one, under all orders
            parts = self._split_rows(node, weights)
            if parts:
                return parts
        for i, (level, case) in enumerate(decided.cases):
            if case is None:
                options = [(*decided.cases[:i], (level, c), *decided.cases[i + 1 :]) for c in self.cases[level]]
                return [replace(node, decided=replace(decided, cases=cases)) for cases in options]
        halos = dict(decided.halos)
        for key, leads in self._halos(decided):
            if key not in halos:
                return [_with_halo(node, key, Halo(d)) for d in leads]
        for key, halo in halos.items():
            twins = self._twins(node, key, halo)
            if twins:
                return [_with_halo(node, key, replace(halo, twins=t)) for t in twins]
        return self._split_rows(node, weights)

    def _halos(self, decided: Decisions) -> list[tuple[tuple[int, int], list[int]]]:
        """The tiles that may keep a halo, and the dimensions that may lead; -1 for the rest of them."""
        out = []
        cases = dict(decided.cases)
        for s, space in enumerate(self.compiled.spaces):
            windows = [[d for d, _ in rank if self.compiled.bounds[d] > 1] for rank in space.ranks]
            sliding = sorted({d for window in windows if len(window) > 1 for d in window})
            for level, row in enumerate(decided.keep):
                at = first_moving(self.space, cases, level, s) if sliding and row[s] == 1 else None
                case = None if at is None else cases[at]
                if case is not None:
                    out.append(((level, s), [*(d for d in sliding if d in case.allowed), -1]))
        return out

    def _twins(self, node: Node, key: tuple[int, int], halo: Halo) -> list[int]:
        """The ways in which loops may move a tile as the lead does, where it makes a difference to the mixture."""
        level, s = key
        at = first_moving(self.space, dict(node.decided.cases), level, s)
        if halo.twins is not None or halo.lead < 0 or at is None or node.mixture is None:
            return []
        cases = dict(node.decided.cases)
        most, least = (
            Product("fill", level, s, 0, rests(self.space, cases, level, s, replace(halo, twins=t))) for t in (ALL, FIRST)
        )
        used = enumerate(node.mixture.ways)
        if all((self.products.log(k, most)[ways] == self.products.log(k, least)[ways]).all() for k, ways in used):
            return []
        others = apart(self.compiled, s, halo.lead) & {d for d, n in enumerate(self.compiled.bounds) if n > 1}
        early = others & set(self.space.orders[at].first)
        return [ALL, *([LEVEL] if early != others else []), *([FIRST] if early else [])]

    def _split_rows(self, node: Node, weights: tuple[float, float]) -> list[Node]:
        """Halves the ways of one part at one loop, where that parts the mixture's ways into the most alike."""
        mixture = node.mixture
        if mixture is None or not self.parts:
            return []
        problem, logs = self._convex(node.decided, node.rows, weights)
        local = _local(mixture, node.rows)
        if local is None:
            return []
        cost = Merit(problem, logs, local)
        best: tuple[float, int, NDArray[np.bool_]] | None = None
        for k, (part, ways, p) in enumerate(zip(self.parts, local.ways, local.weights, strict=True)):
            used = p > 1e-3
            if part.loose or used.sum() < 2:
                continue
            rows = node.rows[k]
            features = np.log(np.concatenate([part.bounds[rows], part.covered[rows][:, :, 1:-1]], axis=2)).reshape(len(rows), -1)
            apart = cost.apart(k, ways[used], p[used])
            for at in np.flatnonzero(np.ptp(features[ways[used]], axis=0) > 1e-9):
                values = features[ways[used], at]
                mean = float(values @ p[used] / p[used].sum())
                low = values <= mean
                gain = apart - cost.apart(k, ways[used][low], p[used][low]) - cost.apart(k, ways[used][~low], p[used][~low])
                if best is None or gain > best[0]:
                    best = gain, k, features[:, at] <= mean
        if best is None or best[0] < 1e-6:
            return self._split_off(node, problem, logs, local)
        _, k, side = best
        return [replace(node, rows=(*node.rows[:k], node.rows[k][at], *node.rows[k + 1 :])) for at in (side, ~side)]

    def _split_off(self, node: Node, problem: Convex, logs: list[Array], local: Mixture) -> list[Node]:
        """Parts the heaviest way of one part from the others, where these promise least; none where all ways are decided."""
        gradient = slopes(problem, logs, local)
        best: tuple[float, int, int] | None = None
        for k, (part, ways, p) in enumerate(zip(self.parts, local.ways, local.weights, strict=True)):
            if part.loose or len(node.rows[k]) < 2:
                continue
            reduced = gradient @ logs[k]
            way = int(ways[p.argmax()])
            rise = float(np.delete(reduced, way).min() - reduced[way])
            if best is None or rise > best[0]:
                best = rise, k, way
        if best is None:
            return []
        _, k, way = best
        side = np.arange(len(node.rows[k])) == way
        return [replace(node, rows=(*node.rows[:k], node.rows[k][at], *node.rows[k + 1 :])) for at in (side, ~side)]


def _tilings(node: Node) -> int:
    return prod(len(rows) for rows in node.rows)


def _with_halo(node: Node, key: tuple[int, int], halo: Halo) -> Node:
    halos = dict(node.decided.halos) | {key: halo}
    return replace(node, decided=replace(node.decided, halos=tuple(halos.items())))


def _line(part: Sum, index: dict[Product, int], low: Array, high: Array) -> tuple[Array, Array, float]:
    """Coefficients, slope and base; products that are taken off stand as the line between the ends of their range."""
    plus, slope, base = np.zeros(len(index)), np.zeros(len(index)), part.base
    for product, coefficient in part.plus.items():
        plus[index[product]] += coefficient
    for product, coefficient in part.minus.items():
        i = index[product]
        width = high[i] - low[i]
        rise = (np.exp(high[i]) - np.exp(low[i])) / width if width > 1e-9 else 0.0
        slope[i] -= coefficient * rise
        base -= coefficient * (np.exp(high[i]) if width <= 1e-9 else np.exp(low[i]) - rise * low[i])
    return plus, slope, float(base)


def _local(mixture: Mixture | None, rows: Rows) -> Mixture | None:
    """A mixture by place among `rows`; None where some part has none of its ways left."""
    if mixture is None:
        return None
    ways, weights = [], []
    for kept, w, p in zip(rows, mixture.ways, mixture.weights, strict=True):
        at = np.searchsorted(kept, w)
        there = (at < len(kept)) & (kept[np.minimum(at, len(kept) - 1)] == w)
        if not there.any():
            return None
        ways.append(at[there])
        weights.append(p[there] / p[there].sum())
    return Mixture(ways, weights)
