"""The accuracy of the search's candidates, by inference alone: a library model at p, quantised to the candidate's bits."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hwloop.network.batches import Batch, to_device
from hwloop.network.calibrate import Calibration, calibrate
from hwloop.network.coding import ModelCount, count_model
from hwloop.network.data import DataSplits, Split
from hwloop.network.layers import device_of, per_layer
from hwloop.network.library import Library
from hwloop.network.operands import attached
from hwloop.network.quantize import activation_quantizer, quantize_weight, recalibrate_batchnorm_
from hwloop.network.registry import register
from hwloop.network.scoring import BATCH_SIZE, count_right
from hwloop.network.scoring import accuracy as accuracy
from hwloop.spec.bits import MAX_QUANTISED, MIN_QUANTISED

Bits = int | Mapping[str, int] | None
_WEIGHT_CACHE_BYTES = 2**30
_CALIBRATION_IMAGES = 256


class Evaluator:
    """Scores candidates (p, weight bits, activation bits) on the validation images.

    What repeats is kept: normalised images, quantised weights by (p, layer, bits), calibrations by p, accuracies by
    candidate. The same candidate always scores the same. Not for use by several threads at once.

    Attributes:
        layers: module paths of the layers with weights, in the model's order: the order of q1..qL.
        hits: how many candidates were answered from memory.
        evaluated: how many were run.
    """

    def __init__(
        self,
        model: nn.Module,
        library: Library,
        splits: DataSplits,
        *,
        images: int | None = None,
        granularity: str = "channel",
        clipping: str = "mse",
        calibration: str = "mse",
        batchnorm_images: int = 0,
        batch_size: int = BATCH_SIZE,
        seed: int = 0,
    ) -> None:
        """Takes a copy of `model`; the device it is on is where candidates run.

        Args:
            model: of the library's architecture; its weights do not matter.
            library: the pruned models.
            splits: `validation` is scored, `train` calibrates; `test` is not touched.
            images: score this many validation images (in the classes' proportions), all when None.
            granularity: of the weights' steps, `channel` or `tensor`.
            clipping: of the weights, `max` or `mse`.
            calibration: of the activations' ranges, `minmax`, `percentile` or `mse`, on 256 training images.
            batchnorm_images: measure BatchNorm's statistics anew for each candidate on this many training images; 0 leaves
                those of the library's model, as the paper does.
            batch_size: images at a time.
            seed: of the choice of images.
        """
        self._model = copy.deepcopy(model).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for parameter in self._model.parameters():
            parameter.requires_grad_(False)
        self._device = device_of(self._model)
        self._library = library
        self._granularity, self._clipping, self._method = granularity, clipping, calibration
        self._registry = register(self._model, next(splits.train.batches(1))[0].to(self._device))
        self.layers = tuple(self._registry.by_name)
        validation = splits.validation if images is None else splits.validation.subset(images, seed)
        self._count = len(validation)
        self._batches = self._ready(validation, batch_size)
        self._calibration_split = splits.train.subset(_CALIBRATION_IMAGES, seed)
        self._batchnorm = self._ready(splits.train.subset(batchnorm_images, seed), batch_size) if batchnorm_images else []
        self._loaded: float | None = None
        self._weights: OrderedDict[tuple[float, str, int], Tensor] = OrderedDict()
        self._weight_bytes = 0
        self._calibrations: dict[float, Calibration] = {}
        self._counts: dict[float, ModelCount] = {}
        self._known: dict[tuple[object, ...], float] = {}
        self.hits = self.evaluated = 0

    def evaluate(self, p: float, weight_bits: Bits = None, activation_bits: Bits = None) -> float:
        """Validation accuracy (0 to 1, maximised) of one candidate.

        Args:
            p: pruning amount; must be one of the library's.
            weight_bits: 2 to 23 for all layers or by module path; layers not named stay in floating point.
            activation_bits: the same for the layers' inputs.

        Raises:
            DataError: the library has no member at p, its file is damaged, or it does not fit the model.
            SpecError: an unknown layer, or bits out of range.
        """
        p = self._library.info(p).p
        bits = per_layer(weight_bits, self.layers, "weight_bits", MIN_QUANTISED, MAX_QUANTISED)
        inputs = per_layer(activation_bits, self.layers, "activation_bits", MIN_QUANTISED, MAX_QUANTISED)
        key = (p, tuple(sorted(bits.items())), tuple(sorted(inputs.items())))
        if key in self._known:
            self.hits += 1
            return self._known[key]
        quantizer = activation_quantizer(self._registry, inputs or None, self.calibration(p) if inputs else None)
        self._load(p)
        try:
            quantised = {name: self._quantised(p, name, number) for name, number in bits.items()}
            for name, weight in quantised.items():
                self._registry.by_name[name].write_(self._model, weight)
            with attached(self._model, self._registry, quantizer, quantizer.layers):
                if self._batchnorm:
                    recalibrate_batchnorm_(self._model, self._batchnorm)
                result = count_right(self._model, self._batches) / self._count
        finally:
            self._restore()
        self.evaluated += 1
        self._known[key] = result
        return result

    def calibration(self, p: float) -> Calibration:
        """Ranges and densities of the layers' inputs in the library's model at p, on training images."""
        p = self._library.info(p).p
        if p not in self._calibrations:
            self._load(p)
            self._calibrations[p] = calibrate(self._model, self._registry, self._calibration_split, self._method)
        return self._calibrations[p]

    def input_densities(self, p: float) -> dict[str, float]:
        """Fraction of each layer's inputs that are not zero at p: the simulator's density of Inputs."""
        return self.calibration(p).densities()

    def weight_densities(self, p: float) -> dict[str, float]:
        """Fraction of each layer's weights that are kept at p: the simulator's density of Weights."""
        return dict(self._library.info(p).densities)

    def counts(self, p: float) -> ModelCount:
        """What `coding.model_size` needs for the library's model at p."""
        p = self._library.info(p).p
        if p not in self._counts:
            self._load(p)
            self._counts[p] = count_model(self._model, self._registry)
        return self._counts[p]

    def _ready(self, split: Split, batch_size: int) -> list[Batch]:
        return [(to_device(inputs, self._device), labels.to(self._device)) for inputs, labels in split.batches(batch_size)]

    def _load(self, p: float) -> None:
        """Puts the library's model at p into place, in floating point."""
        if self._loaded != p:
            self._loaded = None  # should loading fail half-way
            self._library.member(p).load_into(self._model)
            self._loaded = p

    def _quantised(self, p: float, name: str, bits: int) -> Tensor:
        key = (p, name, bits)
        if key in self._weights:
            self._weights.move_to_end(key)
            return self._weights[key]
        weight = quantize_weight(self._registry.by_name[name].read(self._model), bits, self._granularity, self._clipping)
        self._weights[key] = weight
        self._weight_bytes += weight.nbytes
        while self._weight_bytes > _WEIGHT_CACHE_BYTES and len(self._weights) > 1:
            self._weight_bytes -= self._weights.popitem(last=False)[1].nbytes
        return weight

    def _restore(self) -> None:
        """The weights are quantised now, and BatchNorm may have changed."""
        self._loaded = None
