"""Data sets as splits in memory: uint8 pixels, normalised (and, for training, augmented) one batch at a time.

The search sees `train` and `validation` alone; the validation images are taken from the training set. `test` is read from
disk when it is first asked for, which is once, for the report.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from hwloop.errors import DataError
from hwloop.network.datasets import READERS, RawImages, read_image_folder, stratified

DATA_SETS = (*READERS, "imagefolder")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
# Mean and standard deviation of the training pixels on a 0-to-1 scale, per channel.
_OWN: dict[str, Normalisation] = {
    "digits": ((0.2238,), (0.3135,)),
    "mnist": ((0.1307,), (0.3081,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "imagefolder": (IMAGENET_MEAN, IMAGENET_STD),
}
_VALIDATION_FRACTION = {"digits": 0.25, "mnist": 1 / 6, "cifar10": 0.1, "imagefolder": 0.1}


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
            down, right = torch.randint(0, 2 * self.pad + 1, (2, count), generator=generator)
            rows = (down[:, None] + torch.arange(height))[:, :, None]
            columns = (right[:, None] + torch.arange(width))[:, None, :]
            images = padded[torch.arange(count)[:, None, None], rows, columns].permute(0, 3, 1, 2)
        if self.flip:
            mirrored = torch.rand(count, generator=generator) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        return images


# The shift is a share of the image's side: 2 of 28 pixels, 4 of 32, 8 of 224.
_SHIFT = {"digits": 2 / 28, "mnist": 2 / 28, "cifar10": 4 / 32, "imagefolder": 8 / 224}
_FLIPPED = ("cifar10", "imagefolder")


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels, and how to normalise them.

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
        scale = torch.tensor([1 / (255 * std) for std in self.std]).view(1, -1, 1, 1)
        shift = torch.tensor([mean / std for mean, std in zip(self.mean, self.std, strict=True)]).view(1, -1, 1, 1)
        return images.to(torch.float32).mul_(scale).sub_(shift)

    def take(self, indices: Tensor) -> Split:
        """The images at `indices`."""
        return Split(self.images[indices], self.labels[indices], self.mean, self.std)

    def subset(self, count: int, seed: int = 0) -> Split:
        """`count` images in the classes' proportions, or all when there are no more than that."""
        if count >= len(self):
            return self
        return self.take(torch.from_numpy(stratified(self.labels.numpy(), count, seed)[0]))

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All images, normalised, and their labels."""
        return self.normalise(self.images), self.labels

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None, augmentation: Augmentation | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised batches: in order without a `generator`, shuffled (and augmented) by its draws with one.

        Yields:
            Images `(b, C, H, W)` float32 and labels `(b,)`; the last batch may be smaller.
        """
        order = torch.randperm(len(self), generator=generator) if generator is not None else torch.arange(len(self))
        for chosen in torch.split(order, batch_size):
            images = self.images[chosen]
            yield self.normalise(augmentation(images, generator) if augmentation else images), self.labels[chosen]


@dataclass(frozen=True, eq=False)
class DataSplits:
    """A data set in three parts.

    Attributes:
        name: `digits`, `mnist`, `cifar10` or `imagefolder`.
        classes: names of the labels.
        image_shape: `(C, H, W)`.
        mean, std: the normalisation, per channel, on a 0-to-1 scale.
        train: what the weights learn from.
        validation: what the search sees: a stratified part of the training set.
        augmentation: what training does to the images.
        how: how the parts were made, in words.
        seed: of the draw of the validation images.
    """

    name: str
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: Split
    validation: Split
    augmentation: Augmentation
    how: str
    seed: int
    load_test: Callable[[], Split] = field(repr=False)

    @cached_property
    def test(self) -> Split:
        """The test set, read when first asked for.

        Raises:
            DataError: its files are missing or broken.
        """
        return self.load_test()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the training and validation images, labels and normalisation: what a trained model depends on."""
        digest = hashlib.sha256(repr((self.mean, self.std, self.augmentation)).encode())
        for split in (self.train, self.validation):
            digest.update(repr(tuple(split.images.shape)).encode())
            digest.update(split.images.contiguous().numpy().data)
            digest.update(split.labels.contiguous().numpy().data)
        return digest.hexdigest()


def load_data(
    name: str,
    root: str | Path | None = None,
    *,
    seed: int = 0,
    validation_fraction: float | None = None,
    image_size: int | None = None,
    normalisation: str | Normalisation | None = None,
    limit: int | None = None,
) -> DataSplits:
    """Loads a data set into memory.

    Args:
        name: `digits` (embedded, 1x28x28), `mnist`, `cifar10` or `imagefolder`.
        root: folder of the data; not used by `digits`.
        seed: of the draw of the validation images. The test images never depend on it.
        validation_fraction: part of the training set held out for validation, per class; a default per data set when None.
        image_size: side [pixels] that images are resized to; as they come when None (224 for `imagefolder`).
        normalisation: `imagenet`, `(mean, std)` per channel, or the data set's own when None. The public CIFAR-10 ResNet
            checkpoints want `imagenet`.
        limit: keep at most this many of the training images (before validation is taken), in the classes' proportions.

    Raises:
        DataError: unknown name, missing root, broken files, or an option that does not fit.
    """
    if name not in DATA_SETS:
        raise DataError(f"no data set {name!r}; there are {', '.join(DATA_SETS)}")
    fraction = _VALIDATION_FRACTION[name] if validation_fraction is None else validation_fraction
    if not 0 < fraction < 1:
        raise DataError(f"{name}: the validation fraction must lie between 0 and 1, found {fraction}")
    if image_size is not None and image_size < 1:
        raise DataError(f"{name}: the image size must be 1 pixel or more, found {image_size}")
    if limit is not None and limit < 2:
        raise DataError(f"{name}: the limit must be 2 images or more, found {limit}")
    folder = None if root is None else Path(root).expanduser()
    raw = _read(name, folder, True, image_size)
    mean, std = _normalisation(name, normalisation, raw.images.shape[1])

    def split(half: RawImages) -> Split:
        return Split(_resize(torch.from_numpy(half.images.copy()), image_size), torch.from_numpy(half.labels.copy()), mean, std)

    whole = split(raw)
    whole = whole if limit is None else whole.subset(limit, seed)
    held, rest = stratified(whole.labels.numpy(), max(1, round(len(whole) * fraction)), seed)
    if not len(rest):
        raise DataError(f"{name}: {len(whole)} training images leave none to train on at a validation fraction of {fraction}")
    channels, height, width = whole.images.shape[1:]
    return DataSplits(
        name=name,
        classes=raw.classes,
        image_shape=(channels, height, width),
        mean=mean,
        std=std,
        train=whole.take(torch.from_numpy(rest)),
        validation=whole.take(torch.from_numpy(held)),
        augmentation=Augmentation(pad=round(_SHIFT[name] * height), flip=name in _FLIPPED),
        how=f"{len(held)} of the {len(whole)} training images held out for validation, by class; the test set is its own",
        seed=seed,
        load_test=lambda: split(_read(name, folder, False, image_size)),
    )


def _read(name: str, root: Path | None, train: bool, image_size: int | None) -> RawImages:
    return read_image_folder(root, train, image_size) if name == "imagefolder" else READERS[name](root, train)


def _normalisation(name: str, wanted: str | Normalisation | None, channels: int) -> Normalisation:
    if wanted is None:
        return _OWN[name]
    if isinstance(wanted, str) and wanted != "imagenet":
        raise DataError(f"{name}: no normalisation {wanted!r}; give 'imagenet', a pair (mean, std), or None for its own")
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if isinstance(wanted, str) else wanted
    if len(mean) != channels or len(std) != channels or min(std) <= 0:
        raise DataError(f"{name}: images of {channels} channel(s) need one mean and one deviation above 0 for each")
    return tuple(mean), tuple(std)


def _resize(images: Tensor, size: int | None) -> Tensor:
    """Bilinear with antialiasing, in chunks; as it is when the side already fits."""
    if size is None or tuple(images.shape[2:]) == (size, size):
        return images
    parts = (
        functional.interpolate(part.float(), (size, size), mode="bilinear", antialias=True) for part in torch.split(images, 1024)
    )
    return torch.cat([part.round_().clamp_(0, 255).to(torch.uint8) for part in parts])
