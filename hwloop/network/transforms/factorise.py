"""Layers as products of smaller ones: truncated SVD of matrices, Tucker-2 of convolutions.

A linear layer or 1x1 convolution `W (M, C)` of rank r becomes `(r, C)`, then `(M, r)`, by its r largest singular values. A
convolution of ranks (i, o) becomes a 1x1 convolution to i channels, its filter from i to o channels, and a 1x1 convolution to M
channels, by the leading singular vectors of its unfoldings along C and M (HOSVD: De Lathauwer et al., SIAM J. Matrix Anal.
Appl. 21(4), 2000; as layers: Kim et al., "Compression of deep convolutional neural networks for fast and low power mobile
applications", ICLR 2016). Both keep all at full rank.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn


def truncated_svd(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """`(r, C)` and `(M, r)`, whose product is the best approximation of `matrix (M, C)` of rank r (Eckart and Young, 1936)."""
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    root = values[:rank].sqrt()
    return (root[:, None] * right[:rank]).to(matrix.dtype), (left[:, :rank] * root).to(matrix.dtype)


def tucker2(weight: Tensor, ranks: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """`(i, C)`, `(o, i, S, R)` and `(M, o)` of a filter `(M, C, S, R)`."""
    exact = weight.double()
    inputs, outputs = (
        torch.linalg.svd(exact.movedim(axis, 0).flatten(1), full_matrices=False)[0][:, :rank]
        for axis, rank in ((1, ranks[0]), (0, ranks[1]))
    )
    core = torch.einsum("mcsr,ci,mo->oisr", exact, inputs, outputs)
    return inputs.T.to(weight.dtype), core.to(weight.dtype), outputs.to(weight.dtype)


class Factors(nn.Sequential):
    """The modules `rank0`, `rank1` (and `rank2`) in the place of one layer; its `weight` is their product."""

    @property
    def weight(self) -> Tensor:
        """The weights that the factors stand for, in the layer's own shape."""
        parts = [part.get_parameter("weight") for part in self]
        if len(parts) == 2:
            return (parts[1].flatten(1) @ parts[0].flatten(1)).reshape(*parts[1].shape[:1], *parts[0].shape[1:])
        return torch.einsum("mo,oi...,ic->mc...", parts[2].flatten(1), parts[1], parts[0].flatten(1))

    @property
    def bias(self) -> Tensor | None:
        """The layer's bias."""
        bias = self[-1].bias
        assert bias is None or isinstance(bias, Tensor)
        return bias


def factors(module: nn.Module, weight: Tensor, rank: int | tuple[int, int]) -> Factors:
    """What takes the place of a linear layer or convolution without groups.

    Args:
        module: torch's own linear layer or convolution.
        weight: its weights `(M, C, S, R)`.
        rank: one for a matrix, (input, output) for a filter.
    """
    bias = getattr(module, "bias", None)
    parts: list[nn.Module] = []
    if isinstance(rank, int):
        down, up = truncated_svd(weight.flatten(1), rank)
        parts = [_like(module, down, None, whole=True), _like(module, up, bias)]
    else:
        first, core, last = tucker2(weight, rank)
        parts = [_like(module, first, None), _like(module, core, None, whole=True), _like(module, last, bias)]
    chain = Factors(OrderedDict((f"rank{i}", part) for i, part in enumerate(parts)))
    chain.train(module.training)
    return chain


def _like(module: nn.Module, weight: Tensor, bias: Tensor | None, whole: bool = False) -> nn.Module:
    """A layer of the module's kind: with its stride, padding and dilation when `whole`, otherwise 1x1."""
    old: Any = module
    out, made = weight.shape[:2]
    options: dict[str, Any] = {"bias": bias is not None, "device": weight.device, "dtype": weight.dtype}
    if old.weight.dim() == 2:
        new: Any = nn.Linear(made, out, **options)
    else:
        filters = {3: nn.Conv1d, 4: nn.Conv2d}[old.weight.dim()]
        if whole:
            window = {name: getattr(old, name) for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
            options |= window
        else:
            options["kernel_size"] = 1
        new = filters(made, out, **options)
    new.weight = nn.Parameter(weight.reshape(new.weight.shape).contiguous(), requires_grad=old.weight.requires_grad)
    if bias is not None:
        new.bias = nn.Parameter(bias.detach().clone(), requires_grad=bias.requires_grad)
    return new  # type: ignore[no-any-return]
