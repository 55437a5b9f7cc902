"""Watches a model run and writes down every multiply-accumulate operation, whoever calls it.

The recorder sits below modules, functionals and operators alike. It keeps for each tensor which layers and which parameters
it comes from, and, where it is one parameter seen through views, how that parameter lies in it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from hwloop.network.dispatch import CONVOLUTION, PRODUCTS, MultiplyDispatch
from hwloop.network.follow import Follower
from hwloop.network.layouts import Layout, convolution_dimensions, layout_of, product_dimensions
from hwloop.network.operations import Posed, convolution, product
from hwloop.spec.workload import Layer, UnmappedOperation

Observer = Callable[[int, Tensor, Tensor], None]  # (position of the layer, inputs, weights or second operand)

# aten operations with arithmetic that no problem stands for
_HEAVY = re.compile(
    r"conv(?!ert)|rnn|lstm|gru|fft|linalg(?!.*norm)|cdist|trilinear|attention|(^|_)\w*mm$|cholesky|svd|lstsq|matrix_exp"
)
_LIGHT_NAMESPACES = ("aten", "prim", "prims", "profiler", "inductor")
_LIGHT_TORCHVISION = ("nms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool")
_MOVES = {"clone", "copy", "unsafe_view", "unsafe_split", "local_scalar_dense", "lift_fresh", "to_copy"}
_SHAPE_ONLY = re.compile(r"^new_|_like$")  # these take a tensor for its shape, not for its values
_OWNER = re.compile(r"\.parametrizations\.(\w+)\.original\d*$")
_FUSED = ("q", "k", "v")  # what the thirds of an attention's `in_proj_weight` make


@dataclass(frozen=True)
class _Origin:
    """Where a tensor comes from.

    Attributes:
        layers: positions of the nearest layers before it.
        constants: names of parameters and buffers it is made of, if made of nothing else.
        data: True when the model's input is part of it.
        viewed: name of the parameter or buffer that it is a view of, if nothing but that.
    """

    layers: frozenset[int] = frozenset()
    constants: frozenset[str] = frozenset()
    data: bool = False
    viewed: str = ""

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


@dataclass(frozen=True)
class Call:
    """One convolution or matrix product, as it arrives: they come in the same order whenever the model runs the same way.

    Attributes:
        layers: positions of the layers it computes: none where it is no layer, several where weights are fused.
        swapped: whether the weights are its first operand and the inputs its second.
    """

    layers: tuple[int, ...] = ()
    swapped: bool = False


@dataclass
class Found:
    """A layer before it has a name: its attention role may only show once a later product reads its result.

    Attributes:
        posed: its problem and kind.
        module: path of the module that was running.
        owner: the parameter that gives the layer its name; empty where there is none.
        layout: how that parameter holds the weights; None where they are computed from it or lie in it in another way.
        inputs: positions of the layers before it.
        role: its name in the module when it has no parameter, or shares one.
        fused: whether it shares one.
        constants: parameters and buffers that its weights are made of.
        input_size: (height, width) of the input feature map without padding; empty where there is none.
    """

    posed: Posed
    module: str
    owner: str
    layout: Layout | None
    inputs: frozenset[int]
    role: str = "matmul"
    fused: bool = False
    constants: frozenset[str] = frozenset()
    input_size: tuple[int, ...] = ()

    @property
    def base(self) -> str:
        """The name without the number of the call."""
        if self.owner and not self.fused:
            name = _OWNER.sub(r".\1", self.owner).removesuffix("_orig").removesuffix(".weight_v").removesuffix(".weight")
            return self.posed.kind if name == "weight" else name  # the model is the layer
        module = self.owner.rpartition(".")[0] if self.fused else self.module
        return f"{module}.{self.role}" if module else self.role


class Recorder(MultiplyDispatch):
    """Records the layers of a model while `run` runs it; one recorder serves one run.

    Attributes:
        found: the layers in execution order.
        calls: every convolution and matrix product in execution order.
        unmapped: operations with arithmetic that no problem stands for.
        free_operations: calls by name of the operations that count as free.
        entered: how often each module ran.
        read_by: the first operation that read each parameter or buffer other than through a view.
        channels: where the channels go.
    """

    def __init__(self, model: nn.Module, observe: Observer | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[Found] = []
        self.calls: list[Call] = []
        self.unmapped: list[UnmappedOperation] = []
        self.free_operations: Counter[str] = Counter()
        self.entered: Counter[str] = Counter()
        self.read_by: dict[str, str] = {}
        self._model, self._observe = model, observe
        tensors: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self._parameters = dict(model.named_parameters())
        self._origins: Any = WeakTensorKeyDictionary()
        self._written: dict[StorageWeakRef, _Origin] = {}  # storages that were written in place, for views of them
        self._stack: list[str] = []
        self._fused: set[frozenset[int]] = set()  # layers whose results come in one tensor
        for name, tensor in tensors.items():
            self._origins[tensor] = _Origin(constants=frozenset((name,)), viewed=name)
        self.channels = Follower(lambda tensor: self._origin(tensor).viewed, tensors)

    @property
    def path(self) -> str:
        """Path of the module that is running, or was when the run failed; empty for the model itself."""
        return self._stack[-1] if self._stack else ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what was found, in execution order; the second and later calls of the same end in `#2`, `#3`."""
        seen: Counter[str] = Counter()
        names: list[str] = []
        for found in self.found:
            seen[found.base] += 1
            names.append(found.base if seen[found.base] == 1 else f"{found.base}#{seen[found.base]}")
        return tuple(names)

    def layers(self, parameters: Mapping[int, str]) -> tuple[Layer, ...]:
        """What was found, in execution order.

        Args:
            parameters: name of the weight tensor by position, for those that have one to prune.
        """
        names = self.names
        layers = []
        for at, (name, found) in enumerate(zip(names, self.found, strict=True)):
            inputs = tuple(names[i] for i in sorted(found.inputs))
            problem = replace(found.posed.problem, name=name)
            layers.append(Layer(name, problem, found.posed.kind, found.module, parameters.get(at, ""), inputs, found.input_size))
        return tuple(layers)

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs the model on `args` and `kwargs` and records it; returns what the model returns."""
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor):
                self._origins[leaf] = _Origin(data=True)
        hooks = [hook for name, module in self._model.named_modules() for hook in self._follow(name, module)]
        try:
            with torch.no_grad(), self:
                result = self._model(*args, **kwargs)
            self.channels.end([result])
            return result
        finally:
            for hook in hooks:
                hook.remove()

    def _follow(self, name: str, module: nn.Module) -> Iterable[Any]:
        if isinstance(module, torch.jit.ScriptModule):  # takes no hooks; parameters still say where its layers are
            return ()

        def enter(*_: Any) -> None:
            self._stack.append(name)
            self.entered[name] += 1

        def leave(*_: Any) -> None:
            while self._stack.pop() != name:  # also drops modules that raised and were caught
                pass

        return module.register_forward_pre_hook(enter, prepend=True), module.register_forward_hook(leave)

    def multiply(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Records one convolution or matrix product."""
        origin = _merge([self._origin(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)])
        result = func(*args, **kwargs)
        call = Call()
        if not self._folds(name, args):
            if name == CONVOLUTION:
                call = self._pose_convolution(args, kwargs, result, origin)
            else:
                call = self._pose_product(name, args, result, origin)
            if call.layers:
                origin = _Origin(frozenset(call.layers), data=True)
        self.calls.append(call)
        self._mark(func, args, kwargs, result, origin)
        return result

    def other(self, func: Any, namespace: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs any other operation and keeps where its results come from."""
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        sources = [] if _SHAPE_ONLY.search(name) else [self._origin(tensor) for tensor in tensors]
        result = func(*args, **kwargs)
        origin = _merge(sources)
        if len(sources) == 1 and sources[0].viewed and all(_is_view(value) for value in func._schema.returns):
            origin = sources[0]
        else:
            for source in sources:
                for constant in source.constants:
                    self.read_by.setdefault(constant, name.strip("_"))
        self._note(namespace, name, func, origin)
        if origin.data:
            self.channels.other(func, name, self.path, args, result)
            if origin.layers in self._fused and isinstance(result, Tensor):
                origin = replace(origin, layers=self.channels.makers(result, origin.layers))
        self._mark(func, args, kwargs, result, origin)
        return result

    def _folds(self, name: str, args: Any) -> bool:
        """Whether a product needs no input, so that it can be done once, before any input comes."""
        operands = [self._origin(args[i]) for i in PRODUCTS.get(name, (0, 1))]
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

    def _pose_convolution(self, args: Any, kwargs: Any, result: Tensor, origin: _Origin) -> Call:
        names = ("input", "weight", "bias", "stride", "padding", "dilation", "transposed", "output_padding", "groups")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        inputs, weight = given["input"], given["weight"]
        if weight.dim() > 4:
            reason = f"a {weight.dim() - 2}-D convolution"
            self.unmapped.append(UnmappedOperation(self.path, "aten.convolution", reason))
            return Call()
        groups, transposed = given["groups"], given["transposed"]
        posed = convolution(weight.shape, inputs.shape, result.shape, given["stride"], given["dilation"], groups, transposed)
        owner = self._owner(weight)
        layout = self._layout(weight, lambda strides: convolution_dimensions(weight.shape, strides, groups, transposed))
        size = (1,) * (4 - inputs.dim()) + tuple(inputs.shape[2:])
        self._add(Found(posed, self.path, owner, layout, origin.layers, input_size=size), inputs, weight)
        self.channels.convolution(self._reading(1), inputs, given["bias"], result, posed.kind == "depthwise")
        return Call((len(self.found) - 1,))

    def _pose_product(self, name: str, args: Any, result: Tensor, origin: _Origin) -> Call:
        at = PRODUCTS[name]
        first, second = (args[i] for i in at)
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
        on_left = not weighted and self._origin(first).weight
        if on_left:
            rows, columns = columns, rows
        inputs, weights = (second, first) if on_left else (first, second)
        repeated = (weighted or on_left) and batch > 1 and self._repeated(weights, batch)
        if repeated:
            rows, batch = rows * batch, 1
        posed = product(rows, contraction, columns, batch, weighted or on_left)
        owner, layout = "", None
        if weighted or on_left:
            owner = self._owner(weights)
            layout = self._layout(weights, lambda strides: product_dimensions(weights.shape, strides, on_left, repeated))
        found = Found(posed, self.path, owner, layout, origin.layers)
        before = self._origin(inputs).layers
        if posed.kind == "matmul" and len(before) == 1:  # softmax(Q K^T) V: the first operand is another product's result
            earlier = self.found[min(before)]
            if earlier.posed.kind == "matmul" and earlier.module == self.path:
                earlier.role, found.role = "qk", "pv"
        start = len(self.found)
        for part in self._unfused(found):
            self._add(part, inputs, weights)
        count = len(self.found) - start
        if count > 1:
            self._fused.add(frozenset(range(start, len(self.found))))
        if posed.kind == "matmul" or name == "addbmm":
            self.channels.mixed(found.base, first, second)
        else:
            bias = args[0] if at[0] > 0 else None
            self.channels.product(self._reading(count), inputs, bias, result, on_left, batch)
        return Call(tuple(range(start, len(self.found))), on_left)

    def _reading(self, count: int) -> list[tuple[int, object, int, int]]:
        """The last `count` layers as the follower of channels takes them."""
        out: list[tuple[int, object, int, int]] = []
        for at in range(len(self.found) - count, len(self.found)):
            found = self.found[at]
            key = (found.owner, found.layout.rows) if found.layout is not None else at
            layer = Layer("", found.posed.problem, found.posed.kind)
            out.append((at, key, layer.output_channels, layer.input_channels))
        return out

    def _add(self, found: Found, inputs: Tensor, weights: Tensor) -> None:
        origin = self._origin(weights)
        found.constants = origin.constants if origin.weight else frozenset()
        self.found.append(found)
        if self._observe is not None:
            self._observe(len(self.found) - 1, inputs, weights)

    def _unfused(self, found: Found) -> list[Found]:
        """The projections of queries, keys and values that an `nn.MultiheadAttention` keeps in one parameter, one by one."""
        path, _, last = found.owner.rpartition(".")
        if last != "in_proj_weight" or found.layout is None or found.layout.order[0] != "M":
            return [found]
        attention = self._model.get_submodule(path)
        if not isinstance(attention, nn.MultiheadAttention):
            return [found]
        size, (first, end) = attention.embed_dim, found.layout.rows
        sizes = found.posed.problem.sizes
        parts = []
        for start in range(first, end, size):
            layout = replace(found.layout, rows=(start, start + size), sizes=(size, *found.layout.sizes[1:]))
            posed = product(sizes["N"], sizes["C"], size)
            parts.append(replace(found, posed=posed, layout=layout, role=_FUSED[start // size], fused=True))
        return parts

    def _repeated(self, weights: Tensor, batch: int) -> bool:
        """Whether one weight matrix was expanded to a batch of equal ones."""
        if weights.stride(0) == 0:
            return True
        owner = self._owner(weights)
        return bool(owner) and self._parameters[owner].numel() * batch == weights.numel()

    def _layout(self, weights: Tensor, dimensions: Callable[[Sequence[int]], dict[str, tuple[int, int]]]) -> Layout | None:
        """How a parameter holds `weights`; None when they are no view of it, or not of whole rows."""
        name = self._origin(weights).viewed
        if name not in self._parameters:
            return None
        parameter = self._parameters[name]
        shape, strides = tuple(parameter.shape), tuple(weights.stride())
        if tuple(weights.shape) == shape and strides == parameter.stride():
            strides = torch.empty(shape, device="meta").stride()  # in any memory format, rows are rows
        elif not parameter.is_contiguous():
            return None
        return layout_of(dimensions(strides), int(weights.storage_offset() - parameter.storage_offset()), shape)

    def _owner(self, weights: Tensor) -> str:
        """Name of the parameter that `weights` is made of: of its size if there is one, else the largest; empty if of none."""
        origin = self._origin(weights)
        sizes = {name: self._parameters[name].numel() for name in origin.constants if name in self._parameters}
        if not sizes or not origin.weight:
            return ""
        return min(sizes, key=lambda name: (sizes[name] != weights.numel(), -sizes[name], name))
