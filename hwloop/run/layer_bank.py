"""The bank of compressed layers of a run: opened beside the library, filled ahead where that is asked for."""

from __future__ import annotations

import copy
import time
from pathlib import Path

from torch import nn

from hwloop.network.bank.bank import Bank, EntryEvent
from hwloop.network.bank.layer import Settings as LayerSettings
from hwloop.network.bank.store import DISK_BYTES
from hwloop.network.data.splits import DataSplits
from hwloop.network.library.library import Library
from hwloop.network.tracing.registry import Registry
from hwloop.report.progress import Progress
from hwloop.run.outputs import BankUse
from hwloop.run.settings import Settings
from hwloop.spec.bits import MAX_QUANTISED


def open_bank(folder: str | Path, splits: DataSplits, settings: Settings, disk_bytes: int | None = None) -> Bank | None:
    """The bank of a run; None where layers are compressed by magnitude.

    Args:
        folder: of the bank.
        splits: training images calibrate.
        settings: of the run.
        disk_bytes: what all entries may take; 4 GiB when None.
    """
    if settings.compression != "second-order":
        return None
    calibration = splits.train.subset(settings.calibration_images, settings.seed)
    return Bank(folder, calibration, LayerSettings(granularity=settings.granularity), disk_bytes or DISK_BYTES)


def bank_use(bank: Bank | None) -> BankUse | None:
    """What this run had from its bank."""
    if bank is None:
        return None
    return BankUse(str(bank.store.folder), bank.store.made, bank.store.found, bank.identity)


def fill_bank(bank: Bank, model: nn.Module, registry: Registry, library: Library, settings: Settings, progress: Progress) -> None:
    """Makes the entries that candidates of a run can ask for, of every network of its library; those there are are skipped.

    It may be stopped at any moment; what is there by then is found the next time. Of several processes that fill one bank, each
    takes entries that no other is at.

    Args:
        bank: to be filled.
        model: the trained network.
        registry: of the model.
        library: the networks that entries are made of.
        settings: which amounts and bits there are.
        progress: where to show it.
    """
    low, high = settings.weight_bits
    bits = [0, *range(low, min(high, MAX_QUANTISED) + 1)]
    amounts = {p: [a for a in settings.amounts if nearest_below(library.fractions, a) == p] for p in library.fractions}
    total = sum((1 + len(more)) * len(bits) - 1 for more in amounts.values()) * len(registry.entries)
    with progress.task("bank of layers", total) as task:
        clock = _Clock(total)
        for p, more in amounts.items():
            network = copy.deepcopy(model)
            library.member(p).load_into(network)
            base = bank.base(network, registry)

            def on_entry(event: EntryEvent, p: float = p) -> None:
                task.advance(f"p {100 * p:g}%, {event.layer}{clock.note(event.made)}")

            base.fill([1.0, *(round(1 - amount, 4) for amount in more)], bits, on_entry)


def nearest_below(fractions: tuple[float, ...], amount: float) -> float:
    """The largest of the library's amounts that is not above `amount`."""
    return max(p for p in fractions if p <= amount)


class _Clock:
    """How long the rest takes: as the entries made so far."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.made, self.began = total, 0, 0, time.monotonic()

    def note(self, made: bool) -> str:
        """Counts an entry; the time left, in words."""
        self.done += 1
        self.made += made
        if not self.made or self.done < 10:
            return ""
        left = (time.monotonic() - self.began) / self.done * (self.total - self.done)
        return f", {left / 60:.0f} min left" if left > 90 else f", {left:.0f} s left"
