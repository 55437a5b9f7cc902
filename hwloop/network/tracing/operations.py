"""From the operands of a torch operation to the problem it poses. Pure functions of sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwloop.spec.problem import DataSpace, Problem, ProblemShape, Rank, conv2d_shape, make_problem


def transposed_shape(grouped: bool = False) -> ProblemShape:
    """The shape of a 2-D transposed convolution: P and Q walk over the inputs, and the window slides over the outputs.

    Weights [C, M, R, S], Inputs [N, C, Q, P], Outputs [N, M, S*Hdilation + Q*Hstride, R*Wdilation + P*Wstride].
    """
    plain = conv2d_shape(grouped=grouped)
    weights, inputs, outputs = plain.data_spaces
    window: tuple[Rank, ...] = ((("S", "Hdilation"), ("Q", "Hstride")), (("R", "Wdilation"), ("P", "Wstride")))
    spaces = (
        weights,
        DataSpace("Inputs", (*inputs.projection[:-2], (("Q", None),), (("P", None),))),
        DataSpace("Outputs", (*outputs.projection[:-2], *window), read_write=True),
    )
    return ProblemShape(f"transposed_{plain.name}", plain.dimensions, plain.coefficients, spaces)


_CONV, _DEPTHWISE, _GROUPED = conv2d_shape(), conv2d_shape(depthwise=True), conv2d_shape(grouped=True)
_TRANSPOSED, _TRANSPOSED_GROUPED = transposed_shape(), transposed_shape(grouped=True)


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
    transposed: bool = False,
) -> Posed:
    """The problem of a 1-D or 2-D convolution.

    Padding needs no mention: the output size is given, and the padded border is part of the input the problem slides over. A
    transposed one multiplies every input by the whole filter; what its padding cuts off is computed too.

    Args:
        weight: `(M, C / groups, [kH,] kW)`, or `(C, M / groups, [kH,] kW)` when transposed.
        inputs: `(N, C, [H,] W)`.
        outputs: `(N, M, [Q,] P)`.
        stride: `([vertical,] horizontal)`; one value stands for all.
        dilation: likewise.
        groups: channel groups. As many as there are input and output channels makes it depthwise.
        transposed: whether it scatters rather than gathers.
    """
    walked = inputs if transposed else outputs
    sizes = {"R": weight[-1], "P": walked[-1], "Wstride": stride[-1], "Wdilation": dilation[-1], "N": outputs[0]}
    if len(weight) == 4:
        sizes |= {"S": weight[-2], "Q": walked[-2], "Hstride": stride[-2 if len(stride) > 1 else 0]}
        sizes["Hdilation"] = dilation[-2 if len(dilation) > 1 else 0]
    if transposed:
        sizes |= {"C": weight[0] // groups, "M": weight[1]}
        if groups == 1:
            return Posed(make_problem(_TRANSPOSED, sizes), "conv")
        return Posed(make_problem(_TRANSPOSED_GROUPED, {**sizes, "G": groups}), "grouped")
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
