"""How good a network is: the fraction of examples that it gets right, or what a caller's function says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from hwloop.errors import DataError
from hwloop.network.data.batches import Batch, class_scores, to_device
from hwloop.network.data.parts import call_score
from hwloop.network.data.samples import Split
from hwloop.network.data.splits import DataSplits
from hwloop.network.layers import device_of

BATCH_SIZE = 64  # small enough that a layer's activations stay in a CPU's cache: 64 is 2 to 3 times as fast as 500 here
BATCH_CACHE_BYTES = 2 * 2**30


def accuracy(model: nn.Module, split: Split, batch_size: int = BATCH_SIZE) -> float:
    """Fraction of the examples of `split` whose highest score is their label's, 0 to 1.

    Scores that are not numbers count as wrong. The model runs in evaluation mode, on the device it is on, and is left in the
    mode it was in.

    Raises:
        DataError: the examples have no labels, or the model gives no scores.
    """
    _check_labels(split)
    device = device_of(model)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        return count_right(model, ((to_device(x, device), y.to(device)) for x, y in split.batches(batch_size))) / len(split)
    finally:
        for module, mode in modes.items():
            module.training = mode


class HeldBatches:
    """The batches of a split on a device, kept there when all of them together take at most 2 GiB.

    Args:
        split: the examples.
        batch_size: examples at a time.
        device: where.
    """

    def __init__(self, split: Split, batch_size: int, device: torch.device) -> None:
        self.split, self.batch_size, self.device = split, batch_size, device
        self._held: list[Batch] | None = None

    def __iter__(self) -> Iterator[Batch]:
        if self._held is not None:
            return iter(self._held)
        fresh = ((to_device(x, self.device), y.to(self.device)) for x, y in self.split.batches(self.batch_size))
        each = sum(leaf.nbytes for leaf in tree_leaves(self.split.example()))
        if each * len(self.split) > BATCH_CACHE_BYTES:
            return fresh
        self._held = list(fresh)
        return iter(self._held)

    def accuracy(self, model: nn.Module) -> float:
        """Of a model in evaluation mode on the device, 0 to 1.

        Raises:
            DataError: there are no labels.
        """
        _check_labels(self.split)
        return count_right(model, self) / len(self.split)


def validation_score(model: nn.Module, splits: DataSplits) -> float:
    """Accuracy on the validation examples, 0 to 1; or what the caller's function says, the higher the better."""
    if splits.evaluate is not None:
        return call_score(splits.evaluate, model)
    return accuracy(model, splits.validation)


def count_right(model: nn.Module, batches: Iterable[Batch]) -> int:
    """How many examples of `batches` (on the model's device) are classified right; the mode is left alone."""
    right = 0
    with torch.inference_mode():
        for inputs, labels in batches:
            scores = class_scores(model, inputs)
            if scores.dim() != 2:
                raise DataError(f"the network gives scores of shape {tuple(scores.shape)}; it should give (examples, classes)")
            good = (scores.argmax(1) == labels) & torch.isfinite(scores).all(dim=1)
            right += int(good.sum())
    return right


def _check_labels(split: Split) -> None:
    if split.labels is None:
        raise DataError("there are no labels to hold the network's scores against; give labels, or evaluate=")
