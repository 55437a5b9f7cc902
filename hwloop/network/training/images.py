"""What training does to a batch of images besides the data set's own augmentation."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from hwloop.errors import DataError, SpecError
from hwloop.network.data.batches import Inputs
from hwloop.network.data.samples import ImageSplit, Split
from hwloop.network.data.splits import DataSplits
from hwloop.network.training.settings import TrainConfig


def check_images(splits: DataSplits, config: TrainConfig) -> None:
    """Refuses sizes and cutout for what is no image.

    Raises:
        SpecError: sizes or cutout for examples of another kind.
    """
    for name in ("sizes", "cutout"):
        if getattr(config, name) and not _are_images(splits.example_input):
            expected = "none: the examples are no images (C, H, W) of floating-point numbers"
            raise SpecError("<arguments>", f"training.{name}", expected, getattr(config, name))


def on_device(split: Split, device: torch.device) -> Split:
    """Images in memory on the device that trains, so that batches are cut there; other examples stay where they are."""
    if device.type == "cpu" or not isinstance(split, ImageSplit):
        return split
    return replace(split, images=split.images.to(device), labels=split.labels.to(device))


def scaled(images: Tensor, size: int) -> Tensor:
    """`(n, C, size, size)` of `(n, C, H, W)`, bilinear with antialiasing; as they are when they fit, or for a size of 0."""
    if not size or tuple(images.shape[2:]) == (size, size):
        return images
    return functional.interpolate(images, size=(size, size), mode="bilinear", antialias=True)


def cut_out(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Sets a square of each image to 0 (the mean), its centre anywhere on the image, in place."""
    count, _, height, width = images.shape
    down = torch.randint(0, height, (count, 1, 1, 1), generator=generator).to(images.device)
    right = torch.randint(0, width, (count, 1, 1, 1), generator=generator).to(images.device)
    rows = torch.arange(height, device=images.device).view(1, 1, -1, 1) - down + side // 2
    columns = torch.arange(width, device=images.device).view(1, 1, 1, -1) - right + side // 2
    return images.masked_fill_((rows >= 0) & (rows < side) & (columns >= 0) & (columns < side), 0.0)


def smaller_sizes(model: nn.Module, splits: DataSplits) -> tuple[int, ...]:
    """Sizes for a progressive training: three quarters of the side in the first half, then the images' own.

    Empty where the network takes no images, or none of that size (a linear layer behind a feature map does not), or where the
    images are below 32 pixels.
    """
    example = splits.example_for(model)
    if not isinstance(example, Tensor) or not _are_images(example) or min(example.shape[2:]) < 32:
        return ()
    side = example.shape[2]
    small = max(1, round(side * 3 / 32) * 8)
    if example.shape[3] != side or not _accepts(model, scaled(example, small)):
        return ()
    return (small, side)


def _are_images(example: Inputs) -> bool:
    return isinstance(example, Tensor) and example.dim() == 4 and example.is_floating_point()


def _accepts(model: nn.Module, images: Tensor) -> bool:
    mode = model.training
    try:
        with torch.inference_mode():
            model.eval()(images)
    except (RuntimeError, ValueError, AssertionError, DataError):  # what torch and networks raise for a shape they do not take
        return False
    finally:
        model.train(mode)
    return True
