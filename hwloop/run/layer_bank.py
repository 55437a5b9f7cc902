"""The bank of compressed layers of a run: opened beside the library, filled ahead where that is asked for."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

from hwloop.network.accuracy.treatment import Sparsity, treatment_of
from hwloop.network.bank.bank import Bank, EntryEvent
from hwloop.network.bank.layer import Settings as LayerSettings
from hwloop.network.bank.store import DISK_BYTES
from hwloop.network.data.splits import DataSplits
from hwloop.network.library.library import Library
from hwloop.network.tracing.registry import Registry
from hwloop.report.progress import Progress
from hwloop.run.outputs import BankUse
from hwloop.run.settings import Settings
from hwloop.search.space import Space
from hwloop.spec.pruning import base_pruning


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


def fill_bank(bank: Bank, model: Any, registry: Registry, library: Library, space: Space, progress: Progress) -> None:
    """Makes the entries that candidates of a space can ask for; those there are are skipped.

    It may be stopped at any moment; what is there by then is found the next time. Of several processes that fill one bank, each
    takes entries that no other is at.

    Args:
        bank: to be filled.
        model: the trained network.
        registry: of the model.
        library: the networks that entries are made of.
        space: what candidates may be.
        progress: where to show it.
    """
    wanted = asked_entries(space, registry)
    with progress.task("bank of layers", sum(map(len, wanted.values()))) as task:
        clock = _Clock(sum(map(len, wanted.values())))
        for base_of, entries in wanted.items():
            network = copy.deepcopy(model)
            library.member(base_pruning(base_of)).load_into(network)

            def on_entry(event: EntryEvent, name: str = base_of) -> None:
                task.advance(f"{name or 'trained network'}, {event.layer}{clock.note(event.made)}")

            bank.base(network, registry).fill(entries, on_entry)


def asked_entries(space: Space, registry: Registry) -> dict[str, list[tuple[str, Sparsity, int]]]:
    """(weight tensor, density or pattern, bits; 0 not rounded) by base, that candidates of a space can ask for.

    The first variable chooses the base; the others are changed one by one, and what they make of a layer is combined. Plans that
    change shapes are left out: their layers are made when they are asked for.
    """
    lower, upper = space.lower.tolist(), space.upper.tolist()
    found: dict[str, dict[str, tuple[set[Sparsity], set[int]]]] = {}
    for first in range(lower[0], upper[0] + 1):
        for at in range(1, len(lower)):
            for value in range(lower[at], upper[at] + 1):
                row = [first, *lower[1:]]
                row[at] = value
                treatment = treatment_of(space.plan(row), registry)
                if treatment.changes_shapes:
                    continue
                of = found.setdefault(treatment.base, {})
                for entry in registry.entries:
                    sparsities, bits = of.setdefault(entry.name, ({1.0}, {0}))
                    sparsities.add(treatment.density_of.get(entry.layers[0], 1.0))
                    bits.add(treatment.bits_of.get(entry.layers[0], 0))
    return {
        base: [(name, s, b) for name, (sparsities, bits) in of.items() for s in sorted(sparsities, key=str) for b in sorted(bits)
               if s != 1.0 or b]
        for base, of in found.items()
    }  # fmt: skip


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
