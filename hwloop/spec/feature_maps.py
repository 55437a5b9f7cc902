"""Feature maps: the tensors of activations that wait in a memory between the layers and operations that write and read them.

A layer's map is its result after everything that works on it value by value (normalisation, activation function, scaling): that
happens on the way out and makes no traffic. Views, slices and concatenation move nothing: who reads a concatenation reads several
maps. What needs a second map (a residual add) or values beside each other (pooling, softmax) is an `Operation`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hwloop.errors import SpecError
from hwloop.spec.document import Fields
from hwloop.spec.limits import COMPUTES

Reader = tuple[str, str]  # (layer, its data space), or (operation, "")
OPERATIONS = ("join", "pass")


@dataclass(frozen=True)
class FeatureMap:
    """Activations that wait for their readers.

    Attributes:
        name: of the layer or operation that writes it; `input`, `input#2`, ... for the network's inputs.
        values: how many, for the whole batch.
        writer: the layer or operation that writes it; empty for the network's inputs. Where a residual add rides on a layer, the
            layer's map is the sum.
        readers: who reads it: (layer, data space), or (operation, "").
        output: whether the network returns it.
        measured: the operands, (layer, data space), whose measured density says how many of the waiting values are not zero at
            most: those of layers that read the map as it waits, or else pooled or normalised, which leaves fewer zeros. Empty
            where nobody knows, so that it must be taken for dense: readers apply functions of their own to it, or add it first.
    """

    name: str
    values: int
    writer: str = ""
    readers: tuple[Reader, ...] = ()
    output: bool = False
    measured: tuple[Reader, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `read_feature_map` reads."""
        out: dict[str, Any] = {"name": self.name, "values": self.values}
        out |= {"writer": self.writer} if self.writer else {}
        for key in ("readers", "measured"):
            if getattr(self, key):
                out[key] = [list(reader) for reader in getattr(self, key)]
        return out | ({"output": True} if self.output else {})


@dataclass(frozen=True)
class Operation:
    """Work between layers that reads and writes maps.

    Attributes:
        name: unique among layers and operations: the module that ran and what it did, e.g. `maxpool.max_pool2d`.
        kind: `join`: several maps value by value (a residual add, a product) on the way out of the layer that writes the last
            operand: the other operands are read once, and the layer's map is the result. `pass`: pooling, softmax, layer
            normalisation, a join that no layer can carry: reads its maps and writes one.
        reads: names of the maps that are read; of a `join` without the layer's own.
        writes: names of the maps that are written.
        after: the layer behind which it runs; empty before the first.
        values: how many values of each map it reads, which of a slice are fewer than there are; empty where it reads all.
    """

    name: str
    kind: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    after: str = ""
    values: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `read_operation` reads."""
        out = {"name": self.name, "kind": self.kind, "reads": list(self.reads), "writes": list(self.writes)}
        out |= {"after": self.after} if self.after else {}
        return out | ({"values": list(self.values)} if self.values else {})


def read_feature_map(fields: Fields) -> FeatureMap:
    """Reads what `FeatureMap.to_dict` writes.

    Raises:
        SpecError: with the file and the field, when something is missing, misspelt, of another type or out of range.
    """
    name, values, writer = fields.take("name", str), fields.take("values", int), fields.take("writer", str, "")
    if not 1 <= values <= COMPUTES:
        raise fields.error("values", f"a number from 1 to {COMPUTES:.0e}", values)
    readers, measured = (_read_readers(fields, key) for key in ("readers", "measured"))
    output = fields.take("output", bool, False)
    fields.finish()
    return FeatureMap(name, values, writer, readers, output, measured)


def _read_readers(fields: Fields, key: str) -> tuple[Reader, ...]:
    out = []
    for i, entry in enumerate(fields.items_of(key)):
        if not isinstance(entry, (list, tuple)) or len(entry) != 2 or not all(isinstance(part, str) for part in entry):
            raise fields.error(f"{key}[{i}]", "[layer, data space], or [operation, '']", entry)
        out.append((entry[0], entry[1]))
    return tuple(out)


def read_operation(fields: Fields) -> Operation:
    """Reads what `Operation.to_dict` writes; errors as `read_feature_map`."""
    name, kind, after = fields.take("name", str), fields.take("kind", str), fields.take("after", str, "")
    maps = []
    for key in ("reads", "writes"):
        names = fields.items_of(key, required=True)
        if not all(isinstance(each, str) for each in names):
            raise fields.error(key, "names of maps", names)
        maps.append(tuple(names))
    values = fields.items_of("values")
    if not all(isinstance(each, int) and 0 < each <= COMPUTES for each in values):
        raise fields.error("values", "numbers of values", values)
    fields.finish()
    return Operation(name, kind, maps[0], maps[1], after, tuple(values))


def check_feature_maps(
    maps: Sequence[FeatureMap], operations: Sequence[Operation], spaces: Mapping[str, Container[str]], workload: str
) -> None:
    """Checks maps and operations against each other and the layers they name.

    Args:
        maps: in the order in which they are written.
        operations: in execution order.
        spaces: names of the data spaces of each layer.
        workload: its name, for errors.

    Raises:
        SpecError: two of one name, a name that nobody has, a map that is read before it is written, readers and operations that
            contradict each other.
    """
    known: dict[str, Operation] = {}
    for i, operation in enumerate(operations):
        where = f"operations[{i}]"
        if operation.name in known or operation.name in spaces:
            raise SpecError(workload, f"{where}.name", "a name that no layer and no other operation has", operation.name)
        if operation.kind not in OPERATIONS:
            raise SpecError(workload, f"{where}.kind", f"one of {OPERATIONS}", operation.kind)
        if operation.after and operation.after not in spaces:
            raise SpecError(workload, f"{where}.after", "the name of a layer", operation.after)
        known[operation.name] = operation
    at = {each.name: i for i, each in enumerate(maps)}
    if len(at) < len(maps):
        raise SpecError(workload, "maps", "each name once", [each.name for each in maps])
    written: dict[str, int] = {}
    for i, each in enumerate(maps):
        if each.writer and each.writer not in spaces and each.writer not in known:
            raise SpecError(workload, f"maps[{i}].writer", "the name of a layer or operation", each.writer)
        if each.writer and written.setdefault(each.writer, i) != i:
            raise SpecError(workload, f"maps[{i}].writer", "a layer or operation that writes no other map", each.writer)
    for i, each in enumerate(maps):
        for field, readers in (("readers", each.readers), ("measured", each.measured)):
            for name, space in readers:
                is_operation = field == "readers" and not space and name in known and each.name in known[name].reads
                if not is_operation and space not in spaces.get(name, ()):
                    raise SpecError(
                        workload, f"maps[{i}].{field}", "operands of layers, or operations that read it", (name, space)
                    )
                if written.get(name, len(maps)) <= i:
                    raise SpecError(workload, f"maps[{i}].{field}", "readers that write later maps", name)
    for i, operation in enumerate(operations):
        where = f"operations[{i}]"
        for field, names in (("reads", operation.reads), ("writes", operation.writes)):
            missing = [name for name in names if name not in at]
            if missing or not names:
                raise SpecError(workload, f"{where}.{field}", "names of maps", missing)
        for name in operation.reads:
            if (operation.name, "") not in maps[at[name]].readers:
                raise SpecError(workload, f"{where}.reads", f"maps that have {operation.name!r} among their readers", name)
            if at[name] >= min(at[each] for each in operation.writes):
                raise SpecError(workload, f"{where}.reads", "maps that were written before", name)
        if operation.values and len(operation.values) != len(operation.reads):
            raise SpecError(workload, f"{where}.values", "as many numbers as maps that are read", operation.values)
        writer = operation.after if operation.kind == "join" else operation.name
        if [maps[at[name]].writer for name in operation.writes] != [writer]:
            raise SpecError(workload, f"{where}.writes", f"the one map that {writer!r} writes", operation.writes)


def without_layers(
    maps: Iterable[FeatureMap], operations: Iterable[Operation], removed: Container[str], layers: Iterable[str]
) -> tuple[tuple[FeatureMap, ...], tuple[Operation, ...]]:
    """The maps and operations that are left when layers pass their input on.

    Who read a removed layer's map reads the maps that the layer read. A join that rode on it runs by itself (`pass`). What was
    measured at a removed layer's input is no longer known.

    Args:
        maps, operations: of a workload.
        removed: names of layers.
        layers: names of all layers, in execution order.
    """
    before: dict[str, str] = {}  # by removed layer, the last one before it that is left
    last = ""
    for layer in layers:
        if layer in removed:
            before[layer] = last
        else:
            last = layer
    given = tuple(maps)
    joins = {operation.after: operation for operation in operations if operation.kind == "join" and operation.after in removed}
    left: list[FeatureMap] = []
    read: dict[str, list[str]] = {}  # by removed layer, the maps it read, of those that are left
    stands: dict[str, tuple[str, ...]] = {}  # by map that is gone, those that stand in its place
    for each in given:
        if each.writer not in removed:
            left.append(each)
        elif each.writer in joins:
            left.append(replace(each, writer=joins[each.writer].name))
        else:
            stands[each.name] = tuple(dict.fromkeys(read.get(each.writer, ())))
        for name, _ in each.readers:
            if name in removed:
                read.setdefault(name, []).extend(stands.get(each.name, (each.name,)))
    readers: dict[str, dict[Reader, None]] = {each.name: {} for each in left}
    for each in given:
        for reader in each.readers:
            carried = joins.get(reader[0])
            kept = reader if reader[0] not in removed else (carried.name, "") if carried is not None else None
            for name in stands.get(each.name, (each.name,)) if kept is not None else ():
                assert kept is not None
                readers[name][kept] = None
    output = {name for each in given if each.output for name in stands.get(each.name, (each.name,))}
    return (
        tuple(
            replace(
                each, readers=tuple(readers[each.name]), output=each.name in output,
                measured=tuple(reader for reader in each.measured if reader[0] not in removed),
            )
            for each in left
        ),
        tuple(_alone(operation, read, stands, joins, before) for operation in operations),
    )  # fmt: skip


def _alone(
    operation: Operation,
    read: Mapping[str, Sequence[str]],
    stands: Mapping[str, tuple[str, ...]],
    joins: Mapping[str, Operation],
    before: Mapping[str, str],
) -> Operation:
    """An operation that reads what is left, and is a `pass` where its layer is gone."""
    reads = [name for each in operation.reads for name in stands.get(each, (each,))]
    after = before.get(operation.after, operation.after)
    if joins.get(operation.after) is operation:
        reads += read.get(operation.after, ())
        operation = replace(operation, kind="pass")
    found = tuple(dict.fromkeys(reads))
    values = operation.values if found == operation.reads else ()
    return replace(operation, reads=found, after=after, values=values)
