"""A network cut into pieces at the places where all that follows depends on a single tensor: residual blocks stay whole.

What two candidates compute up to the first piece that differs is then computed once. The pieces hold the model's own modules, so
that weights put into the model are theirs and hooks on its modules run. The cut is proven on an input: the pieces one after
another must give the model's scores bit by bit, and none may change what it was given. A network that cannot be cut so (its
control flow depends on data, a layer is not a module's) is one piece.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from hwloop.network.data.batches import Inputs, run_model
from hwloop.network.tracing.entries import Registry, is_plain
from hwloop.network.tracing.operands import attached

_RECTIFIERS = (functional.relu, torch.relu)


@dataclass(frozen=True, eq=False)
class Segment:
    """A piece of a network.

    Attributes:
        run: takes the tensor that the piece before gave, gives the next.
        entries: names of the weight tensors that it reads.
        layers: names of the layers whose inputs it sees.
    """

    run: Callable[[Any], Any]
    entries: tuple[str, ...]
    layers: tuple[str, ...]


def segments(model: nn.Module, registry: Registry, images: Inputs) -> tuple[Segment, ...]:
    """Cuts a network, which must be in evaluation mode, before each of its layers where that can be done.

    Args:
        model: stays as it is; the pieces belong to it.
        registry: of the model.
        images: a batch that the cut is proven on, on the model's device.
    """
    if isinstance(images, Tensor):
        with suppress(Exception):  # the model's own code runs on what it was not written for, and may raise anything
            pieces = _cut(model, registry)
            if len(pieces) > 1 and _holds(model, registry, pieces, images):
                return pieces
    layers = tuple(layer.name for layer in registry.workload.layers)
    return (Segment(partial(run_model, model), tuple(registry.by_name), layers),)


def _cut(model: nn.Module, registry: Registry) -> tuple[Segment, ...]:
    nodes = list(_Tracer().trace(model).nodes)
    paths = {path: layer for layer, path in registry.hooked}
    called = [node.target for node in nodes if node.op == "call_module"]
    if len(paths) < len(registry.workload.layers) or any(called.count(path) != 1 for path in paths):
        return ()
    if [node.op for node in nodes].count("placeholder") != 1 or nodes[0].op != "placeholder" or nodes[-1].op != "output":
        return ()
    at = {node: number for number, node in enumerate(nodes)}
    last_use = {node: max((at[user] for user in node.users), default=-1) for node in nodes}
    ends: list[tuple[int, fx.Node]] = []  # (number of the last node before a cut, the tensor that crosses it)
    starts = [at[node] for node in nodes if node.op == "call_module" and node.target in paths]
    for start in starts[1:]:
        alive = [node for node in nodes[:start] if last_use[node] >= start]
        if len(alive) == 1 and alive[0].op != "get_attr":
            ends.append((start - 1, alive[0]))
    result = nodes[-1].args[0]
    if not isinstance(result, fx.Node):
        return ()
    pieces, first, given = [], 1, nodes[0]
    for end, gives in (*ends, (len(nodes) - 2, result)):
        inside = nodes[first : end + 1]
        layers = tuple(paths[node.target] for node in inside if node.op == "call_module" and node.target in paths)
        entries = tuple(dict.fromkeys(registry.by_layer[layer].name for layer in layers if layer in registry.by_layer))
        pieces.append(Segment(_module(model, inside, given, gives), entries, layers))
        first, given = end + 1, gives
    return tuple(pieces)


def _module(model: nn.Module, inside: Sequence[fx.Node], given: fx.Node, gives: fx.Node) -> fx.GraphModule:
    """The nodes as a module that shares those of the model."""
    graph = fx.Graph()
    new = {given: graph.placeholder("images")}
    fresh: set[fx.Node] = set()  # results that nothing else can see
    for node in inside:
        new[node] = copy = graph.node_copy(node, lambda old: new[old])
        first = node.args[0] if node.args else None
        alone = isinstance(first, fx.Node) and first in fresh and len(first.users) == 1 and first is not gives
        if node.target in _RECTIFIERS and alone:
            copy.kwargs = {**copy.kwargs, "inplace": True} if node.target is functional.relu else copy.kwargs
            copy.target = copy.target if node.target is functional.relu else torch.relu_
            fresh.add(node)
        elif node.target is operator.add and alone and isinstance(node.args[1], fx.Node):
            copy.target = operator.iadd
            fresh.add(node)
        elif node.op == "call_module" and isinstance(model.get_submodule(str(node.target)), nn.modules.batchnorm._BatchNorm):
            fresh.add(node)
    graph.output(new[gives])
    return fx.GraphModule(model, graph)


def _holds(model: nn.Module, registry: Registry, pieces: Sequence[Segment], images: Tensor) -> bool:
    """Whether the pieces give what the model gives, and leave alone what they and their layers were given."""
    seen: list[tuple[Tensor, Tensor]] = []

    def see(_layer: str, _operand: str, values: Tensor) -> None:
        seen.append((values, values.clone()))

    with torch.inference_mode(), attached(model, registry, see, [layer.name for layer in registry.workload.layers]):
        expected = model(images)
        values, as_seen = images, len(seen)
        seen.clear()
        for piece in pieces:
            given = values.clone()
            after = piece.run(values)
            if not isinstance(after, Tensor) or not torch.equal(values, given):
                return False
            values = after
    whole = len(seen) == as_seen == sum(len(piece.layers) for piece in pieces)
    return whole and all(torch.equal(*pair) for pair in seen) and torch.equal(values, expected)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return is_plain(module) or super().is_leaf_module(module, qualified_name)
