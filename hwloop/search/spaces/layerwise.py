"""The layer-wise space: a pruning amount and bits for each layer, on a base network of the library.

Layers lose accuracy and cost energy at different rates, so that amounts of their own reach fronts that one amount for all cannot
(Frantar and Alistarh, "SPDY: Accurate Pruning with Speedup Guarantees", ICML 2022). All layers of a candidate come from one base,
whose weights are adapted to each other; what goes beyond it is pruned at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from hwloop.search.ladder import Level, read_amounts, read_ladder
from hwloop.search.space import Choices, Genes, check_row
from hwloop.search.units import Unit
from hwloop.spec.channels import ChannelGroup
from hwloop.spec.plan import LayerPlan, Plan
from hwloop.spec.pruning import base_name

_SPREAD = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9)  # pruning amounts of the starting points


@dataclass(frozen=True)
class Layerwise:
    """A row holds the base's position among the library's networks, then the pruning by layer, the weight bits by layer, the
    activation bits by layer where they are searched, and the filters removed by channel group where there is a ladder for them.

    Pruning counts positions on the ladder; 0 is the base as it is. An amount that the base has anyhow means the same, so that
    `row` gives 0 for it. Filters that are removed make the layers that make and read them smaller.

    Attributes:
        choices: base networks, layers and bits.
        amounts: the ladder: amounts (`0.5`), ranges (`FROM:TO:STEP`, both ends inside) and N:M patterns (`2:4`), by comma.
        filters: amounts and ranges of filters removed from each group of coupled channels, by comma; none are when empty.
    """

    name: ClassVar[str] = "layerwise"
    choices: Choices
    amounts: str = "0.1:0.9:0.1,0.95,0.97,0.99"
    filters: str = ""

    def __post_init__(self) -> None:
        _ = self._ladder, self._kept  # so that what makes no sense is said at once

    @cached_property
    def names(self) -> tuple[str, ...]:
        """`base`, `pruning:<layer>`, ..., `weight_bits:<layer>`, ..., `activation_bits:<layer>`, ..., `filters:<group>`, ..."""
        kinds = (
            ("pruning", self.choices.layers), ("weight_bits", self.choices.layers), ("activation_bits", self._activated),
            ("filters", [group.name for group in self._groups]),
        )  # fmt: skip
        return ("base", *(f"{kind}:{name}" for kind, names in kinds for name in names))

    @cached_property
    def lower(self) -> Genes:
        """The trained network where it is in the library, nothing pruned, the least bits."""
        return np.array([0, *self._ends(0)], np.int64)

    @cached_property
    def upper(self) -> Genes:
        """The most pruned network, the end of the ladders, the most bits."""
        return np.array([len(self.choices.pruning) - 1, *self._ends(1)], np.int64)

    @cached_property
    def mildest(self) -> Genes:
        """The trained network, or the least pruned one, at the most bits."""
        bits = np.array([name.startswith(("weight_bits:", "activation_bits:")) for name in self.names])
        return np.where(bits, self.upper, self.lower)

    @cached_property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """The base, pruning, weight bits, activation bits, filters."""
        sizes = (1, len(self.choices.layers), len(self.choices.layers), len(self._activated), len(self._groups))
        ends = np.cumsum(sizes).tolist()
        return tuple((end - size, end) for size, end in zip(sizes, ends, strict=True) if size)

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """Each layer's weights, then each layer's inputs, then each channel group."""
        layers, at = self.choices.layers, {name: column for column, name in enumerate(self.names)}
        sharing = self.choices.sharing
        weights = [Unit(layer, (at[f"pruning:{layer}"], at[f"weight_bits:{layer}"]), sharing[layer]) for layer in layers]
        inputs = [Unit(f"inputs of {layer}", (at[f"activation_bits:{layer}"],), sharing[layer]) for layer in self._activated]
        filters = [Unit(f"filters of {group.name}", (at[f"filters:{group.name}"],)) for group in self._groups]
        return (*weights, *inputs, *filters)

    def plan(self, row: Sequence[int] | Genes) -> Plan:
        """The base with each layer pruned as far as the ladder says, at its bits."""
        values = check_row(row, self.lower, self.upper).tolist()
        layers, (base, *rest) = self.choices.layers, values
        of = iter(rest)
        have = self.choices.pruning[base]
        kept = [self._ladder[next(of)].beyond(have) for _ in layers]
        bits = [next(of) for _ in layers]
        shares = {
            layer: LayerPlan(kept[i], weight_bits=bits[i], activation_bits=self._fixed) for i, layer in enumerate(layers)
        } | {layer: LayerPlan(activation_bits=self._fixed) for layer in self.choices.products}
        for layer in self._activated:
            shares[layer] = _with(shares[layer], activation_bits=next(of))
        plans = dict(self.choices.spread(shares))
        for group, counts in zip(self._groups, self._kept, strict=True):
            count = counts[next(of)]
            if count < group.size:
                plans |= {layer: _with(plans.get(layer, LayerPlan()), channels=count) for layer in group.outputs}
        return Plan(tuple(plans.items()), base_name(have))

    def row(self, plan: Plan) -> tuple[int, ...]:
        """The row that means `plan`; of several the one with the lowest positions on the ladders."""
        bases = [base_name(amount) for amount in self.choices.pruning]
        layers = self.choices.layers
        row = [_position(bases, plan.base)]
        row += [_position([level.kept for level in self._ladder], plan.of(layer).weight_density) for layer in layers]
        row += [_bits(plan.of(layer).weight_bits) for layer in layers]
        row += [_bits(plan.of(layer).activation_bits) for layer in self._activated]
        for group, counts in zip(self._groups, self._kept, strict=True):
            channels = plan.of(group.outputs[0]).channels
            row.append(_position(counts, group.size if channels is None else channels))
        if self.plan(row) != plan:
            raise ValueError(f"a plan that is not in the space: {plan.to_dict()}")
        return tuple(row)

    def anchors(self) -> Genes:
        """The same amount and bits in every layer, filters whole: the corners first."""
        least, most = self.choices.weight_bits
        ends = [(0.0, most), (0.9, least), (0.0, least), (0.9, most)]
        middle = [(amount, bits) for amount in _SPREAD[::-1] for bits in (8, 6, 4)]
        return self._canonical(self._level(amount, bits) for amount, bits in ends + middle)

    def corners(self) -> list[Plan]:
        """Little and much pruning, few and medium bits."""
        least, most = self.choices.weight_bits
        low, middle = max(least, min(4, most)), max(least, min(8, most))
        levels = [(0.0, low), (0.5, middle), (0.9, middle), (0.9, low)]
        return [self.plan(row) for row in self._canonical(self._level(amount, bits) for amount, bits in levels)]

    @cached_property
    def _ladder(self) -> tuple[Level, ...]:
        return read_ladder(self.amounts, "space option amounts")

    @cached_property
    def _groups(self) -> tuple[ChannelGroup, ...]:
        """The channel groups that filters may be removed from; none without a ladder."""
        if not self.filters:
            return ()
        made = {layer.name for layer in self.choices.workload.layers}
        groups = self.choices.workload.channels
        return tuple(g for g in groups if not g.fixed and g.outputs and g.size > g.multiple and made.issuperset(g.outputs))

    @cached_property
    def _kept(self) -> tuple[list[int], ...]:
        """By group: channels kept at each step of its ladder, falling, all of them first."""
        removed = read_amounts(self.filters, "space option filters") if self.filters else ()
        out = []
        for group in self._groups:
            blocks = group.size // group.multiple
            counts = {max(round((1 - amount) * blocks), 1) * group.multiple for amount in removed}
            out.append(sorted(counts | {group.size}, reverse=True))
        return tuple(out)

    @property
    def _activated(self) -> tuple[str, ...]:
        """The layers whose activation bits are searched."""
        searched = isinstance(self.choices.activation_bits, tuple)
        return (*self.choices.layers, *self.choices.products) if searched else ()

    @property
    def _fixed(self) -> int | None:
        bits = self.choices.activation_bits
        return bits if isinstance(bits, int) else None

    def _ends(self, end: int) -> list[int]:
        count, activations = len(self.choices.layers), self.choices.activation_bits
        ends = [(0, len(self._ladder) - 1)[end]] * count + [self.choices.weight_bits[end]] * count
        ends += [activations[end]] * len(self._activated) if isinstance(activations, tuple) else []
        return ends + [(0, len(counts) - 1)[end] for counts in self._kept]

    def _level(self, amount: float, bits: int) -> Genes:
        """The row with about this pruning and these bits in every layer, from the base nearest below; bits within the space."""
        base = max((i for i, have in enumerate(self.choices.pruning) if have <= amount + 1e-9), default=0)
        step = min(range(len(self._ladder)), key=lambda i: (self._ladder[i].pattern, abs(self._ladder[i].amount - amount)))
        row = self.mildest.copy()
        for name, column in zip(self.names, range(len(row)), strict=True):
            kind = name.partition(":")[0]
            row[column] = {"base": base, "pruning": step, "weight_bits": bits, "activation_bits": bits}.get(kind, row[column])
        return np.clip(row, self.lower, self.upper)

    def _canonical(self, rows: Iterable[Genes]) -> Genes:
        distinct = dict.fromkeys(self.row(self.plan(row)) for row in rows)
        return np.array(list(distinct), np.int64)


def _with(share: LayerPlan, activation_bits: int | None = None, channels: int | None = None) -> LayerPlan:
    bits = share.activation_bits if activation_bits is None else activation_bits
    return LayerPlan(share.weight_density, share.input_density, share.weight_bits, bits, channels)


def _position(known: Sequence[object], value: object) -> int:
    """-1, which is outside of every space, where it is not there."""
    return next((i for i, each in enumerate(known) if each == value), -1)


def _bits(bits: int | None) -> int:
    return -1 if bits is None else bits
