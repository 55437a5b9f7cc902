"""Pareto arithmetic on arrays: which points are not dominated, the volume they dominate, the knee, and the point that suits given
weights. All minimise."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def non_dominated(points: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point dominates. One point dominates another when it is no worse in all and better in one.

    Args:
        points: `(n, m)` float, every column minimised.

    Returns:
        `(n,)` bool. Of equal points all are kept. A point with a NaN is never kept and dominates nothing.
    """
    values = _matrix(points)
    keep: NDArray[np.bool_] = np.logical_not(np.isnan(values).any(axis=1))
    order = np.lexsort(values.T[::-1])  # a point can only be dominated by one that sorts before it
    front: list[int] = []
    for i in order:
        if not keep[i]:
            continue
        if front:
            others = values[front]
            if ((others <= values[i]).all(axis=1) & (others < values[i]).any(axis=1)).any():
                keep[i] = False
                continue
        front.append(int(i))
    return keep


def hypervolume(points: ArrayLike, ref_point: ArrayLike) -> float:
    """Exact volume that the points dominate below the reference point, by slicing along the last objective.

    Args:
        points: `(n, m)` float, every column minimised, m from 1 to 4.
        ref_point: `(m,)` float; points that are not below it in every objective add nothing.

    Raises:
        ValueError: more than 4 objectives, or lengths that differ.
    """
    ref = np.asarray(ref_point, dtype=np.float64)
    values = _matrix(points)
    if values.size and values.shape[1] != len(ref):
        raise ValueError(f"the reference point has {len(ref)} objectives and the points have {values.shape[1]}")
    if len(ref) > 4:
        raise ValueError(f"exact for up to 4 objectives, found {len(ref)}")
    if not values.size:
        return 0.0
    inside = values[(values < ref).all(axis=1)]
    return _volume(np.unique(inside, axis=0), ref)


def knee(points: ArrayLike) -> int:
    """The point where giving up a little of one objective no longer buys much of another.

    Every objective is scaled to 0-1 over the front; the knee is the point with the smallest sum, which with two objectives is
    the one farthest below the line between the extremes (Das, "On characterizing the knee of the Pareto curve", 1999).

    Args:
        points: `(n, m)` float, a front, every column minimised.

    Returns:
        Its row; of equally good ones the first.

    Raises:
        ValueError: there are no points.
    """
    values = _matrix(points)
    if not len(values):
        raise ValueError("no points, so no knee")
    low = values.min(axis=0)
    span = values.max(axis=0) - low
    scaled = (values - low) / np.where(span > 0, span, 1.0)
    return int(np.argmin(scaled.sum(axis=1)))


def preferred(points: ArrayLike, weights: ArrayLike) -> int:
    """The point that suits a user's weights best, by the augmented achievement function of Wierzbicki (1980).

    Every objective is scaled to 0-1 over the front, and the point with the least of `max(w * value) + 0.001 * sum(w * value)` is
    taken: the larger its weight, the nearer an objective comes to the best there is. Points anywhere on a front can be reached,
    those in its dents, too, which no weighted sum reaches.

    Args:
        points: `(n, m)` float, a front, every column minimised.
        weights: `(m,)` float, at least 0, one of them above.

    Returns:
        Its row; of equally good ones the first.

    Raises:
        ValueError: there are no points, or weights that do not fit.
    """
    values, w = _matrix(points), np.asarray(weights, dtype=np.float64)
    if not len(values):
        raise ValueError("no points, so none is preferred")
    if w.shape != values.shape[1:] or not (w >= 0).all() or not w.sum() > 0:
        raise ValueError(f"expected {values.shape[1]} weights of 0 or more, one of them above, found {w.tolist()}")
    low = values.min(axis=0)
    span = values.max(axis=0) - low
    scaled = w * (values - low) / np.where(span > 0, span, 1.0)
    return int(np.argmin(scaled.max(axis=1) + 0.001 * scaled.sum(axis=1)))


def _matrix(points: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2:
        if values.size == 0:
            return values.reshape(0, 0)
        raise ValueError(f"expected points of shape (n, m), found {values.shape}")
    return values


def _volume(points: NDArray[np.float64], ref: NDArray[np.float64]) -> float:
    if not len(points):
        return 0.0
    if len(ref) == 1:
        return float(ref[0] - points[:, 0].min())
    points = points[non_dominated(points)]
    if len(ref) == 2:
        points = points[np.argsort(points[:, 0])]
        heights = np.concatenate(([ref[1]], points[:-1, 1])) - points[:, 1]
        return float(((ref[0] - points[:, 0]) * heights).sum())
    points = points[np.argsort(points[:, -1])]
    ends = np.concatenate((points[1:, -1], [ref[-1]]))
    total = 0.0
    for i, end in enumerate(ends):
        depth = end - points[i, -1]
        if depth > 0:
            total += depth * _volume(points[: i + 1, :-1], ref[:-1])
    return float(total)
