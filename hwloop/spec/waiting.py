"""How feature maps wait under a plan: at which bits, and with how many values that are not zero.

A finished value is rounded once, when it leaves its layer, for all who will read it. So a map has the most bits of all layers
that read it, directly or through operations, and the accelerator's own width where one of them runs at that, or the network
returns it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from hwloop.spec.density import Density
from hwloop.spec.feature_maps import FeatureMap, Operation, Reader, without_layers
from hwloop.spec.layer_plan import LayerPlan
from hwloop.spec.pruning import BlockPattern

if TYPE_CHECKING:
    from hwloop.spec.workload import Layer

_KEPT = 512  # answers a workload keeps
_UNREAD = 0  # bits of a map that nobody reads
Stored = tuple[tuple[str, int | None], ...]  # (data space, bits), see `hwloop.spec.planned.PlannedLayer`
Widths = tuple[
    tuple[int | None, Stored], ...
]  # by layer: bits of its outputs, and of operands that wait at others than their own
Spreads = tuple[Density | None, ...]  # by layer: of its outputs


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
        self._widths: dict[object, Widths] = {}
        self._spreads: dict[object, Spreads] = {}
        self._without: dict[frozenset[str], Waiting] = {}

    def of(self, shares: Sequence[LayerPlan]) -> tuple[Widths, Spreads]:
        """How maps wait when the layers are treated so: the bits and the density of what each layer writes, and the bits of what
        it reads where they are others than it multiplies. Removed layers write nothing.

        Args:
            shares: of each layer, in the workload's order.
        """
        if not self._maps:
            return ((None, ()),) * len(self._layers), (None,) * len(self._layers)
        gone = [share.removed for share in shares]
        less = self
        if any(gone):
            names = (layer.name for layer, removed in zip(self._layers, gone, strict=True) if removed)
            less = self._less(frozenset(names))
        return less._all_widths(shares), less._all_spreads(shares)

    def maps(self, shares: Sequence[LayerPlan]) -> tuple[Sequence[FeatureMap], Sequence[Operation], list[int | None], Spreads]:
        """The maps and operations that are left when the layers are treated so, the bits of each map, and its density.

        The network's inputs have their bits as data, or where these are not known those of who reads them.
        """
        less = self._less(frozenset(layer.name for layer, share in zip(self._layers, shares, strict=True) if share.removed))
        bits = [number or None for number in less._map_bits(less._own_bits(shares))]
        if self._input_bits is not None:
            bits = [number if known else self._input_bits for number, known in zip(bits, less._from_layers, strict=True)]
        measured = (tuple(less._operand[reader] for reader in each.measured) for each in less._maps)
        return less._maps, less._operations, bits, tuple(less._spread(operands, shares) for operands in measured)

    def _less(self, removed: frozenset[str]) -> Waiting:
        if not removed:
            return self
        if removed not in self._without:
            if len(self._without) >= _KEPT:
                self._without.clear()
            left = without_layers(self._maps, self._operations, removed, list(self._place))
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
    def _demands(self) -> tuple[tuple[int, bool, tuple[int, ...], tuple[int, ...]], ...]:
        """(map, whether the network returns it, the operands that read it, the maps that operations make of it); those that are
        written last come first, so that who makes more of a map comes before it."""
        at = {each.name: i for i, each in enumerate(self._maps)}
        makes = {operation.name: [at[name] for name in operation.writes] for operation in self._operations}
        out = []
        for i, each in enumerate(self._maps):
            direct = tuple(self._operand[reader] for reader in each.readers if reader[1])
            out.append((i, each.output, direct, tuple(made for name, space in each.readers if not space for made in makes[name])))
        return tuple(reversed(out))

    @cached_property
    def _from_layers(self) -> tuple[bool, ...]:
        """By map, whether something in the network writes it."""
        return tuple(bool(each.writer) for each in self._maps)

    @cached_property
    def _measured(self) -> tuple[tuple[int, ...], ...]:
        """By layer, the operands whose density is that of what it writes."""
        written = {each.writer: each for each in self._maps if not each.output}
        found = (written.get(layer.name) for layer in self._layers)
        return tuple(() if each is None else tuple(self._operand[reader] for reader in each.measured) for each in found)

    @cached_property
    def _layer_maps(self) -> tuple[tuple[int | None, tuple[tuple[str, int, tuple[int, ...]], ...]], ...]:
        """By layer: the map it writes, and (data space, operand, maps) of each operand that is made of maps."""
        writers = {each.writer: i for i, each in enumerate(self._maps)}
        found: list[dict[str, list[int]]] = [{} for _ in self._layers]
        for i, each in enumerate(self._maps):
            for name, space in each.readers:
                if space:
                    found[self._place[name]].setdefault(space, []).append(i)
        return tuple(
            (
                writers.get(layer.name),
                tuple((space, self._operand[layer.name, space], tuple(maps)) for space, maps in sorted(spaces.items())),
            )
            for layer, spaces in zip(self._layers, found, strict=True)
        )

    def _all_widths(self, shares: Sequence[LayerPlan]) -> Widths:
        own = [share.activation_bits for share in shares]
        own += [shares[at].weight_bits for at in self._weight_readers]
        key = tuple(own)
        found = self._widths.get(key)
        if found is None:
            if len(self._widths) >= _KEPT:
                self._widths.clear()
            found = self._widths[key] = self._find_widths(shares)
        return found

    def _all_spreads(self, shares: Sequence[LayerPlan]) -> Spreads:
        said: list[object] = [share.input_density for share in shares]
        said += [shares[at].weight_density for at in self._weight_readers]
        key = tuple(said)
        found = self._spreads.get(key)
        if found is None:
            if len(self._spreads) >= _KEPT:
                self._spreads.clear()
            found = self._spreads[key] = tuple(self._spread(measured, shares) for measured in self._measured)
        return found

    def _own_bits(self, shares: Sequence[LayerPlan]) -> list[int | None]:
        """The bits of each operand."""
        own: list[int | None] = []
        for share in shares:
            own += (share.activation_bits, None)
        for at in self._weight_readers:
            second = shares[at].weight_bits
            own[2 * at + 1] = own[2 * at] if second is None and self._layers[at].kind == "matmul" else second
        return own

    def _find_widths(self, shares: Sequence[LayerPlan]) -> Widths:
        own = self._own_bits(shares)
        bits = self._map_bits(own)
        out = []
        for (written, reads), of_inputs in zip(self._layer_maps, own[::2], strict=True):
            stored: Stored = ()
            for space, operand, maps in reads:
                mine = of_inputs if space == "Inputs" else own[operand]
                if mine is None:
                    continue
                width: int | None = _UNREAD
                for i in maps:
                    here = bits[i] if self._from_layers[i] else self._input_bits or mine
                    if here is None or width is None:
                        width = None
                    elif here > width:
                        width = here
                if width != mine:
                    stored += ((space, width),)
            out.append(((None if written is None else bits[written]) or None, stored))
        return tuple(out)

    def _map_bits(self, own: Sequence[int | None]) -> list[int | None]:
        """By map, given the bits of each operand: `_UNREAD` where nobody reads it, None at the accelerator's own width."""
        bits: list[int | None] = [_UNREAD] * len(self._maps)
        for i, output, direct, through in self._demands:
            if output:
                bits[i] = None
                continue
            most = _UNREAD
            for number in (*[own[operand] for operand in direct], *[bits[later] for later in through]):
                if number is None:
                    bits[i] = None
                    break
                if number > most:
                    bits[i] = most = number
        return bits

    def _spread(self, measured: Sequence[int], shares: Sequence[LayerPlan]) -> Density | None:
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


def spread(value: float | BlockPattern | Density) -> Density | None:
    """What a plan says of how many values are kept, as a density; None where dense."""
    if isinstance(value, BlockPattern):
        return value.density
    if isinstance(value, Density):
        return value
    return None if value == 1.0 else Density("hypergeometric", value)
