"""A trained network with its library, as the search asks about it (`hwloop.search.stages.CompressedModel`)."""

from __future__ import annotations

from typing import Any

from hwloop.network.candidates import CompressedNetwork
from hwloop.network.data import DataSplits
from hwloop.network.library import Library
from hwloop.search.genotype import Candidate
from hwloop.spec.plan import Plan, make_plan
from hwloop.spec.pruning import base_name
from hwloop.spec.workload import Workload


class LibraryModel:
    """Answers by inference alone: the library's model at p, quantised. Arguments as of `CompressedNetwork`."""

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
        self._network = CompressedNetwork(
            model,
            library,
            splits,
            reference_bits=reference_bits,
            coding=coding,
            images=images,
            granularity=granularity,
            seed=seed,
        )  # fmt: skip
        self.layers = self._network.layers

    def accuracy(self, candidate: Candidate) -> float:
        """On the validation images, 0 to 1."""
        return self._network.accuracy(self._asked(candidate))

    def reference_accuracy(self) -> float:
        """Of the trained model itself, in floating point."""
        return self._network.accuracy(Plan())

    def test_accuracy(self, candidate: Candidate | None) -> float:
        """On the test set; of the trained model itself when None. For the report only."""
        return self._network.test_accuracy(Plan() if candidate is None else self._asked(candidate))

    def plan(self, candidate: Candidate) -> Plan:
        """Weight densities by exact count, input densities as measured, bits as the candidate has them."""
        return self._network.complete(self._asked(candidate))

    def reference_plan(self) -> Plan:
        """Nothing pruned, weights and activations at the reference bits; the inputs' natural zeros as measured."""
        return self._network.complete(Plan())

    def size_bits(self, candidate: Candidate) -> float:
        """Of the stored model: weights at their bits under the coding, all else as 32-bit floats."""
        return self._network.size_bits(self._asked(candidate))

    def reference_size_bits(self) -> float:
        """Every number a 32-bit float, no coding: the trained model as it is stored."""
        return self._network.size_bits(Plan())

    def macs(self, candidate: Candidate) -> float:
        """Multiply-accumulates with a weight that is not zero, for one image."""
        return self._network.macs(self._asked(candidate))

    def _asked(self, candidate: Candidate) -> Plan:
        weights, inputs = dict(candidate.weight_bits), dict(candidate.activation_bits)
        return make_plan(self.workload, weight_bits=weights, activation_bits=inputs, base=base_name(candidate.p))
