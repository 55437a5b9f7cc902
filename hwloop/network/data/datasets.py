"""Readers of the data sets on disk: each returns every image of one half as uint8, or says what it looked for and where."""

from __future__ import annotations

import gzip
import io
import pickle
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.Image import DecompressionBombError

from hwloop.errors import DataError
from hwloop.reading import read_bytes

UInt8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

DIGITS_TEST_FRACTION = 0.2
DIGITS_TEST_SEED = 1797  # fixed: the test images must not move with the caller's seed
DIGITS_SCALE, DIGITS_BORDER = 3, 2  # 8 pixels -> 24, and 2 black ones around: 28, as in MNIST
IMAGE_SIZE = 224
IMAGE_MEMORY_BYTES = 4 * 2**30
IMAGE_FILE_BYTES, IMAGE_PIXELS = 100_000_000, 50_000_000  # of one image
_LONGEST = 8  # times its width that an image is high before its ends are cut off
_MNIST_FILES = {half: (f"{half}-images-idx3-ubyte", f"{half}-labels-idx1-ubyte") for half in ("train", "t10k")}
_MNIST_COUNT = {"train": 60_000, "t10k": 10_000}
_IDX_LIMIT_BYTES = 60_000 * 28 * 28 + 16  # the largest of MNIST's files


@dataclass(frozen=True, eq=False)
class RawImages:
    """One half (training or test) of a data set.

    Attributes:
        images: `(n, C, H, W)` uint8.
        labels: `(n,)` int64, from 0.
        classes: the names of the labels.
    """

    images: UInt8
    labels: Int64
    classes: tuple[str, ...]


def stratified(labels: Int64, count: int, seed: int) -> tuple[Int64, Int64]:
    """Chooses `count` indices with the classes in the proportions they have in `labels` (largest remainder).

    Returns:
        The chosen indices and the rest, both in rising order.

    Raises:
        DataError: `count` is below 0 or above the number of labels.
    """
    if not 0 <= count <= len(labels):
        raise DataError(f"cannot choose {count} of {len(labels)} images; ask for a number from 0 to {len(labels)}")
    names, members = np.unique(labels, return_counts=True)
    exact = members * (count / max(len(labels), 1))
    take = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - take), kind="stable")
    take[order[: count - int(take.sum())]] += 1
    rng = np.random.default_rng(seed)
    mask = np.zeros(len(labels), dtype=bool)
    for name, number in zip(names, take, strict=True):
        mask[rng.permutation(np.flatnonzero(labels == name))[:number]] = True
    return np.flatnonzero(mask), np.flatnonzero(~mask)


def read_digits(root: Path | None, train: bool) -> RawImages:
    """Scikit-learn's 1797 handwritten digits, which lie inside that package: `root` is not used.

    The 8x8 images (0 to 16) become 24x24 by bilinear interpolation, with 2 black pixels around: 28x28, so that a LeNet-5
    for MNIST fits. A stratified fifth, always the same, is the test set.
    """
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    pixels = np.asarray(bunch.images, dtype=np.float64)
    labels = np.asarray(bunch.target, dtype=np.int64)
    rows = _linear_weights(pixels.shape[1], pixels.shape[1] * DIGITS_SCALE)
    large = np.einsum("ih,nhw,jw->nij", rows, pixels, rows) * (255 / 16)
    border = (DIGITS_BORDER, DIGITS_BORDER)
    images = np.pad(np.rint(large).astype(np.uint8), ((0, 0), border, border))[:, None]
    test, rest = stratified(labels, round(len(labels) * DIGITS_TEST_FRACTION), DIGITS_TEST_SEED)
    half = rest if train else test
    return RawImages(images[half], labels[half], tuple(str(name) for name in bunch.target_names))


def _linear_weights(size: int, new_size: int) -> npt.NDArray[np.float64]:
    """The matrix `(new_size, size)` of linear interpolation with pixel centres aligned."""
    centre = np.clip((np.arange(new_size) + 0.5) * size / new_size - 0.5, 0, size - 1)
    weights: npt.NDArray[np.float64] = np.maximum(0.0, 1 - np.abs(centre[:, None] - np.arange(size)))
    return weights


def read_mnist(root: Path | None, train: bool) -> RawImages:
    """MNIST from its IDX files, packed (`.gz`) or not: nothing is written, so a read-only root will do.

    Raises:
        DataError: no root, files missing, or not what MNIST's files hold.
    """
    base = _need_root("mnist", root, "the folder that holds MNIST/raw")
    folders = [base / "MNIST" / "raw", base / "raw", base]
    half = "train" if train else "t10k"
    wanted = _MNIST_FILES[half]
    folder = next((f for f in folders if all(_idx_path(f, name) for name in wanted)), None)
    if folder is None:
        raise DataError(
            f"mnist: no {wanted[0]}[.gz] and {wanted[1]}[.gz] in {', '.join(str(f) for f in folders)}; "
            "--data-root is the folder that holds MNIST/raw (torchvision.datasets.MNIST(root, download=True) makes it)"
        )
    images, labels = (_read_idx(folder, name) for name in wanted)
    count = _MNIST_COUNT[half]
    if images.shape != (count, 28, 28) or labels.shape != (count,) or labels.max() > 9:
        raise DataError(
            f"mnist: {folder}: expected {count} images of 28x28 and as many labels from 0 to 9, "
            f"found {images.shape} and {labels.shape}; fetch the files again"
        )
    return RawImages(images[:, None], labels.astype(np.int64), tuple("0123456789"))


def _idx_path(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _read_idx(folder: Path, name: str) -> UInt8:
    """An IDX file of bytes: two zero bytes, type 8, the rank, the sizes as big-endian 32-bit words, the values."""
    path = _idx_path(folder, name)
    if path is None:
        raise DataError(f"mnist: {folder / name}[.gz] is not there")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(_IDX_LIMIT_BYTES + 1)  # a small file can unpack to more than the memory holds
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"mnist: {path} cannot be read ({error}); fetch it again") from error
    if len(data) > _IDX_LIMIT_BYTES:
        raise DataError(f"mnist: {path} holds more than the {_IDX_LIMIT_BYTES} bytes of MNIST's largest file; fetch it again")
    rank = data[3] if len(data) > 3 else 0
    shape = tuple(int(size) for size in np.frombuffer(data[4 : 4 + 4 * rank], dtype=">u4")) if len(data) >= 4 + 4 * rank else ()
    if data[:3] != b"\0\0\x08" or rank == 0 or len(data) != 4 + 4 * rank + int(np.prod(shape)):
        raise DataError(f"mnist: {path} is not a whole IDX file of bytes ({len(data)} bytes); fetch it again")
    return np.frombuffer(data, dtype=np.uint8, offset=4 + 4 * rank).reshape(shape)


def read_cifar10(root: Path | None, train: bool) -> RawImages:
    """CIFAR-10 in torchvision's layout; torchvision checks the files against their MD5 before unpickling them.

    Raises:
        DataError: no root, the folder `cifar-10-batches-py` is missing (or still packed), or its files are damaged.
    """
    base = _need_root("cifar10", root, "the folder that holds cifar-10-batches-py")
    folder = base / "cifar-10-batches-py"
    if not folder.is_dir() and base.name == folder.name:
        base, folder = base.parent, base
    if not folder.is_dir():
        packed = sorted(base.glob("cifar-10*.tar*")) if base.is_dir() else []
        advice = (
            f"{packed[0]} is there but still packed: unpack it with `tar -xf {packed[0]} -C DIR` and give DIR as the root"
            if packed
            else "torchvision.datasets.CIFAR10(root, download=True) makes it"
        )
        raise DataError(f"cifar10: no folder {folder}; {advice}")
    from torchvision.datasets import CIFAR10

    try:
        data: Any = CIFAR10(str(base), train=train, download=False)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"cifar10: files of {folder} are missing or damaged ({error}); unpack or fetch it again") from error
    images = np.ascontiguousarray(np.asarray(data.data, dtype=np.uint8).transpose(0, 3, 1, 2))
    return RawImages(images, np.asarray(data.targets, dtype=np.int64), tuple(data.classes))


def read_image_folder(root: Path | None, train: bool, image_size: int | None = None) -> RawImages:
    """Images in `root/train/<class>/` and `root/test/<class>/` (or `root/val/`), resized on the short side and centre-cropped.

    Args:
        root: the folder with both halves.
        train: which half.
        image_size: side of the square [pixels], 224 when None.

    Raises:
        DataError: folders missing, classes that differ between the halves, an image that cannot be read, or more images
            than fit in `IMAGE_MEMORY_BYTES`.
    """
    base = _need_root("imagefolder", root, "the folder that holds train/<class>/ and test/<class>/ (or val/<class>/)")
    halves = [base / "train"] if train else [base / "test", base / "val"]
    folder = next((half for half in halves if half.is_dir()), None)
    if folder is None:
        looked = " or ".join(str(half) for half in halves)
        raise DataError(f"imagefolder: no folder {looked}; it should hold one folder of images a class")
    from torchvision.datasets import ImageFolder

    try:
        listing: Any = ImageFolder(str(folder))
    except (FileNotFoundError, OSError) as error:
        raise DataError(f"imagefolder: {folder}: {error}") from error
    if not train:
        expected = sorted(path.name for path in (base / "train").iterdir() if path.is_dir()) if (base / "train").is_dir() else []
        if expected != listing.classes:
            odd = sorted(set(expected) ^ set(listing.classes))
            raise DataError(f"imagefolder: {folder} and {base / 'train'} hold different classes ({', '.join(odd[:5])})")
    size = image_size or IMAGE_SIZE
    need = len(listing.samples) * 3 * size * size
    if need > IMAGE_MEMORY_BYTES:
        raise DataError(
            f"imagefolder: {len(listing.samples)} images of {size}x{size} in {folder} take {need / 2**30:.1f} GiB of memory, "
            f"at most {IMAGE_MEMORY_BYTES / 2**30:.0f} GiB are allowed; use a smaller image size or fewer files"
        )
    images = np.empty((len(listing.samples), 3, size, size), dtype=np.uint8)
    for at, (path, _) in enumerate(listing.samples):
        try:
            images[at] = _square(_open_image(path), size)
        except (DataError, OSError, SyntaxError, ValueError, DecompressionBombError) as error:  # Pillow's, of what is no image
            raise DataError(f"imagefolder: {path} is not a readable image ({error}); remove or replace it") from error
    return RawImages(images, np.asarray(listing.targets, dtype=np.int64), tuple(listing.classes))


def _open_image(path: str) -> Image.Image:
    """An image file in RGB.

    Raises:
        DataError: no regular file (a pipe would be waited for), or too large: a small file can unpack to gigabytes.
    """
    with Image.open(io.BytesIO(read_bytes(path, IMAGE_FILE_BYTES))) as image:
        if image.width * image.height > IMAGE_PIXELS:
            raise DataError(f"{image.width}x{image.height} pixels, more than {IMAGE_PIXELS}")
        return image.convert("RGB")


def _square(image: Image.Image, size: int) -> UInt8:
    """Resizes the short side to `size`, crops the centre, returns `(3, size, size)`."""
    most = _LONGEST * min(image.size)
    if max(image.size) > most:  # else a thin line would be resized to an image of gigabytes
        (width, height), (x, y) = (min(side, most) for side in image.size), (max(side - most, 0) // 2 for side in image.size)
        image = image.crop((x, y, x + width, y + height))
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    cropped = image.resize((width, height)).crop((left, top, left + size, top + size))
    return np.asarray(cropped, dtype=np.uint8).transpose(2, 0, 1)


def _need_root(name: str, root: Path | None, what: str) -> Path:
    if root is None:
        raise DataError(f"{name} needs a data root: give --data-root (root=), {what}")
    if not root.is_dir():
        raise DataError(f"{name}: the data root {root} is not a folder; it should be {what}")
    return root


Reader = Callable[[Path | None, bool], RawImages]
READERS: dict[str, Reader] = {"digits": read_digits, "mnist": read_mnist, "cifar10": read_cifar10}
