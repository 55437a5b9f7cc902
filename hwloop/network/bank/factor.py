"""What second-order methods need of a Hessian: damping, an order of its columns, the factor of its inverse, the error.

Everywhere in this room `G` is the number of groups, `m` the rows (output channels) of a group and `K` the columns (the weights
that one output multiplies). Weights are `(G, m, K)`, Hessians `(G, K, K)`, both float64. The error of a layer's outputs on the
data behind a Hessian `H = 2 X X^T / n` is `sum((W - V) H (W - V)^T) / 2`: the squared difference of all outputs at a position,
on the average over positions and examples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hwloop.errors import DataError

DAMPING = 0.01  # of the mean of the diagonal, as in GPTQ and SparseGPT
ORDERS = ("activations", "given")
_TRIES = 6


class Factored:
    """A layer's damped Hessian, and the factor of its inverse in each order of the columns, made when it is first asked for.

    Args:
        hessian: `(G, K, K)`, of any floating point type.
        damping: see `damped`.

    Attributes:
        damped: `(G, K, K)` float64.
    """

    def __init__(self, hessian: Tensor, damping: float = 0.0) -> None:
        self._seen = hessian
        self.damped = damped(hessian.double(), damping) if damping else hessian.double()
        self._factors: dict[str, tuple[Tensor, Tensor]] = {}

    @property
    def exact(self) -> Tensor:
        """`(G, K, K)` float64, not damped."""
        return self._seen.double()

    @property
    def most_bytes(self) -> int:
        """What it takes in memory once the factors of both orders are there, the Hessian that it was made of aside."""
        return (1 + len(ORDERS)) * self.damped.nbytes

    def ordered(self, order: str) -> tuple[Tensor, Tensor]:
        """The columns in an order, `(G, K)`, and the factor of the inverse in it, see `inverse_factor`.

        Args:
            order: `activations`: the columns with the largest inputs first; `given`: as they stand.
        """
        if order not in self._factors:
            at = column_order(self.damped, order)
            matrix = self.damped if order == "given" else reorder_hessian(self.damped, at)
            self._factors[order] = at, inverse_factor(matrix)
        return self._factors[order]


def column_order(hessian: Tensor, order: str) -> Tensor:
    """`(G, K)`: which column comes when."""
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    if order == "activations":
        return diagonal.argsort(dim=-1, descending=True, stable=True)
    return torch.arange(diagonal.shape[-1], device=hessian.device).expand_as(diagonal)


def damped(hessian: Tensor, damping: float = DAMPING) -> Tensor:
    """The Hessian with `damping` times the mean of its diagonal added to the diagonal; 1 where nothing was ever multiplied."""
    mean = hessian.diagonal(dim1=-2, dim2=-1).mean(dim=-1)
    mean = torch.where(mean > 0, mean, torch.ones_like(mean))
    added = hessian.clone()
    added.diagonal(dim1=-2, dim2=-1).add_(damping * mean[:, None])
    return added


def inverse(hessian: Tensor) -> Tensor:
    """`H^-1` of damped Hessians.

    Raises:
        DataError: they have none.
    """
    inverted: Tensor = torch.cholesky_inverse(lower_factor(hessian))
    return inverted


def inverse_factor(hessian: Tensor) -> Tensor:
    """The upper triangular `U` with `U^T U = H^-1` of damped Hessians, `(G, K, K)`.

    Row i of U, over its diagonal, is what a change of column i asks of the columns behind it, the ones before held (GPTQ,
    Frantar et al., ICLR 2023, section 3.3). It is the inverse of the lower factor of H with rows and columns turned round, itself
    turned round.

    Raises:
        DataError: they have no inverse.
    """
    lower = lower_factor(hessian.flip(-1, -2))
    one = torch.eye(hessian.shape[-1], dtype=hessian.dtype, device=hessian.device).expand_as(hessian)
    upper: Tensor = torch.linalg.solve_triangular(lower, one, upper=False).flip(-1, -2)
    return upper


def lower_factor(hessian: Tensor) -> Tensor:
    """The Cholesky factor of damped Hessians; damped further, by tens, where rounding made one indefinite.

    Raises:
        DataError: they hold values that are not finite numbers.
    """
    more = 0.0
    lower: Tensor
    for _ in range(_TRIES):
        lower, failed = torch.linalg.cholesky_ex(damped(hessian, more) if more else hessian)
        if not bool(failed.any()):
            return lower
        more = more * 10 or 1e-6
    raise DataError("a layer's Hessian has no inverse: its inputs on the calibration examples are not finite numbers")


def output_error(change: Tensor, hessian: Tensor) -> float:
    """Mean squared change of a layer's outputs, summed over output channels, when its weights change by `change`, `(G, m, K)`."""
    return float(((change @ hessian) * change).sum() / 2)


def reorder_columns(values: Tensor, order: Tensor) -> Tensor:
    """`(G, m, K)` with column `order[g, i]` of group g at place i."""
    return values.gather(-1, order[:, None, :].expand_as(values))


def restore_columns(values: Tensor, order: Tensor) -> Tensor:
    """Undoes `reorder_columns`."""
    return torch.empty_like(values).scatter_(-1, order[:, None, :].expand_as(values), values)


def reorder_hessian(hessian: Tensor, order: Tensor) -> Tensor:
    """Rows and columns of `(G, K, K)` in another order."""
    return reorder_columns(reorder_columns(hessian, order).mT, order).mT
