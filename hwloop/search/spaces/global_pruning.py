"""The paper's space: one pruning amount for all layers, and bits for each.

EMOMC (Wang et al., IEEE Computational Intelligence Magazine 16(3), 2021) searches (p, q1..qL): p chooses a network of the
library, pruned by p in every layer, and q the bits of its weights. Activation bits may be searched, too.

Amounts that the library does not have are reached at once, from its network with the next lower amount.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from hwloop.search.space import Choices, Genes, check_row
from hwloop.search.units import Unit
from hwloop.spec.plan import LayerPlan, Plan
from hwloop.spec.pruning import base_name


@dataclass(frozen=True)
class GlobalPruning:
    """A row holds the position of p among all pruning amounts, the weight bits by layer, then the activation bits by layer.

    Products of two activations have activation bits, too: of both operands.

    Attributes:
        choices: pruning amounts, layers and bits.
    """

    name: ClassVar[str] = "global-pruning"
    choices: Choices

    @cached_property
    def names(self) -> tuple[str, ...]:
        """`pruning`, `weight_bits:<layer>`, ..., `activation_bits:<layer>`, ..."""
        names = ("pruning", *(f"weight_bits:{layer}" for layer in self.choices.layers))
        return (*names, *(f"activation_bits:{layer}" for layer in self._activated)) if self._searched else names

    @cached_property
    def amounts(self) -> tuple[tuple[str, float], ...]:
        """(base, density asked of every layer, 1.0 for the base's own) of each pruning amount, rising."""
        there = self.choices.pruning
        found = [(amount, (base_name(amount), 1.0)) for amount in there]
        for amount in self.choices.one_shot:
            below = [p for p in there if p < amount]
            if below:
                found.append((amount, (base_name(below[-1]), round(1 - amount, 4))))
        return tuple(pair for _, pair in sorted(found))

    @cached_property
    def lower(self) -> Genes:
        """The trained network where it is in the library, and the least bits."""
        return np.array([0, *self._bit_ends(0)], np.int64)

    @cached_property
    def upper(self) -> Genes:
        """The most pruned network, and the most bits."""
        return np.array([len(self.amounts) - 1, *self._bit_ends(1)], np.int64)

    @cached_property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """p, the weight bits, the activation bits."""
        count = len(self.choices.layers)
        weights = ((0, 1), (1, 1 + count))
        return (*weights, (1 + count, 1 + count + len(self._activated))) if self._searched else weights

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """Each layer's weights, then each layer's inputs."""
        sharing = self.choices.sharing
        units = [Unit(layer, (1 + i,), sharing[layer]) for i, layer in enumerate(self.choices.layers)]
        inputs = enumerate(self._activated if self._searched else ())
        return (*units, *(Unit(f"inputs of {layer}", (1 + len(units) + i,), sharing[layer]) for i, layer in inputs))

    @cached_property
    def mildest(self) -> Genes:
        """The least pruned network at the most bits."""
        return np.array([0, *self.upper[1:]], np.int64)

    def plan(self, row: Sequence[int] | Genes) -> Plan:
        """The network at p with these bits."""
        values = check_row(row, self.lower, self.upper).tolist()
        layers = self.choices.layers
        weights = [*values[1 : 1 + len(layers)], *[None] * len(self.choices.products)]
        activations = values[1 + len(layers) :] or [self._fixed] * len(weights)
        bits = zip(self._activated, weights, activations, strict=True)
        base, density = self.amounts[values[0]]
        shares = {
            layer: LayerPlan(1.0 if layer in self.choices.products else density, weight_bits=w, activation_bits=a)
            for layer, w, a in bits
        }
        return Plan(self.choices.spread(shares), base)

    def row(self, plan: Plan) -> tuple[int, ...]:
        """The row that means `plan`."""
        amount = plan.base, plan.of(self.choices.layers[0]).weight_density
        bits = [plan.of(layer).weight_bits for layer in self.choices.layers]
        bits += [plan.of(layer).activation_bits for layer in self._activated] if self._searched else []
        row = (self.amounts.index(amount) if amount in self.amounts else -1, *(-1 if b is None else b for b in bits))
        if self.plan(row) != plan:
            raise ValueError(f"a plan that is not in the space: {plan.to_dict()}")
        return row

    def anchors(self) -> Genes:
        """The same bits in every layer at little, medium and much pruning.

        The extremes come first, so that a small population still holds the corners.
        """
        last, (least, most) = len(self.amounts) - 1, self.choices.weight_bits
        ends = [(0, most), (last, least), (0, least), (last, most)]
        middle = [(i, b) for i in sorted({last // 2, last // 4, 3 * last // 4, 0}) for b in (8, 6, 4)]
        rows = [self._level(i, b) for i, b in ends + middle]
        return np.array(list(dict.fromkeys(tuple(row.tolist()) for row in rows)), np.int64)

    def corners(self) -> list[Plan]:
        """Little and much pruning, few and medium bits."""
        last, (least, most) = len(self.amounts) - 1, self.choices.weight_bits
        low, middle = max(least, min(4, most)), max(least, min(8, most))
        levels = [(0, low), (last // 2, middle), (last, middle), (last, low)]
        rows = dict.fromkeys(tuple(self._level(i, bits).tolist()) for i, bits in levels)
        return [self.plan(row) for row in rows]

    @property
    def _activated(self) -> tuple[str, ...]:
        """The layers whose activations are quantised: those that may be changed, then the products of two activations."""
        return (*self.choices.layers, *self.choices.products)

    @property
    def _searched(self) -> bool:
        return isinstance(self.choices.activation_bits, tuple)

    @property
    def _fixed(self) -> int | None:
        bits = self.choices.activation_bits
        return bits if isinstance(bits, int) else None

    def _level(self, amount: int, bits: int) -> Genes:
        """The row with the same bits in every layer; bits outside the space are moved to its edge."""
        row = np.array([amount, *[bits] * (len(self.lower) - 1)], np.int64)
        return np.clip(row, self.lower, self.upper)

    def _bit_ends(self, end: int) -> list[int]:
        activations = self.choices.activation_bits
        ends = [self.choices.weight_bits[end]] * len(self.choices.layers)
        return ends + [activations[end]] * len(self._activated) if isinstance(activations, tuple) else ends
