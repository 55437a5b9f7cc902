"""Follows feature maps through a model while the recorder runs it: who writes each, who reads it, what happens to it in between.

A tensor is made of parts of maps. What works value by value on one map changes how its values look, and writes no other: it is
done on the way out of the layer. What moves values changes nothing. A second map that joins in, and all that looks at several
values at once, is an operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from hwloop.network.tracing.maps_found import (
    NO_PARTS,
    NOTHING,
    Finished,
    Held,
    Maps,
    Parts,
    SeenMap,
    SeenOperation,
    SeenRead,
    together,
)
from hwloop.network.tracing.origins import is_view, storage_of, written_by

# aten operations that move values, or copy them, as they are
_MOVES = frozenset(
    {
        "clone", "copy", "to_copy", "lift_fresh", "unsafe_view", "unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk", "cat",
        "stack", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d", "roll",
        "flip", "rot90", "index", "index_select", "gather", "masked_select", "index_put", "index_copy", "scatter",
        "slice_scatter", "select_scatter", "repeat", "repeat_interleave", "tril", "triu", "im2col", "pixel_shuffle",
        "pixel_unshuffle", "channel_shuffle", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest_exact2d",
        "native_dropout",
    }
)  # fmt: skip
_POINTWISE = frozenset({"hardswish", "prelu_kernel", "glu", "log_sigmoid_forward"})  # those that torch does not mark
_NORMS = {"native_batch_norm": 5, "cudnn_batch_norm": 5, "miopen_batch_norm": 5}  # where they are told whether they are training


class MapFollower:
    """The maps of one run."""

    def __init__(self) -> None:
        self._maps: list[SeenMap] = []
        self._operations: list[SeenOperation] = []
        self._reads: list[SeenRead] = []
        self._returned: Parts = NO_PARTS
        self._layers = 0
        self._step = 0
        self._looks = 0
        self._known: Any = WeakTensorKeyDictionary()  # tensor -> (step, what is in it)
        self._written: dict[Any, tuple[int, Held, bool]] = {}  # storages written in place: step, by what, whether all of it

    def start(self, arguments: Any) -> None:
        """The tensors among these are the network's inputs."""
        for leaf in tree_leaves(arguments):
            if isinstance(leaf, Tensor) and leaf.numel():
                self._put(leaf, Held(self._new(leaf.numel()), leaf.numel()))

    def end(self, results: Any) -> None:
        """The network returns the tensors among these."""
        for leaf in tree_leaves(results):
            if isinstance(leaf, Tensor):
                self._returned |= self.held(leaf).parts

    def held(self, tensor: Tensor) -> Held:
        """What a tensor is made of; nothing where no input of the network is in it."""
        step, held = self._known.get(tensor, (0, NOTHING))
        if self._written and (written := self._written.get(storage_of(tensor))) and written[0] > step:
            return together((written[1],) if written[2] else (held, written[1]), tensor.numel())
        return held  # type: ignore[no-any-return]

    def layers(self, operands: Sequence[tuple[Tensor, str]], count: int, bias: Tensor | None, result: Tensor, where: str) -> None:
        """Layers have run that read the same operands and write `count` equal parts of `result`, side by side.

        Args:
            operands: (tensor, data space); those that hold weights alone are known by it.
            count: how many layers.
            bias: what is added to the result, if anything is.
            result: of them together.
            where: path of the module that ran them.
        """
        first = self._layers
        self._layers += count
        written: Parts = NO_PARTS
        for at in range(first, first + count):
            for tensor, space in operands:
                self._reads += [SeenRead(part, at, space) for part in sorted(self.held(tensor).parts)]
            written |= self._new(result.numel() // count, layer=at)
        made = Held(written, result.numel())
        added = NOTHING if bias is None else self.held(bias)
        self._put(result, self._joined("add", where, (made, added), result) if added.parts else made)

    def only(self, result: Tensor, layers: frozenset[int]) -> None:
        """Of the layers whose results came in one tensor, `result` has those of `layers` alone."""
        parts = self.held(result).parts
        kept = frozenset(part for part in parts if (layer := self._maps[part[0]].layer) is None or layer in layers)
        self._put(result, Held(kept or parts, result.numel()))

    def other(self, func: Any, name: str, where: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        """An operation has run that is no layer."""
        plain = name.strip("_")
        schema = getattr(func, "_schema", None)
        given = (args[1:], kwargs) if plain == "copy" else (args, kwargs)
        operands = tuple(held for leaf in tree_leaves(given) if isinstance(leaf, Tensor) and (held := self.held(leaf)).parts)
        results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        targets = list(written_by(func, args, kwargs))
        if not results or not (operands or any(self.held(target).parts for target in targets)):
            return
        made = NOTHING
        if not operands:  # constants are written over what was there
            pass
        elif _moves(plain, schema, args, results):
            made = together(operands)
        elif _works_value_by_value(func, plain, args):
            made = self._joined(plain, where, operands, results[0])
        else:
            made = self._operation(plain, where, operands, False, results[0].numel())
        for leaf in results:
            self._put(leaf, Held(made.parts, min(made.values, leaf.numel())))
        for target in targets:
            self._write(target, made)

    def finish(self, names: Sequence[str]) -> Maps:
        """The maps and operations of the run.

        Args:
            names: of the layers, in execution order.
        """
        return Finished(self._maps, self._operations, self._reads, self._returned, names).result()

    def _new(self, values: int, layer: int | None = None, operation: int | None = None) -> Parts:
        self._maps.append(SeenMap(int(values), layer, operation))
        return frozenset(((len(self._maps) - 1, 0),))

    def _put(self, tensor: Tensor, held: Held) -> None:
        self._step += 1
        self._known[tensor] = (self._step, held)

    def _write(self, tensor: Tensor, held: Held) -> None:
        """An operation has written into a tensor: all that share its storage have it now."""
        storage = storage_of(tensor)
        whole = tensor.numel() * tensor.element_size() >= tensor.untyped_storage().nbytes()
        _, before, covered = self._written.get(storage, (0, NOTHING, False))
        self._step += 1
        self._written[storage] = (self._step, held if whole else together((before, held)), whole or covered)
        self._known[tensor] = (self._step, held)

    def _joined(self, name: str, where: str, operands: tuple[Held, ...], result: Tensor) -> Held:
        """Value by value: a new look of the same maps, or where there are several that differ, a map of their own."""
        if len({frozenset(number for number, _ in held.parts) for held in operands}) < 2:
            self._looks += 1
            made = together(operands)
            return Held(frozenset((number, self._looks) for number, _ in made.parts), made.values)
        return self._operation(name, where, operands, True, result.numel())

    def _operation(self, name: str, where: str, operands: tuple[Held, ...], join: bool, values: int) -> Held:
        short = name.removeprefix("native_").removesuffix("_with_indices")
        title = f"{where}.{short}" if where else short
        self._operations.append(SeenOperation(title, operands, join, self._layers - 1))
        return Held(self._new(max(values, 1), operation=len(self._operations) - 1), values)


def _moves(plain: str, schema: Any, args: Sequence[Any], results: Sequence[Tensor]) -> bool:
    if plain in _MOVES or (schema is not None and schema.returns and all(is_view(value) for value in schema.returns)):
        return True
    return plain.startswith("adaptive") and args[0].shape == results[0].shape  # windows of one value


def _works_value_by_value(func: Any, plain: str, args: Sequence[Any]) -> bool:
    if "batch_norm" in plain:
        return "no_training" in plain or (plain in _NORMS and len(args) > _NORMS[plain] and not args[_NORMS[plain]])
    return plain in _POINTWISE or torch.Tag.pointwise in getattr(func, "tags", ())
