"""A network's feature maps in time: how large each is where it waits, when it comes and when it is last read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwloop.spec.plan import Plan, PlannedLayer
from hwloop.spec.planned_maps import planned_maps
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
        reads: (map, values read of it).
        writes: names of maps. A `join` writes none: it rides on the layer whose map is the result.
    """

    name: str
    reads: tuple[tuple[str, int], ...]
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


def network_maps(workload: Workload, plan: Plan, planned: Sequence[PlannedLayer]) -> NetworkMaps:
    """The maps of a network whose layers run one after the other.

    Args:
        workload: the network.
        plan: what is done to each layer.
        planned: its layers under the plan, in execution order, as `Plan.apply` makes them.
    """
    maps = planned_maps(workload, planned, [plan.of(layer.name) for layer in workload.layers])
    place = {layer.name: at for at, layer in enumerate(planned)}
    after = {operation.name: place[operation.after] if operation.after else -1 for operation in maps.operations}
    found: dict[str, WaitingMap] = {}
    read: dict[tuple[int, str], tuple[str, ...]] = {}
    for each in maps.maps:
        own = each.map
        ends = [after[name] if not space else place[name] for name, space in own.readers]
        for name, space in own.readers:
            if space:
                read[place[name], space] = (*read.get((place[name], space), ()), own.name)
        writer = place.get(own.writer)
        born = writer if writer is not None else after.get(own.writer, -1)
        density = 1.0 if each.density is None else each.density.density
        external = own.output or not own.writer
        found[own.name] = WaitingMap(own.name, own.values, each.bits, density, writer, born, max([born, *ends]), external)
    work = []
    for operation in maps.operations:
        amounts = operation.values or tuple(found[name].values for name in operation.reads)
        writes = () if operation.kind == "join" else operation.writes
        work.append(PlannedOperation(operation.name, tuple(zip(operation.reads, amounts, strict=True)), writes))
    return NetworkMaps(found, tuple(work), read)
