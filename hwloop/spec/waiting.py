"""How feature maps wait under a plan: at which bits, and with how many values that are not zero.

A finished value is rounded once, when it leaves its layer, for all who will read it. So a map has the most bits of all layers
that read it, directly or through operations, and the accelerator's own width where one of them runs at that, or the network
returns it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from hwloop.spec.density import Density
from hwloop.spec.feature_maps import FeatureMap, Operation, Reader, without_layers
from hwloop.spec.layer_plan import LayerPlan
from hwloop.spec.pruning import BlockPattern

if TYPE_CHECKING:
    from hwloop.spec.workload import Layer

_KEPT = 4096  # answers a workload keeps
_UNREAD = 0  # bits of a map that nobody reads
Stored = tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class Waits:
    """How what a layer writes and reads waits; see `hwloop.spec.planned.PlannedLayer`."""

    output_bits: int | None = None
    output_density: Density | None = None
    stored_bits: Stored = ()


_NOTHING = Waits()


class Waiting:
    """The part of the answer that depends on the workload alone, and the answers given so far.

    Args:
        layers: of the workload.
        maps, operations: of the workload.
        input_bits: of the network's inputs as data; None where that is not known.
    """

    def __init__(
        self, layers: Sequence[Layer], maps: Sequence[FeatureMap], operations: Sequence[Operation], input_bits: int | None
    ) -> None:
        self._layers, self._maps, self._operations, self._input_bits = layers, maps, operations, input_bits
        self._answers: dict[tuple[object, ...], tuple[Waits, ...]] = {}
        self._without: dict[frozenset[str], Waiting] = {}

    def of(self, shares: Sequence[LayerPlan]) -> tuple[Waits, ...]:
        """How maps wait when the layers are treated so: one answer for each layer.

        Args:
            shares: of each layer, in the workload's order.
        """
        if not self._maps:
            return (_NOTHING,) * len(self._layers)
        said = [(share.activation_bits, share.input_density, share.removed) for share in shares]
        second = [(shares[at].weight_bits, shares[at].weight_density) for at in self._weight_readers]
        key = (*said, *second)
        found = self._answers.get(key)
        if found is None:
            removed = frozenset(layer.name for layer, share in zip(self._layers, shares, strict=True) if share.removed)
            if len(self._answers) >= _KEPT:
                self._answers.clear()
            found = self._answers[key] = self._less(removed)._settle(shares)
        return found

    def structure(self, removed: frozenset[str]) -> tuple[Sequence[FeatureMap], Sequence[Operation]]:
        """The maps and operations that are left when these layers pass their input on."""
        less = self._less(removed)
        return less._maps, less._operations

    def _less(self, removed: frozenset[str]) -> Waiting:
        if not removed:
            return self
        if removed not in self._without:
            if len(self._without) >= _KEPT:
                self._without.clear()
            left = without_layers(self._maps, self._operations, removed)
            self._without[removed] = Waiting(self._layers, *left, self._input_bits)
        return self._without[removed]

    @cached_property
    def _place(self) -> Mapping[str, int]:
        return {layer.name: at for at, layer in enumerate(self._layers)}

    @cached_property
    def _weight_readers(self) -> tuple[int, ...]:
        """The layers whose `Weights` are a map."""
        return tuple(sorted({self._place[name] for each in self._maps for name, space in each.readers if space == "Weights"}))

    @cached_property
    def _operand(self) -> Mapping[Reader, int]:
        """The number of each operand that is a map: 2 x the layer's place, one more for `Weights`."""
        operands = {reader for each in self._maps for reader in (*each.readers, *each.measured) if reader[1]}
        return {(name, space): 2 * self._place[name] + (space == "Weights") for name, space in operands}

    @cached_property
    def _demands(self) -> tuple[tuple[bool, tuple[int, ...], tuple[int, ...]], ...]:
        """By map: whether the network returns it, the operands that read it, the maps that operations make of it."""
        at = {each.name: i for i, each in enumerate(self._maps)}
        makes = {operation.name: [at[name] for name in operation.writes] for operation in self._operations}
        out = []
        for each in self._maps:
            direct = tuple(self._operand[reader] for reader in each.readers if reader[1])
            out.append((each.output, direct, tuple(i for name, space in each.readers if not space for i in makes[name])))
        return tuple(out)

    @cached_property
    def _measured(self) -> tuple[tuple[int, ...], ...]:
        return tuple(() if each.output else tuple(self._operand[reader] for reader in each.measured) for each in self._maps)

    @cached_property
    def _written(self) -> tuple[int | None, ...]:
        """By layer, the map it writes."""
        writers = {each.writer: i for i, each in enumerate(self._maps)}
        return tuple(writers.get(layer.name) for layer in self._layers)

    @cached_property
    def _reads(self) -> tuple[tuple[tuple[str, tuple[int, ...]], ...], ...]:
        """By layer, (data space, maps) of each operand that is made of maps."""
        found: list[dict[str, list[int]]] = [{} for _ in self._layers]
        for i, each in enumerate(self._maps):
            for name, space in each.readers:
                if space:
                    found[self._place[name]].setdefault(space, []).append(i)
        return tuple(tuple((space, tuple(maps)) for space, maps in sorted(spaces.items())) for spaces in found)

    def _settle(self, shares: Sequence[LayerPlan]) -> tuple[Waits, ...]:
        operand: list[int | None] = []
        for layer, share in zip(self._layers, shares, strict=True):
            second = share.weight_bits
            if second is None and layer.kind == "matmul":
                second = share.activation_bits
            operand += (share.activation_bits, second)
        bits = self._map_bits(operand)
        stored_at = [bits[i] if each.writer else self._input_bits for i, each in enumerate(self._maps)]
        known = [bool(each.writer) or self._input_bits is not None for each in self._maps]
        out = []
        for at, share in enumerate(shares):
            written = self._written[at]
            if share.removed:
                out.append(_NOTHING)
                continue
            stored = []
            for space, maps in self._reads[at]:
                own = operand[2 * at + (space == "Weights")]
                widths = [stored_at[i] if known[i] else own for i in maps]
                if own is not None and (width := _most(widths)) != own:
                    stored.append((space, width))
            density = None if written is None else self._density(self._measured[written], shares)
            out.append(Waits(None if written is None else bits[written] or None, density, tuple(stored)))
        return tuple(out)

    def _map_bits(self, operand: Sequence[int | None]) -> list[int | None]:
        """By map, given the bits of each operand: `_UNREAD` where nobody reads it, None at the accelerator's own width."""
        bits: list[int | None] = [_UNREAD] * len(self._maps)
        for i in range(len(self._maps) - 1, -1, -1):  # readers write later maps
            output, direct, through = self._demands[i]
            bits[i] = None if output else _most([*(operand[o] for o in direct), *(bits[later] for later in through)])
        return bits

    def _density(self, measured: Sequence[int], shares: Sequence[LayerPlan]) -> Density | None:
        """The most of what was measured at some operands; None where that is dense, or nothing was measured."""
        most: Density | None = None
        for operand in measured:
            share = shares[operand // 2]
            density = spread(share.weight_density if operand % 2 else share.input_density)
            if density is None:
                return None
            if most is None or density.density > most.density:
                most = density
        return most


def _most(bits: Sequence[int | None]) -> int | None:
    """The most bits; None, which is the accelerator's own width, where one of them is."""
    most = _UNREAD
    for number in bits:
        if number is None:
            return None
        most = max(most, number)
    return most


def spread(value: float | BlockPattern | Density) -> Density | None:
    """What a plan says of how many values are kept, as a density; None where dense."""
    if isinstance(value, BlockPattern):
        return value.density
    if isinstance(value, Density):
        return value
    return None if value == 1.0 else Density("hypergeometric", value)
