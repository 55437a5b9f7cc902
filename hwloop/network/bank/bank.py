"""The bank: layers of a base network, each pruned and rounded on its own, computed once and looked up from then on.

An entry belongs to a base, the network whose weights and inputs it was made from, since the weights of a network are adapted to
each other. Whatever network is put together from entries of one base was never evaluated before; its layers were.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from hwloop.network.bank import columns, factor, hessian, layer, rows
from hwloop.network.bank.factor import Factored
from hwloop.network.bank.hessian import Seen, in_passes, see_inputs
from hwloop.network.bank.layer import Compressed, Settings, compress_layer
from hwloop.network.bank.repair import ShiftPlace, shift_places
from hwloop.network.bank.store import DISK_BYTES, Store
from hwloop.network.cache import ByteCache
from hwloop.network.code import code_of
from hwloop.network.data.samples import Split
from hwloop.network.identity import digest_of, model_identity, software_identity
from hwloop.network.tracing.entries import Registry, WeightEntry
from hwloop.network.transforms import prune, quantize
from hwloop.spec.bits import MAX_QUANTISED, MIN_QUANTISED, check_bits
from hwloop.spec.pruning import BlockPattern, check_density

IMAGES = 512  # calibration examples that are enough for the layers of small networks
SEEN_BYTES, FACTORED_BYTES = 3 * 2**30, 2**30
_CODE: tuple[ModuleType, ...] = (columns, factor, hessian, layer, rows, prune, quantize)
Sparsity = float | BlockPattern


@dataclass(frozen=True)
class EntryEvent:
    """One entry of the bank is there.

    Attributes:
        done: entries there so far.
        total: entries there will be.
        layer: name of the weight tensor.
        entry: its new weights.
        made: whether it was made now.
    """

    done: int
    total: int
    layer: str
    entry: Compressed
    made: bool


class Bank:
    """Compressed layers of any number of base networks, in one folder.

    It takes 3 GiB for Hessians (of several bases, while they fit), 1 GiB for their factors, or three times the layer's own in
    float64 where that is more, and as much again while the layer is worked on; on disk `disk_bytes`. Not for use by several
    threads at once; any number of processes may share the folder.

    Args:
        folder: of the entries.
        calibration: examples that layers are seen on; training examples.
        settings: how layers are compressed; `Settings()` when None.
        disk_bytes: of all entries in the folder; those used longest ago go first.

    Attributes:
        seen: Hessians and means in memory, by what they depend on; banks of other settings may be given the same.
        factored: damped Hessians and their factors, by base and layer.
    """

    def __init__(
        self, folder: str | Path, calibration: Split, settings: Settings | None = None, disk_bytes: int = DISK_BYTES
    ) -> None:
        self.calibration, self.settings = calibration, settings or Settings()
        self.store = Store(folder, disk_bytes)
        self.seen: ByteCache[tuple[str, int], Mapping[str, Seen]] = ByteCache(SEEN_BYTES, _bytes)
        self.factored: ByteCache[tuple[str, str], Factored] = ByteCache(FACTORED_BYTES, lambda factored: factored.most_bytes)

    @cached_property
    def identity(self) -> str:
        """SHA-256 over the calibration examples, the settings and the code that makes entries."""
        return digest_of([self.examples, asdict(self.settings), [code_of(module) for module in _CODE]])

    @cached_property
    def examples(self) -> str:
        """SHA-256 over the calibration examples."""
        digest = hashlib.sha256()
        self.calibration.update(digest)
        return digest.hexdigest()

    def base(self, model: nn.Module, registry: Registry) -> Base:
        """The entries of one network.

        Args:
            model: the base; its weights as they are now. A copy is taken.
            registry: of the model.
        """
        own: nn.Module = copy.deepcopy(model).eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return Base(self, own, registry)


class Base:
    """The entries of one base network; see `Bank.base`.

    Attributes:
        key: SHA-256 over the network, its weights, the bank's identity and the software and device that computes.
    """

    def __init__(self, bank: Bank, model: nn.Module, registry: Registry) -> None:
        self._bank, self._model, self._registry = bank, model, registry
        identity = {**model_identity(model, registry.workload), **software_identity(model)}
        self.key = digest_of([bank.identity, identity])
        self._inputs = digest_of([bank.examples, identity])  # what Hessians depend on
        self._passes = in_passes(registry.entries)
        self._pass_of = {entry.name: at for at, entries in enumerate(self._passes) for entry in entries}

    def entry(self, name: str, sparsity: Sparsity = 1.0, bits: int = 0) -> Compressed:
        """A layer's weights pruned and rounded: looked up, or made and kept.

        Args:
            name: of a weight tensor (`WeightEntry.name`) or of a layer that reads one.
            sparsity: fraction of the weights that stay, or N:M pattern; 1.0 prunes nothing.
            bits: 2 to 23; 0 rounds nothing.

        Raises:
            SpecError: no such layer, or a value out of range.
            DataError: the folder cannot be written to, or inputs of the layer that are not finite numbers.
        """
        found = self._ask(name, sparsity, bits, True)
        assert found is not None
        return found

    def _ask(self, name: str, sparsity: Sparsity, bits: int, wait: bool) -> Compressed | None:
        """As `entry`; None where another process is making it and `wait` is off."""
        entry = self._registry.entry(name)
        if not isinstance(sparsity, BlockPattern):
            check_density(sparsity, "sparsity")
        if bits:
            check_bits(bits, "bits", MIN_QUANTISED, MAX_QUANTISED)
        weight = entry.read(self._model)
        # densities that remove the same number of weights are the same entry
        what = str(sparsity) if isinstance(sparsity, BlockPattern) else round((1 - sparsity) * weight.numel())
        key = digest_of([self.key, entry.name, what, bits])

        def make() -> Compressed:
            seen = self._seen(entry)
            settings = self._bank.settings
            if seen is None:
                return compress_layer(weight, None, sparsity, bits, settings)
            factored = self._bank.factored.get((self.key, entry.name), lambda: Factored(seen.hessian, settings.damping))
            return compress_layer(weight, factored, sparsity, bits, settings).with_shift(weight, seen.mean)

        about = {"layer": entry.name, "network": self._registry.workload.name, "base": self.key, "removed": what, "bits": bits}
        return self._bank.store.ask(key, make, about, wait)

    def weight(self, entry: WeightEntry, sparsity: Sparsity = 1.0, bits: int = 0) -> Tensor:
        """The weights of an entry, `(M, C / groups, kH, kW)`, on the CPU; see `entry`."""
        return self.entry(entry.name, sparsity, bits).weight

    def correct_(self, model: nn.Module, entry: WeightEntry, sparsity: Sparsity = 1.0, bits: int = 0) -> None:
        """Shifts the mean outputs of one layer of `model`, whose weights are this entry's, back to what they were in the base.

        The shift goes into the layer's bias, or into the running mean of the BatchNorm behind it; where there is neither, or the
        mean of the inputs is not known, nothing happens.
        """
        place, shift = self._places.get(entry.name), self.entry(entry.name, sparsity, bits).shift
        if place is not None and shift is not None:
            place.shift_(model, shift)

    @cached_property
    def _places(self) -> Mapping[str, ShiftPlace]:
        return shift_places(self._model, self._registry)

    def fill(self, wanted: Iterable[tuple[str, Sparsity, int]], on_entry: Callable[[EntryEvent], None] | None = None) -> None:
        """Makes the entries (layer, sparsity, bits, see `entry`) that are not there yet.

        It can be stopped at any moment, or killed; what is there by then is found the next time. Those that another process is
        making are left for the end.

        Raises:
            SpecError, DataError: as `entry`.
        """
        # pass by pass, so that Hessians are collected once
        left = sorted(wanted, key=lambda each: self._pass_of.get(self._registry.entry(each[0]).name, len(self._passes)))
        total, done = len(left), 0
        for wait in (False, True):
            others = []
            for name, sparsity, number in left:
                before = self._bank.store.made
                made = self._ask(name, sparsity, number, wait)
                if made is None:
                    others.append((name, sparsity, number))
                    continue
                done += 1
                if on_entry is not None:
                    on_entry(EntryEvent(done, total, name, made, self._bank.store.made > before))
            left = others

    def _seen(self, entry: WeightEntry) -> Seen | None:
        """What a layer multiplies; None where its Hessian would take too much."""
        at = self._pass_of.get(entry.name)
        if at is None:
            return None
        part, bank = self._passes[at], self._bank
        return bank.seen.get((self._inputs, at), lambda: see_inputs(self._model, self._registry, bank.calibration, part))[
            entry.name
        ]


def _bytes(seen: Mapping[str, Seen]) -> int:
    return sum(each.nbytes for each in seen.values())
