"""A trained network with its library, as the search asks about it (`hwloop.search.seams.Scorer`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hwloop.errors import SpecError
from hwloop.network.accuracy import Evaluator
from hwloop.network.coding import model_size
from hwloop.network.data import DataSplits
from hwloop.network.library import Library
from hwloop.spec.plan import Plan, make_plan
from hwloop.spec.pruning import base_pruning
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
        self.images = min(images or len(splits.validation), len(splits.validation))
        self.train_images, self.has_test = len(splits.train), splits.has_test

    def complete(self, plan: Plan) -> Plan:
        """Weight densities by exact count, input densities as measured, the reference's bits where the plan says none."""
        p, weight_bits, activation_bits = self._read(plan)
        known = self.workload.by_name
        weights = {k: round(v, _DENSITY_DIGITS) for k, v in self._validation.weight_densities(p).items() if k in known}
        inputs = {k: round(v, _DENSITY_DIGITS) for k, v in self._validation.input_densities(p).items() if k in known}
        reference = dict.fromkeys(self.layers, self._reference_bits)
        return make_plan(
            self.workload, weights, inputs, reference | weight_bits, reference | activation_bits, base=plan.base
        )  # fmt: skip

    def accuracy(self, plan: Plan, network: Any = None) -> float:
        """On the validation images, 0 to 1."""
        p, weight_bits, activation_bits = self._read(plan)
        return self._validation.evaluate(p, weight_bits or None, activation_bits or None)

    def test_accuracy(self, plan: Plan, network: Any = None) -> float:
        """On the test set; for the report only."""
        if self._test is None:
            self._test = Evaluator(
                self._model, self.library, replace(self._splits, validation=self._splits.test), **self._arguments
            )  # calibrates on the same training images as the search did
        p, weight_bits, activation_bits = self._read(plan)
        return self._test.evaluate(p, weight_bits or None, activation_bits or None)

    def size_bits(self, plan: Plan) -> float:
        """Weights at their bits under the coding, all else as 32-bit floats; a plan that says nothing as 32-bit floats."""
        p, weight_bits, _ = self._read(plan)
        counts = self._validation.counts(p)
        return (model_size(counts, weight_bits, self._coding) if weight_bits else model_size(counts)).size_bits

    def macs(self, plan: Plan) -> float:
        """Multiply-accumulates with a weight that is not zero, for one image."""
        kept = self._validation.weight_densities(self._read(plan)[0])
        return sum(layer.computes * kept.get(layer.name.partition("#")[0], 1.0) for layer in self.workload.layers)

    def materialise(self, plan: Plan, training: Any = None) -> Any:
        """Not before the transforms are here."""
        raise NotImplementedError

    def _read(self, plan: Plan) -> tuple[float, dict[str, int], dict[str, int]]:
        """p, weight bits and activation bits by layer."""
        weight_bits = {name: share.weight_bits for name, share in plan.layers if share.weight_bits is not None}
        activation_bits = {name: share.activation_bits for name, share in plan.layers if share.activation_bits is not None}
        only = set(self.layers)
        if any(share.channels or share.rank or share.removed or share.weight_density != 1.0 for _, share in plan.layers):
            raise SpecError("<plan>", "layers", "bits alone", plan.to_dict())
        return (
            base_pruning(plan.base),
            {k: v for k, v in weight_bits.items() if k in only},
            {k: v for k, v in activation_bits.items() if k in only},
        )
