"""A space of a user's own, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwloop.search.space import Choices, Genes, check_row
from hwloop.spec.plan import LayerPlan, Plan
from hwloop.spec.pruning import base_name


@dataclass(frozen=True)
class OneBitWidth:
    """The same bits in every layer of the network at one pruning amount of the library."""

    name: ClassVar[str] = "one-width"
    choices: Choices
    amount: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        return ("bits",)

    @property
    def lower(self) -> Genes:
        return np.array([self.choices.weight_bits[0]], np.int64)

    @property
    def upper(self) -> Genes:
        return np.array([self.choices.weight_bits[1]], np.int64)

    @property
    def groups(self) -> tuple[tuple[int, int], ...]:
        return ((0, 1),)

    def anchors(self) -> Genes:
        return np.zeros((0, 1), np.int64)

    def corners(self) -> list[Plan]:
        return [self.plan(self.lower), self.plan(self.upper)]

    def plan(self, row: Sequence[int] | Genes) -> Plan:
        [bits] = check_row(row, self.lower, self.upper).tolist()
        shares = dict.fromkeys(self.choices.layers, LayerPlan(weight_bits=bits))
        return Plan(self.choices.spread(shares), base_name(self.amount))

    def row(self, plan: Plan) -> tuple[int, ...]:
        row = (plan.of(self.choices.layers[0]).weight_bits or 0,)
        if self.plan(row) != plan:
            raise ValueError("not in the space")
        return row
