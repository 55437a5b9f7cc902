"""A trained network with its library, as the search asks about it (`hwloop.search.stages.CompressedModel`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hwloop.network.accuracy import Evaluator
from hwloop.network.coding import model_size
from hwloop.network.data import DataSplits
from hwloop.network.library import Library
from hwloop.search.genotype import Candidate
from hwloop.spec.plan import Plan, make_plan
from hwloop.spec.workload import Workload

_DENSITY_DIGITS = 4  # a measured density is no more exact than this


class LibraryModel:
    """Answers by inference alone: the library's model at p, quantised.

    Args:
        model: the network; its weights do not matter.
        library: the pruned models.
        splits: validation images are scored, the test set is left alone until `test_accuracy`.
        workload: the network as the accelerator sees it.
        reference_bits: what a layer runs at where the candidate says nothing.
        coding: of the stored model.
        images: validation images to score on, all when None.
        granularity: of the weights' steps.
        seed: of the choice of images.
    """

    def __init__(
        self,
        model: Any,
        library: Library,
        splits: DataSplits,
        workload: Workload,
        *,
        reference_bits: int = 16,
        coding: str = "normal",
        images: int | None = None,
        granularity: str = "channel",
        seed: int = 0,
    ) -> None:
        self.workload, self.library = workload, library
        self._reference_bits, self._coding = reference_bits, coding
        self._arguments: dict[str, Any] = {"granularity": granularity, "seed": seed}
        self._model, self._splits = model, splits
        self._validation = Evaluator(model, library, splits, images=images, **self._arguments)
        self._test: Evaluator | None = None
        self.layers = tuple(name for name in self._validation.layers if name in workload.by_name)

    def accuracy(self, candidate: Candidate) -> float:
        """On the validation images, 0 to 1."""
        return self._validation.evaluate(candidate.p, dict(candidate.weight_bits), dict(candidate.activation_bits) or None)

    def reference_accuracy(self) -> float:
        """Of the trained model itself, in floating point."""
        return self._validation.evaluate(0.0)

    def test_accuracy(self, candidate: Candidate | None) -> float:
        """On the test set; of the trained model itself when None. For the report only."""
        if self._test is None:
            self._test = Evaluator(
                self._model, self.library, replace(self._splits, validation=self._splits.test), **self._arguments
            )  # calibrates on the same training images as the search did
        if candidate is None:
            return self._test.evaluate(0.0)
        return self._test.evaluate(candidate.p, dict(candidate.weight_bits), dict(candidate.activation_bits) or None)

    def plan(self, candidate: Candidate) -> Plan:
        """Weight densities by exact count, input densities as measured, bits as the candidate has them."""
        return self._plan(candidate.p, candidate)

    def reference_plan(self) -> Plan:
        """Nothing pruned, weights and activations at the reference bits; the inputs' natural zeros as measured."""
        return self._plan(0.0, None)

    def size_bits(self, candidate: Candidate) -> float:
        """Of the stored model: weights at their bits under the coding, all else as 32-bit floats."""
        return model_size(self._validation.counts(candidate.p), dict(candidate.weight_bits), self._coding).size_bits

    def reference_size_bits(self) -> float:
        """Every number a 32-bit float, no coding: the trained model as it is stored."""
        return model_size(self._validation.counts(0.0)).size_bits

    def macs(self, candidate: Candidate) -> float:
        """Multiply-accumulates with a weight that is not zero, for one image."""
        kept = self._validation.weight_densities(candidate.p)
        return sum(layer.computes * kept.get(_module(layer.name), 1.0) for layer in self.workload.layers)

    def _plan(self, p: float, candidate: Candidate | None) -> Plan:
        known = self.workload.by_name
        weights = {k: round(v, _DENSITY_DIGITS) for k, v in self._validation.weight_densities(p).items() if k in known}
        inputs = {k: round(v, _DENSITY_DIGITS) for k, v in self._validation.input_densities(p).items() if k in known}
        weight_bits = dict.fromkeys(self.layers, self._reference_bits)
        activation_bits = dict(weight_bits)
        if candidate is not None:
            weight_bits |= {k: v for k, v in candidate.weight_bits.items() if k in known}
            activation_bits |= {k: v for k, v in candidate.activation_bits.items() if k in known}
        return make_plan(self.workload, weights, inputs, weight_bits, activation_bits)


def _module(layer: str) -> str:
    return layer.partition("#")[0]
