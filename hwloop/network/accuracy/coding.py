"""Size of a model in memory under `normal`, `csr` and `coo` coding, by exact count.

A weight tensor is seen as a matrix of `rows` = M (output channels) by `columns` = C/groups * R * S. With `nnz` weights
that are not zero, `b` bits a value and `w(n) = ceil(log2(n))` bits to tell n things apart:

- `normal`: `rows * columns * b`, zeros stored like all else;
- `csr`: `nnz * (b + w(columns)) + (rows + 1) * w(nnz + 1)`: values, their column indices, and where each row starts;
- `coo`: `nnz * (b + w(rows) + w(columns))`: values, their row and column indices.

`index_bits` puts one fixed width in place of every `w` (16 and 32 are what libraries use). Biases, BatchNorm's weights and
running statistics and any other parameter are counted dense at `other_bits` (32: hwloop does not quantise them); integer
buffers such as BatchNorm's batch counter are not needed at inference and count nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from torch import nn

from hwloop.errors import SpecError
from hwloop.network.layers import per_layer
from hwloop.network.tracing.registry import Registry
from hwloop.network.transforms.prune import Masks

CODINGS = ("normal", "csr", "coo")
FLOAT_BITS = 32


@dataclass(frozen=True)
class WeightCount:
    """A layer's weights as a matrix, counted."""

    rows: int
    columns: int
    nonzeros: int

    @property
    def values(self) -> int:
        """How many weights there are, zeros and all."""
        return self.rows * self.columns


@dataclass(frozen=True)
class ModelCount:
    """What the size of a model depends on beside the bits: count once, then `model_size` is arithmetic.

    Attributes:
        layers: weights by name of the registry's entry.
        other_values: how many numbers the model holds beside these (biases, BatchNorm, ...).
    """

    layers: Mapping[str, WeightCount]
    other_values: int


@dataclass(frozen=True)
class LayerSize:
    """Bits that a layer's weights take: the values, their indices, and the row pointers (CSR)."""

    name: str
    weight_bits: int
    value_bits: int
    index_bits: int
    pointer_bits: int

    @property
    def size_bits(self) -> int:
        """All three together."""
        return self.value_bits + self.index_bits + self.pointer_bits


@dataclass(frozen=True)
class ModelSize:
    """Size of a model under one coding.

    Attributes:
        coding: `normal`, `csr` or `coo`.
        layers: the weights' share, in the model's order.
        other_size_bits: biases, BatchNorm and the rest.
        dense_size_bits: the same model with every number a 32-bit float and no coding.
    """

    coding: str
    layers: tuple[LayerSize, ...]
    other_size_bits: int
    dense_size_bits: int

    @property
    def size_bits(self) -> int:
        """The whole model."""
        return sum(layer.size_bits for layer in self.layers) + self.other_size_bits

    @property
    def compression(self) -> float:
        """How many times smaller than dense 32-bit floats."""
        return self.dense_size_bits / self.size_bits


def index_width(count: int) -> int:
    """Bits that tell `count` things apart: `ceil(log2(count))`, 0 for a single one."""
    return max(count - 1, 0).bit_length()


def count_model(model: nn.Module, registry: Registry, masks: Masks | None = None) -> ModelCount:
    """Counts weights and everything else of `model`; what layers share is counted once.

    Args:
        model: any torch model.
        registry: of the model.
        masks: what is kept; where an entry has none (or all when None), weights that are not zero count as kept.
    """
    layers: dict[str, WeightCount] = {}
    for entry in registry.entries:
        mask = masks.kept.get(entry.name) if masks is not None else None
        nonzeros = int((entry.read(model) if mask is None else mask).count_nonzero())
        layers[entry.name] = WeightCount(entry.shape[0], prod(entry.shape[1:]), nonzeros)
    every = sum(p.numel() for p in model.parameters()) + sum(b.numel() for b in model.buffers() if b.is_floating_point())
    return ModelCount(layers, every - sum(layer.values for layer in layers.values()))


def layer_size(name: str, count: WeightCount, bits: int, coding: str, index_bits: int | None = None) -> LayerSize:
    """Size of one layer's weights, by the formulas at the top of this module.

    Args:
        name: for the breakdown.
        count: the weights.
        bits: per value.
        coding: `normal`, `csr` or `coo`.
        index_bits: width of every index and pointer; the smallest that will do when None.

    Raises:
        SpecError: an unknown coding.
    """

    def width(things: int) -> int:
        return index_width(things) if index_bits is None else index_bits

    if coding == "normal":
        return LayerSize(name, bits, count.values * bits, 0, 0)
    if coding == "csr":
        pointers = (count.rows + 1) * width(count.nonzeros + 1)
        return LayerSize(name, bits, count.nonzeros * bits, count.nonzeros * width(count.columns), pointers)
    if coding == "coo":
        return LayerSize(name, bits, count.nonzeros * bits, count.nonzeros * (width(count.rows) + width(count.columns)), 0)
    raise SpecError("<arguments>", "coding", " or ".join(CODINGS), coding)


def model_size(
    count: ModelCount,
    weight_bits: int | Mapping[str, int] = FLOAT_BITS,
    coding: str = "normal",
    index_bits: int | None = None,
    other_bits: int = FLOAT_BITS,
) -> ModelSize:
    """Size of a counted model.

    Args:
        count: from `count_model`.
        weight_bits: for all layers, or by name; layers not named keep 32.
        coding: `normal`, `csr` or `coo`.
        index_bits: width of every index and pointer; the smallest that will do when None.
        other_bits: precision of biases, BatchNorm and the rest.

    Raises:
        SpecError: an unknown coding or layer, or bits out of range (1 to 32).
    """
    bits = per_layer(weight_bits, count.layers, "weight_bits", 1, FLOAT_BITS)
    layers = tuple(
        layer_size(name, layer, bits.get(name, FLOAT_BITS), coding, index_bits) for name, layer in count.layers.items()
    )
    dense = sum(layer.values for layer in count.layers.values()) + count.other_values
    return ModelSize(coding, layers, count.other_values * other_bits, dense * FLOAT_BITS)
