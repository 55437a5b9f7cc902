"""From the reads and writes that were seen in one run to feature maps and operations with names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hwloop.spec.feature_maps import FeatureMap, Operation, Reader

Part = tuple[int, int]  # (map, how its values look: 0 as they were written, other numbers after other functions)
Parts = frozenset[Part]
NO_PARTS: Parts = frozenset()


@dataclass(frozen=True)
class Held:
    """What a tensor is made of.

    Attributes:
        parts: which maps, and how they look.
        values: how many of their values are there at most: fewer than they have where a slice was taken.
    """

    parts: Parts
    values: int


NOTHING = Held(NO_PARTS, 0)


def together(held: Iterable[Held], most: int | None = None) -> Held:
    """What several tensors are made of together, `most` values of it."""
    every = tuple(held)
    values = sum(each.values for each in every)
    return Held(NO_PARTS.union(*(each.parts for each in every)), values if most is None else min(values, most))


@dataclass(frozen=True)
class Maps:
    """The maps and operations of a network, as `hwloop.spec.workload.Workload` has them."""

    maps: tuple[FeatureMap, ...]
    operations: tuple[Operation, ...]


@dataclass(frozen=True)
class SeenMap:
    """A map in the making; `layer` and `operation` are the place of its writer, both None for an input of the network."""

    values: int
    layer: int | None = None
    operation: int | None = None


@dataclass(frozen=True)
class SeenOperation:
    """An operation in the making.

    Attributes:
        name: the module and the operation.
        operands: what it reads.
        join: whether a layer may carry it.
        after: place of the last layer before it; -1 before the first.
    """

    name: str
    operands: tuple[Held, ...]
    join: bool
    after: int

    @property
    def parts(self) -> Parts:
        """All that it reads."""
        return together(self.operands).parts


@dataclass(frozen=True)
class SeenRead:
    """A layer, by its place, reads a part of a map as one of its data spaces."""

    part: Part
    layer: int
    space: str


class Finished:
    """From what was seen to maps with names: joins that layers can carry are carried, what nobody reads is left out."""

    def __init__(
        self,
        maps: Sequence[SeenMap],
        operations: Sequence[SeenOperation],
        reads: Sequence[SeenRead],
        returned: Parts,
        names: Sequence[str],
    ) -> None:
        self._maps, self._operations, self._returned, self._names = maps, operations, returned, names
        self._result = {each.operation: number for number, each in enumerate(maps) if each.operation is not None}
        self._layer_reads: dict[int, list[SeenRead]] = {number: [] for number in range(len(maps))}
        for read in reads:
            self._layer_reads[read.part[0]].append(read)
        self._operation_reads: dict[int, dict[int, set[int]]] = {number: {} for number in range(len(maps))}
        for at in range(len(operations) - 1, -1, -1):
            if self._used(self._result[at]):
                for number, look in operations[at].parts:
                    self._operation_reads[number].setdefault(at, set()).add(look)
        self._base = list(range(len(maps)))  # by map, the one that a layer writes in its place, joins included
        self._carried: dict[int, int] = {}  # by join that a layer carries, the layer's map
        for at in range(len(operations)):
            self._carry(at)

    def _used(self, number: int) -> bool:
        return bool(
            self._layer_reads[number] or self._operation_reads[number] or any(number == part for part, _ in self._returned)
        )

    def _carry(self, at: int) -> None:
        """Lets the layer that writes the last operand carry a join, where its map is of that size and nobody else reads it."""
        operation, result = self._operations[at], self._result[at]
        if not operation.join or not self._used(result):
            return
        when = [max(self._base[number] for number, _ in held.parts) for held in operation.operands]
        last = max(when)
        carrier = [held.parts for held, time in zip(operation.operands, when, strict=True) if time == last]
        numbers = {number for parts in carrier for number, _ in parts}
        if len(numbers) != 1:
            return
        number = numbers.pop()
        mine = self._maps[last]
        alone = not self._layer_reads[number] and set(self._operation_reads[number]) == {at}
        returned = any(number == part for part, _ in self._returned)
        if mine.layer is not None and mine.values == self._maps[result].values and alone and not returned:
            self._base[result] = last
            self._carried[at] = last

    def result(self) -> Maps:
        """Names and puts in order; of a layer that carries joins, the map is the last sum."""
        final: dict[int, int] = {}  # by base, the map that stands for it in the end
        for number, base in enumerate(self._base):
            final[base] = number
        order = [base for base in sorted(final) if self._maps[base].layer is not None or self._used(final[base])]
        taken = Counter(self._names)
        operation_names = {
            at: _unique(each.name, taken) for at, each in enumerate(self._operations) if self._used(self._result[at])
        }
        title: dict[int, str] = {}
        writer: dict[int, str] = {}
        for base in order:
            source = self._maps[base]
            if source.layer is not None:
                writer[base] = title[base] = self._names[source.layer]
            elif source.operation is not None:
                writer[base] = title[base] = operation_names[source.operation]
            else:
                title[base], writer[base] = _unique("input", taken), ""
        measured = self._measured(final)
        maps = tuple(
            FeatureMap(
                title[base], self._maps[final[base]].values, writer[base], self._readers(final[base], operation_names),
                any(final[base] == number for number, _ in self._returned), measured[final[base]],
            )
            for base in order
        )  # fmt: skip
        return Maps(maps, tuple(self._named(at, name, title) for at, name in operation_names.items()))

    def _named(self, at: int, name: str, title: dict[int, str]) -> Operation:
        operation, carrier = self._operations[at], self._carried.get(at)
        read: dict[int, int] = {}
        for held in operation.operands:
            numbers = {number for number, _ in held.parts}
            for number in numbers:
                there, base = self._maps[number].values, self._base[number]
                read[base] = min(there, read.get(base, 0) + (held.values if len(numbers) == 1 else there))
        bases = sorted(read.keys() - {carrier})
        reads, values = tuple(title[base] for base in bases), tuple(read[base] for base in bases)
        if all(self._maps[base].values == read[base] for base in bases):
            values = ()
        if carrier is not None:
            layer = self._maps[carrier].layer
            assert layer is not None
            return Operation(name, "join", reads, (title[carrier],), self._names[layer], values)
        after = "" if operation.after < 0 else self._names[operation.after]
        return Operation(name, "pass", reads, (title[self._base[self._result[at]]],), after, values)

    def _readers(self, number: int, operation_names: dict[int, str]) -> tuple[Reader, ...]:
        layers = [(self._names[read.layer], read.space) for read in self._layer_reads[number]]
        return tuple(dict.fromkeys([*layers, *((operation_names[at], "") for at in sorted(self._operation_reads[number]))]))

    def _measured(self, final: dict[int, int]) -> dict[int, tuple[Reader, ...]]:
        """By map, the operands that are measured as it waits: see `FeatureMap.measured`."""
        out: dict[int, tuple[Reader, ...]] = {}
        for number in range(len(self._maps) - 1, -1, -1):
            reads, operations = self._layer_reads[number], self._operation_reads[number]
            looks = {read.part[1] for read in reads}.union(*operations.values())
            returned = any(number == part for part, _ in self._returned)
            if len(looks) != 1 or returned:
                out[number] = ()
            elif reads:
                out[number] = tuple(dict.fromkeys((self._names[read.layer], read.space) for read in reads))
            else:
                results = [self._result[at] for at in sorted(operations) if len(self._operations[at].parts) == 1]
                out[number] = tuple(dict.fromkeys(reader for each in results if self._as_made(each) for reader in out[each]))
        return out

    def _as_made(self, number: int) -> bool:
        """Whether an operation's result is read as the operation made it."""
        looks = {read.part[1] for read in self._layer_reads[number]}.union(*self._operation_reads[number].values())
        return looks == {0} and not self._operations[self._maps[number].operation or 0].join


def _unique(name: str, taken: Counter[str]) -> str:
    """The name, or where it is taken the name with a number behind it."""
    taken[name] += 1
    return name if taken[name] == 1 else _unique(f"{name}#{taken[name]}", taken)
