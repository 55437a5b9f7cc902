"""How good a network is: the fraction of examples that it gets right, or what a caller's function says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor, nn
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
        self._order: Tensor | None = None

    def __len__(self) -> int:
        return self.split.steps(self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        if self._held is not None:
            return iter(self._held)
        split = self.split if self._order is None else self.split.take(self._order)
        fresh = ((to_device(x, self.device), y.to(self.device)) for x, y in split.batches(self.batch_size))
        each = sum(leaf.nbytes for leaf in tree_leaves(self.split.example()))
        if each * len(self.split) > BATCH_CACHE_BYTES:
            return fresh
        self._held = list(fresh)
        return iter(self._held)

    def blocks(self, size: int) -> Iterator[list[Batch]]:
        """The batches, `size` of them at a time."""
        batches = iter(self)
        while block := list(islice(batches, size)):
            yield block

    def hardest_first(self, model: nn.Module) -> None:
        """Puts the examples first whose label a model is least sure of, where they can be held.

        A batch that is not full keeps its examples: torch multiplies a few in another way than many, to other last digits.

        Raises:
            DataError: the model gives no scores of classes.
        """
        batches = list(self)
        if self._held is None:
            return
        with torch.inference_mode():
            margins = torch.cat([_margins(class_scores(model, inputs), labels) for inputs, labels in batches]).cpu()
        full = len(margins) // self.batch_size * self.batch_size
        rest = torch.arange(full, len(margins))
        self._order, self._held = torch.cat([margins[:full].argsort(stable=True), rest]), None

    def accuracy(self, model: nn.Module) -> float:
        """Of a model in evaluation mode on the device, 0 to 1.

        Raises:
            DataError: there are no labels.
        """
        self.check_labels()
        return count_right(model, self) / len(self.split)

    def check_labels(self) -> None:
        """Checks that there are labels.

        Raises:
            DataError: there are none.
        """
        _check_labels(self.split)


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
            right += int(good(class_scores(model, inputs), labels).sum())
    return right


def good(scores: Tensor, labels: Tensor) -> Tensor:
    """`(n,)` bool: whether the highest of an example's scores `(n, classes)` is its label's, and all are numbers.

    Raises:
        DataError: scores of another shape.
    """
    if scores.dim() != 2:
        raise DataError(f"the network gives scores of shape {tuple(scores.shape)}; it should give (examples, classes)")
    return (scores.argmax(1) == labels) & torch.isfinite(scores).all(dim=1)


def _margins(scores: Tensor, labels: Tensor) -> Tensor:
    """`(n,)`: by how much the label's score is above all others."""
    right = scores.gather(1, labels[:, None])
    return (right - scores.scatter(1, labels[:, None], -torch.inf).amax(dim=1, keepdim=True))[:, 0]


def _check_labels(split: Split) -> None:
    if split.labels is None:
        raise DataError("there are no labels to hold the network's scores against; give labels, or evaluate=")
