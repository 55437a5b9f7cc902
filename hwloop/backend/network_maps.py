"""A network's feature maps under a plan: how large each is where it waits, when it comes and when it is last read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwloop.backend.request import OUTPUTS
from hwloop.spec.plan import PlannedLayer
from hwloop.spec.workload import Workload


@dataclass(frozen=True)
class WaitingMap:
    """A feature map that waits for its readers.

    Attributes:
        name: of the map.
        values: how many.
        bits: of a value; None for the accelerator's width.
        density: fraction of them that are not zero, 0-1.
        writer: which planned layer writes it; None for an operation and for the network's inputs.
        born: the planned layer behind which it is there; -1 before the first.
        last: the planned layer that reads it last, or behind which an operation does.
        external: whether it comes from outside or goes there.
    """

    name: str
    values: int
    bits: int | None
    density: float
    writer: int | None
    born: int
    last: int
    external: bool


@dataclass(frozen=True)
class PlannedOperation:
    """Work between layers.

    Attributes:
        name: of the operation.
        at: the planned layer behind which it runs; -1 before the first.
        reads, writes: names of maps. A `join` writes none: it rides on the layer whose map is the result.
    """

    name: str
    at: int
    reads: tuple[str, ...]
    writes: tuple[str, ...]


@dataclass(frozen=True)
class NetworkMaps:
    """All of a network's maps under a plan.

    Attributes:
        maps: by name.
        operations: in execution order.
        read: by (planned layer, data space) the names of the maps that the operand is made of.
    """

    maps: dict[str, WaitingMap]
    operations: tuple[PlannedOperation, ...]
    read: dict[tuple[int, str], tuple[str, ...]]


def network_maps(workload: Workload, planned: Sequence[PlannedLayer]) -> NetworkMaps:
    """The maps of a workload whose layers run as planned.

    Args:
        workload: the network.
        planned: its layers, in execution order, as `Plan.apply` makes them.
    """
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for i, layer in enumerate(planned):
        first.setdefault(layer.layer.name, i)
        last[layer.layer.name] = i
    removed = frozenset(layer.name for layer in workload.layers if layer.name not in first)
    maps, operations = workload.waiting.structure(removed)
    order = [layer.name for layer in workload.layers]
    after = {"": -1}  # the planned layer behind which an operation runs
    for name in order:
        after[name] = last.get(name, max(after.values()))
    at = {operation.name: after[operation.after] for operation in operations}
    found: dict[str, WaitingMap] = {}
    read: dict[tuple[int, str], tuple[str, ...]] = {}
    shrunk: dict[str, float] = {}  # by how much kept channels make a map smaller
    sources = {written: operation.reads for operation in operations for written in operation.writes}
    for each in maps:
        writer = last.get(each.writer)
        if writer is not None:
            whole, left = planned[writer].layer.problem.tensor_size(OUTPUTS), planned[writer].problem.tensor_size(OUTPUTS)
            shrunk[each.name] = left / whole
        else:
            shrunk[each.name] = max((shrunk[name] for name in sources.get(each.name, ())), default=1.0)
        readers = [(first[name], space) for name, space in each.readers if space]
        for place in readers:
            read[place] = (*read.get(place, ()), each.name)
        bits, density = None, 1.0
        if readers:
            own = planned[readers[0][0]]
            bits = dict(own.stored_bits).get(readers[0][1], own.bits.get(readers[0][1]))
        elif writer is not None:
            bits = planned[writer].output_bits
        if writer is not None:
            coded = planned[writer].output_density
            density = 1.0 if coded is None else coded.density
        elif readers and each.writer:
            density = max(planned[i].problem.density(space).density for i, space in readers)
        born = writer if writer is not None else at.get(each.writer, -1)
        ends = [i for i, _ in readers] + [at[name] for name, space in each.readers if not space]
        found[each.name] = WaitingMap(
            each.name, round(each.values * shrunk[each.name]), bits, density, writer, born, max([born, *ends]),
            each.output or not each.writer,
        )  # fmt: skip
    joins = {operation.name for operation in operations if operation.kind == "join"}
    work = [PlannedOperation(o.name, at[o.name], o.reads, () if o.name in joins else o.writes) for o in operations]
    return NetworkMaps(found, tuple(work), read)
