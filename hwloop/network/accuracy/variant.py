"""A network whose weights are put in and out: what candidates of one architecture are run on."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import prod

import torch
from torch import Tensor, nn

from hwloop.errors import DataError
from hwloop.network.accuracy.treatment import Sparsity, Treatment, origin
from hwloop.network.bank.bank import Bank, Base
from hwloop.network.cache import ByteCache
from hwloop.network.data.batches import Batch, Inputs
from hwloop.network.layers import device_of
from hwloop.network.tracing.entries import Registry, WeightEntry
from hwloop.network.tracing.operands import INPUTS, SECOND, attached
from hwloop.network.tracing.segments import Segment, segments
from hwloop.network.transforms.calibrate import Calibration
from hwloop.network.transforms.prune import Masks, magnitude_mask
from hwloop.network.transforms.quantize import ActivationQuantizer, quantize_weight, recalibrate_batchnorm_, weight_step
from hwloop.spec.pruning import BlockPattern

_KEPT_COUNTS = 2**16
DENSITY_DIGITS = 4  # a measured density is no more exact than this
WeightCache = ByteCache[tuple[str, str, Sparsity, int], Tensor]  # (network, weight tensor, density or pattern, bits or 0)
Spec = tuple[Sparsity, int]  # what is done to a weight tensor: density or pattern, bits or 0
_AS_LOADED: Spec = (1.0, 0)


class Variant:
    """One architecture: the network's own, or one that a plan gave other shapes.

    Not for use by several threads at once.

    Args:
        model: of the architecture; a copy is taken. The device it is on is where candidates run.
        registry: of the model.
        weights: where pruned and quantised weights are kept; may be shared by variants.
        granularity, clipping: of the weights' steps, see `quantize.weight_step`.
        bank: where pruned and rounded layers come from; by magnitude and to the nearest level when None.
        correct: whether the means of the outputs of the bank's layers are shifted back, see `Base.correct_`.
    """

    def __init__(
        self,
        model: nn.Module,
        registry: Registry,
        weights: WeightCache,
        granularity: str = "channel",
        clipping: str = "mse",
        bank: Bank | None = None,
        correct: bool = False,
    ) -> None:
        self._bank, self._correct = bank, correct and bank is not None
        self._from_bank: Base | None = None
        self.registry, self._weights, self._granularity, self._clipping = registry, weights, granularity, clipping
        self.model = copy.deepcopy(model).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._state: Mapping[str, Tensor] = {}
        self._base: str | None = None
        self._changed: list[WeightEntry] = []
        self._put: dict[str, Spec] = {}
        self._put_rest: frozenset[str] = frozenset()
        self._pieces: tuple[Segment, ...] = ()
        self._counts: ByteCache[tuple[str, str, Sparsity], int] = ByteCache(_KEPT_COUNTS, lambda _: 1)

    @property
    def size_bytes(self) -> int:
        """What the network and the weights that it goes back to take in memory, cached ones aside."""
        state: Mapping[str, Tensor] = self.model.state_dict()
        return 2 * sum(tensor.nbytes for tensor in state.values())

    @property
    def name(self) -> str:
        """Of the loaded network."""
        assert self._base is not None
        return self._base

    def pieces(self, images: Inputs) -> tuple[Segment, ...]:
        """The network cut into pieces, see `segments`, proven on `images` the first time."""
        self._pieces = self._pieces or segments(self.model, self.registry, images)
        return self._pieces

    @property
    def values(self) -> int:
        """How many numbers the network holds: parameters, and buffers in floating point."""
        buffers = sum(buffer.numel() for buffer in self.model.buffers() if buffer.is_floating_point())
        return sum(parameter.numel() for parameter in self.model.parameters()) + buffers

    def load(self, base: str, state: Mapping[str, Tensor]) -> None:
        """Puts a network's weights into place, in floating point.

        Args:
            base: name of the network; no other of those that share the cache of weights may have it.
            state: its state dict.

        Raises:
            DataError: the weights do not fit.
        """
        if self._base != base:
            self._base = None  # should loading fail half-way
            try:
                self.model.load_state_dict(dict(state))
            except RuntimeError as error:
                text = " ".join(str(error).split())
                raise DataError(f"the weights of {base or 'the trained network'} do not fit the model: {text}") from error
            self._state, self._base, self._changed, self._from_bank = state, base, [], None

    def restore(self) -> None:
        """Puts all weights and statistics of the loaded network back."""
        self.model.load_state_dict(dict(self._state))

    def sparsity(self, entry: WeightEntry, treatment: Treatment) -> Sparsity:
        """What is still to be pruned of a weight tensor: 1.0 where it has no more weights than the plan asks for."""
        wanted = treatment.density_of.get(origin(entry.layers[0]), 1.0)
        if isinstance(wanted, BlockPattern) or wanted == 1.0:
            return wanted
        return wanted if wanted < round(self._count(entry, 1.0) / prod(entry.shape), DENSITY_DIGITS) else 1.0

    def nonzeros(self, entry: WeightEntry, treatment: Treatment) -> int:
        """How many weights a treatment leaves of a tensor, before rounding them makes more zeros."""
        return self._count(entry, self.sparsity(entry, treatment))

    def specs(self, treatment: Treatment, quantised: bool = True) -> dict[str, Spec]:
        """What a treatment does to each weight tensor, by name of its entry; without the bits if not `quantised`."""
        return {
            entry.name: (
                self.sparsity(entry, treatment),
                treatment.bits_of.get(origin(entry.layers[0]), 0) if quantised else 0,
            )
            for entry in self.registry.entries
        }

    def ready(self) -> None:
        """Makes what takes a copy of the network, before hooks are put on it."""
        if self._bank is not None:
            self._entries(self._bank)

    def put(self, name: str, sparsity: Sparsity, bits: int) -> None:
        """Puts a weight tensor in place as it is after that, until `put_back`."""
        if self._put.get(name, _AS_LOADED) != (sparsity, bits):
            entry = self.registry.by_name[name]
            self._put[name] = sparsity, bits
            entry.write_(self.model, self._weight(entry, sparsity, bits))

    def put_rest(self, rest: Mapping[str, Tensor]) -> None:
        """Puts tensors besides the weights in place, by key of the state dict; all others are as loaded, until `put_back`."""
        if rest or self._put_rest:
            state: Mapping[str, Tensor] = self.model.state_dict()
            for key in self._put_rest | rest.keys():
                state[key].copy_(rest.get(key, self._state[key]))
            self._put_rest = frozenset(rest)

    def put_back(self) -> None:
        """Undoes every `put` and `put_rest`."""
        for name in list(self._put):
            self.put(name, *_AS_LOADED)
        self._put.clear()
        self.put_rest({})

    def rest(self, treatment: Treatment, calibration: Calibration | None, batchnorm: Iterable[Batch] | None) -> dict[str, Tensor]:
        """What a treatment changes besides weights: means shifted back, BatchNorm's statistics measured anew on `batchnorm`."""
        if not self._correct and batchnorm is None:
            return {}
        weights = {entry.key for entry in self.registry.entries}
        with self.lent(treatment, calibration, batchnorm=batchnorm) as model:
            state: Mapping[str, Tensor] = model.state_dict()
            changed = {key for key in state.keys() - weights if not torch.equal(state[key], self._state[key])}
            return {key: state[key].clone() for key in sorted(changed)}

    @contextmanager
    def lent(
        self,
        treatment: Treatment,
        calibration: Calibration | None,
        quantised: bool = True,
        batchnorm: Iterable[Batch] | None = None,
    ) -> Iterator[nn.Module]:
        """Lends the loaded network under a treatment; it is as it was afterwards.

        Args:
            treatment: pruning and bits; shapes are the variant's own.
            calibration: ranges of the activations, where they are quantised.
            quantised: False only prunes.
            batchnorm: measure BatchNorm's statistics anew on this.
        """
        try:
            for entry in self.registry.entries:
                bits = treatment.bits_of.get(origin(entry.layers[0]), 0) if quantised else 0
                sparsity = self.sparsity(entry, treatment)
                if bits or sparsity != 1.0:
                    self._changed.append(entry)
                    entry.write_(self.model, self._weight(entry, sparsity, bits))
            if quantised:
                self.correct_(self.model, treatment)
            quantizer = self.quantizer(treatment, calibration if quantised else None)
            with attached(self.model, self.registry, quantizer, quantizer.layers):
                if batchnorm is not None:
                    recalibrate_batchnorm_(self.model, batchnorm)
                yield self.model
        finally:
            for entry in self._changed:
                entry.write_(self.model, entry.layout.read(self._state[entry.key]))
            if batchnorm is not None or (self._changed and self._correct):
                self.restore()
            self._changed = []

    def correct_(self, model: nn.Module, treatment: Treatment) -> None:
        """Shifts the outputs of a network with the loaded one's layers back to their means, where that is asked for."""
        if self._bank is None or not self._correct:
            return
        base = self._entries(self._bank)
        for entry in self.registry.entries:
            bits, sparsity = treatment.bits_of.get(origin(entry.layers[0]), 0), self.sparsity(entry, treatment)
            if bits or sparsity != 1.0:
                base.correct_(model, entry, sparsity, bits)

    def quantizer(self, treatment: Treatment, calibration: Calibration | None) -> ActivationQuantizer:
        """What quantises the activations of this architecture under a treatment."""
        if calibration is None:
            return ActivationQuantizer({})
        spans = {}
        for operand, bits in ((INPUTS, dict(treatment.activation_bits)), (SECOND, dict(treatment.second_bits))):
            for layer in self.registry.workload.layers:
                number = bits.get(origin(layer.name))
                if number is not None:
                    spans[layer.name, operand] = number, calibration.range(layer.name, number, operand)
        return ActivationQuantizer(spans)

    def rounded(self, entry: WeightEntry, treatment: Treatment) -> Tensor:
        """A weight tensor of the loaded network as a treatment leaves it: pruned, and on its levels."""
        return self._weight(entry, self.sparsity(entry, treatment), treatment.bits_of.get(origin(entry.layers[0]), 0))

    def bits(self, entry: WeightEntry, treatment: Treatment) -> int:
        """Bits per weight of a tensor under a treatment; 0 where it stays in floating point."""
        return treatment.bits_of.get(origin(entry.layers[0]), 0)

    def step(self, entry: WeightEntry, treatment: Treatment) -> Tensor:
        """The steps of a rounded weight tensor, `(M or 1, 1, 1, 1)`: `rounded` gives whole numbers of them.

        Raises:
            DataError: the tensor is not rounded.
        """
        bits, sparsity = self.bits(entry, treatment), self.sparsity(entry, treatment)
        if not bits:
            raise DataError(f"the weights of {entry.name} are not rounded")
        if self._bank is not None:
            step = self._entries(self._bank).entry(entry.name, sparsity, bits).step
            assert step is not None
            return step
        return weight_step(self._weight(entry, sparsity, 0), bits, self._granularity, self._clipping)

    def masks(self, treatment: Treatment) -> Masks:
        """The weights that stay while a network is trained: of tensors that were pruned, those that are not zero."""
        kept = {}
        for entry in self.registry.entries:
            sparsity = self.sparsity(entry, treatment)
            if treatment.base or sparsity != 1.0:
                kept[entry.name] = self._weight(entry, sparsity, 0) != 0
        return Masks(self.registry, kept)

    def copied(self, treatment: Treatment) -> nn.Module:
        """A network of its own with the loaded weights, pruned and not quantised, that can be trained."""
        with self.lent(treatment, None, quantised=False) as model:
            return copy.deepcopy(model).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload,no-any-return]

    def _count(self, entry: WeightEntry, sparsity: Sparsity) -> int:
        """How many weights of a tensor of the loaded network are not zero once it is pruned."""
        assert self._base is not None
        key = self._base, entry.name, sparsity
        return self._counts.get(key, lambda: int(self._weight(entry, sparsity, 0).count_nonzero()))

    def _weight(self, entry: WeightEntry, sparsity: Sparsity, bits: int) -> Tensor:
        """A weight tensor of the loaded network, pruned, and quantised unless `bits` is 0."""
        if sparsity == 1.0 and not bits:
            return entry.layout.read(self._state[entry.key])
        assert self._base is not None
        return self._weights.get((self._base, entry.name, sparsity, bits), lambda: self._made(entry, sparsity, bits))

    def _entries(self, bank: Bank) -> Base:
        """The bank's layers of the loaded network."""
        if self._from_bank is None:
            network = copy.deepcopy(self.model)
            network.load_state_dict(dict(self._state))
            self._from_bank = bank.base(network, self.registry)
        return self._from_bank

    def _made(self, entry: WeightEntry, sparsity: Sparsity, bits: int) -> Tensor:
        weight = entry.layout.read(self._state[entry.key]).to(device_of(self.model))
        if self._bank is not None:
            return self._entries(self._bank).weight(entry, sparsity, bits).to(weight.device)
        if sparsity != 1.0:
            pattern = sparsity if isinstance(sparsity, BlockPattern) else None
            fraction = 0.0 if isinstance(sparsity, BlockPattern) else 1 - sparsity
            weight = weight * magnitude_mask(weight, fraction, pattern)
        return quantize_weight(weight, bits, self._granularity, self._clipping) if bits else weight
