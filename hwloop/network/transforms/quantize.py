"""Linear quantisation, simulated in floating point ("fake quantisation"), of weights and of the activations layers multiply.

Weights: symmetric, `q = clamp(round(w / s), -(2**(b-1) - 1), 2**(b-1) - 1)` with one step `s` a tensor or an output
channel; zero is a level, so pruned weights stay pruned. Inputs ("activations"): one step a tensor, over a range found by
calibration; zero is a level there too, so the zeros a ReLU makes stay zero. Biases and BatchNorm stay in floating point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hwloop.errors import SpecError
from hwloop.network.data.batches import Batch, run_model
from hwloop.network.layers import per_layer
from hwloop.network.tracing.operands import INPUTS, SECOND, attached
from hwloop.network.tracing.registry import Registry
from hwloop.network.transforms.calibrate import ActivationRange, Calibration
from hwloop.spec.bits import MAX_QUANTISED, MIN_QUANTISED, check_bits

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


Spans = Mapping[tuple[str, str], tuple[int, ActivationRange]]  # (bits, range) by (layer, data space)


@dataclass(frozen=True)
class ActivationQuantizer:
    """Quantises the activations of the layers in `spans`, for `hwloop.network.tracing.operands.attach`."""

    spans: Spans

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers it changes."""
        return tuple(dict.fromkeys(layer for layer, _ in self.spans))

    def __call__(self, layer: str, operand: str, values: Tensor) -> Tensor | None:
        """The values at their levels; None where they stay."""
        found = self.spans.get((layer, operand))
        if found is None:
            return None
        quantised = quantize_activation(values, *found)
        return _straight_through(values, quantised, *found) if values.requires_grad and torch.is_grad_enabled() else quantised


def _straight_through(values: Tensor, quantised: Tensor, bits: int, span: ActivationRange) -> Tensor:
    """The quantised values, with the gradient of the values where they lie in the range, and none beyond it."""
    step, zero_point = span.levels(bits)
    if step == 0:
        return quantised
    inside = values.clamp(-zero_point * step, (2**bits - 1 - zero_point) * step)
    return inside + (quantised - inside).detach()


def activation_quantizer(
    registry: Registry,
    activation_bits: int | Mapping[str, int] | None,
    calibration: Calibration | None,
    second_bits: Mapping[str, int] | None = None,
) -> ActivationQuantizer:
    """Quantises the inputs of layers to these bits, and both operands of products of two activations.

    Args:
        registry: of the network.
        activation_bits: 2 to 23, for all layers or by layer name; layers not named, or all when None, stay as they are.
        calibration: ranges of the activations; needed unless no bits are given.
        second_bits: by layer name, for the second operands of products of two activations; as the first where not named.

    Raises:
        SpecError: bits out of range, no calibration, or a layer named that it did not see.
    """
    layers = registry.workload.layers
    bits = per_layer(activation_bits, [layer.name for layer in layers], "activation_bits", MIN_QUANTISED, MAX_QUANTISED)
    products = [layer.name for layer in layers if layer.kind == "matmul"]
    second = {name: bits[name] for name in products if name in bits}
    second |= per_layer(second_bits, products, "second_bits", MIN_QUANTISED, MAX_QUANTISED)
    if not bits and not second:
        return ActivationQuantizer({})
    if calibration is None:
        raise SpecError("<arguments>", "calibration", "a Calibration (see calibrate), since activation_bits are given", None)
    unseen = [name for name in (*bits, *second) if name not in calibration.layers]
    if unseen:
        where = f"activation_bits.{unseen[0]}"
        raise SpecError("<arguments>", where, "a layer that ran during calibration", unseen[0], "leave it out")
    spans = {(name, INPUTS): (number, calibration.range(name, number)) for name, number in bits.items()}
    spans |= {(name, SECOND): (number, calibration.range(name, number, SECOND)) for name, number in second.items()}
    return ActivationQuantizer(spans)


@contextmanager
def quantized(
    model: nn.Module,
    registry: Registry,
    weight_bits: int | Mapping[str, int] | None = None,
    activation_bits: int | Mapping[str, int] | None = None,
    calibration: Calibration | None = None,
    granularity: str = "channel",
    clipping: str = "max",
) -> Iterator[nn.Module]:
    """Lends `model` with its weights and the activations its layers multiply quantised; it is as it was afterwards.

    Args:
        model: changed inside the `with` block only. BatchNorm is left as it is (see `recalibrate_batchnorm_`).
        registry: of the model.
        weight_bits: 2 to 23, for all layers or by name of a registry's entry; those not named, or all when None, stay.
        activation_bits: the same for the activations, by layer name; both operands of a product of two activations.
        calibration: ranges of the inputs, needed for `activation_bits`.
        granularity: of the weights' steps, `channel` or `tensor`.
        clipping: of the weights, `max` or `mse`.

    Raises:
        SpecError: an unknown layer or option, bits out of range, or no calibration where one is needed.

    Example:
        >>> with quantized(model, registry, weight_bits={"conv1": 4, "fc": 8}) as smaller:
        ...     accuracy(smaller, splits.validation)
    """
    bits = per_layer(weight_bits, registry.by_name, "weight_bits", MIN_QUANTISED, MAX_QUANTISED)
    quantizer = activation_quantizer(registry, activation_bits, calibration)
    entries = [registry.by_name[name] for name in bits]
    new = [quantize_weight(entry.read(model), bits[entry.name], granularity, clipping) for entry in entries]
    old = [entry.read(model).clone() for entry in entries]
    try:
        for entry, tensor in zip(entries, new, strict=True):
            entry.write_(model, tensor)
        with attached(model, registry, quantizer, quantizer.layers):
            yield model
    finally:
        for entry, tensor in zip(entries, old, strict=True):
            entry.write_(model, tensor)


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
    check_bits(bits, "bits", MIN_QUANTISED, MAX_QUANTISED)
    if granularity not in GRANULARITIES:
        raise SpecError("<arguments>", "granularity", " or ".join(GRANULARITIES), granularity)
    if clipping not in CLIPPINGS:
        raise SpecError("<arguments>", "clipping", " or ".join(CLIPPINGS), clipping)
