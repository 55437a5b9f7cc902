"""Runs of candidates that have one architecture and one base: on calibration examples, and on those that they are scored on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch

from hwloop.network.accuracy.race import Race
from hwloop.network.accuracy.together import Features, Member, Seen, Together, features_bytes
from hwloop.network.accuracy.treatment import Treatment
from hwloop.network.accuracy.variant import Spec, Variant
from hwloop.network.cache import ByteCache
from hwloop.network.data.batches import Batch, Inputs, to_device
from hwloop.network.data.samples import Split
from hwloop.network.scoring import BATCH_SIZE
from hwloop.network.transforms.calibrate import Calibration, LayerInputs, calibrate
from hwloop.network.transforms.quantize import ActivationQuantizer

FEATURES_BYTES = 2**29  # of the examples that are scored, and as many of the calibration examples
CALIBRATION_CACHE_BYTES = 2**28
WEIGHTS_BYTES = 2**29  # of candidates that run side by side
_NOTHING = ActivationQuantizer({})


class Runs:
    """What is kept between runs: feature maps (512 MiB, as much again of the calibration), calibrations (256 MiB).

    Args:
        split: calibration examples.
        device: where candidates run.
        method: of the activations' ranges, see `Calibration`.
        batchnorm: what BatchNorm's statistics are measured anew on, for each candidate; None leaves them.
    """

    def __init__(self, split: Split, device: torch.device, method: str, batchnorm: Iterable[Batch] | None) -> None:
        self._split, self._device, self._method, self._batchnorm = split, device, method, batchnorm
        self._examples: list[Inputs] = []
        self._features: Features = ByteCache(FEATURES_BYTES, features_bytes)
        self._calibration_features: Features = ByteCache(FEATURES_BYTES, features_bytes)
        self._seen: Seen = ByteCache(CALIBRATION_CACHE_BYTES, _seen_bytes)
        self._calibrations: ByteCache[object, Calibration] = ByteCache(CALIBRATION_CACHE_BYTES, _calibration_bytes)

    def calibration(self, variant: Variant, treatment: Treatment) -> Calibration:
        """Ranges and densities of the activations of a loaded network, pruned and not quantised."""
        return self._calibrations.get(treatment.floats, lambda: self._calibrated(variant, treatment))

    def calibrate(self, variant: Variant, treatments: Iterable[Treatment]) -> None:
        """The same of many that share the base, in the order that shares most."""
        different = list({treatment.floats: treatment for treatment in treatments}.values())
        members = [Member(variant.specs(treatment, False), _NOTHING, {}) for treatment in different]
        for at in Together(variant, members, self._calibration_features, self._calibration_examples()[0]).order:
            self.calibration(variant, different[at])

    def race(self, race: Race, variant: Variant, treatments: Mapping[int, Treatment]) -> None:
        """Scores candidates, given by their position in the race, on the base that is loaded."""
        for part in self._fitting(variant, treatments):
            members = [self._member(variant, treatments[at]) for at in part]
            together = Together(variant, members, self._features, self._calibration_examples()[0])
            with together.running():
                race.run(together, part)

    def forget(self) -> None:
        """Drops the feature maps of the examples that are scored: they come in another order from now on."""
        self._features = ByteCache(FEATURES_BYTES, features_bytes)

    def _member(self, variant: Variant, treatment: Treatment) -> Member:
        calibration = self.calibration(variant, treatment) if treatment.quantises_activations else None
        rest = variant.rest(treatment, calibration, self._batchnorm)
        return Member(variant.specs(treatment), variant.quantizer(treatment, calibration), rest)

    def _calibrated(self, variant: Variant, treatment: Treatment) -> Calibration:
        if len(variant.pieces(self._calibration_examples()[0])) == 1:
            with variant.lent(treatment, None, quantised=False) as model:
                return calibrate(model, variant.registry, self._split, self._method)
        member = Member(variant.specs(treatment, False), _NOTHING, {})
        together = Together(variant, [member], self._calibration_features, self._calibration_examples()[0])
        return Calibration(together.seen(self._seen, self._calibration_examples()), self._method)

    def _calibration_examples(self) -> list[Inputs]:
        if not self._examples:
            self._examples = [to_device(inputs, self._device) for inputs, _ in self._split.batches(BATCH_SIZE)]
        return self._examples

    @staticmethod
    def _fitting(variant: Variant, treatments: Mapping[int, Treatment]) -> Iterator[list[int]]:
        """As many candidates at a time as have weights that fit the cache of weights."""
        sizes = {entry.name: torch.Size(entry.shape).numel() * 4 for entry in variant.registry.entries}
        part: list[int] = []
        weights: set[tuple[str, Spec]] = set()
        for at, treatment in treatments.items():
            own = set(variant.specs(treatment).items())
            if part and sum(sizes[name] for name, _ in weights | own) > WEIGHTS_BYTES:
                yield part
                part, weights = [], set()
            part.append(at)
            weights |= own
        if part:
            yield part


def _seen_bytes(seen: Mapping[str, LayerInputs]) -> int:
    return sum(inputs.counts.nbytes for inputs in seen.values())


def _calibration_bytes(calibration: Calibration) -> int:
    return _seen_bytes(calibration.layers) + _seen_bytes(calibration.second)
