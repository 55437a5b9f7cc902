"""Follows channels through a model while the recorder runs it: from the layer that makes them to all that read them.

What an operation does to channels is told by the way it moves or combines values: moves take the labels along, what works value
by value joins the channels that meet, reductions and pooling must leave channels apart. Where an operation is not
known, or takes channels apart, the channels are kept, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from hwloop.network.labels import (
    MOVES,
    NONE,
    RESHAPES,
    TAKES,
    Labels,
    Unions,
    along,
    compressed,
    first,
    joined,
    varies,
    varying,
)

_NORMS = frozenset({"_native_batch_norm_legit_no_training", "native_batch_norm", "cudnn_batch_norm", "_native_batch_norm_legit"})
_POOLS = {
    "max_pool2d_with_indices": 2, "max_pool3d_with_indices": 3, "avg_pool2d": 2, "avg_pool3d": 3, "_adaptive_avg_pool2d": 2,
    "adaptive_max_pool2d": 2, "_adaptive_avg_pool3d": 3, "adaptive_max_pool3d": 3, "reflection_pad1d": 1, "reflection_pad2d": 2,
    "replication_pad1d": 1, "replication_pad2d": 2, "upsample_nearest1d": 1, "upsample_nearest2d": 2, "upsample_bilinear2d": 2,
    "upsample_linear1d": 1, "upsample_bicubic2d": 2, "_upsample_nearest_exact2d": 2, "_upsample_bilinear2d_aa": 2,
}  # fmt: skip
_REDUCTIONS = frozenset(
    {"mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "argmax", "argmin", "norm", "any"}
)
_WITHIN = frozenset({"softmax", "_softmax", "_safe_softmax", "_log_softmax", "cumsum", "cumprod", "sort"})
_LARGEST = 1 << 22  # values of a parameter that is followed value by value
_OFTEN = "they are read by {!r} in {}, which does not keep channels apart"


Reading = tuple[int, object, int, int]  # (position, key of the weights, output channels, input channels) of a layer


@dataclass
class Reader:
    """The channels of one layer.

    Attributes:
        inputs: label of each input channel.
        outputs: label of each output channel.
    """

    inputs: Labels
    outputs: Labels


class Follower:
    """The channels of one run.

    Attributes:
        unions: which labels are one channel.
        readers: by position of the layer.
        parameters: labels of parameters and buffers that go along with channels (normalisation, biases, positions), by name.
    """

    def __init__(self, viewed: Callable[[Tensor], str], tensors: dict[str, Tensor]) -> None:
        self.unions = Unions()
        self.readers: dict[int, Reader] = {}
        self.parameters: dict[str, Labels] = {}
        self._labels: Any = WeakTensorKeyDictionary()
        self._viewed, self._tensors = viewed, tensors
        self._shared: dict[object, Reader] = {}
        self._reshaped: list[Labels] = []

    def labels(self, tensor: Tensor) -> Labels | None:
        """The labels of a tensor; None when it has none."""
        found: Labels | None = self._labels.get(tensor)
        return found

    def reshaped_classes(self, classes: Labels) -> set[int]:
        """The classes of channels that went through a reshape."""
        return {c for labels in self._reshaped for c in np.unique(classes[labels[labels != NONE]]).tolist()}

    def end(self, results: Iterable[Any]) -> None:
        """The model has given these results."""
        for leaf in tree_leaves(results):
            if isinstance(leaf, Tensor) and (labels := self.labels(leaf)) is not None:
                self.unions.fix(labels, "they are the network's output")

    def other(self, func: Any, name: str, where: str, args: Sequence[Any], result: Any) -> None:
        """An operation that is no layer."""
        tensors = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
        if not any(tensor in self._labels for tensor in tensors):
            return
        results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        plain = name.rstrip("_") if name.endswith("_") and not name.endswith("__") else name
        mine = self.labels(args[0]) if args and isinstance(args[0], Tensor) else None
        found: Labels | list[Labels] | None
        if plain in ("cat", "stack"):
            found = self._joined(plain, args, results[0])
        elif torch.Tag.pointwise in getattr(func, "tags", ()) or plain == "copy":
            found = self._combined(plain, where, tensors, results[0])
        elif mine is None or (len(tensors) > 1 and plain not in _NORMS):
            self._lost(name, where, tensors)
            found = None
        else:
            found = self._moved(plain, where, args, mine, results)
        if plain != name and found is not None and mine is None:
            self._lost(name, where, tensors)  # written into a tensor whose values were no channels
        for i, leaf in enumerate(results):
            labels = found[i] if isinstance(found, list) else found
            if labels is not None:
                self._labels[leaf] = labels

    def _lost(self, name: str, where: str, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            labels = self.labels(tensor)
            if labels is not None:
                self.unions.fix(labels, _OFTEN.format(name, where or "the model"))

    def _moved(
        self, name: str, where: str, args: Sequence[Any], labels: Labels, results: list[Tensor]
    ) -> Labels | list[Labels] | None:
        shapes = [tuple(result.shape) for result in results]
        if name in _NORMS:
            return self._normalised(args, labels)
        if name in MOVES:
            return MOVES[name](labels, args, shapes)
        if name in RESHAPES:
            found = RESHAPES[name](labels, args, shapes)
            assert isinstance(found, np.ndarray)
            before = varying(labels)
            if before:
                self._reshaped.append(np.unique(compressed(labels)))
            if len(varying(found)) > len(before):
                self.unions.fix(labels, f"they are split (into heads or groups) by a reshape in {where or 'the model'}")
            return found
        if name in TAKES:
            axis = args[2 if name.startswith("split") else 1] if len(args) > (2 if name.startswith("split") else 1) else 0
            if varies(labels, axis):
                self.unions.fix(labels, f"a part of them is taken by {name!r} in {where or 'the model'}")
            return TAKES[name](labels, args, shapes)
        if name in _POOLS:
            axes = list(range(-_POOLS[name], 0))
        elif name in _REDUCTIONS or name in _WITHIN:
            given = args[1] if len(args) > 1 else None
            axes = list(given) if isinstance(given, (list, tuple)) else [given] if isinstance(given, int) else []
            axes = axes or list(range(labels.ndim))
        else:
            axes = list(range(labels.ndim))
        if any(varies(labels, axis) for axis in axes) or not (name in _POOLS or name in _REDUCTIONS or name in _WITHIN):
            self.unions.fix(labels, _OFTEN.format(name, where or "the model"))
            return None
        return labels if name in _WITHIN else [first(labels, axes, shape) for shape in shapes]

    def _normalised(self, args: Sequence[Any], labels: Labels) -> Labels:
        for tensor in args[1:]:
            if isinstance(tensor, Tensor) and tensor.dim() == 1 and (own := self._of_weights(tensor)) is not None:
                labels = self.unions.join(labels, along(own, 1, labels.shape))
        return labels

    def _joined(self, name: str, args: Sequence[Any], result: Tensor) -> Labels | None:
        axis = (args[1] if len(args) > 1 else 0) % result.dim()
        parts = [self._anything(tensor) for tensor in args[0]]
        if name == "stack":
            parts = [np.expand_dims(part, axis) for part in parts]
        return joined(parts, axis)

    def _anything(self, tensor: Tensor) -> Labels:
        labels = self.labels(tensor)
        if labels is None:
            labels = self._of_weights(tensor)
        return np.broadcast_to(np.int64(NONE), tuple(tensor.shape)) if labels is None else labels

    def _combined(self, name: str, where: str, tensors: Sequence[Tensor], result: Tensor) -> Labels | None:
        shape = tuple(result.shape)
        found: Labels | None = None
        for tensor in tensors:
            labels = self.labels(tensor)
            if labels is not None:
                labels = np.broadcast_to(labels, shape)
                found = labels if found is None else self.unions.join(found, labels)
        assert found is not None
        for tensor in tensors:
            if tensor in self._labels or tensor.dim() == 0:
                continue
            wide = [axis for axis in range(-tensor.dim(), 0) if tensor.shape[axis] > 1 and varies(found, axis)]
            if not wide:
                continue
            own = self._of_weights(tensor)
            if own is None:
                reason = f"{name!r} in {where or 'the model'} combines them with values that are no layer's channels"
                self.unions.fix(found, reason)
            else:
                found = self.unions.join(found, np.broadcast_to(own, shape))
        return found

    def _of_weights(self, tensor: Tensor) -> Labels | None:
        """The labels of a parameter, or of a view of one; None for any other tensor, and a very large one."""
        name = self._viewed(tensor)
        if not name:
            return None
        whole = self._tensors[name]
        if not whole.is_contiguous() or whole.numel() > _LARGEST:
            return None
        if name not in self.parameters:
            self.parameters[name] = self.unions.new(whole.numel()).reshape(tuple(whole.shape))
        base = self.parameters[name].reshape(-1)
        start = int(tensor.storage_offset() - whole.storage_offset())
        strides = [int(stride) * base.itemsize for stride in tensor.stride()]
        return np.lib.stride_tricks.as_strided(base[start:], tuple(tensor.shape), strides, writeable=False)

    def convolution(
        self, reading: Sequence[Reading], inputs: Tensor, bias: Tensor | None, result: Tensor, depthwise: bool
    ) -> None:
        """A convolution has run."""
        labels = self.labels(inputs)
        ((at, key, made, taken),) = reading
        layer = self._layer(at, key, None if labels is None else self.unions.gathered(labels, 1), made, taken)
        if depthwise:
            self.unions.join(layer.inputs, layer.outputs)
        self._result(result, bias, 1, along(layer.outputs, 1, tuple(result.shape)))

    def product(
        self, reading: Sequence[Reading], inputs: Tensor, bias: Tensor | None, result: Tensor, on_left: bool, batch: int
    ) -> None:
        """A product with weights has run.

        Args:
            reading: the layers it computes, side by side.
            inputs: the operand that is no weights.
            bias: what is added, if anything is.
            result: of the product.
            on_left: whether the weights are the first operand.
            batch: number of weight matrices.
        """
        labels = self.labels(inputs)
        axis = -2 if on_left and inputs.dim() > 1 else -1
        vector: Labels | None = None
        if labels is not None and batch == 1:
            vector = self.unions.gathered(labels, axis)
        elif labels is not None:  # a matrix a group: its channels follow one another
            rows = labels if axis == -2 else labels.swapaxes(-1, -2)
            vector = self.unions.gathered(rows.reshape(-1, rows.shape[-1]), 0)
        outputs = np.concatenate([self._layer(at, key, vector, made, taken).outputs for at, key, made, taken in reading])
        if result.dim() == 0:
            self.unions.fix(outputs, "their result is a single number")
            return
        axis = -2 if on_left and result.dim() > 1 else -1
        shape = tuple(result.shape)
        if batch > 1:
            groups = outputs.reshape(batch, -1, 1) if axis == -2 else outputs.reshape(batch, 1, -1)
            self._result(result, bias, axis, np.broadcast_to(groups, shape))
        else:
            self._result(result, bias, axis, along(outputs, axis, shape))

    def mixed(self, layer: str, *operands: Tensor) -> None:
        """A product of two activations has run."""
        for tensor in operands:
            labels = self.labels(tensor)
            if labels is not None:
                self.unions.fix(labels, f"they are multiplied with other activations in {layer}")

    def makers(self, tensor: Tensor, layers: frozenset[int]) -> frozenset[int]:
        """Those of `layers` whose channels are in `tensor`; all where that is not known."""
        labels = self.labels(tensor)
        if labels is None:
            return layers
        there = np.unique(compressed(labels))
        return frozenset(at for at in layers if np.isin(self.readers[at].outputs, there).any()) or layers

    def _layer(self, at: int, key: object, inputs: Labels | None, made: int, taken: int) -> Reader:
        if inputs is None:
            inputs = np.full(taken, NONE, dtype=np.int64)
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = Reader(inputs, self.unions.new(made))
        elif not np.array_equal(shared.inputs, inputs):
            self.unions.join(shared.inputs, inputs)
        self.readers[at] = Reader(inputs, shared.outputs)
        return self.readers[at]

    def _result(self, result: Tensor, bias: Tensor | None, axis: int, labels: Labels) -> None:
        if bias is not None:
            own = self._of_weights(bias)
            if own is None or bias.dim() != 1 or self.labels(bias) is not None:
                self.unions.fix(labels, "their bias is computed when the model runs")
                self._lost("add", "", [bias])
            else:
                labels = self.unions.join(labels, along(own, axis, labels.shape))
        self._labels[result] = labels
