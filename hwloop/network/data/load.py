"""Data sets in three parts, by name or a caller's own.

The search sees `train` and `validation` alone; where no validation examples are given they are taken from the training set.
`test` is read when it is first asked for, which is once, for the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hwloop.errors import DataError
from hwloop.network.data.datasets import READERS, RawImages, read_image_folder, stratified
from hwloop.network.data.own_data import make_splits
from hwloop.network.data.parts import read_scores
from hwloop.network.data.samples import Augmentation, ImageSplit, choose
from hwloop.network.data.samples import Split as Split
from hwloop.network.data.splits import DataSplits as DataSplits

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


# The shift is a share of the image's side: 2 of 28 pixels, 4 of 32, 8 of 224.
_SHIFT = {"digits": 2 / 28, "mnist": 2 / 28, "cifar10": 4 / 32, "imagefolder": 8 / 224}
_FLIPPED = ("cifar10", "imagefolder")


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

    def split(half: RawImages) -> ImageSplit:
        return ImageSplit(
            _resize(torch.from_numpy(half.images.copy()), image_size), torch.from_numpy(half.labels.copy()), mean, std
        )

    whole = split(raw)
    whole = whole if limit is None or limit >= len(whole) else whole.take(choose(whole.labels, len(whole), limit, seed)[0])
    held, rest = stratified(whole.labels.numpy(), max(1, round(len(whole) * fraction)), seed)
    if not len(rest):
        raise DataError(f"{name}: {len(whole)} training images leave none to train on at a validation fraction of {fraction}")
    return DataSplits(
        name=name,
        classes=raw.classes,
        train=whole.take(torch.from_numpy(rest)),
        validation=whole.take(torch.from_numpy(held)),
        augmentation=Augmentation(pad=round(_SHIFT[name] * whole.images.shape[2]), flip=name in _FLIPPED),
        how=f"{len(held)} of the {len(whole)} training images held out for validation, by class; the test set is its own",
        seed=seed,
        held_out=True,
        scored_on=f"{len(held)} held-out training images",
        load_test=lambda: split(_read(name, folder, False, image_size)),
    )


def as_splits(
    data: Any,
    *,
    evaluate: Any = None,
    root: str | Path | None = None,
    seed: int = 0,
    image_size: int | None = None,
    normalisation: str | Normalisation | None = None,
    limit: int | None = None,
) -> DataSplits:
    """The data set that a caller means.

    Args:
        data: a name that `load_data` knows; `DataSplits`; `(train, validation, test)`, of which the last two may be None; a dict
            of the arguments of `make_splits`; or a single part to train on.
        evaluate: scores networks in place of labels, see `make_splits`.
        root, image_size, normalisation: of a data set by name.
        seed: of the draw of the validation examples.
        limit: keep at most this many of the training examples.

    Raises:
        DataError: no such data set, or options that do not belong to the data given.
    """
    if isinstance(data, str):
        splits = load_data(data, root, seed=seed, image_size=image_size, normalisation=normalisation, limit=limit)
        scores = (None, None) if evaluate is None else read_scores(evaluate)
        return splits if evaluate is None else replace(splits, evaluate=scores[0], evaluate_test=scores[1])
    given = {"data_root": root, "image_size": image_size, "normalisation": normalisation}
    if needless := [key for key, value in given.items() if value is not None]:
        raise DataError(f"own data: {needless[0]} belongs to a data set by name; prepare your own data before you give them")
    if isinstance(data, DataSplits):
        if evaluate is not None or limit is not None:
            raise DataError("own data: DataSplits come ready made; give evaluate= and limit= to make_splits")
        return data
    parts: dict[str, Any] = {"seed": seed, "limit": limit, "evaluate": evaluate}
    if isinstance(data, Mapping) and "train" in data:
        known = {"train", "validation", "test", "name", "classes", "validation_fraction"}
        if unknown := [str(key) for key in data if key not in known]:
            raise DataError(f"own data: there is no part {unknown[0]!r}; there are {', '.join(sorted(known))}")
        return make_splits(**{**parts, **data})
    if isinstance(data, (tuple, list)) and len(data) == 3:
        return make_splits(*data, **parts)
    return make_splits(data, **parts)


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
