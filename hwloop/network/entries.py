"""The weight tensors of a network, and what belongs to them: the registry that the tracer makes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from hwloop.errors import DataError, SpecError
from hwloop.network.groups import Companion
from hwloop.network.layouts import Layout
from hwloop.network.recorder import Call
from hwloop.spec.workload import Workload

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
        example: the input it was traced with.
    """

    workload: Workload
    entries: tuple[WeightEntry, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    calls: tuple[Call, ...] = field(default=(), repr=False)
    hooked: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    companions: tuple[Companion, ...] = field(default=(), repr=False)
    example: Any = field(default=None, repr=False, compare=False)

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


def is_plain(module: nn.Module) -> bool:
    """Whether a module is one of torch's own whose one operation reads its first input as it is, with its own `weight`."""
    return type(module).forward in _PLAIN_FORWARDS and not isinstance(module, torch.jit.ScriptModule)
