"""How an exported network classifies images, held against the network it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hwloop.errors import DataError
from hwloop.network.data.batches import class_scores
from hwloop.network.data.samples import Split
from hwloop.network.data.splits import DataSplits
from hwloop.network.scoring import BATCH_SIZE


@dataclass(frozen=True)
class Agreement:
    """One form of the network, held against the run's own.

    Attributes:
        name: which form.
        images: looked at.
        right: of them classified as labelled; None without labels.
        differing: of them classified otherwise than by the run's network.
    """

    name: str
    images: int
    right: int | None
    differing: int

    @property
    def accuracy(self) -> float | None:
        """0 to 1."""
        return None if self.right is None else self.right / self.images


def agreements(network: nn.Module, images: Split, forms: Mapping[str, nn.Module]) -> tuple[Agreement, ...]:
    """The network itself, then each other form of it.

    Args:
        network: as the search scored it.
        images: what all of them classify, in the search's batches.
        forms: by name.
    """
    expected = _classes(network.to(memory_format=torch.channels_last), images)  # type: ignore[call-overload]
    out = [Agreement("network of the run", len(images), _right(expected, images), 0)]
    for name, form in forms.items():
        found = _classes(form, images)
        out.append(Agreement(name, len(images), _right(found, images), int((found != expected).sum())))
    return tuple(out)


def single_input(splits: DataSplits) -> Tensor:
    """A batch of one example.

    Raises:
        DataError: an example is not one tensor.
    """
    example: Any = splits.example_input
    if not isinstance(example, Tensor):
        raise DataError(f"{splits.name}: its examples are no single tensors; only networks of one input can be exported")
    return example


def _classes(network: nn.Module, images: Split) -> Tensor:
    """The class of the highest score of each image, `(images,)`."""
    with torch.inference_mode():
        return torch.cat([class_scores(network, inputs).argmax(1) for inputs, _ in images.batches(BATCH_SIZE)])


def _right(classes: Tensor, images: Split) -> int | None:
    if images.labels is None:
        return None
    return int((classes == torch.cat([labels for _, labels in images.batches(BATCH_SIZE)])).sum())
