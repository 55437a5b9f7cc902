"""Watches a model run and writes down every multiply-accumulate operation, whoever calls it.

The recorder sits below modules, functionals and operators alike: `nn.Conv2d`, `F.conv2d`, `@`, `einsum` and attention all
arrive here as a handful of aten operations. It keeps for each tensor which layers and which parameters it comes from.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from hwloop.network.operations import Posed, convolution, product
from hwloop.spec.workload import Layer, UnmappedOperation

Observer = Callable[[int, Tensor, Tensor], None]  # (position of the layer, inputs, weights or second operand)

# operand positions (first, second) of the aten operations that multiply matrices
_PRODUCTS = {
    "mm": (0, 1),
    "_int_mm": (0, 1),
    "bmm": (0, 1),
    "mv": (0, 1),
    "dot": (0, 1),
    "vdot": (0, 1),
    "addmm": (1, 2),
    "_addmm_activation": (1, 2),
    "baddbmm": (1, 2),
    "addbmm": (1, 2),
    "addmv": (1, 2),
}
# aten operations with arithmetic that no problem stands for
_HEAVY = re.compile(
    r"conv(?!ert)|rnn|lstm|gru|fft|linalg(?!.*norm)|cdist|trilinear|attention|(^|_)\w*mm$|cholesky|svd|lstsq|matrix_exp"
)
_LIGHT_NAMESPACES = ("aten", "prim", "prims", "profiler", "inductor")
_LIGHT_TORCHVISION = ("nms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool")
_MOVES = {"clone", "copy", "unsafe_view", "unsafe_split", "local_scalar_dense", "lift_fresh", "to_copy"}
_SHAPE_ONLY = re.compile(r"^new_|_like$")  # these take a tensor for its shape, not for its values
_OWNER = re.compile(r"\.parametrizations\.(\w+)\.original\d*$")


@dataclass(frozen=True)
class _Origin:
    """Where a tensor comes from.

    Attributes:
        layers: positions of the nearest layers before it.
        constants: names of parameters and buffers it is made of, if made of nothing else.
        data: True when the model's input is part of it.
    """

    layers: frozenset[int] = frozenset()
    constants: frozenset[str] = frozenset()
    data: bool = False

    @property
    def weight(self) -> bool:
        """Made of parameters and buffers alone."""
        return bool(self.constants) and not self.data


def _merge(origins: Iterable[_Origin]) -> _Origin:
    found = list(origins)
    data = any(o.data for o in found)
    constants = frozenset() if data else frozenset().union(*(o.constants for o in found))
    return _Origin(frozenset().union(*(o.layers for o in found)), constants, data)


def _storage(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]


def _is_view(value: Any) -> bool:
    return value.alias_info is not None and not value.alias_info.is_write


@dataclass
class _Found:
    """A layer before it has a name: its attention role may only show once a later product reads its result."""

    posed: Posed
    module: str
    parameter: str
    inputs: frozenset[int]
    role: str = "matmul"

    @property
    def base(self) -> str:
        """The name without the number of the call."""
        if self.parameter:
            name = _OWNER.sub(r".\1", self.parameter).removesuffix("_orig").removesuffix(".weight_v").removesuffix(".weight")
            return self.posed.kind if name == "weight" else name  # the model is the layer
        return f"{self.module}.{self.role}" if self.module else self.role


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the layers of a model while `run` runs it; one recorder serves one run.

    Attributes:
        parameter_shapes: shape of each weight parameter by name, in the order of first use.
        unmapped: operations with arithmetic that no problem stands for.
        free_operations: calls by name of the operations that count as free.
    """

    def __init__(self, model: nn.Module, observe: Observer | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.parameter_shapes: dict[str, tuple[int, ...]] = {}
        self.unmapped: list[UnmappedOperation] = []
        self.free_operations: Counter[str] = Counter()
        self._model, self._observe = model, observe
        self._parameters = dict(model.named_parameters())
        self._origins: Any = WeakTensorKeyDictionary()
        self._written: dict[StorageWeakRef, _Origin] = {}  # storages that were written in place, for views of them
        self._found: list[_Found] = []
        self._stack: list[str] = []
        for name, tensor in (*self._parameters.items(), *model.named_buffers()):
            self._origins[tensor] = _Origin(constants=frozenset((name,)))

    @property
    def path(self) -> str:
        """Path of the module that is running, or was when the run failed; empty for the model itself."""
        return self._stack[-1] if self._stack else ""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """What was found, in execution order."""
        seen: Counter[str] = Counter()
        names: list[str] = []
        for found in self._found:
            seen[found.base] += 1
            names.append(found.base if seen[found.base] == 1 else f"{found.base}#{seen[found.base]}")
        layers = []
        for name, found in zip(names, self._found, strict=True):
            inputs = tuple(names[i] for i in sorted(found.inputs))
            problem = replace(found.posed.problem, name=name)
            layers.append(Layer(name, problem, found.posed.kind, found.module, found.parameter, inputs))
        return tuple(layers)

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs the model on `args` and `kwargs` and records it; returns what the model returns."""
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor):
                self._origins[leaf] = _Origin(data=True)
        hooks = [hook for name, module in self._model.named_modules() for hook in self._follow(name, module)]
        try:
            with torch.no_grad(), self:
                return self._model(*args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()

    def _follow(self, name: str, module: nn.Module) -> Iterable[Any]:
        if isinstance(module, torch.jit.ScriptModule):  # takes no hooks; parameters still say where its layers are
            return ()

        def enter(*_: Any) -> None:
            self._stack.append(name)

        def leave(*_: Any) -> None:
            while self._stack.pop() != name:  # also drops modules that raised and were caught
                pass

        return module.register_forward_pre_hook(enter, prepend=True), module.register_forward_hook(leave)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__ if isinstance(func, torch._ops.OpOverload) else str(func)
        namespace = getattr(func, "namespace", "higher_order")
        mapped = namespace == "aten" and (name in _PRODUCTS or name == "convolution")
        if namespace == "aten" and not mapped:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        sources = [] if _SHAPE_ONLY.search(name) else [self._origin(tensor) for tensor in tensors]
        result = func(*args, **kwargs)
        origin = _merge(sources)
        if not mapped:
            self._note(namespace, name, func, origin)
        elif not self._folds(name, args):
            origin = self._record(name, args, kwargs, result, origin)
        self._mark(func, args, kwargs, result, origin)
        return result

    def _folds(self, name: str, args: Any) -> bool:
        """Whether a product needs no input, so that it can be done once, before any input comes."""
        operands = [self._origin(args[i]) for i in _PRODUCTS.get(name, (0, 1))]
        mixed = operands[0].weight != operands[1].weight  # weights times a state that starts as zeros
        return not mixed and not any(o.data for o in operands)

    def _origin(self, tensor: Tensor) -> _Origin:
        origin: _Origin = self._origins.get(tensor, _Origin())
        if self._written and (written := self._written.get(_storage(tensor))):
            return _merge((origin, written))
        return origin

    def _mark(self, func: Any, args: Any, kwargs: Any, result: Any, origin: _Origin) -> None:
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._origins[leaf] = origin
        schema = getattr(func, "_schema", None)
        if schema is None or not schema.is_mutable:
            return
        for i, argument in enumerate(schema.arguments):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            for leaf in tree_leaves(args[i] if i < len(args) else kwargs.get(argument.name)):
                if isinstance(leaf, Tensor):
                    self._written[_storage(leaf)] = origin

    def _note(self, namespace: str, name: str, func: Any, origin: _Origin) -> None:
        reason = ""
        if not origin.data:
            return
        if namespace == "torchvision" and name not in _LIGHT_TORCHVISION:
            reason = "its products depend on the data"
        elif namespace not in (*_LIGHT_NAMESPACES, "torchvision"):
            reason = "a custom operation: nothing tells what it computes"
        elif _HEAVY.search(name):
            reason = "no problem shape stands for it"
        if reason:
            self.unmapped.append(UnmappedOperation(self.path, f"{namespace}.{name}", reason))
        elif namespace != "prim" and name.strip("_") not in _MOVES and not any(_is_view(value) for value in func._schema.returns):
            self.free_operations[name.strip("_")] += 1

    def _record(self, name: str, args: Any, kwargs: Any, result: Tensor, origin: _Origin) -> _Origin:
        found = self._pose_convolution(args, kwargs, result) if name == "convolution" else self._pose_product(name, args)
        if found is None:
            return origin
        posed, inputs, weights = found
        parameter = self._parameter(weights) if self._origin(weights).weight else ""
        position = len(self._found)
        layer = _Found(posed, self.path, parameter, origin.layers)
        before = self._origin(inputs).layers
        if posed.kind == "matmul" and len(before) == 1:  # softmax(Q K^T) V: the first operand is another product's result
            first = self._found[min(before)]
            if first.posed.kind == "matmul" and first.module == self.path:
                first.role, layer.role = "qk", "pv"
        self._found.append(layer)
        if parameter:
            self.parameter_shapes.setdefault(parameter, tuple(self._parameters[parameter].shape))
        if self._observe is not None:
            self._observe(position, inputs, weights)
        return _Origin(frozenset((position,)), data=True)

    def _pose_convolution(self, args: Any, kwargs: Any, result: Tensor) -> tuple[Posed, Tensor, Tensor] | None:
        names = ("input", "weight", "bias", "stride", "padding", "dilation", "transposed", "output_padding", "groups")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        inputs, weight = given["input"], given["weight"]
        if given["transposed"] or weight.dim() > 4:
            reason = "a transposed convolution" if given["transposed"] else f"a {weight.dim() - 2}-D convolution"
            self.unmapped.append(UnmappedOperation(self.path, "aten.convolution", reason))
            return None
        stride, dilation, groups = given["stride"], given["dilation"], given["groups"]
        return convolution(weight.shape, inputs.shape, result.shape, stride, dilation, groups), inputs, weight

    def _pose_product(self, name: str, args: Any) -> tuple[Posed, Tensor, Tensor]:
        first, second = (args[i] for i in _PRODUCTS[name])
        left, right = list(first.shape), list(second.shape)
        if len(left) == 1:  # dot
            left = [1, *left]
        if len(right) == 1:  # mv, dot
            right = [*right, 1]
        batch = left[0] if len(left) == 3 else 1
        rows, contraction, columns = left[-2], left[-1], right[-1]
        if name == "addbmm":  # sums over the batch
            batch, contraction = 1, batch * contraction
        weighted = self._origin(second).weight
        inputs, weights = first, second
        if not weighted and self._origin(first).weight:  # the weights stand on the left
            weighted, inputs, weights, rows, columns = True, second, first, columns, rows
        if weighted and batch > 1 and self._repeated(weights, batch):
            rows, batch = rows * batch, 1
        return product(rows, contraction, columns, batch, weighted), inputs, weights

    def _repeated(self, weights: Tensor, batch: int) -> bool:
        """Whether one weight matrix was expanded to a batch of equal ones."""
        if weights.stride(0) == 0:
            return True
        parameter = self._parameter(weights)
        return bool(parameter) and self._parameters[parameter].numel() * batch == weights.numel()

    def _parameter(self, weights: Tensor) -> str:
        """Name of the parameter that `weights` is made of: of its size if there is one, else the largest."""
        sizes = {name: self._parameters[name].numel() for name in self._origin(weights).constants if name in self._parameters}
        if not sizes:
            return ""
        return min(sizes, key=lambda name: (sizes[name] != weights.numel(), -sizes[name], name))
