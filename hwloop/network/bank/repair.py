"""Mending what pruning and rounding do to the statistics inside a network, without training.

Either the means of each layer's outputs are shifted back, from what the bank knows of each entry, or BatchNorm's statistics are
measured anew: on augmented training images, since a network has seen those as they are too often to treat them as any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hwloop.network.data.batches import run_model, to_device
from hwloop.network.data.samples import Augmentation, Split, TensorSplit
from hwloop.network.layers import device_of
from hwloop.network.tracing.entries import Registry

_NORMS = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True)
class ShiftPlace:
    """Where the mean of a layer's outputs can be shifted.

    Attributes:
        key: of a parameter or buffer in the state dict.
        rows: (first, last + 1) of it.
        sign: 1 for a bias, -1 for the running mean that a BatchNorm takes off.
    """

    key: str
    rows: tuple[int, int]
    sign: int

    def shift_(self, model: nn.Module, shift: Tensor) -> None:
        """Adds `shift`, `(M,)`, to the layer's outputs."""
        path, _, name = self.key.rpartition(".")
        tensor: Tensor = getattr(model.get_submodule(path), name)
        tensor.detach()[self.rows[0] : self.rows[1]].add_(shift.to(tensor.device), alpha=self.sign)


def shift_places(model: nn.Module, registry: Registry) -> Mapping[str, ShiftPlace]:
    """Where outputs can be shifted, by name of the weight tensor: its bias, else the running mean of the BatchNorm behind it.

    Tensors with neither, or that several layers read, are missing.

    Args:
        model: is run once, in evaluation mode, on the input it was traced with.
        registry: of the model.
    """
    sizes = {name: len(tensor) for name, tensor in model.state_dict().items() if tensor.dim() == 1}
    behind = _norms_behind(model, registry)
    places = {}
    for entry in registry.entries:
        if len(entry.layers) > 1 or not entry.key.endswith("weight"):
            continue
        outputs, bias = entry.shape[0], entry.key.removesuffix("weight") + "bias"
        rows = entry.layout.rows if entry.parameter != entry.key else (0, outputs)
        if sizes.get(bias, 0) >= rows[1] and rows[1] - rows[0] == outputs:
            places[entry.name] = ShiftPlace(bias, rows, 1)
        elif sizes.get(mean := f"{behind.get(entry.name, '')}.running_mean") == outputs:
            places[entry.name] = ShiftPlace(mean, (0, outputs), -1)
    return places


def _norms_behind(model: nn.Module, registry: Registry) -> dict[str, str]:
    """Path of the BatchNorm that takes the very result of a layer's module, by layer."""
    results: dict[int, tuple[Tensor, str]] = {}  # the tensors are held, so that no other gets their place in memory
    found: dict[str, str] = {}
    handles = []

    def after(layer: str) -> Any:
        return lambda module, inputs, output: results.__setitem__(id(output), (output, layer))

    def before(path: str) -> Any:
        def see(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            if inputs and id(inputs[0]) in results:
                found[results[id(inputs[0])][1]] = path

        return see

    for layer, path in registry.hooked:
        handles.append(model.get_submodule(path).register_forward_hook(after(layer)))
    for path, module in model.named_modules():
        if isinstance(module, _NORMS) and module.track_running_stats:
            handles.append(module.register_forward_pre_hook(before(path)))
    modes = {module: module.training for module in model.modules()}
    args, kwargs = registry.example
    model.eval()
    try:
        with torch.no_grad():
            run_model(model, to_device(args or kwargs, device_of(model)))
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    return found


def augmented(split: Split, augmentation: Augmentation | None, count: int, seed: int = 0) -> Split:
    """`count` training examples, augmented once, in memory; as they are where the data set has no augmentation.

    Args:
        split: training examples.
        augmentation: of the data set, see `DataSplits.augmentation`.
        count: examples, in the classes' proportions.
        seed: of the choice and of the augmentation.
    """
    chosen = split.subset(count, seed)
    if augmentation is None:
        return chosen
    generator = torch.Generator().manual_seed(seed)
    parts = [(inputs, labels) for inputs, labels in chosen.batches(256, generator, augmentation)]
    images = [inputs for inputs, _ in parts if isinstance(inputs, Tensor)]
    return TensorSplit(torch.cat(images), torch.cat([labels for _, labels in parts]) if len(parts[0][1]) else None)
