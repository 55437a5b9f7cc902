"""Which parameter holds the weights of which layer: made once by the tracer, used by all that change or count weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from hwloop.errors import DataError
from hwloop.network.tracing.entries import Registry, WeightEntry, is_plain
from hwloop.network.tracing.found import Found
from hwloop.network.tracing.groups import find_couplings
from hwloop.network.tracing.layouts import Layout
from hwloop.network.tracing.recorder import Recorder
from hwloop.network.tracing.recording import arguments, describe, meta_of, record, unwrapped
from hwloop.network.transforms.shrink import shrink_
from hwloop.spec.channels import ChannelGroup
from hwloop.spec.workload import Workload

__all__ = ["Registry", "WeightEntry", "register", "register_again"]

IMAGE_BITS = 8  # of a pixel's colour
_SHOWN = 5  # how many unmapped operations an error names


def register(model: nn.Module, example_input: Any, name: str | None = None, allow_unmapped: bool = False) -> Registry:
    """Traces a model and finds the parameter that holds each layer's weights; arguments and errors as in `hwloop.trace`."""
    model = unwrapped(model)
    args, kwargs = arguments(example_input)
    title = name or type(model).__name__
    recorder = record(model, args, kwargs, title)
    if recorder.unmapped and not allow_unmapped:
        lines = list(dict.fromkeys(f"{u.module or '(model)'}: {u.operation}: {u.reason}" for u in recorder.unmapped))
        more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
        raise DataError(
            f"{title}: {len(lines)} operation(s) cannot be mapped: {'; '.join(lines[:_SHOWN])}{more}; "
            "allow_unmapped=True leaves them out of the workload"
        )
    if not recorder.found:
        raise DataError(f"{title}: no convolution, linear layer or matrix product ran on an input of {describe(args, kwargs)}")
    registry, reshaped = _registry(recorder, model, title, (args, kwargs))
    return _without_fixed_sizes(registry, model, [group for group in registry.workload.channels if group.name in reshaped])


def register_again(registry: Registry, model: nn.Module) -> Registry:
    """The registry of another model, run on the input that `registry` was made with; errors as `register`."""
    args, kwargs = registry.example
    workload = registry.workload
    title, unmapped = workload.name, bool(workload.unmapped)
    return register(model, args or kwargs, title, unmapped)


def _registry(recorder: Recorder, model: nn.Module, title: str, example: Any) -> tuple[Registry, frozenset[str]]:
    """The registry, and the groups that may be removed unless the model's code has their size written into a reshape."""
    names, found = recorder.names, recorder.found
    parameters = dict(model.named_parameters())
    left_out: dict[str, str] = {}
    layouts: dict[str, dict[tuple[int, int], Layout]] = {}
    for name, layer in zip(names, found, strict=True):
        if not layer.owner:
            left_out |= dict.fromkeys(layer.constants, "a buffer, not a parameter")
        elif layer.layout is None:
            left_out[layer.owner] = f"layer {name!r} does not read it as it is: {_computed(layer)}"
        else:
            known = layouts.setdefault(layer.owner, {})
            if known.setdefault(layer.layout.rows, layer.layout) != layer.layout:
                left_out[layer.owner] = f"layer {name!r} reads it in another order than the layer before"
    for key, known in layouts.items():
        rows = sorted(known)
        if any(first < end for (_, end), (first, _) in pairwise(rows)):
            left_out.setdefault(key, "layers read parts of it that overlap")
    users: dict[tuple[str, tuple[int, int]], list[int]] = {}
    for at, layer in enumerate(found):
        if layer.layout is not None and layer.owner not in left_out:
            users.setdefault((layer.owner, layer.layout.rows), []).append(at)
    entries, shapes = [], []
    weights: dict[int, str] = {}
    for (key, (first, end)), places in users.items():
        shape = tuple(parameters[key].shape)
        whole = end - first == shape[0]
        label = key if whole else f"{key}[{first}:{end}]"
        first_use = found[places[0]]
        assert first_use.layout is not None
        users_names = tuple(names[at] for at in places)
        entries.append(WeightEntry(users_names[0], label, key, users_names, first_use.posed.kind, first_use.layout))
        shapes.append((label, shape if whole else (end - first, *shape[1:])))
        weights |= dict.fromkeys(places, label)
    for key, parameter in parameters.items():
        if parameter.dim() > 1 and key not in layouts and key not in left_out:
            left_out[key] = _unused(key, recorder)
    free = tuple(sorted(recorder.free_operations.items()))
    layers = recorder.layers(weights)
    couplings = find_couplings(recorder.channels, layers)
    seen = recorder.maps.finish(names)
    workload = Workload(
        title, layers, tuple(shapes), tuple(recorder.unmapped), free, couplings.groups, seen.maps, seen.operations,
        _input_bits(example),
    )  # fmt: skip
    hooked = tuple(_hooked(recorder, model, names))
    calls, reasons = tuple(recorder.calls), tuple(left_out.items())
    registry = Registry(workload, tuple(entries), reasons, calls, hooked, couplings.companions, example)
    return registry, couplings.reshaped


def _input_bits(example: Any) -> int | None:
    """Images, (N, C, H, W), are bytes; of anything else nothing is known."""
    tensors = [leaf for leaf in tree_leaves(example) if isinstance(leaf, Tensor)]
    return IMAGE_BITS if tensors and all(tensor.dim() == 4 for tensor in tensors) else None


def _computed(layer: Found) -> str:
    made = ", ".join(sorted(layer.constants))
    return f"its weights are computed from {made}" if len(layer.constants) > 1 else f"its weights are a copy or a part of {made}"


def _unused(key: str, recorder: Recorder) -> str:
    operation = recorder.read_by.get(key)
    if operation is None:
        return "nothing reads it when the model runs"
    return f"no convolution or matrix product reads it, only {operation!r}"


def _hooked(recorder: Recorder, model: nn.Module, names: tuple[str, ...]) -> Iterable[tuple[str, str]]:
    ran: dict[str, list[int]] = {}
    for at, found in enumerate(recorder.found):
        ran.setdefault(found.module, []).append(at)
    for path, places in ran.items():
        if recorder.entered[path] != 1 or len(places) != 1:
            continue
        module = model.get_submodule(path)
        if is_plain(module) and getattr(module, "padding_mode", "zeros") == "zeros":
            yield names[places[0]], path


def _without_fixed_sizes(registry: Registry, model: nn.Module, suspects: Sequence[ChannelGroup]) -> Registry:
    """Fixes the groups without which the model no longer runs; all are tried at once first."""
    if not suspects or not _fails(registry, model, suspects):
        return registry
    reasons = {group.name: _fails(registry, model, [group]) for group in suspects}
    groups = tuple(
        replace(group, fixed=f"the model's code needs all of them: {reasons[group.name]}") if reasons.get(group.name) else group
        for group in registry.workload.channels
    )
    return replace(registry, workload=replace(registry.workload, channels=groups))


def _fails(registry: Registry, model: nn.Module, groups: Sequence[ChannelGroup]) -> str:
    """What the model says when these groups lose a channel a block; empty when it runs."""
    memo: dict[int, Any] = dict(meta_of(model))
    smaller = copy.deepcopy(model, memo)
    kept = {}
    for group in groups:
        block = group.size // group.multiple
        kept[group.name] = tuple(c for c in range(group.size) if c % block < block - 1)
    shrink_(smaller, registry, kept)
    try:
        args, kwargs = registry.example
        record(smaller, args, kwargs, registry.workload.name)
    except DataError as error:
        return str(error).rpartition(": in ")[2]
    return ""
