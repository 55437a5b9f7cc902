import gzip
import os
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hwloop.errors import DataError
from hwloop.network.data import datasets
from hwloop.network.data.datasets import stratified
from hwloop.network.data.load import load_data
from hwloop.network.data.samples import Augmentation, ImageSplit


def as_rows(split: ImageSplit) -> set[bytes]:
    return {image.numpy().tobytes() for image in split.images}


def test_digits_parts_are_disjoint_whole_and_in_the_classes_proportions():
    splits = load_data("digits")
    assert splits.image_shape == (1, 28, 28)
    assert splits.classes == tuple("0123456789")
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 1797
    assert not as_rows(splits.train) & as_rows(splits.validation)
    assert not as_rows(splits.test) & (as_rows(splits.train) | as_rows(splits.validation))
    for part in (splits.train, splits.validation, splits.test):
        share = part.labels.bincount(minlength=10) / len(part)
        assert share.min() > 0.09
        assert share.max() < 0.11


def test_digits_are_the_interpolated_originals():
    splits = load_data("digits")
    images = splits.train.images
    assert images.dtype == torch.uint8
    assert images.max() == 255  # 16, the brightest of the originals, fills a byte
    assert images[:, :, :2].count_nonzero() + images[:, :, -2:].count_nonzero() == 0  # the border
    x, _ = splits.train.tensors()
    assert abs(float(x.mean())) < 0.02
    assert abs(float(x.std()) - 1) < 0.02


def test_linear_interpolation_keeps_constants_and_ramps():
    weights = datasets._linear_weights(8, 24)
    assert np.allclose(weights.sum(axis=1), 1)
    ramp = weights @ np.arange(8.0)
    assert np.allclose(np.diff(ramp[1:-1]), 1 / 3)


def test_the_seed_moves_validation_but_never_test():
    one, same, other = load_data("digits", seed=1), load_data("digits", seed=1), load_data("digits", seed=2)
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert torch.equal(one.test.images, other.test.images)
    assert not torch.equal(one.validation.images, other.validation.images)


def test_stratified_takes_exactly_the_count():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    chosen, rest = stratified(labels, 10, seed=0)
    assert np.bincount(labels[chosen]).tolist() == [5, 3, 2]
    assert sorted([*chosen, *rest]) == list(range(100))
    assert len(stratified(labels, 7, seed=0)[0]) == 7
    with pytest.raises(DataError, match="cannot choose 101 of 100"):
        stratified(labels, 101, seed=0)


def test_normalisation_is_that_of_the_formula():
    split = ImageSplit(torch.tensor([[[[0, 255]], [[51, 102]]]], dtype=torch.uint8), torch.tensor([0]), (0.5, 0.2), (0.25, 0.1))
    x, _ = split.tensors()
    assert torch.allclose(x, torch.tensor([[[[-2.0, 2.0]], [[0.0, 2.0]]]]), atol=1e-6)


def test_batches_in_order_and_shuffled():
    split = load_data("digits").validation
    in_order = torch.cat([labels for _, labels in split.batches(100)])
    assert torch.equal(in_order, split.labels)
    shuffled = torch.cat([labels for _, labels in split.batches(100, torch.Generator().manual_seed(0))])
    again = torch.cat([labels for _, labels in split.batches(100, torch.Generator().manual_seed(0))])
    assert torch.equal(shuffled, again)
    assert not torch.equal(shuffled, in_order)
    assert torch.equal(shuffled.bincount(), in_order.bincount())


def test_augmentation_shifts_whole_images():
    images = torch.arange(1, 26, dtype=torch.uint8).view(1, 1, 5, 5).repeat(50, 1, 1, 1)
    moved = Augmentation(pad=1)(images, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(images[0, 0], (1, 1, 1, 1))
    allowed = {padded[y : y + 5, x : x + 5].numpy().tobytes() for y in range(3) for x in range(3)}
    got = {image[0].numpy().tobytes() for image in moved}
    assert got <= allowed
    assert len(got) > 5


def test_augmentation_mirrors_about_half():
    images = torch.arange(1, 5, dtype=torch.uint8).view(1, 1, 1, 4).repeat(200, 1, 1, 1)
    flipped = Augmentation(flip=True)(images, torch.Generator().manual_seed(0))
    mirrored = (flipped[:, 0, 0, 0] == 4).sum()
    assert 60 < mirrored < 140
    assert set(flipped[:, 0, 0, 0].tolist()) == {1, 4}


def test_limit_and_image_size():
    splits = load_data("digits", limit=200, image_size=16, validation_fraction=0.5)
    assert splits.image_shape == (1, 16, 16)
    assert (len(splits.train), len(splits.validation)) == (100, 100)
    assert tuple(splits.test.images.shape[1:]) == (1, 16, 16)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"validation_fraction": 1.5}, "between 0 and 1"),
        ({"image_size": 0}, "1 pixel or more"),
        ({"limit": 1}, "2 images or more"),
        ({"normalisation": "imagenet"}, r"images of 1 channel\(s\) need one mean"),
        ({"normalisation": "imagenette"}, "no normalisation 'imagenette'"),
    ],
)
def test_options_that_do_not_fit(options: dict, message: str):
    with pytest.raises(DataError, match=message):
        load_data("digits", **options)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(DataError, match="no data set 'mnits'; there are digits, mnist, cifar10, imagefolder"):
        load_data("mnits")


@pytest.mark.parametrize("name", ["mnist", "cifar10", "imagefolder"])
def test_a_missing_root_says_what_it_should_hold(name: str, tmp_path: Path):
    with pytest.raises(DataError, match="needs a data root"):
        load_data(name)
    with pytest.raises(DataError, match=r"the data root .*nowhere is not a folder; it should be the folder"):
        load_data(name, tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no (folder|train-images).*" + tmp_path.name):
        load_data(name, tmp_path)


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes(), 1))


def test_a_broken_mnist_file_is_named(tmp_path: Path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    labels = raw / "train-labels-idx1-ubyte.gz"
    write_idx(raw / "train-images-idx3-ubyte.gz", np.zeros((10, 28, 28)))
    write_idx(labels, np.zeros(10))
    with pytest.raises(DataError, match="expected 60000 images of 28x28"):
        load_data("mnist", tmp_path)
    labels.write_bytes(labels.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte.gz cannot be read .*; fetch it again"):
        load_data("mnist", tmp_path)
    labels.write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\x09abc"))
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte.gz is not a whole IDX file"):
        load_data("mnist", tmp_path)
    labels.write_bytes(gzip.compress(bytes(100_000_000), 1))
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte.gz holds more than the 47040016 bytes"):
        load_data("mnist", tmp_path)


def test_a_packed_cifar_says_how_to_unpack_it(tmp_path: Path):
    with tarfile.open(tmp_path / "cifar-10-batches-py.tar.xz", "w:xz"):
        pass
    with pytest.raises(DataError, match=r"still packed: unpack it with `tar -xf .*cifar-10-batches-py.tar.xz -C DIR`"):
        load_data("cifar10", tmp_path)


def test_a_damaged_cifar_is_refused(tmp_path: Path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"not a batch")
    with pytest.raises(DataError, match="cifar-10-batches-py are missing or damaged"):
        load_data("cifar10", tmp_path)


def test_mnist_from_packed_files_in_a_read_only_folder(shared: Path):
    root = shared / "data"
    if not (root / "MNIST").is_dir():
        pytest.skip(f"no MNIST in {root}")
    splits = load_data("mnist", root)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (50_000, 10_000, 10_000)
    assert splits.test.labels[:5].tolist() == [7, 2, 1, 0, 4]  # known to everyone who ever opened the file
    x, _ = splits.train.subset(10_000).tensors()
    assert abs(float(x.mean())) < 0.02


@pytest.fixture
def picture_folder(tmp_path: Path) -> Path:
    for half in ("train", "val"):
        for value, name in ((40, "dark"), (200, "light")):
            folder = tmp_path / half / name
            folder.mkdir(parents=True)
            for at in range(4):
                Image.new("RGB", (40, 20 + at), (value, 0, at)).save(folder / f"{at}.png")
    return tmp_path


def test_image_folder_reads_both_halves(picture_folder: Path):
    splits = load_data("imagefolder", picture_folder, image_size=16, validation_fraction=0.25)
    assert splits.classes == ("dark", "light")
    assert splits.image_shape == (3, 16, 16)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (6, 2, 8)
    red = splits.test.images[:, 0].float().mean(dim=(1, 2))
    assert torch.equal(red, torch.where(splits.test.labels == 0, 40.0, 200.0))


def test_image_folder_names_what_is_wrong(picture_folder: Path):
    (picture_folder / "train" / "dark" / "0.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"0.png is not a readable image"):
        load_data("imagefolder", picture_folder, image_size=16)
    (picture_folder / "train" / "dark" / "0.png").unlink()
    (picture_folder / "val" / "light").rename(picture_folder / "val" / "bright")
    splits = load_data("imagefolder", picture_folder, image_size=16)
    with pytest.raises(DataError, match=r"hold different classes \(bright, light\)"):
        assert splits.test


def test_image_folder_too_large_for_memory(picture_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets, "IMAGE_MEMORY_BYTES", 1000)
    with pytest.raises(DataError, match="use a smaller image size or fewer files"):
        load_data("imagefolder", picture_folder, image_size=16)


def test_a_picture_that_unpacks_to_too_much_is_named(picture_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"0.png is not a readable image \(Image size .* exceeds limit"):
        load_data("imagefolder", picture_folder, image_size=16)


def test_a_thin_line_takes_no_gigabytes_and_a_pipe_is_not_waited_for(picture_folder: Path, monkeypatch: pytest.MonkeyPatch):
    first = picture_folder / "train" / "dark" / "0.png"
    Image.new("RGB", (100_000, 2), (40, 0, 7)).save(first)
    sizes = []
    monkeypatch.setattr(Image.Image, "resize", lambda image, size, **_: sizes.append(size) or Image.new("RGB", size))
    load_data("imagefolder", picture_folder, image_size=224)
    assert max(max(size) for size in sizes) == 8 * 224
    first.unlink()
    os.mkfifo(first)
    with pytest.raises(DataError, match=r"0.png is not a readable image \(it is not a regular file"):
        load_data("imagefolder", picture_folder, image_size=16)
    first.unlink()
    Image.new("1", (8000, 7000)).save(first)
    with pytest.raises(DataError, match=r"0.png is not a readable image \(8000x7000 pixels, more than 50000000"):
        load_data("imagefolder", picture_folder, image_size=16)
