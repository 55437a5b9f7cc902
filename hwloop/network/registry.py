"""Which parameter holds the weights of which layer: made once by the tracer, used by all that change or count weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from hwloop.errors import DataError, SpecError
from hwloop.network.groups import Companion, find_couplings
from hwloop.network.layouts import Layout
from hwloop.network.recorder import Call, Found, Recorder
from hwloop.network.recording import arguments, describe, record, unwrapped
from hwloop.spec.workload import Workload

_SHOWN = 5  # how many unmapped operations an error names
# the modules whose one operation reads their first input as it is
_PLAIN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
_PLAIN_FORWARDS = frozenset(kind.forward for kind in _PLAIN)


@dataclass(frozen=True)
class WeightEntry:
    """A weight tensor of a network: what is pruned, quantised and stored as one.

    Attributes:
        name: of the first layer that reads it.
        parameter: as the workload has it: `key`, and the rows behind it where it is a part of a fused one.
        key: of the parameter in the model's state dict.
        layers: names of the layers that read it, in execution order; several when it is tied or its module called again.
        kind: of the first layer: `conv`, `depthwise`, `grouped`, `linear`.
        layout: how the parameter holds it.
    """

    name: str
    parameter: str
    key: str
    layers: tuple[str, ...]
    kind: str
    layout: Layout

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Canonical sizes `(M, C / groups, kH, kW)`; the last two are 1 in a linear layer."""
        return self.layout.canonical

    @property
    def groups(self) -> int:
        """Into how many groups its channels fall; the rows of group g are the g-th of so many equal blocks of M."""
        return self.layout.sizes[self.layout.order.index("G")]

    def of(self, model: nn.Module) -> nn.Parameter:
        """The parameter in `model`, all of it.

        Raises:
            DataError: `model` is not of the architecture that was traced.
        """
        try:
            return model.get_parameter(self.key)
        except AttributeError as error:
            raise DataError(
                f"{type(model).__name__} has no parameter {self.key!r}: it is not the model that was traced"
            ) from error

    def read(self, model: nn.Module) -> Tensor:
        """The weights in `model`, `(M, C / groups, kH, kW)`, detached; may be a view of the parameter: `write_` changes it."""
        return self.layout.read(self.of(model).detach())

    def read_gradient(self, model: nn.Module) -> Tensor | None:
        """The gradient in the same form; None where there is none."""
        gradient = self.of(model).grad
        return None if gradient is None else self.layout.read(gradient)

    def write_(self, model: nn.Module, weights: Tensor) -> None:
        """Puts `weights`, `(M, C / groups, kH, kW)`, into `model`.

        Raises:
            SpecError: another shape.
        """
        self._check(weights)
        self.layout.write_(self.of(model).detach(), weights)

    def write_gradient_(self, model: nn.Module, gradient: Tensor) -> None:
        """Puts a gradient of the same form into `model`, which must have one."""
        self._check(gradient)
        there = self.of(model).grad
        assert there is not None
        self.layout.write_(there, gradient)

    def _check(self, weights: Tensor) -> None:
        if tuple(weights.shape) != self.shape:
            raise SpecError("<arguments>", self.name, f"weights of shape {self.shape}", tuple(weights.shape))


@dataclass(frozen=True)
class Registry:
    """The layers of a network and the parameters that hold their weights. It belongs to the architecture, not to one model.

    Attributes:
        workload: the network.
        entries: its weight tensors, in the order of first use.
        left_out: (parameter, reason) of the weights that cannot be compressed.
        calls: every convolution and matrix product, in execution order.
        hooked: module path by layer, for layers whose module runs once and does nothing else with its input.
        companions: what is no layer's weights, but has channels that may be removed.
    """

    workload: Workload
    entries: tuple[WeightEntry, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    calls: tuple[Call, ...] = field(default=(), repr=False)
    hooked: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    companions: tuple[Companion, ...] = field(default=(), repr=False)

    @cached_property
    def by_name(self) -> dict[str, WeightEntry]:
        """The entries by name."""
        return {entry.name: entry for entry in self.entries}

    @cached_property
    def by_layer(self) -> dict[str, WeightEntry]:
        """The entry that each layer reads, by layer name; layers without one are missing."""
        return {layer: entry for entry in self.entries for layer in entry.layers}

    def entry(self, layer: str) -> WeightEntry:
        """The entry that `layer` reads.

        Raises:
            SpecError: it reads none, or there is no such layer.
        """
        if layer not in self.by_layer:
            known = ", ".join(self.by_name)
            raise SpecError("<arguments>", layer, f"a layer of the model with weights to compress ({known})", layer)
        return self.by_layer[layer]

    def select(self, exclude: Iterable[str] = ()) -> tuple[WeightEntry, ...]:
        """The entries that no pattern of `exclude` (`features.*`) names.

        Raises:
            SpecError: a pattern matches no layer.
        """
        out: set[str] = set()
        for pattern in exclude:
            matched = {entry.name for entry in self.entries if any(fnmatchcase(layer, pattern) for layer in entry.layers)}
            if not matched:
                raise SpecError("<arguments>", "exclude", f"a layer of the model ({', '.join(self.by_name)})", pattern)
            out |= matched
        return tuple(entry for entry in self.entries if entry.name not in out)


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
    return _registry(recorder, model, title)


def _registry(recorder: Recorder, model: nn.Module, title: str) -> Registry:
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
    workload = Workload(title, layers, tuple(shapes), tuple(recorder.unmapped), free, couplings.groups)
    hooked = tuple(_hooked(recorder, model, names))
    return Registry(workload, tuple(entries), tuple(left_out.items()), tuple(recorder.calls), hooked, couplings.companions)


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
        plain = type(module).forward in _PLAIN_FORWARDS and getattr(module, "padding_mode", "zeros") == "zeros"
        if plain and not isinstance(module, torch.jit.ScriptModule):
            yield names[places[0]], path
