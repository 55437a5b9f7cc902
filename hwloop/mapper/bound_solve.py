"""The least of a convex cost over mixtures of ways to spread dimensions, with a proof.

Every product of the cost model is the exponential of a sum, over the parts of a problem, of a number that belongs to the
part's way. Mixing ways turns that into a convex problem: minimise sums of exponentials under capacities (logarithms of such
sums) and fan-outs (linear). Its tangent at any point, with any non-negative price on each constraint, bounds the cost from
below by a sum that each part's best way minimises on its own, so the bound holds wherever the minimiser stops (Lagrangian
duality; the mixtures come from simplicial decomposition, von Hohenbalken, Math. Programming 13, 1977).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SHARP = 60.0  # of the smooth maximum
SOFT = 0.02  # how far a constraint bends, as a logarithm
ROUNDS, STEPS = 12, 40
BARRIERS = (2e-3, 5e-5)


@dataclass(frozen=True)
class Convex:
    """A cost and its constraints over `x`, the logarithms of products.

    Attributes:
        energy: `(product,)` coefficients of the exponentials; `slope` and `base` the linear part.
        slope: `(product,)`.
        base: a number.
        times: `(time, product)` coefficients of what takes time: the greatest counts; likewise `time_slope`, `time_base`.
        time_slope: `(time, product)`.
        time_base: `(time,)`.
        rooms: `(level, product)` words over capacity; each row's exponentials sum to 1 at most.
        linear: `(constraint, product)`; each row times `x` is at most `limit`.
        limit: `(constraint,)`.
        weights: of the energy and of the time in the cost.
    """

    energy: Array
    slope: Array
    base: float
    times: Array
    time_slope: Array
    time_base: Array
    rooms: Array
    linear: Array
    limit: Array
    weights: tuple[float, float]

    def values(self, x: Array) -> tuple[float, Array]:
        """Energy and times."""
        e = np.exp(x)
        return float(self.energy @ e + self.slope @ x + self.base), self.times @ e + self.time_slope @ x + self.time_base


@dataclass
class Mixture:
    """Ways in use, by part, and their weights, which sum to 1 in each part."""

    ways: list[NDArray[np.int64]]
    weights: list[Array]


@dataclass(frozen=True)
class Solution:
    """What the minimiser ends with.

    Attributes:
        bound: no choice of ways costs less.
        value: cost of the mixture, about what the bound can become.
        mixture: where it ends.
    """

    bound: float
    value: float
    mixture: Mixture


def minimise(problem: Convex, logs: list[Array], start: Mixture | None, enough: float) -> Solution:
    """Minimises.

    Args:
        problem: cost and constraints.
        logs: by part `(product, way)`.
        start: where to begin.
        enough: a bound to stop at.
    """
    mixture = start or _first(problem, logs)
    best = value = -np.inf
    for _ in range(ROUNDS):
        x = _mixed(logs, mixture)
        scale = max(_cost(problem, x), 1e-300)
        if any(len(ways) > 1 for ways in mixture.ways):
            mixture = _descend(problem, logs, mixture, scale)
            x = _mixed(logs, mixture)
        gradient, bound = _tangent(problem, x, scale)
        value = _cost(problem, x)
        fresh = False
        for k, log in enumerate(logs):
            reduced = gradient @ log
            at = int(reduced.argmin())
            bound += float(reduced[at] - gradient @ (log[:, mixture.ways[k]] @ mixture.weights[k]))
            if at not in mixture.ways[k]:
                fresh = True
                mixture.ways[k] = np.append(mixture.ways[k], at)
                mixture.weights[k] = np.append(mixture.weights[k] * 0.9, 0.1)
        best = max(best, bound)
        if best >= enough or not fresh or value - best <= 2e-3 * value:
            break
    return Solution(best, value, mixture)


def _first(problem: Convex, logs: list[Array]) -> Mixture:
    """Each part's best way by the tangent in the middle of all."""
    x = np.asarray(sum(log.mean(1) for log in logs))
    gradient, _ = _tangent(problem, x, max(_cost(problem, x), 1e-300))
    return Mixture([np.array([int((gradient @ log).argmin())]) for log in logs], [np.ones(1) for _ in logs])


def _mixed(logs: list[Array], mixture: Mixture) -> Array:
    return np.asarray(sum(log[:, w] @ p for log, w, p in zip(logs, mixture.ways, mixture.weights, strict=True)))


def _cost(problem: Convex, x: Array) -> float:
    energy, times = problem.values(x)
    return float(problem.weights[0] * energy + problem.weights[1] * times.max())


def _tangent(problem: Convex, x: Array, scale: float) -> tuple[Array, float]:
    """Gradient of the cost with its constraints priced, and its value, below which the cost of no feasible `x` lies at `x`."""
    energy, times = problem.values(x)
    e = np.exp(x)
    share = _shares(problem, times, scale)
    gradient = problem.weights[0] * (problem.energy * e + problem.slope)
    gradient = gradient + problem.weights[1] * (share @ problem.times * e + share @ problem.time_slope)
    value = problem.weights[0] * energy + problem.weights[1] * float(share @ times)
    over, slopes = _over(problem, x, e)
    price = scale * np.exp(np.minimum(over / SOFT, 20.0))
    return gradient + price @ slopes, float(value + price @ over)


def slopes(problem: Convex, logs: list[Array], mixture: Mixture) -> Array:
    """Gradient of the cost with its constraints priced, at a mixture."""
    x = _mixed(logs, mixture)
    return _tangent(problem, x, max(_cost(problem, x), 1e-300))[0]


def _shares(problem: Convex, times: Array, scale: float) -> Array:
    weight = problem.weights[1]
    if not weight:
        return np.zeros(len(times))
    power = np.exp(SHARP * weight / scale * (times - times.max()))
    return np.asarray(power / power.sum())


def _over(problem: Convex, x: Array, e: Array) -> tuple[Array, Array]:
    """How far each constraint is exceeded, as a logarithm, and the gradients."""
    held = problem.rooms * e
    total = held.sum(1)
    over = np.concatenate([np.log(np.maximum(total, 1e-300)), problem.linear @ x - problem.limit])
    return over, np.concatenate([held / np.maximum(total, 1e-300)[:, None], problem.linear])


def _merit(problem: Convex, x: Array, scale: float) -> float:
    energy, times = problem.values(x)
    over, _ = _over(problem, x, np.exp(x))
    weight = problem.weights[1]
    top = times.max()
    smooth = top + (scale / (SHARP * weight) * np.log(np.exp(SHARP * weight / scale * (times - top)).sum()) if weight else 0.0)
    priced = np.where(over < 20 * SOFT, SOFT * np.exp(np.minimum(over / SOFT, 20.0)), SOFT * np.exp(20.0) * (over / SOFT - 19.0))
    return float((problem.weights[0] * energy + weight * smooth) / scale + priced.sum())


def _descend(problem: Convex, logs: list[Array], mixture: Mixture, scale: float) -> Mixture:
    """Newton steps on the weights, kept positive by a logarithmic barrier that fades."""
    columns = np.concatenate([log[:, w] for log, w in zip(logs, mixture.ways, strict=True)], axis=1)
    sizes = [len(w) for w in mixture.ways]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    members = (owner[None] == np.arange(len(sizes))[:, None]).astype(np.float64)
    p = np.concatenate(mixture.weights)
    system = np.zeros((len(p) + len(sizes), len(p) + len(sizes)))
    system[len(p) :, : len(p)], system[: len(p), len(p) :] = members, members.T
    p = 0.98 * p + 0.02 / np.array(sizes, np.float64)[owner]
    for barrier in BARRIERS:
        for _ in range(STEPS):
            x = columns @ p
            merit = _merit(problem, x, scale) - barrier * np.log(p).sum()
            gradient, hessian = _curvature(problem, x, scale)
            g = columns.T @ gradient - barrier / p
            h = columns.T @ hessian @ columns + np.diag(barrier / p**2 + 1e-12)
            system[: len(p), : len(p)] = h
            step = np.linalg.solve(system, np.concatenate([-g, np.zeros(len(sizes))]))[: len(p)]
            slope = float(g @ step)
            if -slope < barrier:
                break
            shrink = step < 0
            length = min(1.0, 0.95 * float((-p[shrink] / step[shrink]).min())) if shrink.any() else 1.0
            for _ in range(30):
                q = p + length * step
                if _merit(problem, columns @ q, scale) - barrier * np.log(q).sum() <= merit + 0.1 * length * slope:
                    break
                length *= 0.5
            else:
                break
            p = q
    p = p / (members @ p)[owner]
    parts = np.split(p, np.cumsum(sizes)[:-1])
    out = Mixture([], [])
    for ways, weights in zip(mixture.ways, parts, strict=True):
        used = weights > 1e-5
        out.ways.append(ways[used])
        out.weights.append(weights[used] / weights[used].sum())
    return out


def _curvature(problem: Convex, x: Array, scale: float) -> tuple[Array, Array]:
    """Gradient and Hessian of the merit."""
    e = np.exp(x)
    _, times = problem.values(x)
    share = _shares(problem, times, scale)
    a, b = problem.weights[0] / scale, problem.weights[1] / scale
    slopes = problem.times * e + problem.time_slope
    mean = share @ slopes
    gradient = a * (problem.energy * e + problem.slope) + b * mean
    hessian = np.diag(a * problem.energy * e + b * (share @ problem.times) * e)
    if b:
        hessian = hessian + SHARP * b * b * ((slopes.T * share) @ slopes - np.outer(mean, mean))
    over, grads = _over(problem, x, e)
    price = np.exp(np.minimum(over / SOFT, 20.0))
    bend = np.where(over < 20 * SOFT, price / SOFT, 0.0)
    gradient = gradient + price @ grads
    hessian = hessian + (grads.T * bend) @ grads
    rooms = len(problem.rooms)
    hessian = hessian + np.diag(price[:rooms] @ grads[:rooms]) - (grads[:rooms].T * price[:rooms]) @ grads[:rooms]
    return np.asarray(gradient), np.asarray(hessian)


class Merit:
    """How far apart in cost the ways of a mixture are.

    Args:
        problem: cost and constraints.
        logs: by part `(product, way)`.
        mixture: the mixture.
    """

    def __init__(self, problem: Convex, logs: list[Array], mixture: Mixture) -> None:
        self.problem, self.logs = problem, logs
        self._means = [log[:, w] @ p for log, w, p in zip(logs, mixture.ways, mixture.weights, strict=True)]
        self._x = np.asarray(sum(self._means))
        self._scale = max(_cost(problem, self._x), 1e-300)

    def apart(self, part: int, ways: NDArray[np.int64], weights: Array) -> float:
        """Mean cost of ways of a part less the cost of their mean, times their weight, in parts of the cost."""
        rest = self._x - self._means[part]
        mean = self.logs[part][:, ways] @ weights / weights.sum()
        single = sum(
            float(p) * _merit(self.problem, rest + self.logs[part][:, w], self._scale) for w, p in zip(ways, weights, strict=True)
        )
        return single - float(weights.sum()) * _merit(self.problem, rest + mean, self._scale)
