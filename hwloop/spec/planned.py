"""The layers as they run under a plan: shapes changed by kept channels, ranks and removal, then densities and bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from hwloop.errors import SpecError
from hwloop.spec.bits import operand_bits
from hwloop.spec.density import Density
from hwloop.spec.layer_plan import LayerPlan
from hwloop.spec.problem import Problem, conv2d_shape
from hwloop.spec.waiting import Stored, spread
from hwloop.spec.workload import Layer, Workload

_CONV = conv2d_shape()


@dataclass(frozen=True)
class PlannedLayer:
    """A layer as it will run: hashable, and equal in all but `layer` and `name` means equal in cost.

    Attributes:
        layer: which one.
        name: the layer's own; a factorised layer is several, called `LAYER.rank0`, `LAYER.rank1`, ... (at a second call
            `LAYER.rank0#2`).
        problem: its problem with the plan's sizes and densities.
        weight_bits: bits per value of `Weights`; None keeps the accelerator's width.
        activation_bits: bits per value of `Inputs`; None keeps the accelerator's width.
        output_bits: bits per value of the finished `Outputs` where they wait for their readers; None keeps the accelerator's
            width, which partial sums have everywhere.
        output_density: of the finished `Outputs` where they wait; None where they are dense, or nobody knows.
        stored_bits: (data space, bits) of operands that wait at other bits than they are multiplied at, because others read them
            too; None for the accelerator's width.
    """

    layer: Layer
    name: str
    problem: Problem
    weight_bits: int | None = None
    activation_bits: int | None = None
    output_bits: int | None = None
    output_density: Density | None = None
    stored_bits: Stored = ()

    @property
    def bits(self) -> dict[str, int]:
        """`{data space: bits}` as `hwloop.simulate` takes it."""
        return operand_bits(self.weight_bits, self.activation_bits)


def planned_layers(workload: Workload, share_of: Callable[[str], LayerPlan]) -> Iterator[PlannedLayer]:
    """Every layer of `workload` as it runs, in execution order; see `Plan.apply`.

    Raises:
        SpecError: channels that their group forbids or whose layers disagree, a rank that the layer cannot have, a removed layer
            that is no identity in shape.
    """
    less_out, less_in = _fewer_channels(workload, share_of)
    shares = [share_of(layer.name) for layer in workload.layers]
    widths, spreads = workload.waiting.of(shares)
    for layer, share, (output_bits, stored), output_density in zip(workload.layers, shares, widths, spreads, strict=True):
        shape = _shrunk(layer, less_out.get(layer.name, 0), less_in.get(layer.name, 0))
        if share.removed:
            _check_removable(layer, shape)
            continue
        weights, inputs = spread(share.weight_density), spread(share.input_density)
        activation_bits, weight_bits = share.activation_bits, share.weight_bits
        if weight_bits is None and "Weights" in layer.activation_operands:
            weight_bits = activation_bits
        if share.rank is None:
            problem = _with(shape, {"Weights": weights, "Inputs": inputs})
            yield PlannedLayer(layer, layer.name, problem, weight_bits, activation_bits, output_bits, output_density, stored)
            continue
        name, mark, call = layer.name.partition("#")  # as they are called when they are traced
        factors = _factors(layer, shape, share.rank)
        for i, factor in enumerate(factors):
            first, last = i == 0, i == len(factors) - 1
            problem = _with(factor, {"Weights": weights, "Inputs": inputs if first else None})
            yield PlannedLayer(
                layer, f"{name}.rank{i}{mark}{call}", problem, weight_bits, activation_bits,
                output_bits if last else activation_bits, output_density if last else None, stored if first else (),
            )  # fmt: skip


def kept_channels(workload: Workload, share_of: Callable[[str], LayerPlan]) -> dict[str, int]:
    """How many channels each group with fewer than all keeps, by the group's name.

    Raises:
        SpecError: layers of one group disagree, or the group forbids it.
    """
    kept = {}
    for group in workload.channels:
        said = {name: share_of(name).channels for name in group.outputs}
        if len(set(said.values())) > 1:
            expected = f"the same channels for all that share them ({', '.join(group.outputs)})"
            raise SpecError("<plan>", f"layers.{group.outputs[0]}.channels", expected, said)
        channels = next(iter(said.values()), None)
        if channels is not None:
            count = group.check(channels, f"layers.{group.outputs[0]}.channels")
            if count < group.size:
                kept[group.name] = count
    for layer in workload.layers:
        channels = share_of(layer.name).channels
        if channels is not None and layer.name not in workload.group_of_outputs:
            hint = "trace the network to find which channels belong together" if not workload.channels else ""
            raise SpecError("<plan>", f"layers.{layer.name}.channels", "a layer in one of the channel groups", channels, hint)
    return kept


def _fewer_channels(workload: Workload, share_of: Callable[[str], LayerPlan]) -> tuple[dict[str, int], dict[str, int]]:
    """How many output and input channels each layer loses, where it loses any."""
    outputs: dict[str, int] = {}
    inputs: dict[str, int] = {}
    kept = kept_channels(workload, share_of)
    for group in workload.channels if kept else ():
        lost = group.size - kept.get(group.name, group.size)
        if lost:
            outputs |= dict.fromkeys(group.outputs, lost)
            for name, _, repeat in group.inputs:
                inputs[name] = inputs.get(name, 0) + lost * repeat
    return outputs, inputs


def _shrunk(layer: Layer, fewer_out: int, fewer_in: int) -> Problem:
    problem, groups = layer.problem, layer.problem.sizes.get("G", 1)
    if not fewer_out and not fewer_in:
        return problem
    sizes = {"M": (layer.output_channels - fewer_out) // groups, "C": (layer.input_channels - fewer_in) // groups}
    if layer.kind == "depthwise" and sizes["C"] == 1:  # one channel of its own is an ordinary convolution, and traced as one
        known = {**problem.sizes, "C": 1, "M": 1}
        bounds = tuple(known[name] for name in _CONV.dimensions)
        return Problem(_CONV, bounds, problem.coefficients, problem.densities, problem.name)
    return _resized(problem, sizes)


def _resized(problem: Problem, sizes: Mapping[str, int]) -> Problem:
    bounds = tuple(sizes.get(name, size) for name, size in zip(problem.shape.dimensions, problem.bounds, strict=True))
    return replace(problem, bounds=bounds)


def _with(problem: Problem, densities: Mapping[str, Density | None]) -> Problem:
    given = {name: density for name, density in densities.items() if density is not None}
    if not given:
        return problem
    every = {**dict(problem.densities), **given}
    order = [space.name for space in problem.shape.data_spaces]
    known = tuple([(name, every[name]) for name in order if name in every])
    return Problem(problem.shape, problem.bounds, problem.coefficients, known, problem.name)


def _check_removable(layer: Layer, shape: Problem) -> None:
    """A removed layer passes its input on, so that its result must have the size of its input."""
    sizes, steps = shape.sizes, shape.coefficient_values
    where = f"layers.{layer.name}.removed"
    if layer.kind == "matmul":
        raise SpecError("<plan>", where, "a layer with weights", True, "a product of two activations cannot be removed")
    if sizes.get("M", sizes["C"]) != sizes["C"]:
        found = f"{layer.input_channels} inputs, {layer.output_channels} outputs"
        raise SpecError("<plan>", where, "a layer with as many output as input channels", found)
    size = (sizes.get("Q", 1), sizes.get("P", 1))
    same = layer.input_size == size if layer.input_size else steps.get("Wstride", 1) == steps.get("Hstride", 1) == 1
    if not same:
        raise SpecError("<plan>", where, f"a layer whose result has the size of its input {layer.input_size or ''}", size)


def _factors(layer: Layer, shape: Problem, rank: int | tuple[int, int]) -> tuple[Problem, ...]:
    """The problems of the layer's factors.

    A linear layer or 1x1 convolution `W (M, C)` of rank r (truncated SVD) becomes `(r, C)` with the layer's stride, then
    `(M, r)`. A convolution of ranks (i, o) (Tucker-2; Kim et al., "Compression of deep convolutional neural networks for fast
    and low power mobile applications", ICLR 2016) becomes a 1x1 convolution to i channels at the input's size, the filter from
    i to o channels, and a 1x1 convolution to M channels.
    """
    where, sizes, steps = f"layers.{layer.name}.rank", shape.sizes, shape.coefficient_values
    if layer.kind not in ("conv", "linear") or not layer.parameter or shape.shape != _CONV:
        raise SpecError("<plan>", where, "a convolution or linear layer with weights and without groups", layer.kind)
    limits = (sizes["C"], sizes["M"])
    if sizes["R"] == sizes["S"] == 1:
        if not isinstance(rank, int) or rank > min(limits):
            expected = f"one rank of at most {min(limits)} for a matrix of {limits[1]} by {limits[0]}"
            raise SpecError("<plan>", where, expected, rank)
        second = replace(_resized(shape, {"C": rank}), coefficients=_ones(shape))
        return _resized(shape, {"M": rank}), second
    if isinstance(rank, int) or rank[0] > limits[0] or rank[1] > limits[1]:
        raise SpecError("<plan>", where, f"two ranks (input, output) of at most {limits} for a convolution", rank)
    if layer.input_size:
        height, width = layer.input_size
    else:  # as far as the filter slides, padding included
        width = 1 + steps["Wstride"] * (sizes["P"] - 1) + steps["Wdilation"] * (sizes["R"] - 1)
        height = 1 + steps["Hstride"] * (sizes["Q"] - 1) + steps["Hdilation"] * (sizes["S"] - 1)
    point = replace(shape, coefficients=_ones(shape))
    first = _resized(point, {"M": rank[0], "R": 1, "S": 1, "P": width, "Q": height})
    return first, _resized(shape, {"C": rank[0], "M": rank[1]}), _resized(point, {"C": rank[1], "R": 1, "S": 1})


def _ones(problem: Problem) -> tuple[int, ...]:
    return (1,) * len(problem.coefficients)
