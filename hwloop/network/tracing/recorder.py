"""Watches a model run and writes down every multiply-accumulate operation, whoever calls it.

The recorder sits below modules, functionals and operators alike. It keeps for each tensor which layers and which parameters
it comes from, and, where it is one parameter seen through views, how that parameter lies in it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from hwloop.network.tracing.dispatch import CONVOLUTION, PRODUCTS, MultiplyDispatch
from hwloop.network.tracing.follow import Follower
from hwloop.network.tracing.found import Call, Found, layer_names
from hwloop.network.tracing.layouts import Layout, convolution_dimensions, layout_of, product_dimensions
from hwloop.network.tracing.maps import MapFollower
from hwloop.network.tracing.operations import convolution, product
from hwloop.network.tracing.origins import Origin, Origins, is_view, merge
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
_FUSED = ("q", "k", "v")  # what the thirds of an attention's `in_proj_weight` make


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
        maps: who writes and reads what.
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
        self._origins = Origins(tensors)
        self._stack: list[str] = []
        self._fused: set[frozenset[int]] = set()  # layers whose results come in one tensor
        self.channels = Follower(lambda tensor: self._origins.of(tensor).viewed, tensors)
        self.maps = MapFollower()

    @property
    def path(self) -> str:
        """Path of the module that is running, or was when the run failed; empty for the model itself."""
        return self._stack[-1] if self._stack else ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what was found, in execution order."""
        return layer_names(self.found)

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
        self._origins.start((args, kwargs))
        self.maps.start((args, kwargs))
        hooks = [hook for name, module in self._model.named_modules() for hook in self._follow(name, module)]
        try:
            with torch.no_grad(), self:
                result = self._model(*args, **kwargs)
            self.channels.end([result])
            self.maps.end(result)
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
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        origin = merge(self._origins.of(tensor) for tensor in tensors)
        result = func(*args, **kwargs)
        call = Call()
        if not self._folds(name, args):
            if name == CONVOLUTION:
                call = self._pose_convolution(args, kwargs, result, origin)
            else:
                call = self._pose_product(name, args, result, origin)
            if call.layers:
                origin = Origin(frozenset(call.layers), data=True)
            else:
                self.channels.lost(name, self.path, tensors)
                self.maps.other(func, name, self.path, args, kwargs, result)
        self.calls.append(call)
        self._origins.mark(func, args, kwargs, result, origin)
        return result

    def other(self, func: Any, namespace: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs any other operation and keeps where its results come from."""
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        sources = [] if _SHAPE_ONLY.search(name) else [self._origins.of(tensor) for tensor in tensors]
        result = func(*args, **kwargs)
        origin = merge(sources)
        if len(sources) == 1 and sources[0].viewed and all(is_view(value) for value in func._schema.returns):
            origin = sources[0]
        else:
            for source in sources:
                for constant in source.constants:
                    self.read_by.setdefault(constant, name.strip("_"))
        self._note(namespace, name, func, origin)
        if sources:
            self.maps.other(func, name, self.path, args, kwargs, result)
        if origin.data:
            self.channels.other(func, name, self.path, args, tensors, result)
            if origin.layers in self._fused and isinstance(result, Tensor):
                origin = replace(origin, layers=self.channels.makers(result, origin.layers))
                self.maps.only(result, origin.layers)
        self._origins.mark(func, args, kwargs, result, origin)
        return result

    def _folds(self, name: str, args: Any) -> bool:
        """Whether a product needs no input, so that it can be done once, before any input comes."""
        operands = [self._origins.of(args[i]) for i in PRODUCTS.get(name, (0, 1))]
        mixed = operands[0].weight != operands[1].weight  # weights times a state that starts as zeros
        return not mixed and not any(o.data for o in operands)

    def _note(self, namespace: str, name: str, func: Any, origin: Origin) -> None:
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
        elif namespace != "prim" and name.strip("_") not in _MOVES and not any(is_view(value) for value in func._schema.returns):
            self.free_operations[name.strip("_")] += 1

    def _pose_convolution(self, args: Any, kwargs: Any, result: Tensor, origin: Origin) -> Call:
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
        self.maps.layers([(inputs, "Inputs"), (weight, "Weights")], 1, given["bias"], result, self.path)
        return Call((len(self.found) - 1,))

    def _pose_product(self, name: str, args: Any, result: Tensor, origin: Origin) -> Call:
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
        weighted = self._origins.of(second).weight
        on_left = not weighted and self._origins.of(first).weight
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
        before = self._origins.of(inputs).layers
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
        bias = args[0] if at[0] > 0 else None
        self.maps.layers([(inputs, "Inputs"), (weights, "Weights")], count, bias, result, self.path)
        if posed.kind == "matmul" or name == "addbmm":
            self.channels.mixed(found.base, first, second)
        else:
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
        origin = self._origins.of(weights)
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
        name = self._origins.of(weights).viewed
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
        origin = self._origins.of(weights)
        sizes = {name: self._parameters[name].numel() for name in origin.constants if name in self._parameters}
        if not sizes or not origin.weight:
            return ""
        return min(sizes, key=lambda name: (sizes[name] != weights.numel(), -sizes[name], name))
