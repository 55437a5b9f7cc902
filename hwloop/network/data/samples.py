"""Parts of a data set, read a batch at a time: images in memory, and tensors of any other kind.

A pass without a generator gives the same batches every time, whatever torch's random numbers are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_leaves, tree_map

from hwloop.errors import DataError
from hwloop.network.data.batches import Batch, Inputs, no_labels
from hwloop.network.data.datasets import stratified


@dataclass(frozen=True)
class Augmentation:
    """Random shifts and mirror images for training.

    Attributes:
        pad: black pixels added around before a crop of the old size at a random place.
        flip: whether half of the images are mirrored left to right.
    """

    pad: int = 0
    flip: bool = False

    def __call__(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Returns `(n, C, H, W)` uint8 like `images`, with draws from `generator`."""
        count, _, height, width = images.shape
        if self.pad:
            padded = functional.pad(images, (self.pad,) * 4).permute(0, 2, 3, 1)
            down, right = torch.randint(0, 2 * self.pad + 1, (2, count), generator=generator).to(images.device)
            rows = (down[:, None] + torch.arange(height, device=images.device))[:, :, None]
            columns = (right[:, None] + torch.arange(width, device=images.device))[:, None, :]
            images = padded[torch.arange(count, device=images.device)[:, None, None], rows, columns].permute(0, 3, 1, 2)
        if self.flip:
            mirrored = (torch.rand(count, generator=generator) < 0.5).to(images.device)
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        return images


class Split(ABC):
    """One part of a data set.

    Attributes:
        labels: `(n,)` int64 in the order of a pass; None where the examples have none.
    """

    labels: Tensor | None

    @abstractmethod
    def __len__(self) -> int:
        """How many examples a pass gives."""

    @abstractmethod
    def take(self, indices: Tensor) -> Split:
        """The examples at `indices`."""

    def subset(self, count: int, seed: int = 0) -> Split:
        """`count` examples in the classes' proportions, or all when there are no more than that."""
        return self if count >= len(self) else self.take(choose(self.labels, len(self), count, seed)[0])

    @abstractmethod
    def batches(
        self, batch_size: int, generator: torch.Generator | None = None, augmentation: Augmentation | None = None
    ) -> Iterator[Batch]:
        """Batches in order without a `generator`, shuffled (and augmented) by its draws with one.

        Yields:
            What the network takes, and labels `(b,)` (empty `(0,)` where there are none); the last batch may be smaller.

        Raises:
            DataError: an augmentation for examples other than images in memory.
        """

    def divide(self, count: int, seed: int) -> tuple[Split, Split]:
        """`count` examples in the classes' proportions, and the rest."""
        held, rest = choose(self.labels, len(self), count, seed)
        return self.take(held), self.take(rest)

    def steps(self, batch_size: int) -> int:
        """How many batches a pass gives."""
        return -(-len(self) // batch_size)

    def example(self) -> Inputs:
        """The first example as a batch of one: what a network is traced on."""
        inputs, _ = next(iter(self.batches(1)))
        return tree_map(lambda tensor: tensor[:1], inputs)  # type: ignore[no-any-return]

    def update(self, digest: Any) -> None:
        """Feeds every example and label into a `hashlib` digest."""
        for inputs, labels in self.batches(1024):
            named = sorted(inputs.items()) if isinstance(inputs, dict) else [("", leaf) for leaf in tree_leaves(inputs)]
            for name, tensor in (*named, ("labels", labels)):
                values = tensor.detach().cpu().contiguous()
                digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
                digest.update(values.reshape(-1).view(torch.uint8).numpy().data)


@dataclass(frozen=True, eq=False)
class ImageSplit(Split):
    """Images as bytes, normalised a batch at a time.

    Attributes:
        images: `(n, C, H, W)` uint8.
        labels: `(n,)` int64.
        mean: subtracted per channel, on a 0-to-1 scale.
        std: divided by per channel.
    """

    images: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def normalise(self, images: Tensor) -> Tensor:
        """float32 `(n, C, H, W)` from uint8: `(pixel / 255 - mean) / std` per channel."""
        device = images.device
        scale = torch.tensor([1 / (255 * std) for std in self.std], device=device).view(1, -1, 1, 1)
        shift = torch.tensor([mean / std for mean, std in zip(self.mean, self.std, strict=True)], device=device).view(1, -1, 1, 1)
        return images.to(torch.float32).mul_(scale).sub_(shift)

    def take(self, indices: Tensor) -> ImageSplit:
        """The images at `indices`."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All images, normalised, and their labels."""
        return self.normalise(self.images), self.labels

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None, augmentation: Augmentation | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See `Split.batches`."""
        for chosen in in_order(len(self), batch_size, generator):
            images = self.images[chosen]
            yield self.normalise(augmentation(images, generator) if augmentation else images), self.labels[chosen]

    def update(self, digest: Any) -> None:
        """See `Split.update`."""
        digest.update(repr((tuple(self.images.shape), self.mean, self.std)).encode())
        digest.update(self.images.contiguous().numpy().data)
        digest.update(self.labels.contiguous().numpy().data)


@dataclass(frozen=True, eq=False)
class TensorSplit(Split):
    """Tensors in memory, given to the network as they are.

    Attributes:
        inputs: a tensor, a tuple or a dict of tensors, `(n, ...)` each.
        labels: `(n,)` int64, None where there are none.
    """

    inputs: Inputs
    labels: Tensor | None

    def __len__(self) -> int:
        return int(tree_leaves(self.inputs)[0].shape[0])

    def take(self, indices: Tensor) -> TensorSplit:
        """The examples at `indices`."""
        inputs = tree_map(lambda tensor: tensor[indices], self.inputs)
        return TensorSplit(inputs, None if self.labels is None else self.labels[indices])

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None, augmentation: Augmentation | None = None
    ) -> Iterator[Batch]:
        """See `Split.batches`."""
        refuse_augmentation(augmentation)
        for chosen in in_order(len(self), batch_size, generator):
            part = self.take(chosen)
            yield part.inputs, no_labels() if part.labels is None else part.labels


def choose(labels: Tensor | None, total: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of `count` of `total` examples in the classes' proportions, and of the rest."""
    names = torch.zeros(total, dtype=torch.int64) if labels is None else labels
    held, rest = stratified(names.numpy(), count, seed)
    return torch.from_numpy(held), torch.from_numpy(rest)


def in_order(count: int, batch_size: int, generator: torch.Generator | None) -> tuple[Tensor, ...]:
    """Indices batch by batch: in order without a `generator`, shuffled by it with one."""
    order = torch.randperm(count, generator=generator) if generator is not None else torch.arange(count)
    return torch.split(order, batch_size)


def refuse_augmentation(augmentation: Augmentation | None) -> None:
    """For examples other than images in memory."""
    if augmentation is not None:
        raise DataError("own data are not augmented by hwloop: a Dataset's own transforms do that")
