"""Watching the inputs of layers on real data: ranges for quantisation, and how many of them are not zero."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hwloop.errors import SpecError
from hwloop.network.data.batches import run_model, to_device
from hwloop.network.data.samples import Split
from hwloop.network.layers import device_of
from hwloop.network.tracing.operands import INPUTS, SECOND, See, attached
from hwloop.network.tracing.registry import Registry

METHODS = ("minmax", "percentile", "mse")
BINS = 2048
_MSE_TRIALS = 60


@dataclass(frozen=True)
class ActivationRange:
    """What quantised inputs may lie between; zero is always inside."""

    low: float
    high: float

    def levels(self, bits: int) -> tuple[float, int]:
        """The step and the integer that stands for zero, for levels 0 to `2**bits - 1`; a step of 0 for an empty range."""
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        step = (high - low) / (2**bits - 1)
        return (step, round(-low / step)) if step > 0 else (0.0, 0)


@dataclass(frozen=True, eq=False)
class LayerInputs:
    """What calibration saw at the input of one layer.

    Attributes:
        low, high: the smallest and largest value.
        density: fraction of the values that are not zero.
        counts: `(BINS,)` float64: how many values fell into each of equal bins between `low` and `high`.
    """

    low: float
    high: float
    density: float
    counts: Tensor
    _ranges: dict[object, ActivationRange] = field(default_factory=dict, init=False, repr=False)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ranges of the activations that layers multiply.

    Attributes:
        layers: what was seen, by layer name.
        method: `minmax`: everything seen; `percentile`: `percentile` percent of the values are inside, the rest is shared by
            both ends; `mse`: the clipping that makes the squared error least at the number of bits asked for.
        symmetric: make the range reach equally far on both sides of zero when there are values on both.
        percentile: for `percentile`.
        second: what was seen of the second operands of products of two activations, by layer name.
    """

    layers: Mapping[str, LayerInputs]
    method: str = "mse"
    symmetric: bool = False
    percentile: float = 99.9
    second: Mapping[str, LayerInputs] = field(default_factory=dict)

    def range(self, layer: str, bits: int, operand: str = INPUTS) -> ActivationRange:
        """The range of an operand of `layer` for `bits` bits; only `mse` depends on the bits. Kept for the next time."""
        seen = (self.layers if operand == INPUTS else self.second)[layer]
        key = (self.method, self.symmetric, self.percentile, bits if self.method == "mse" else 0)
        if key not in seen._ranges:
            seen._ranges[key] = self._find(seen, bits)
        return seen._ranges[key]

    def densities(self) -> dict[str, float]:
        """Fraction of inputs that are not zero, by layer name."""
        return {name: seen.density for name, seen in self.layers.items()}

    def _find(self, seen: LayerInputs, bits: int) -> ActivationRange:
        low, high = min(seen.low, 0.0), max(seen.high, 0.0)
        if self.symmetric and low < 0 < high:
            high = max(high, -low)
            low = -high
        whole = ActivationRange(low, high)
        if self.method == "minmax" or high <= low or seen.high <= seen.low:
            return whole
        width = (seen.high - seen.low) / BINS
        centres = seen.low + width * (torch.arange(BINS, dtype=torch.float64) + 0.5)
        if self.method == "mse":
            return _least_error(centres, seen.counts, whole, bits)
        tail = (1 - self.percentile / 100) / 2 * float(seen.counts.sum())
        one_sided = low == 0 or high == 0
        tail = 2 * tail if one_sided else tail
        below = float(centres[int((seen.counts.cumsum(0) <= tail).sum().clamp(max=BINS - 1))]) - width / 2
        above = float(centres[BINS - 1 - int((seen.counts.flip(0).cumsum(0) <= tail).sum().clamp(max=BINS - 1))]) + width / 2
        if self.symmetric and not one_sided:
            above = max(above, -below)
            below = -above
        return ActivationRange(0.0 if low == 0 else max(low, min(below, 0.0)), 0.0 if high == 0 else min(high, max(above, 0.0)))


def _least_error(centres: Tensor, counts: Tensor, whole: ActivationRange, bits: int) -> ActivationRange:
    """Shrinks the range in equal parts on both sides and keeps the one with the least squared error over the histogram."""
    shrink = torch.linspace(1.0, 1 / _MSE_TRIALS, _MSE_TRIALS, dtype=torch.float64)[:, None]
    top = 2**bits - 1
    low, high = whole.low * shrink, whole.high * shrink
    step = (high - low) / top
    zero = (-low / step).round()
    levels = (centres / step + zero).round().clamp(0, top)
    error = (((levels - zero) * step - centres).square() * counts).sum(dim=1)
    best = int(error.argmin())
    return ActivationRange(float(low[best]), float(high[best]))


@contextmanager
def _watched(model: nn.Module, registry: Registry, see: See) -> Iterator[None]:
    """Calls `see` whenever a layer of `model` is about to run; the model is in evaluation mode meanwhile."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with attached(model, registry, see, [layer.name for layer in registry.workload.layers]), torch.inference_mode():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def input_densities(model: nn.Module, registry: Registry, split: Split, batch_size: int = 256) -> dict[str, float]:
    """Fraction of each layer's inputs that are not zero, over the images of `split`, by layer name.

    The first layer sees normalised pixels, where black is not zero: its density is 1 for most normalisations.
    """
    nonzeros: dict[str, int] = {}
    values: dict[str, int] = {}

    def see(layer: str, operand: str, activations: Tensor) -> None:
        if operand == INPUTS:
            nonzeros[layer] = nonzeros.get(layer, 0) + int(activations.count_nonzero())
            values[layer] = values.get(layer, 0) + activations.numel()

    device = device_of(model)
    with _watched(model, registry, see):
        for inputs, _ in split.batches(batch_size):
            run_model(model, to_device(inputs, device))
    return {name: nonzeros[name] / values[name] for name in values}


def calibrate(
    model: nn.Module,
    registry: Registry,
    split: Split,
    method: str = "mse",
    symmetric: bool = False,
    percentile: float = 99.9,
    batch_size: int = 256,
) -> Calibration:
    """Runs `split` through `model` twice: for the ranges, then for a histogram inside them.

    Args:
        model: not changed.
        registry: of the model.
        split: calibration images; training images, a few hundred are enough.
        method: `minmax`, `percentile` or `mse`; see `Calibration`.
        symmetric: see `Calibration`.
        percentile: percent of the values inside the range, for `percentile`.
        batch_size: images at a time.

    Raises:
        SpecError: an unknown method or a percentile out of range.
    """
    if method not in METHODS:
        raise SpecError("<arguments>", "calibration", " or ".join(METHODS), method)
    if not 50 < percentile <= 100:
        raise SpecError("<arguments>", "percentile", "a number above 50, up to 100", percentile)
    found: dict[tuple[str, str], _Watch] = {}

    def see_range(layer: str, operand: str, values: Tensor) -> None:
        found.setdefault((layer, operand), _Watch()).see_range(values)

    def see_values(layer: str, operand: str, values: Tensor) -> None:
        found[layer, operand].see_values(values)

    device = device_of(model)
    for see in (see_range, see_values):
        with _watched(model, registry, see):
            for inputs, _ in split.batches(batch_size):
                run_model(model, to_device(inputs, device))
    layers = {layer: watch.seen() for (layer, operand), watch in found.items() if operand == INPUTS}
    second = {layer: watch.seen() for (layer, operand), watch in found.items() if operand == SECOND}
    return Calibration(layers, method, symmetric, percentile, second)


def observed(parts: Sequence[Tensor]) -> LayerInputs:
    """What a layer's inputs, given in parts, look like: as `calibrate` finds it."""
    watch = _Watch()
    for part in parts:
        watch.see_range(part)
    for part in parts:
        watch.see_values(part)
    return watch.seen()


class _Watch:
    """Sees the inputs of a layer twice: their ends, then what lies between."""

    def __init__(self) -> None:
        self._low, self._high, self._nonzeros = math.inf, -math.inf, 0
        self._counts = torch.zeros(BINS, dtype=torch.float64)

    def see_range(self, values: Tensor) -> None:
        least, most = (float(value) for value in _flat(values).aminmax())
        self._low, self._high = min(least, self._low), max(most, self._high)

    def see_values(self, values: Tensor) -> None:
        flat = _flat(values)
        self._nonzeros += int((flat != 0).sum())  # five times as quick as count_nonzero
        self._counts += torch.histc(flat.float(), BINS, self._low, self._high).double().cpu()

    def seen(self) -> LayerInputs:
        return LayerInputs(self._low, self._high, self._nonzeros / float(self._counts.sum()), self._counts)


def _flat(values: Tensor) -> Tensor:
    """The values as they lie in memory, where their order does not matter: many times as quick in channels_last."""
    as_stored = values.permute(sorted(range(values.dim()), key=values.stride, reverse=True))
    return as_stored.view(-1) if as_stored.is_contiguous() else values.reshape(-1)
