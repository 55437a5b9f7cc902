"""The genotype: one pruning amount p and bits q1..qL (and, if wanted, activation bits a1..aL) as whole numbers.

`X` is a row of integers: first the position of p in the library's list of pruning amounts, then the weight bits of each
layer, then the activation bits of each layer where these are searched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import SpecError

Genes = NDArray[np.int64]
MIN_BITS, MAX_BITS = 1, 23


@dataclass(frozen=True)
class Candidate:
    """What a genotype means.

    Attributes:
        p: pruning amount, fraction of weights removed in each layer.
        weight_bits: bits per weight by layer.
        activation_bits: bits per input activation by layer; empty where they are not quantised.
    """

    p: float
    weight_bits: Mapping[str, int]
    activation_bits: Mapping[str, int]


@dataclass(frozen=True)
class Genotype:
    """The space that is searched.

    Attributes:
        fractions: the pruning amounts of the library, rising.
        layers: names of the layers with weights: the order of q1..qL.
        weight_bits: (least, most) bits per weight.
        activation_bits: (least, most) bits per activation when they are searched too, one number when they are fixed, None when
            activations are not quantised.

    Raises:
        SpecError: no pruning amounts, no layers, or bits out of range.
    """

    fractions: tuple[float, ...]
    layers: tuple[str, ...]
    weight_bits: tuple[int, int] = (2, 16)
    activation_bits: tuple[int, int] | int | None = None

    def __post_init__(self) -> None:
        if not self.fractions or list(self.fractions) != sorted(set(self.fractions)):
            raise SpecError("<arguments>", "fractions", "pruning amounts, rising and distinct", self.fractions)
        if not self.layers:
            raise SpecError("<arguments>", "layers", "at least one layer with weights", self.layers)
        _check_bits("weight_bits", self.weight_bits)
        if self.activation_bits is not None:
            low = self.activation_bits
            _check_bits("activation_bits", (low, low) if isinstance(low, int) else low)

    @cached_property
    def searches_activations(self) -> bool:
        """Whether activation bits are variables."""
        return isinstance(self.activation_bits, tuple)

    @cached_property
    def n_var(self) -> int:
        """Number of variables: 1 + L, or 1 + 2L."""
        return 1 + len(self.layers) * (2 if self.searches_activations else 1)

    @cached_property
    def lower(self) -> Genes:
        """`(n_var,)` least value of each variable."""
        return np.array([0, *self._bit_ends(0)], np.int64)

    @cached_property
    def upper(self) -> Genes:
        """`(n_var,)` greatest value of each variable, inclusive."""
        return np.array([len(self.fractions) - 1, *self._bit_ends(1)], np.int64)

    @cached_property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """(from, to) columns that mean the same kind of thing: p, the weight bits, the activation bits."""
        count = len(self.layers)
        bits = ((1, 1 + count), (1 + count, 1 + 2 * count)) if self.searches_activations else ((1, 1 + count),)
        return ((0, 1), *bits)

    def variable_names(self) -> tuple[str, ...]:
        """`p`, `q:<layer>`, ..., `a:<layer>`, ..."""
        names = ["p", *(f"q:{layer}" for layer in self.layers)]
        return (*names, *(f"a:{layer}" for layer in self.layers)) if self.searches_activations else tuple(names)

    def decode(self, x: Sequence[int] | Genes) -> Candidate:
        """The candidate that a row of `X` means.

        Raises:
            ValueError: a length or value out of the space.
        """
        row = np.asarray(x, np.int64)
        if row.shape != (self.n_var,) or (row < self.lower).any() or (row > self.upper).any():
            raise ValueError(
                f"expected {self.n_var} whole numbers from {self.lower.tolist()} to {self.upper.tolist()}, found {row}"
            )
        count = len(self.layers)
        weights = dict(zip(self.layers, row[1 : 1 + count].tolist(), strict=True))
        if isinstance(self.activation_bits, tuple):
            inputs = dict(zip(self.layers, row[1 + count :].tolist(), strict=True))
        else:
            inputs = {} if self.activation_bits is None else dict.fromkeys(self.layers, self.activation_bits)
        return Candidate(self.fractions[row[0]], weights, inputs)

    def uniform(self, fraction: int, weight_bits: int, activation_bits: int | None = None) -> Genes:
        """The genotype with the same bits in every layer; bits outside the space are moved to its edge."""
        count = len(self.layers)
        tail = [activation_bits if activation_bits is not None else weight_bits] * count if self.searches_activations else []
        return np.clip(np.array([fraction, *[weight_bits] * count, *tail], np.int64), self.lower, self.upper)

    def anchors(self) -> Genes:
        """`(k, n_var)` starting points worth trying in any space: uniform bits at little, medium and much pruning.

        The extremes come first, so that a small population still holds the corners.
        """
        last, most, least = len(self.fractions) - 1, self.weight_bits[1], self.weight_bits[0]
        ends = [(0, most), (last, least), (0, least), (last, most)]
        middle = [(i, b) for i in sorted({last // 2, last // 4, 3 * last // 4, 0}) for b in (8, 6, 4)]
        rows = [self.uniform(i, b) for i, b in ends + middle]
        return np.array(list(dict.fromkeys(tuple(row.tolist()) for row in rows)), np.int64)

    def _bit_ends(self, end: int) -> list[int]:
        ends = [self.weight_bits[end]] * len(self.layers)
        return ends + [self.activation_bits[end]] * len(self.layers) if isinstance(self.activation_bits, tuple) else ends


def _check_bits(name: str, ends: tuple[int, int]) -> None:
    if not MIN_BITS <= ends[0] <= ends[1] <= MAX_BITS:
        raise SpecError("<arguments>", name, f"(least, most) between {MIN_BITS} and {MAX_BITS}", ends)
