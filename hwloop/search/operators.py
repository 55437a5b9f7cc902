"""Sampling, crossover and mutation on integer arrays: pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Genes = NDArray[np.int64]
Groups = Sequence[tuple[int, int]]


def sample(count: int, lower: Genes, upper: Genes, groups: Groups, anchors: Genes, rng: np.random.Generator) -> Genes:
    """`(count, n_var)` starting points: the anchors first, then rows that are level within a group, then rows that are not.

    Purely random rows of many bits all look alike (their averages hardly differ), so of the rest every second row draws one
    level a group and scatters around it.

    Args:
        count: rows wanted.
        lower, upper: `(n_var,)` ends, inclusive.
        groups: (from, to) columns of the same kind.
        anchors: `(k, n_var)`, at most half of the rows are taken from it.
        rng: source of the draws.
    """
    rows = list(anchors[: max(1, count // 2)]) if len(anchors) else []
    while len(rows) < count:
        row = rng.integers(lower, upper + 1)
        if len(rows) % 2 == 0:
            for start, end in groups:
                level = rng.integers(lower[start], upper[start] + 1)
                row[start:end] = level + rng.integers(-1, 2, end - start)
        rows.append(np.clip(row, lower, upper))
    return np.array(rows[:count], np.int64)


def integer_sbx(parents: Genes, lower: Genes, upper: Genes, eta: float, exchange: float, rng: np.random.Generator) -> Genes:
    """Simulated binary crossover (Deb and Agrawal, 1995) with stochastic rounding, so that the mean is kept.

    Args:
        parents: `(2, n, n_var)` integers.
        lower, upper: `(n_var,)` ends, inclusive.
        eta: distribution index; the larger, the closer the children stay to their parents.
        exchange: probability that a variable takes part, 0-1.
        rng: source of the draws.

    Returns:
        `(2, n, n_var)` integers within the ends.
    """
    a, b = parents.astype(np.float64)
    u = rng.random(a.shape)
    beta = np.where(u <= 0.5, (2 * u) ** (1 / (eta + 1)), (1 / np.maximum(2 * (1 - u), 1e-12)) ** (1 / (eta + 1)))
    centre, spread = (a + b) / 2, beta * (b - a) / 2
    swap = np.where(rng.random(a.shape) < 0.5, 1.0, -1.0)
    children = np.stack([centre - swap * spread, centre + swap * spread])
    rounded = np.floor(children + rng.random(children.shape)).astype(np.int64)
    taken = rng.random(a.shape) < exchange
    return np.clip(np.where(taken, rounded, parents), lower, upper)


def mutate(X: Genes, lower: Genes, upper: Genes, groups: Groups, rate: float, shift: float, rng: np.random.Generator) -> Genes:
    """Small steps of single variables, and now and then of a whole group.

    Args:
        X: `(n, n_var)` integers.
        lower, upper: `(n_var,)` ends, inclusive.
        groups: (from, to) columns of the same kind.
        rate: expected number of variables of each group that take a step; a step is geometric, mostly 1.
        shift: probability that a whole group moves by one step, the same for all its variables.
        rng: source of the draws.

    Returns:
        `(n, n_var)` integers within the ends, a new array.
    """
    out = X.copy()
    for start, end in groups:
        width = end - start
        size = (len(X), width)
        steps = rng.geometric(0.5, size) * np.where(rng.random(size) < 0.5, 1, -1)
        out[:, start:end] += np.where(rng.random(size) < min(rate / width, 0.5), steps, 0)
        if width > 1:
            moves = np.where(rng.random((len(X), 1)) < 0.5, 1, -1) * (rng.random((len(X), 1)) < shift)
            out[:, start:end] += moves
    return np.clip(out, lower, upper)
