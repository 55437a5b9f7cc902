"""Models by name (the small-image networks, torchvision's classifiers, any `package.module:function`) and their checkpoints."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from hwloop.errors import DataError
from hwloop.network.weights_file import read_weights
from hwloop.network.zoo.small_networks import LENET_MIN_PIXELS, VGG_MIN_PIXELS, CifarResNet, LeNet5, SmallMobileNet, SmallVGG16
from hwloop.user_objects import import_object


@dataclass(frozen=True)
class _Own:
    """A network of this project: how it is made from (channels, pixels, classes), and the images it is for."""

    make: Callable[[int, int, int], nn.Module]
    channels: int = 3
    pixels: int = 32
    least: int = 1  # pixels


OWN = {
    "lenet5": _Own(LeNet5, channels=1, pixels=28, least=LENET_MIN_PIXELS),
    "vgg16_cifar10": _Own(SmallVGG16, least=VGG_MIN_PIXELS),
    "vgg16_plain_cifar10": _Own(partial(SmallVGG16, batch_norm=False), least=VGG_MIN_PIXELS),
    "mobilenet_cifar10": _Own(SmallMobileNet),
    **{f"resnet{depth}": _Own(partial(CifarResNet, depth)) for depth in (20, 32, 44, 56)},
}
_SMALL = {"vgg16": "vgg16_cifar10", "vgg16_bn": "vgg16_cifar10"}  # torchvision's, whose form for small images is another network
_PREFIX = "torchvision:"
_TORCHVISION_CHANNELS = 3
_AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")  # heads that torchvision's Inception and GoogLeNet use in training alone
_GUESSES = 8  # torchvision models to try when saying what a checkpoint looks made for


def model_names() -> tuple[str, ...]:
    """Every name `make_model` knows, the small-image networks first; one name is one network."""
    return (*OWN, *_torchvision_names())


def native_input(name: str) -> tuple[int, int]:
    """The (channels, pixels) of the images that a network by name was designed for.

    Raises:
        DataError: no such network, or one of your own, for which nobody says.
    """
    if name in OWN:
        return OWN[name].channels, OWN[name].pixels
    bare = name.removeprefix(_PREFIX)
    if bare not in _torchvision_names():
        raise DataError(f"model {name!r}: only networks of the zoo have an input size of their own")
    return _TORCHVISION_CHANNELS, torchvision.models.get_model_weights(bare).DEFAULT.transforms.keywords["crop_size"]


def make_model(name: str, in_channels: int = 3, image_size: int = 32, classes: int = 10) -> nn.Module:
    """An untrained model.

    Args:
        name: one of `model_names`, `torchvision:<name>`, or `package.module:function` (looked for in the current folder too).
            The function is called with those of `in_channels`, `image_size`, `classes` or `num_classes` that it takes.
        in_channels: 1 for grey images, 3 for colour.
        image_size: height and width [pixels].
        classes: how many scores the model gives.

    Raises:
        DataError: no such model, or one that cannot be made for such images.

    Example:
        >>> model = make_model("lenet5", in_channels=1, image_size=28)
    """
    if name in OWN:
        if image_size < OWN[name].least:
            raise DataError(f"model {name!r}: images of {image_size} pixels are too small, it takes {OWN[name].least} and more")
        return OWN[name].make(in_channels, image_size, classes)
    bare = name.removeprefix(_PREFIX)
    if name in _SMALL and image_size < native_input(name)[1]:
        raise DataError(
            f"model {name!r}: it is made for images of {native_input(name)[1]} pixels and the images have {image_size}; "
            f"for small images there is {_SMALL[name]!r}, and {_PREFIX + name!r} takes these all the same"
        )
    if bare in _torchvision_names():
        return _make_torchvision(bare, in_channels, image_size, classes)
    if ":" in name and not name.startswith(_PREFIX):
        given = {"in_channels": in_channels, "image_size": image_size, "classes": classes, "num_classes": classes}
        return _make_imported(name, given)
    near = get_close_matches(bare, [*OWN, *_torchvision_names()], n=3)
    known = f"known: {', '.join(OWN)}, torchvision's names, package.module:function"
    hint = f"did you mean {' or '.join(near)}?" if near else known
    raise DataError(f"model {name!r}: there is none of that name; {hint}")


def _torchvision_names() -> list[str]:
    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def _make_torchvision(name: str, in_channels: int, image_size: int, classes: int) -> nn.Module:
    if in_channels != _TORCHVISION_CHANNELS:
        hint = f"models for any number: {', '.join(OWN)}"
        raise DataError(f"model {_PREFIX}{name}: it takes 3 channels and the images have {in_channels}; {hint}")
    extra: dict[str, Any] = {}
    if name.startswith("vit_"):
        extra["image_size"] = image_size
    if name in ("inception_v3", "googlenet"):
        extra |= {"aux_logits": False, "init_weights": True}  # scores alone in training too, as the other models give
    try:
        model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes, **extra)
    except (ValueError, RuntimeError, AssertionError) as error:
        raise DataError(f"model {_PREFIX}{name}: cannot be made for images of {image_size} pixels: {error}") from error
    return model


def _make_imported(name: str, arguments: dict[str, int]) -> nn.Module:
    function, function_name = import_object(name, "model"), name.partition(":")[2]
    try:
        parameters = inspect.signature(function).parameters
        model = function(**{key: value for key, value in arguments.items() if key in parameters})
    except Exception as error:  # the user's function may raise anything
        raise DataError(f"model {name!r}: {function_name}() failed: {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise DataError(f"model {name!r}: {function_name}() returned {type(model).__name__}, not a torch.nn.Module")
    return model


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Loads a checkpoint into `model`, every weight of it.

    Takes a state dict, alone or under `state_dict`, with or without the `module.` prefix. Nothing in the file is executed.

    Raises:
        DataError: no such file, not a checkpoint, or one whose names or shapes are not the model's.
    """
    weights = _drop_auxiliary(read_weights(path), model)
    wanted = model.state_dict()
    # a checkpoint may lack the counters that only say how many batches were seen
    missing = [key for key in wanted if key not in weights and not key.endswith(".num_batches_tracked")]
    unexpected = [key for key in weights if key not in wanted]
    shapes = [
        f"{key} is {tuple(weights[key].shape)} in the file and {tuple(wanted[key].shape)} in the model"
        for key in wanted
        if key in weights and weights[key].shape != wanted[key].shape
    ]
    if missing or unexpected or shapes:
        problems = (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        found = "; ".join(f"{len(entries)} {what}, first {entries[0]}" for what, entries in problems if entries)
        guess = _guess(weights, path)
        hint = f"; it looks made for {guess}" if guess else ""
        raise DataError(f"{path}: does not fit {type(model).__name__}: {found}{hint}")
    model.load_state_dict(weights, strict=False)


def _drop_auxiliary(weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    present = {name.partition(".")[0] for name, _ in model.named_parameters()}
    if any(prefix.rstrip(".") in present for prefix in _AUXILIARY):
        return weights
    return {key: value for key, value in weights.items() if not key.startswith(_AUXILIARY)}


def _guess(weights: dict[str, Tensor], path: str | Path) -> str:
    """Name of the model that has exactly these weights, judged by their names and all shapes but the first's and last's."""
    stem = Path(path).stem.partition("-")[0].lower()
    own = tuple(OWN)
    candidates = (*own, *get_close_matches(stem, [name for name in model_names() if name not in own], n=_GUESSES))
    best, best_fit = "", 0
    for name in candidates:
        try:
            with torch.device("meta"):
                wanted = make_model(name, image_size=224 if name not in own else 32).state_dict()
        except (DataError, NotImplementedError):  # not to be had on this size, or without values
            continue
        keys = {key for key in wanted if not key.endswith(".num_batches_tracked")}
        if keys != {key for key in weights if not key.endswith(".num_batches_tracked")}:
            continue
        fit = sum(weights[key].shape == wanted[key].shape for key in keys)
        if fit > best_fit:
            best, best_fit = name, fit
    return best
