"""The answers of a compressed network to the search: accuracy, densities, size, from a plan alone and by inference alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from math import prod
from typing import TypeVar

from torch import Tensor, nn

from hwloop.errors import DataError
from hwloop.network.accuracy.coding import FLOAT_BITS, ModelCount, WeightCount, model_size
from hwloop.network.accuracy.completion import completed, weight_densities
from hwloop.network.accuracy.pieces import Pieces
from hwloop.network.accuracy.race import Hopeless, Race, Score
from hwloop.network.accuracy.runs import Runs
from hwloop.network.accuracy.sensitivity import Divergence
from hwloop.network.accuracy.treatment import Sparsity, Treatment, origin, treatment_of
from hwloop.network.accuracy.variant import DENSITY_DIGITS, Variant, WeightCache
from hwloop.network.bank.bank import Bank
from hwloop.network.bank.repair import augmented
from hwloop.network.cache import ByteCache
from hwloop.network.data.parts import call_score
from hwloop.network.data.splits import DataSplits
from hwloop.network.layers import device_of
from hwloop.network.library.build import block_pattern
from hwloop.network.library.library import Library
from hwloop.network.scoring import BATCH_SIZE, HeldBatches
from hwloop.network.tracing.entries import Registry
from hwloop.network.tracing.operands import attach, attached
from hwloop.network.tracing.recording import unwrapped
from hwloop.network.tracing.registry import register
from hwloop.network.training.settings import TrainConfig
from hwloop.network.training.trainer import train
from hwloop.network.transforms.apply import reshaped
from hwloop.network.transforms.calibrate import calibrate
from hwloop.network.transforms.quantize import ActivationQuantizer, quantize_weight, recalibrate_batchnorm_
from hwloop.spec.plan import Plan
from hwloop.spec.pruning import BlockPattern, base_pruning

CALIBRATION_IMAGES = 256
SHAPED_CACHE_BYTES = 2**30
WEIGHT_CACHE_BYTES = 2**30
_KEPT_ANSWERS, _KEPT_TREATMENTS = 2**16, 2**10
T = TypeVar("T")


class CompressedNetwork:
    """Scores plans (`hwloop.search.seams.Scorer`). The same plan always gets the same answers.

    The weights of a plan are those of the library's member that its `base` names. Shapes come first (kept channels, ranks,
    removed layers); then a layer that has more weights than its density allows is pruned further at once, by magnitude or as the
    bank has it; then weights and activations are quantised. Nothing is trained but by `materialise`.

    What repeats is kept: batches on the device (2 GiB of each part), pruned and quantised weights (1 GiB), networks of other
    shapes (1 GiB), feature maps (1 GiB) and calibrations (512 MiB), 65536 answers; the library keeps 1 GiB of members. Not for
    use by several threads at once.

    Attributes:
        registry: of the network: which parameters hold its weights, and which are left out and why.
        workload: the network as the accelerator sees it.
        layers: names of the layers that a plan may change: of each weight tensor, the first layer that reads it.
        images: validation examples that one accuracy looks at.
        train_images: examples of one epoch of training.
        has_test: whether there is anything for `test_accuracy`.
        hits: how many accuracies were answered from memory.
        evaluated: how many were run.
    """

    def __init__(
        self,
        model: nn.Module,
        library: Library | None,
        splits: DataSplits,
        registry: Registry | None = None,
        *,
        reference_bits: int | None = None,
        coding: str = "normal",
        images: int | None = None,
        granularity: str = "channel",
        clipping: str = "mse",
        calibration: str = "mse",
        batchnorm_images: int = 0,
        batch_size: int = BATCH_SIZE,
        seed: int = 0,
        bank: Bank | None = None,
        bias_correction: bool = False,
        batchnorm_augmented: bool = False,
    ) -> None:
        """Takes a copy of `model`; the device it is on is where candidates run.

        Args:
            model: the trained network; with a library its weights do not matter.
            library: the pruned networks; None where plans start from `model` alone.
            splits: `validation` is scored, `train` calibrates; `test` is left alone until `test_accuracy`.
            registry: of the model; made here when None.
            reference_bits: what `complete` fills in where a plan says nothing of bits; nothing when None.
            coding: of the stored network: `normal`, `csr` or `coo`.
            images: score this many validation examples (in the classes' proportions), all when None.
            granularity: of the weights' steps, `channel` or `tensor`.
            clipping: of the weights, `max` or `mse`.
            calibration: of the activations' ranges, `minmax`, `percentile` or `mse`, on 256 training examples.
            batchnorm_images: measure BatchNorm's statistics anew for each candidate on this many training examples; 0 leaves
                those of the base, as the paper does.
            batch_size: examples at a time.
            seed: of the choice of examples.
            bank: where pruned and rounded layers come from, with its own settings of their steps; without one they are pruned by
                magnitude and rounded to the nearest level.
            bias_correction: shift the mean outputs of the bank's layers back, into a bias or the BatchNorm behind.
            batchnorm_augmented: measure BatchNorm's statistics on augmented images, as in training, not on plain ones.
        """
        model = unwrapped(model)
        self.registry = registry or register(model, splits.example_for(model))
        self.workload = self.registry.workload
        self.layers = tuple(self.registry.by_name)
        self._library, self._splits = library, splits
        self._reference_bits, self._coding = reference_bits, coding
        self._granularity, self._clipping, self._method, self._bank = granularity, clipping, calibration, bank
        self._bias_correction = bias_correction
        self._weights: WeightCache = ByteCache(WEIGHT_CACHE_BYTES, lambda tensor: tensor.nbytes)
        self._own = self._new_variant(model, self.registry)
        self._start = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()} if library is None else {}
        device = device_of(model)
        validation = splits.validation if images is None else splits.validation.subset(images, seed)
        self._validation = HeldBatches(validation, batch_size, device)
        self._test: HeldBatches | None = None
        self._batchnorm = None
        if batchnorm_images:
            change = splits.augmentation if batchnorm_augmented else None
            self._batchnorm = HeldBatches(augmented(splits.train, change, batchnorm_images, seed), batch_size, device)
        self._calibration_split = splits.train.subset(CALIBRATION_IMAGES, seed)
        self._runs = Runs(self._calibration_split, device, calibration, self._batchnorm)
        self._divergence = lru_cache(4)(
            lambda count: Divergence(HeldBatches(splits.train.subset(count, seed), batch_size, device))
        )
        self.images, self.train_images, self.has_test = len(validation), len(splits.train), splits.has_test
        self._shaped: ByteCache[tuple[str, str], Variant] = ByteCache(SHAPED_CACHE_BYTES, lambda variant: variant.size_bytes)
        self._begun: dict[object, tuple[int, int, int]] = {}
        self._sorted = False
        self._known: ByteCache[object, float] = ByteCache(_KEPT_ANSWERS, lambda _: 1)
        self._treatment = lru_cache(_KEPT_TREATMENTS)(self._read)
        self.hits = self.evaluated = 0

    def complete(self, plan: Plan) -> Plan:
        """The plan with the densities that weights and inputs really have, and the reference's bits where it says none.

        A density that was asked for and pruned to stays as it is asked for; an N:M pattern stays where it holds. Other
        densities of weights are counted, those of activations are measured on the calibration examples, both to four digits.

        Raises:
            SpecError: a plan that the network cannot follow.
            DataError: the library lacks the base.
        """
        treatment = self._treatment(plan)
        variant = self._variant(treatment)
        calibration = self._runs.calibration(variant, treatment)
        weights = weight_densities(variant, treatment, self._library_pattern(treatment))
        return completed(plan, self.registry, weights, calibration, self._reference_bits)

    def accuracy(self, plan: Plan, network: nn.Module | None = None) -> float:
        """Accuracy on the validation examples, 0 to 1, or what the caller's function says; maximised.

        Args:
            plan: the candidate.
            network: score this one, which was made for the plan, in place of what the plan alone makes.

        Raises:
            SpecError: a plan that the network cannot follow.
            DataError: the library lacks the base, its file is damaged or does not fit.
        """
        return self._answer(plan, network, False)

    def divergence(self, plan: Plan, reference: Plan, images: int) -> float:
        """How far the outputs of a plan's network are from those of another plan's, on training examples.

        Args:
            plan: the candidate.
            reference: what it is compared with.
            images: how many examples, drawn by class.

        Returns:
            Mean Kullback-Leibler divergence of the class probabilities [nats], 0 or more, minimised, as `Divergence` says.

        Raises:
            SpecError, DataError: as `accuracy`.
        """
        treatment, other = self._treatment(plan), self._treatment(reference)
        divergence = self._divergence(images)
        expected = divergence.reference(other.key, lambda outputs: self._run(other, outputs))
        return self._run(treatment, lambda model: divergence.of(model, expected))

    def test_accuracy(self, plan: Plan, network: nn.Module | None = None) -> float:
        """The same on the test set, or by the caller's function for it. For the report only.

        Raises:
            DataError: there is no test set, see `has_test`; and as `accuracy`.
        """
        return self._answer(plan, network, True)

    def size_bits(self, plan: Plan, coding: str | None = None) -> float:
        """Of the stored network: weights at their bits under a coding (its own when None), all else as 32-bit floats.

        A plan that says nothing gives the trained network as it is stored: every number a 32-bit float, no coding.
        """
        treatment = self._treatment(plan)
        variant = self._variant(treatment)
        counts = {
            entry.name: WeightCount(entry.shape[0], prod(entry.shape[1:]), variant.nonzeros(entry, treatment))
            for entry in variant.registry.entries
        }
        count = ModelCount(counts, variant.values - sum(each.values for each in counts.values()))
        if not plan.to_dict()["layers"] and not treatment.base:
            return model_size(count).size_bits
        asked = {entry.name: plan.of(origin(entry.layers[0])).weight_bits for entry in variant.registry.entries}
        bits = {name: min(number, FLOAT_BITS) for name, number in asked.items() if number is not None}
        return model_size(count, bits, coding or self._coding).size_bits

    def macs(self, plan: Plan) -> float:
        """Multiply-accumulates with a weight that is not zero, for one input."""
        treatment = self._treatment(plan)
        variant = self._variant(treatment)
        total = 0.0
        for planned in treatment.planned:
            entry = variant.registry.by_layer.get(planned.name)
            kept = 1.0 if entry is None else variant.nonzeros(entry, treatment) / prod(entry.shape)
            total += planned.problem.computes * kept
        return total

    def materialise(self, plan: Plan, training: TrainConfig | None = None) -> nn.Module:
        """The network of a plan: a module of its own, its weights on their levels, its activations quantised by hooks.

        Args:
            plan: the candidate.
            training: train the weights further before they are quantised, the pruned ones held at zero; not when None. The ranges
                of the activations are then measured anew.

        Raises:
            SpecError: a plan that the network cannot follow.
            DataError: as `accuracy`; or no labels to train on.
        """
        network, registry, quantizer = self._made(plan, training)
        attach(network, registry, quantizer, quantizer.layers)
        if self._batchnorm is not None:
            recalibrate_batchnorm_(network, self._batchnorm)
        return network.eval()

    def pieces(self, plan: Plan) -> Pieces:
        """The network of a plan without its hooks, and what its numbers stand for: for an export.

        Raises:
            SpecError, DataError: as `materialise`.
        """
        network, registry, quantizer = self._made(plan, None)
        if self._batchnorm is not None:
            with attached(network, registry, quantizer, quantizer.layers):
                recalibrate_batchnorm_(network, self._batchnorm)
        treatment = self._treatment(plan)
        variant = self._variant(treatment)
        bits = {entry.name: number for entry in registry.entries if (number := variant.bits(entry, treatment))}
        steps = {name: variant.step(registry.by_name[name], treatment) for name in bits}
        return Pieces(network.eval(), registry, bits, steps, quantizer.spans)

    def _made(self, plan: Plan, training: TrainConfig | None) -> tuple[nn.Module, Registry, ActivationQuantizer]:
        """The network of a plan, trained further where that is asked for; its weights are rounded, its activations not yet."""
        treatment = self._treatment(plan)
        variant = self._variant(treatment)
        registry = variant.registry
        network = variant.copied(treatment)
        calibration = None
        if training is not None:
            train(network, self._splits, training, variant.masks(treatment))
            if treatment.quantises_activations:
                calibration = calibrate(network, registry, self._calibration_split, self._method)
        elif treatment.quantises_activations:
            calibration = self._runs.calibration(variant, treatment)
        for entry in registry.entries:
            bits = treatment.bits_of.get(origin(entry.layers[0]))
            if bits is not None and training is None:
                entry.write_(network, variant.rounded(entry, treatment))
            elif bits is not None:
                entry.write_(network, quantize_weight(entry.read(network), bits, self._granularity, self._clipping))
        if training is None:
            variant.correct_(network, treatment)
        return network, registry, variant.quantizer(treatment, calibration)

    def accuracies(self, plans: Sequence[Plan], hopeless: Hopeless | None = None) -> list[Score]:
        """The accuracies of many plans at once: what some of them have in common is computed once.

        Args:
            plans: the candidates.
            hopeless: see `Race`; not asked where a caller's function scores.

        Returns:
            By plan the accuracy and True; or, where `hopeless` said so, what it is at most and False. Asked for again, the images
            seen already are not run again.

        Raises:
            SpecError, DataError: as `accuracy`.
        """
        return self._scores(plans, False, hopeless)

    def prepare(self, plans: Sequence[Plan]) -> None:
        """Measures what `complete` and `accuracies` need to know of the activations of many plans: together, it takes less."""
        for group in _alike(enumerate(map(self._treatment, plans))):
            treatments = list(group.values())
            self._runs.calibrate(self._variant(treatments[0]), treatments)

    def _answer(self, plan: Plan, network: nn.Module | None, test: bool) -> float:
        return self._score(network.eval(), test) if network is not None else self._scores([plan], test)[0][0]

    def _scores(self, plans: Sequence[Plan], test: bool, hopeless: Hopeless | None = None) -> list[Score]:
        keys = [(test, *self._treatment(plan).key) for plan in plans]
        fresh = {key: self._treatment(plan) for key, plan in zip(keys, plans, strict=True) if key not in self._known}
        found = {key: (self._known.get(key, float), True) for key in keys if key in self._known}
        found |= zip(fresh, self._evaluate(list(fresh.values()), test, hopeless), strict=True) if fresh else ()
        for key in fresh:
            value, exact = found[key]
            if exact:
                self._known.get(key, partial(float, value))
        self.evaluated, self.hits = self.evaluated + len(fresh), self.hits + len(plans) - len(fresh)
        return [found[key] for key in keys]

    def _evaluate(self, treatments: Sequence[Treatment], test: bool, hopeless: Hopeless | None) -> list[Score]:
        if (self._splits.evaluate_test if test else self._splits.evaluate) is not None:
            return [(self._by_function(treatment, test), True) for treatment in treatments]
        batches = self._batches(test)
        if hopeless is not None and not self._sorted:
            batches.hardest_first(self._variant(treatments[0]).model)
            self._runs.forget()
            self._begun.clear()
            self._sorted = True
        race = Race(batches, len(treatments), hopeless)
        for at, treatment in enumerate(treatments):
            if not test and treatment.key in self._begun:
                race.start(at, *self._begun.pop(treatment.key))
        for group in _alike(enumerate(treatments)):
            self._runs.race(race, self._variant(next(iter(group.values()))), group)
        scores = race.scores()
        self._begun |= {treatments[at].key: race.state(at) for at, (_, exact) in enumerate(scores) if not exact}
        return scores

    def _by_function(self, treatment: Treatment, test: bool) -> float:
        return self._run(treatment, lambda model: self._score(model, test))

    def _run(self, treatment: Treatment, use: Callable[[nn.Module], T]) -> T:
        """What `use` makes of the network of a treatment."""
        variant = self._variant(treatment)
        calibration = self._runs.calibration(variant, treatment) if treatment.quantises_activations else None
        with variant.lent(treatment, calibration, batchnorm=self._batchnorm) as model:
            return use(model)

    def _score(self, model: nn.Module, test: bool) -> float:
        function = self._splits.evaluate_test if test else self._splits.evaluate
        if function is not None:
            return call_score(function, model)
        return self._batches(test).accuracy(model)

    def _batches(self, test: bool) -> HeldBatches:
        """The examples with their labels.

        Raises:
            DataError: there are none.
        """
        if test and not self.has_test:
            raise DataError(f"{self._splits.name}: neither a test set nor a second scoring function was given")
        if test:
            self._test = self._test or HeldBatches(self._splits.test, self._validation.batch_size, self._validation.device)
        batches = self._test if test else self._validation
        assert batches is not None
        batches.check_labels()
        return batches

    def _read(self, plan: Plan) -> Treatment:
        """What a plan does, without the densities that its base has anyhow: those change nothing."""
        treatment = treatment_of(plan, self.registry)
        if treatment.changes_shapes or self._library is None:
            return treatment
        there = self._library.info(base_pruning(treatment.base)).densities

        def prunes(layer: str, wanted: Sparsity) -> bool:
            have = there.get(self.registry.by_layer[layer].name, 1.0)
            return isinstance(wanted, BlockPattern) or wanted < round(have, DENSITY_DIGITS)

        return replace(treatment, density=tuple(pair for pair in treatment.density if prunes(*pair)))

    def _new_variant(self, model: nn.Module, registry: Registry) -> Variant:
        return Variant(model, registry, self._weights, self._granularity, self._clipping, self._bank, self._bias_correction)

    def _variant(self, treatment: Treatment) -> Variant:
        """The architecture of a treatment with its base's weights in place."""
        if treatment.changes_shapes:
            return self._shaped.get((treatment.base, treatment.structure.key), lambda: self._reshaped(treatment))
        self._own.load(treatment.base, self._state(treatment.base))
        return self._own

    def _reshaped(self, treatment: Treatment) -> Variant:
        """The architecture of a treatment that changes shapes, with its base's weights in it."""
        self._own.load(treatment.base, self._state(treatment.base))
        variant = self._new_variant(*reshaped(self._own.model, self.registry, treatment.structure))
        state = {name: tensor.clone() for name, tensor in variant.model.state_dict().items()}
        variant.load(f"{treatment.base} {treatment.structure.key}", state)
        return variant

    def _state(self, base: str) -> Mapping[str, Tensor]:
        if self._library is not None:
            return self._library.member(base_pruning(base)).state
        if base:
            raise DataError(f"a plan starts from {base}, and there is no library of pruned networks")
        return self._start

    def _library_pattern(self, treatment: Treatment) -> BlockPattern | None:
        """The N:M structure that the library's members have, while their layers have the shapes they were pruned in."""
        block = None if self._library is None else self._library.settings.get("block")
        if not block or not treatment.base or treatment.changes_shapes:
            return None
        return block_pattern(base_pruning(treatment.base), block)


def _alike(treatments: Iterable[tuple[int, Treatment]]) -> list[dict[int, Treatment]]:
    """Treatments by number, those of one base and one architecture together."""
    groups: dict[object, dict[int, Treatment]] = {}
    for at, treatment in treatments:
        groups.setdefault((treatment.base, treatment.structure.key), {})[at] = treatment
    return list(groups.values())
