"""Linear quantisation, simulated in floating point ("fake quantisation"), of weights and of the inputs of layers.

Weights: symmetric, `q = clamp(round(w / s), -(2**(b-1) - 1), 2**(b-1) - 1)` with one step `s` a tensor or an output
channel; zero is a level, so pruned weights stay pruned. Inputs ("activations"): one step a tensor, over a range found by
calibration; zero is a level there too, so the zeros a ReLU makes stay zero. Biases and BatchNorm stay in floating point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hwloop.errors import SpecError
from hwloop.network.batches import Batch, run_model
from hwloop.network.calibrate import ActivationRange, Calibration
from hwloop.network.layers import per_layer, weight_layers, weight_of

MIN_BITS, MAX_BITS = 2, 23  # 1 bit has no symmetric level beside zero; a float32 holds no more than 24 bits
GRANULARITIES = ("channel", "tensor")
CLIPPINGS = ("max", "mse")
_MSE_TRIALS = 40


def weight_step(weight: Tensor, bits: int, granularity: str = "channel", clipping: str = "max") -> Tensor:
    """The quantisation step.

    Args:
        weight: `(M, ...)`.
        bits: 2 to 23.
        granularity: `channel`: one step an output channel, `tensor`: one for all.
        clipping: `max`: the largest magnitude is the last level, so that no weight is off by more than half a step; `mse`:
            the clipping point (a multiple of 1/40 of the largest magnitude) that makes the squared error smallest.

    Returns:
        `(M, 1, ...)` for `channel`, otherwise `(1, 1, ...)`; 1 where all weights are zero.

    Raises:
        SpecError: an unknown option or bits out of range.
    """
    _check(bits, granularity, clipping)
    rows = weight.detach().reshape(weight.shape[0] if granularity == "channel" else 1, -1)
    levels = 2 ** (bits - 1) - 1
    largest = rows.abs().amax(dim=1, keepdim=True)
    step = largest / levels
    if clipping == "mse":
        step = _best_step(rows, largest, levels)
    step = torch.where(step > 0, step, torch.ones_like(step))
    return step.view(-1, *(1,) * (weight.dim() - 1))


def _best_step(rows: Tensor, largest: Tensor, levels: int) -> Tensor:
    best, least = largest / levels, torch.full_like(largest, math.inf)
    for trial in range(_MSE_TRIALS, 3, -1):
        step = largest * (trial / (_MSE_TRIALS * levels))
        safe = torch.where(step > 0, step, torch.ones_like(step))
        error = (rows - (rows / safe).round_().clamp_(-levels, levels) * safe).square_().sum(dim=1, keepdim=True)
        better = error < least
        best, least = torch.where(better, step, best), torch.where(better, error, least)
    return best


def quantize_weight(weight: Tensor, bits: int, granularity: str = "channel", clipping: str = "max") -> Tensor:
    """The weight rounded to its levels, in floating point; same shape, zeros exactly zero. See `weight_step`."""
    step = weight_step(weight, bits, granularity, clipping)
    levels = 2 ** (bits - 1) - 1
    return (weight.detach() / step).round_().clamp_(-levels, levels).mul_(step)


def quantize_activation(values: Tensor, bits: int, span: ActivationRange) -> Tensor:
    """Inputs of a layer rounded to `2**bits` levels over `span`, in floating point; zero stays exactly zero.

    A range that starts at zero uses unsigned levels; one on both sides of zero gets an integer zero point (asymmetric).
    Four plain passes over a batch are ten times as fast on a CPU as `torch.fake_quantize_per_tensor_affine`, and as exact.
    """
    step, zero_point = span.levels(bits)
    if step == 0:
        return values
    return values.mul(1 / step).round_().clamp_(-zero_point, 2**bits - 1 - zero_point).mul_(step)


class ActivationQuantizer:
    """A forward pre-hook that quantises a layer's first input; `bits` may be changed, None switches it off."""

    def __init__(self, span: ActivationRange | None = None, bits: int | None = None) -> None:
        self.span, self.bits = span, bits

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Called by torch before the layer runs."""
        if self.bits is None or self.span is None:
            return None
        return (quantize_activation(inputs[0], self.bits, self.span), *inputs[1:])


def activation_spans(
    layers: Iterable[str], activation_bits: int | Mapping[str, int] | None, calibration: Calibration | None
) -> dict[str, tuple[int, ActivationRange]]:
    """Bits and range of each layer whose inputs are to be quantised.

    Raises:
        SpecError: bits out of range, no calibration, or a layer named that it did not see.
    """
    bits = per_layer(activation_bits, layers, "activation_bits", MIN_BITS, MAX_BITS)
    if not bits:
        return {}
    if calibration is None:
        raise SpecError("<arguments>", "calibration", "a Calibration (see calibrate), since activation_bits are given", None)
    unseen = [name for name in bits if name not in calibration.layers]
    if unseen and isinstance(activation_bits, Mapping):
        raise SpecError(
            "<arguments>", f"activation_bits.{unseen[0]}", "a layer that ran during calibration", unseen[0], "leave it out"
        )
    return {name: (number, calibration.range(name, number)) for name, number in bits.items() if name in calibration.layers}


@contextmanager
def quantized(
    model: nn.Module,
    weight_bits: int | Mapping[str, int] | None = None,
    activation_bits: int | Mapping[str, int] | None = None,
    calibration: Calibration | None = None,
    granularity: str = "channel",
    clipping: str = "max",
) -> Iterator[nn.Module]:
    """Lends `model` with its weights and the inputs of its layers quantised; it is as it was afterwards.

    Args:
        model: changed inside the `with` block only. BatchNorm is left as it is (see `recalibrate_batchnorm_`).
        weight_bits: 2 to 23, for all layers or by module path; layers not named, or all when None, stay as they are.
        activation_bits: the same for the inputs of layers.
        calibration: ranges of the inputs, needed for `activation_bits`.
        granularity: of the weights' steps, `channel` or `tensor`.
        clipping: of the weights, `max` or `mse`.

    Raises:
        SpecError: an unknown layer or option, bits out of range, or no calibration where one is needed.

    Example:
        >>> with quantized(model, weight_bits={"conv1": 4, "fc": 8}) as smaller:
        ...     accuracy(smaller, splits.validation)
    """
    layers = weight_layers(model)
    bits = per_layer(weight_bits, layers, "weight_bits", MIN_BITS, MAX_BITS)
    spans = activation_spans(layers, activation_bits, calibration)
    new = {name: quantize_weight(weight_of(layers[name]), number, granularity, clipping) for name, number in bits.items()}
    old = {name: weight_of(layers[name]).data for name in new}
    hooks = [layers[name].register_forward_pre_hook(ActivationQuantizer(span, number)) for name, (number, span) in spans.items()]
    try:
        for name, tensor in new.items():
            weight_of(layers[name]).data = tensor
        yield model
    finally:
        for name, tensor in old.items():
            weight_of(layers[name]).data = tensor
        for hook in hooks:
            hook.remove()


def recalibrate_batchnorm_(model: nn.Module, batches: Iterable[Batch]) -> None:
    """Measures BatchNorm's running mean and variance anew, in place, as the plain average over `batches`.

    Pruning and quantising shift what BatchNorm sees; retraining mends that by itself, inference alone does not. Nothing
    else in hwloop touches these statistics outside training.

    Args:
        model: left in the mode (training or evaluation) it was in.
        batches: normalised training images and labels, as `Split.batches` gives them.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        return
    modes = {module: module.training for module in model.modules()}
    momenta = [norm.momentum for norm in norms]
    model.eval()
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # cumulative average
            norm.train()
        with torch.no_grad():
            for inputs, _ in batches:
                run_model(model, inputs)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, mode in modes.items():
            module.training = mode


def _check(bits: int, granularity: str, clipping: str) -> None:
    if isinstance(bits, bool) or not isinstance(bits, int) or not MIN_BITS <= bits <= MAX_BITS:
        raise SpecError("<arguments>", "bits", f"a whole number from {MIN_BITS} to {MAX_BITS}", bits)
    if granularity not in GRANULARITIES:
        raise SpecError("<arguments>", "granularity", " or ".join(GRANULARITIES), granularity)
    if clipping not in CLIPPINGS:
        raise SpecError("<arguments>", "clipping", " or ".join(CLIPPINGS), clipping)
