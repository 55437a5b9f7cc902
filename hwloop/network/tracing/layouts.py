"""How a parameter holds the weights of a layer: from torch's many layouts to one canonical form, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from torch import Tensor

Strided = tuple[int, int]  # (size, stride) of a dimension
_CANONICAL = "GMCSR"


@dataclass(frozen=True)
class Layout:
    """Whole rows of a parameter, read as weights of the dimensions G (groups), M, C, S (vertical) and R (horizontal).

    Attributes:
        rows: (first, last + 1) along the parameter's first dimension.
        order: the letters as the parameter has them, slowest first.
        sizes: their sizes, in the same order.
    """

    rows: tuple[int, int]
    order: str
    sizes: tuple[int, ...]

    @property
    def canonical(self) -> tuple[int, int, int, int]:
        """`(M, C / groups, S, R)`, where M counts the output channels of all groups."""
        size = dict(zip(self.order, self.sizes, strict=True))
        return size["G"] * size["M"], size["C"], size["S"], size["R"]

    def read(self, parameter: Tensor) -> Tensor:
        """The weights in canonical form: a view where strides allow."""
        return self._rows(parameter).permute([self.order.index(letter) for letter in _CANONICAL]).reshape(self.canonical)

    def write_(self, parameter: Tensor, weights: Tensor) -> None:
        """Copies canonical `weights` into `parameter`, whatever its strides are."""
        size = dict(zip(self.order, self.sizes, strict=True))
        split = weights.reshape([size[letter] for letter in _CANONICAL])
        rows = parameter[self.rows[0] : self.rows[1]] if parameter.dim() else parameter
        rows.copy_(split.permute([_CANONICAL.index(letter) for letter in self.order]).reshape(rows.shape))

    def _rows(self, parameter: Tensor) -> Tensor:
        return parameter[self.rows[0] : self.rows[1]].reshape(self.sizes)


def layout_of(dimensions: Mapping[str, Strided], offset: int, shape: Sequence[int]) -> Layout | None:
    """The layout of weights that are a strided view of a contiguous parameter; None unless they are whole rows of it.

    Args:
        dimensions: (size, stride) of the letters; those left out have size 1.
        offset: of the first weight in the parameter [values].
        shape: of the parameter.
    """
    wide = sorted(((stride, letter, size) for letter, (size, stride) in dimensions.items() if size > 1), reverse=True)
    dense = 1
    for stride, _, size in reversed(wide):
        if stride != dense:
            return None
        dense *= size
    row = prod(shape[1:])
    if row == 0 or offset % row or dense % row:
        return None
    single = [letter for letter in _CANONICAL if dimensions.get(letter, (1, 0))[0] == 1]
    order = "".join([letter for _, letter, _ in wide] + single)
    first = offset // row
    return Layout((first, first + dense // row), order, tuple(dimensions.get(letter, (1, 0))[0] for letter in order))


def convolution_dimensions(sizes: Sequence[int], strides: Sequence[int], groups: int, transposed: bool) -> dict[str, Strided]:
    """The dimensions of a convolution's weight `(M, C / groups, [kH,] kW)`, or `(C, M / groups, [kH,] kW)` when transposed."""
    first, second = ("C", "M") if transposed else ("M", "C")
    per_group = sizes[0] // groups
    out = {"G": (groups, strides[0] * per_group), first: (per_group, strides[0]), second: (sizes[1], strides[1])}
    out["R"] = (sizes[-1], strides[-1])
    if len(sizes) == 4:
        out["S"] = (sizes[-2], strides[-2])
    return out


def product_dimensions(sizes: Sequence[int], strides: Sequence[int], left: bool, repeated: bool) -> dict[str, Strided]:
    """The dimensions of the weights of a matrix product.

    Args:
        sizes: `([batch,] C, M)`, or `([batch,] M, C)` when they stand on the left; `(C,)` for a vector.
        strides: of the same.
        left: whether the weights are the first operand.
        repeated: whether the batch repeats one matrix.
    """
    if len(sizes) == 1:
        return {"C": (sizes[0], strides[0])}
    rows, columns = (sizes[-2], strides[-2]), (sizes[-1], strides[-1])
    out = {"M": rows, "C": columns} if left else {"C": rows, "M": columns}
    if len(sizes) == 3 and not repeated:
        out["G"] = (sizes[0], strides[0])
    return out
