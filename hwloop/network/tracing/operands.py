"""Seeing, and if wanted replacing, the activations that each layer multiplies while a model runs.

Where a module owns the operation, a hook on the module does it, and the rest of the model runs as always. Operations that no
module owns (attention products, functional weights) are counted as they arrive, in the order the tracer wrote down.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hwloop.errors import DataError
from hwloop.network.tracing.dispatch import PRODUCTS, MultiplyDispatch, unfused
from hwloop.network.tracing.found import Call
from hwloop.network.tracing.registry import Registry

INPUTS, SECOND = "Inputs", "Weights"  # the data spaces that hold activations: the second only in a product of two
See = Callable[[str, str, Tensor], Tensor | None]  # (layer, data space, values) -> what to multiply instead; None: the values


def attach(model: nn.Module, registry: Registry, see: See, layers: Iterable[str]) -> list[RemovableHandle]:
    """Calls `see` with the activations of `layers` whenever `model` runs, until the handles are removed.

    Args:
        model: of the architecture that was registered.
        registry: of the model.
        see: called before each layer multiplies; once for `Inputs`, and in a product of two activations for `Weights` too.
        layers: names in the registry's workload.

    Raises:
        DataError: when the model runs: it multiplies in another order than when it was traced.
    """
    hooked = dict(registry.hooked)
    wanted = set(layers)
    handles = [
        model.get_submodule(hooked[layer]).register_forward_pre_hook(_ModuleHook(layer, see))
        for layer in hooked
        if layer in wanted
    ]
    rest = frozenset(wanted - hooked.keys())
    if rest:
        root = _Root(registry, see, rest)
        handles.append(model.register_forward_pre_hook(root.enter, prepend=True))
        handles.append(model.register_forward_hook(root.leave, always_call=True))
    return handles


@contextmanager
def attached(model: nn.Module, registry: Registry, see: See, layers: Iterable[str]) -> Iterator[None]:
    """`attach` for as long as the block lasts."""
    handles = attach(model, registry, see, layers)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _ModuleHook:
    """Hands a module's first input to `see`."""

    def __init__(self, layer: str, see: See) -> None:
        self.layer, self.see = layer, see

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        new = self.see(self.layer, INPUTS, inputs[0])
        return None if new is None else (new, *inputs[1:])


class _Root:
    """Counts the operations of one run of the model, between its first and its last hook."""

    def __init__(self, registry: Registry, see: See, layers: frozenset[str]) -> None:
        self.registry, self.see, self.layers = registry, see, layers
        self._running: list[tuple[ExitStack, _Operands]] = []

    def enter(self, module: nn.Module, inputs: Any) -> None:
        stack = ExitStack()
        mode = _Operands(module, self.registry, self.see, self.layers)
        stack.enter_context(unfused(module))
        stack.enter_context(mode)
        self._running.append((stack, mode))

    def leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        stack, mode = self._running.pop()
        stack.close()
        if sys.exc_info()[0] is None:
            mode.check_done()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_running": []}


class _Operands(MultiplyDispatch):
    def __init__(self, model: nn.Module, registry: Registry, see: See, layers: frozenset[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls, self._layers, self._see, self._wanted = registry.calls, registry.workload.layers, see, layers
        self._name, self._at = registry.workload.name, 0
        self._weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def multiply(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._at >= len(self._calls):
            raise self._other_order()
        call = self._calls[self._at]
        self._at += 1
        first, second = PRODUCTS.get(name, (0, 1))
        inputs, weights = (second, first) if self._swapped(args[first], args[second], call) else (first, second)
        new = [self._ask(at, INPUTS, args[inputs]) for at in call.layers]
        if len(new) > 1 and any(values is not None for values in new):
            return self._apart(func, args, kwargs, inputs, weights, new)
        changed = list(args)
        if new and new[0] is not None:
            changed[inputs] = new[0]
        if new and self._layers[call.layers[0]].kind == "matmul":
            values = self._ask(call.layers[0], SECOND, args[weights])
            if values is not None:
                changed[weights] = values
        return func(*changed, **kwargs)

    def _swapped(self, first: Tensor, second: Tensor, call: Call) -> bool:
        """Whether the weights come first: torch may turn a product round, depending on strides and gradients."""
        here = [operand.untyped_storage().data_ptr() in self._weights for operand in (first, second)]
        return here[0] if here[0] != here[1] else call.swapped

    def _ask(self, at: int, data_space: str, values: Tensor) -> Tensor | None:
        name = self._layers[at].name
        if name not in self._wanted:
            return None
        return self._see(name, data_space, values)

    @staticmethod
    def _apart(func: Any, args: Any, kwargs: Any, inputs: int, weights: int, new: list[Tensor | None]) -> Tensor:
        """Layers fused into one product, each with inputs of its own: as many products, side by side."""
        size = args[weights].shape[-1] // len(new)
        parts = []
        for i, values in enumerate(new):
            part = list(args)
            columns = slice(i * size, (i + 1) * size)
            part[weights] = args[weights][..., columns]
            part[inputs] = args[inputs] if values is None else values
            if inputs > 0:  # a bias stands in front
                part[0] = args[0][..., columns]
            parts.append(func(*part, **kwargs))
        return torch.cat(parts, dim=-1)

    def check_done(self) -> None:
        """Raises DataError unless every operation of the tracing run came."""
        if self._at != len(self._calls):
            raise self._other_order()

    def _other_order(self) -> DataError:
        return DataError(
            f"{self._name}: ran {self._at} of the {len(self._calls)} multiply-accumulate operations it was traced with, "
            "or others: its control flow depends on the data, so the activations of operations without a module of their own "
            "cannot be followed"
        )
