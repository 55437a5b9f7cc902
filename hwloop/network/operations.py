"""From the operands of a torch operation to the problem it poses. Pure functions of sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwloop.spec.problem import Problem, conv2d_shape, make_problem

_CONV, _DEPTHWISE, _GROUPED = conv2d_shape(), conv2d_shape(depthwise=True), conv2d_shape(grouped=True)


@dataclass(frozen=True)
class Posed:
    """What an operation poses: the problem, and its kind as `hwloop.spec.workload.Layer` names it."""

    problem: Problem
    kind: str


def convolution(
    weight: Sequence[int],
    inputs: Sequence[int],
    outputs: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Posed:
    """The problem of a 1-D or 2-D convolution.

    Padding needs no mention: the output size is given, and the padded border is part of the input the problem slides over.

    Args:
        weight: `(M, C / groups, [kH,] kW)`.
        inputs: `(N, C, [H,] W)`.
        outputs: `(N, M, [Q,] P)`.
        stride: `([vertical,] horizontal)`; one value stands for all.
        dilation: likewise.
        groups: channel groups. As many as there are input and output channels makes it depthwise.
    """
    planar = len(weight) == 4
    width, height = (-1, -2 if planar else None)
    sizes = {"R": weight[-1], "P": outputs[-1], "Wstride": stride[width], "Wdilation": dilation[width], "N": outputs[0]}
    if height is not None:
        sizes |= {"S": weight[-2], "Q": outputs[-2], "Hstride": stride[-2 if len(stride) > 1 else 0]}
        sizes["Hdilation"] = dilation[-2 if len(dilation) > 1 else 0]
    if groups == 1:
        return Posed(make_problem(_CONV, {**sizes, "C": weight[1], "M": weight[0]}), "conv")
    if groups == inputs[1] == weight[0]:
        return Posed(make_problem(_DEPTHWISE, {**sizes, "C": groups}), "depthwise")
    return Posed(make_problem(_GROUPED, {**sizes, "G": groups, "C": weight[1], "M": weight[0] // groups}), "grouped")


def product(rows: int, contraction: int, columns: int, batch: int = 1, weighted: bool = True) -> Posed:
    """The problem of `batch` matrix products `(rows, contraction) @ (contraction, columns)`, written as 1x1 convolutions.

    N = rows of the operand that is `Inputs`, C = contraction, M = columns of the operand that is `Weights`, G = batch.

    Args:
        weighted: whether the second operand holds weights (`linear`) or activations (`matmul`).
    """
    kind = "linear" if weighted else "matmul"
    sizes = {"N": rows, "C": contraction, "M": columns}
    if batch == 1:
        return Posed(make_problem(_CONV, sizes), kind)
    return Posed(make_problem(_GROUPED, {**sizes, "G": batch}), kind)
