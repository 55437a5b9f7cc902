"""Taking a model apart: its parameters and modules by name, whoever shares them."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from hwloop.errors import SpecError
from hwloop.network.entries import WeightEntry, is_plain
from hwloop.spec.workload import Workload


def replace_tensor(model: nn.Module, key: str, new: Tensor) -> list[nn.Module]:
    """Puts `new` in the place of a parameter or buffer, under every name it has; returns the modules that have it."""
    path, _, name = key.rpartition(".")
    module = model.get_submodule(path)
    old = getattr(module, name)
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, requires_grad=old.requires_grad)
    owners = []
    for owner in model.modules():
        for registered in (owner._parameters, owner._buffers):
            for attribute, tensor in registered.items():
                if tensor is old:
                    registered[attribute] = new  # type: ignore[assignment]
                    owners.append(owner)
    return owners


def replace_module(model: nn.Module, path: str, new: nn.Module) -> None:
    """Puts `new` in the place of a module, under every name it has."""
    old = model.get_submodule(path)
    for owner in model.modules():
        for name, child in owner._modules.items():
            if child is old:
                owner._modules[name] = new


def owner_of(model: nn.Module, workload: Workload, entry: WeightEntry, what: str) -> str:
    """Path of the module that alone runs an entry's layers, so that another can take its place.

    Args:
        model: the network.
        workload: of the network.
        entry: the weights.
        what: what is to be done, for the error.

    Raises:
        SpecError: the operation is a function's, or several modules share the weights.
    """
    path, _, name = entry.key.rpartition(".")
    expected = "a layer that a module of its own computes"
    for layer in entry.layers:
        if workload.by_name[layer].module != path or name != "weight" or not path or not is_plain(model.get_submodule(path)):
            raise SpecError(
                "<plan>", f"layers.{layer}.{what}", expected, entry.key, "its weights are used by a function, or shared"
            )
    return path


def resize_attributes(modules: Iterable[nn.Module], sizes: dict[str, tuple[int, int]]) -> None:
    """Changes what torch's layers say of their sizes: `{attribute: (old, new)}`, where they have it."""
    for module in modules:
        for name, (old, new) in sizes.items():
            if getattr(module, name, None) == old:
                setattr(module, name, new)
