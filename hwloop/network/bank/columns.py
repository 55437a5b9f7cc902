"""Rounding and pruning column by column, the error of each column made up for by those behind it: GPTQ and SparseGPT.

Frantar, Ashkboos, Hoefler, Alistarh: "GPTQ", ICLR 2023; Frantar, Alistarh: "SparseGPT", ICML 2023. Shapes as in `factor`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from hwloop.network.bank.factor import Factored, reorder_columns, restore_columns

BLOCK = 128  # columns that are updated one by one before the rest follows in one product


@dataclass(frozen=True, eq=False)
class Grid:
    """Symmetric levels `-levels * step .. levels * step`.

    Attributes:
        step: `(G, m)`.
        levels: above zero.
    """

    step: Tensor
    levels: int

    def nearest(self, values: Tensor) -> Tensor:
        """The nearest levels of `(G, m)` values, or of `(G, m, K)`."""
        step = self.step if values.dim() == self.step.dim() else self.step[..., None]
        return (values / step).round_().clamp_(-self.levels, self.levels).mul_(step)


Choose = Callable[[Tensor, int], Tensor]  # (saliencies of a block of columns, the first) -> which weights stay


def round_columns(
    weight: Tensor, hessian: Factored, grid: Grid | None, kept: Tensor | None = None, order: str = "activations"
) -> tuple[Tensor, Tensor]:
    """Weights on the grid, `(G, m, K)`, and the error of each row's outputs under the damped Hessian, `(G, m)`.

    Args:
        weight: `(G, m, K)`.
        hessian: of the inputs.
        grid: the levels; None rounds nothing and only makes up for what is not kept.
        kept: `(G, m, K)` bool: which weights stay; the others become zero. All when None.
        order: see `Factored.ordered`.
    """
    at, factor = hessian.ordered(order)
    ordered = None if kept is None else reorder_columns(kept, at)
    rounded, _, error = _sweep(reorder_columns(weight, at), factor, grid, ordered, None)
    return restore_columns(rounded, at), error


def prune_columns(weight: Tensor, hessian: Factored, remove: int, kept: Tensor) -> Tensor:
    """Which weights stay, `(G, m, K)` bool, when exactly `remove` of them go; those not `kept` now are gone already and count.

    The choice is made a block of columns at a time, over all rows, by saliency `w^2 / [H^-1]_jj` as it stands by then; each block
    gives its share.
    """
    there = kept.sum(dim=(0, 1)).cumsum(0).tolist()  # by column, with those before it
    more = max(0, remove - (kept.numel() - there[-1]))

    def choose(saliency: Tensor, first: int) -> Tensor:
        last = first + saliency.shape[-1]
        share = [round(more * (there[at - 1] if at else 0) / max(1, there[-1])) for at in (first, last)]
        here = kept[..., first:last]
        gone = saliency.masked_fill(~here, torch.inf).flatten().argsort(stable=True)[: share[1] - share[0]]
        stay = here.clone()
        stay.view(-1)[gone] = False
        return stay

    return _sweep(weight, hessian.ordered("given")[1], None, kept, choose)[1]


def prune_blocks(weight: Tensor, hessian: Factored, keep: int, block: int, channels: int, kept: Tensor) -> Tensor:
    """Which weights stay, `(G, m, K)` bool, in N:M pruning.

    Of every `block` consecutive columns out of `channels`, `keep` stay; otherwise as `prune_columns`.

    Args:
        weight: columns ordered by filter position first, input channel second, so that blocks are consecutive.
        hessian: of the inputs, in the same order.
        keep: weights that stay in a block.
        block: columns in a block; the last of each `channels` may be shorter.
        channels: input channels at one filter position.
        kept: which weights are there now.
    """

    def choose(saliency: Tensor, first: int) -> Tensor:
        here = kept[..., first : first + saliency.shape[-1]]
        best = saliency.masked_fill(~here, -1.0).argsort(dim=-1, descending=True, stable=True)[..., :keep]
        return torch.zeros_like(here).scatter_(-1, best, True) & here

    columns = weight.shape[-1]
    starts = [at + first for at in range(0, columns, channels) for first in range(0, channels, block)]
    return _sweep(weight, hessian.ordered("given")[1], None, kept, choose, [*starts, columns])[1]


def _sweep(
    weight: Tensor,
    factor: Tensor,
    grid: Grid | None,
    kept: Tensor | None,
    choose: Choose | None,
    starts: list[int] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """One pass over the columns: each is rounded or set to zero, and what that changes is made up for behind it.

    Returns:
        The weights `(G, m, K)`; which of them stay; and the error of each row's outputs `(G, m)`: the change of a row is `-e U`,
        with U the factor and e the scaled errors of its columns, so that `change H change^T / 2` is `e e^T / 2`.
    """
    left, columns = weight.clone(), weight.shape[-1]
    stay = torch.ones_like(weight, dtype=torch.bool) if kept is None else kept.clone()
    error = weight.new_zeros(weight.shape[:-1])
    edges = starts or [*range(0, columns, BLOCK), columns]
    for first, last in pairwise(edges):
        part = left[..., first:last]
        corner = factor[:, first:last, first:last]
        scale = corner.diagonal(dim1=-2, dim2=-1)
        if choose is not None:
            stay[..., first:last] = choose((part / scale[:, None, :]).square_(), first)
        errors = torch.empty_like(part)
        for i in range(last - first):
            column = part[..., i].clone()
            new = column if grid is None else grid.nearest(column)
            new = torch.where(stay[..., first + i], new, torch.zeros_like(new))
            errors[..., i] = (column - new) / scale[:, i, None]
            part[..., i:] -= errors[..., i, None] * corner[:, None, i, i:]
            part[..., i] = new
        left[..., last:] -= errors @ factor[:, first:last, last:]
        error += errors.square().sum(dim=-1) / 2
    return left, stay, error
