"""Fewer channels: weights, biases, normalisation and all that reads them really become smaller."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import torch
from torch import Tensor, nn

from hwloop.network.entries import Registry, WeightEntry
from hwloop.network.layouts import Layout
from hwloop.network.transforms.modules import replace_tensor, resize_attributes
from hwloop.spec.channels import ChannelGroup
from hwloop.spec.plan import Plan


def chosen_channels(model: nn.Module, registry: Registry, plan: Plan) -> dict[str, tuple[int, ...]]:
    """The channels that stay in each group that loses some, rising, by the group's name.

    Where the plan says only how many, those stay that matter most: the sum of the magnitudes of the weights that make a channel
    (relative to the layer's mean, over the group's layers) times the same of the weights that read it. A channel that nothing
    makes or nothing reads goes first; of equals the later goes.
    """
    out: dict[str, tuple[int, ...]] = {}
    for group in registry.workload.channels:
        channels = plan.of(group.outputs[0]).channels
        if channels is None:
            continue
        kept = _most_important(model, registry, group, channels) if isinstance(channels, int) else channels
        if len(kept) < group.size:
            out[group.name] = kept
    return out


def importance(model: nn.Module, registry: Registry, group: ChannelGroup) -> Tensor:
    """How much each channel of a group matters, `(size,)`; see `chosen_channels`."""
    made = torch.zeros(group.size, dtype=torch.float64)
    read = torch.zeros(group.size, dtype=torch.float64)
    for layer in group.outputs:
        if layer in registry.by_layer:
            weight = registry.entry(layer).read(model).double().abs().cpu()
            made += _relative(weight.flatten(1).sum(dim=1))
    for layer, first, repeat in group.inputs:
        entry = registry.entry(layer)
        if entry.kind == "depthwise":
            continue  # it passes a channel on, and counts among those that make it
        weight = entry.read(model).double().abs().cpu()
        by_group = weight.view(entry.groups, -1, *weight.shape[1:]).sum(dim=(1, 3, 4))  # (G, C / groups)
        columns = by_group.flatten()[first : first + group.size * repeat]
        read += _relative(columns.view(group.size, repeat).sum(dim=1))
    return made * read if group.inputs else made


def _relative(norms: Tensor) -> Tensor:
    mean = norms.mean()
    return norms / mean if mean > 0 else norms


def _most_important(model: nn.Module, registry: Registry, group: ChannelGroup, count: int) -> tuple[int, ...]:
    if registry.entry(group.outputs[0]).of(model).is_meta:
        order = torch.arange(group.size).view(group.multiple, -1) % (group.size // group.multiple)
    else:
        order = importance(model, registry, group).view(group.multiple, -1).argsort(dim=1, descending=True, stable=True)
    starts = torch.arange(group.multiple)[:, None] * (group.size // group.multiple)
    return tuple(sorted((order[:, : count // group.multiple] + starts).flatten().tolist()))


def shrink_(model: nn.Module, registry: Registry, kept: dict[str, tuple[int, ...]]) -> None:
    """Removes all other channels from `model`, in place.

    Args:
        model: as it was registered.
        registry: of the model.
        kept: by group's name, from `chosen_channels`.
    """
    sizes = {group.name: group.size for group in registry.workload.channels}
    rows: dict[str, tuple[int, ...]] = {}
    gone: dict[str, set[int]] = {}
    for group in registry.workload.channels:
        if group.name not in kept:
            continue
        rows |= dict.fromkeys(group.outputs, kept[group.name])
        for layer, first, repeat in group.inputs:
            gone.setdefault(layer, set()).update(_removed(group.size, kept[group.name], first, repeat))
    for entry in registry.entries:
        layer = entry.layers[0]
        if layer in rows or layer in gone:
            _shrink_entry(model, entry, rows.get(layer), gone.get(layer, set()))
    for companion in registry.companions:
        tensor = model.get_parameter(companion.key) if _is_parameter(model, companion.key) else model.get_buffer(companion.key)
        lost: set[int] = set()
        for name, first, repeat in companion.segments:
            if name in kept:
                lost |= _removed(sizes[name], kept[name], first, repeat)
        if lost:
            size = tensor.shape[companion.axis]
            stay = torch.tensor([place for place in range(size) if place not in lost], device=tensor.device)
            owners = replace_tensor(model, companion.key, tensor.detach().index_select(companion.axis, stay))
            resize_attributes(owners, {"num_features": (size, len(stay))})


def _is_parameter(model: nn.Module, key: str) -> bool:
    path, _, name = key.rpartition(".")
    return name in model.get_submodule(path)._parameters


def _removed(size: int, kept: tuple[int, ...], first: int, repeat: int) -> set[int]:
    there = set(kept)
    return {first + c * repeat + i for c in range(size) if c not in there for i in range(repeat)}


def _shrink_entry(model: nn.Module, entry: WeightEntry, rows: tuple[int, ...] | None, gone: set[int]) -> None:
    weight = entry.read(model)
    outputs, per_group = entry.shape[:2]
    groups = entry.groups
    stay = list(range(outputs)) if rows is None else list(rows)
    columns = [c for c in range(per_group * groups) if c not in gone]
    if entry.kind == "depthwise":
        new, new_groups = weight[stay], len(stay)
    else:
        new_groups, block = groups, outputs // groups
        parts = []
        for g in range(groups):
            mine = [row for row in stay if row // block == g]
            inside = [c - g * per_group for c in columns if c // per_group == g]
            parts.append(weight[mine][:, inside])
        new = torch.cat(parts)
    sizes = {"G": new_groups, "M": new.shape[0] // new_groups, "C": new.shape[1]}
    old = dict(zip(entry.layout.order, entry.layout.sizes, strict=True))
    layout = replace(entry.layout, sizes=tuple(sizes.get(letter, old[letter]) for letter in entry.layout.order))
    parameter = entry.of(model)
    shape = _resized(tuple(parameter.shape), entry.layout, layout)
    holder = torch.empty(shape, dtype=parameter.dtype, device=parameter.device)
    layout = replace(layout, rows=(0, shape[0]))
    layout.write_(holder, new)
    owners = replace_tensor(model, entry.key, holder)
    changes = {
        "out_channels": (outputs, new.shape[0]), "out_features": (outputs, new.shape[0]),
        "in_channels": (per_group * groups, new.shape[1] * new_groups),
        "in_features": (per_group * groups, new.shape[1] * new_groups), "groups": (groups, new_groups),
    }  # fmt: skip
    resize_attributes(owners, changes)


def _resized(shape: tuple[int, ...], old: Layout, new: Layout) -> tuple[int, ...]:
    """The shape of a parameter whose layout has changed sizes: each of its dimensions is a run of the layout's letters."""
    pairs = iter(zip(old.sizes, new.sizes, strict=True))
    out = []
    for size in shape:
        before = after = 1
        while before < size:
            here, there = next(pairs)
            before, after = before * here, after * there
        out.append(after)
    assert prod(out) == prod(new.sizes)
    return tuple(out)
