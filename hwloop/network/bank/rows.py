"""Rounding and pruning weight by weight with the exact inverse Hessian of every row: ExactOBS and OBQ, for layers of small rows.

Frantar, Alistarh: "Optimal Brain Compression", NeurIPS 2022. Each row of a layer is a problem of its own, `w (K)` under
`H (K, K)`; the work is `rows * K^3`. Shapes here: weights `(R, K)`, Hessians `(G, K, K)`,
each of `R / G` rows in a row; float64, damped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hwloop.network.bank.columns import Grid
from hwloop.network.bank.factor import inverse, lower_factor

CHUNK_BYTES = 2**26  # of the inverse Hessians of the rows that are worked on at once
_TINY = 1e-300
_HALF = 0.5 + 1e-6  # of a step: what rounding to the nearest level may be off by


def removal_order(weight: Tensor, hessian: Tensor, limits: tuple[Tensor, int] | None = None) -> tuple[Tensor, Tensor]:
    """In which order the weights of each row go, and what each costs once those before it are gone.

    Args:
        weight: `(R, K)`.
        hessian: `(G, K, K)`.
        limits: (block of each column, `(K,)` whole numbers; how many weights each block keeps at least). None: no blocks.

    Returns:
        Columns `(R, steps)` and costs `(R, steps)`, the increase of `w H w^T / 2` of the optimally adjusted rest.
    """
    columns = weight.shape[-1]
    steps = columns
    if limits is not None:
        sizes = torch.bincount(limits[0])
        steps = int((sizes - limits[1]).clamp(min=0).sum())
    order = torch.empty(len(weight), steps, dtype=torch.int64, device=weight.device)
    costs = torch.empty(len(weight), steps, dtype=weight.dtype, device=weight.device)
    for rows, left, around in _chunks(weight, hessian):
        every = torch.arange(len(left), device=left.device)
        gone = torch.zeros_like(left, dtype=torch.bool)
        room = None if limits is None else (sizes - limits[1]).clamp(min=0).expand(len(left), -1).clone()
        for step in range(steps):
            diagonal = around.diagonal(dim1=-2, dim2=-1).clamp(min=_TINY)
            cost = (left.square() / diagonal).masked_fill_(gone, torch.inf)
            if room is not None and limits is not None:
                cost.masked_fill_(room[:, limits[0]] <= 0, torch.inf)
            least, at = cost.min(dim=-1)
            order[rows, step], costs[rows, step] = at, least / 2
            gone[every, at] = True
            if room is not None and limits is not None:
                room[every, limits[0][at]] -= 1
            _fix_(left, around, at, left[every, at].clone())
            left[every, at] = 0
    return order, costs


def prune_rows(weight: Tensor, hessian: Tensor, remove: int) -> Tensor:
    """Which weights stay, `(R, K)` bool, when exactly `remove` of them go: over all rows those that cost least by then."""
    order, costs = removal_order(weight, hessian)
    rising = costs.cummax(dim=-1).values  # what comes behind a dear one can only go after it
    going = torch.zeros(rising.numel(), dtype=torch.bool, device=weight.device)
    going[rising.flatten().argsort(stable=True)[:remove]] = True
    return torch.ones_like(weight, dtype=torch.bool).scatter_(-1, order, ~going.view(rising.shape))


def prune_row_blocks(weight: Tensor, hessian: Tensor, blocks: Tensor, keep: int) -> Tensor:
    """Which weights stay, `(R, K)` bool, when each block of columns (`blocks (K,)`: the number of its block) keeps `keep`."""
    order, _ = removal_order(weight, hessian, (blocks, keep))
    return torch.ones_like(weight, dtype=torch.bool).scatter_(-1, order, False)


def refit(weight: Tensor, hessian: Tensor, kept: Tensor) -> Tensor:
    """The best weights `(R, K)` on the support `kept`, `(R, K)` bool: `H_SS^-1 (H w)_S` in every row."""
    wanted = (weight.view(len(hessian), -1, weight.shape[-1]) @ hessian).view_as(weight)
    out = torch.zeros_like(weight)
    for part in supports(hessian, kept):
        solved = torch.cholesky_solve(part.take(wanted)[..., None], lower_factor(part.hessian))
        part.put_(out, solved.squeeze(-1))
    return out


def round_rows(weight: Tensor, hessian: Tensor, grid: Grid, kept: Tensor) -> Tensor:
    """Weights `(R, K)` on the grid (its step `(R, 1)`), in each row the one first that its level suits best.

    Those not kept are zero.

    A weight that is off by more than half a step (its level is the last one) is rounded at once, before others are moved by it.
    """
    out = torch.zeros_like(weight)
    for support in supports(hessian, kept):
        left, around = support.take(weight), inverse(support.hessian)
        part = Grid(grid.step[support.rows][:, 0], grid.levels)
        every = torch.arange(len(left), device=left.device)
        done = ~support.stay
        for _ in range(left.shape[-1]):
            error = left - part.nearest(left)
            diagonal = around.diagonal(dim1=-2, dim2=-1).clamp(min=_TINY)
            cost = (error.square() / diagonal).masked_fill_(done, torch.inf)
            most, farthest = error.abs().masked_fill_(done, -1.0).max(dim=-1)
            at = torch.where(most > part.step * _HALF, farthest, cost.argmin(dim=-1))
            live = ~done[every, at]
            old = left[every, at]
            new = torch.where(live, part.nearest(old), old)
            _fix_(left, around, at, old - new, live)
            left[every, at] = new
            done[every, at] = True
        support.put_(out, left)
    return out


@dataclass(frozen=True, eq=False)
class Support:
    """Some rows, each reduced to the weights that stay; short ones are filled up with weights of their own, 1 on the diagonal.

    Attributes:
        rows: which.
        index: `(r, n)`: the columns of each row, those that stay first.
        stay: `(r, n)` bool: which of these do.
        hessian: `(r, n, n)`: of these.
    """

    rows: slice
    index: Tensor
    stay: Tensor
    hessian: Tensor

    def take(self, values: Tensor) -> Tensor:
        """`(r, n)` of `(R, K)`; zero where nothing stays."""
        return values[self.rows].gather(-1, self.index) * self.stay

    def put_(self, out: Tensor, values: Tensor) -> None:
        """Puts `(r, n)` values into their places of `(R, K)`."""
        out[self.rows].scatter_(-1, self.index, values * self.stay)


def supports(hessian: Tensor, kept: Tensor) -> Iterator[Support]:
    """The rows of `kept`, `(R, K)` bool, a few at a time."""
    for rows in _slices(len(kept), hessian.shape[-1]):
        stay = kept[rows]
        most = max(1, int(stay.sum(dim=-1).max()))
        index = (~stay).to(torch.uint8).argsort(dim=-1, stable=True)[:, :most]
        stay = stay.gather(-1, index)
        part = hessian[_group(rows, kept, hessian)[:, None, None], index[:, :, None], index[:, None, :]]
        both = stay.to(hessian.dtype)
        part = part * both[:, :, None] * both[:, None, :]
        part.diagonal(dim1=-2, dim2=-1).add_(1 - both)
        yield Support(rows, index, stay, part)


def _chunks(weight: Tensor, hessian: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows a few at a time, with copies of their weights and of their inverse Hessians."""
    inverted = inverse(hessian)
    for rows in _slices(len(weight), weight.shape[-1]):
        yield rows, weight[rows].clone(), inverted[_group(rows, weight, hessian)]


def _group(rows: slice, values: Tensor, hessian: Tensor) -> Tensor:
    """The group that each of some rows of `values` is in."""
    return torch.arange(rows.start, rows.stop, device=values.device) // (len(values) // len(hessian))


def _slices(count: int, columns: int) -> Iterator[slice]:
    each = max(1, CHUNK_BYTES // (8 * columns * columns))
    for first in range(0, count, each):
        yield slice(first, min(first + each, count))


def _fix_(left: Tensor, around: Tensor, at: Tensor, change: Tensor, live: Tensor | None = None) -> None:
    """Takes `change` off weight `at[r]` of each row r for good: the rest makes up for it, and the inverse Hessian forgets it.

    Rows that are not `live` stay as they are.
    """
    every = torch.arange(len(left), device=left.device)
    line = around[every, at] if live is None else around[every, at] * live[:, None]
    pivot = around[every, at, at].clamp(min=_TINY)
    left -= (change / pivot)[:, None] * line
    scaled = line / pivot.sqrt()[:, None]
    around.baddbmm_(scaled[:, :, None], scaled[:, None, :], alpha=-1)
