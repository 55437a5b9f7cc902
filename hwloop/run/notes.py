"""What a reader of a run's numbers must know, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from hwloop.backend.target import Target
from hwloop.network.bank.bank import Bank
from hwloop.network.data.splits import DataSplits
from hwloop.network.library.library import Library
from hwloop.network.tracing.registry import Registry
from hwloop.run.settings import Settings


def run_notes(
    settings: Settings,
    splits: DataSplits,
    registry: Registry,
    library: Library,
    bank: Bank | None,
    space: str,
    method: str,
    targets: Sequence[Target],
    seen: str,
) -> tuple[str, ...]:
    """One a line.

    Args:
        settings: of the run.
        splits: the data as the search saw them.
        registry: of the network.
        library: the networks that candidates start from.
        bank: where their layers come from; None where by magnitude.
        space: its name.
        method: its name.
        targets: the accelerators.
        seen: how the validation images were chosen; may be empty.
    """
    fixed = settings.activation_bits
    activations = (
        f"activations at {settings.reference_bits} bits" if fixed is None
        else f"activations at {fixed} bits" if isinstance(fixed, int) else "activation bits searched"
    )  # fmt: skip
    score = "accuracy" if splits.evaluate is None else "the score (your function's, shown as accuracy)"
    test = f"the test accuracy is on {splits.reported_on}, read once, for the front" if splits.has_test else (
        "there is no test set to check it on"
    )  # fmt: skip
    return (
        f"reference: nothing pruned, {settings.reference_bits}-bit weights and activations, on the same accelerator under the "
        "same dataflow; its size is that of 32-bit floats",
        f"candidates: {space} on a {library.mode} library of {len(library.infos)} "
        f"{'models' if len(library.infos) > 1 else 'model'}, {settings.weight_bits[0]} to {settings.weight_bits[1]} bits per "
        f"weight, {activations}, {settings.coding} coding, searched by {method}",
        _layers(settings, bank),
        f"{score} is on {splits.scored_on}, which the search saw; {test}",
        *([seen] if seen else []),
        *(f"{parameter} is not compressed: {reason}" for parameter, reason in registry.left_out),
        *(
            f"{name} has no sparse optimisations, so pruning saves it neither energy nor cycles; there are "
            "accelerators with gating, skipping or compressed formats"
            for name in dict.fromkeys(target.arch.name for target in targets if not target.sees_zeros)
        ),
    )


def _layers(settings: Settings, bank: Bank | None) -> str:
    """How layers are compressed."""
    how = "layers are pruned and rounded by magnitude"
    if bank is not None:
        how = f"layers are pruned and rounded by second-order methods, on {len(bank.calibration)} training images"
        how += ", the means of their outputs shifted back" if settings.bias_correction else ""
    if settings.batchnorm != "base":
        how += (
            f"; BatchNorm is measured anew for each candidate on {settings.batchnorm_images} {settings.batchnorm} training images"
        )
    return how
