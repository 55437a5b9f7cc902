"""Feature maps as they are under a plan: smaller where channels are gone, between factors, at their bits and densities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from hwloop.spec.density import Density
from hwloop.spec.feature_maps import FeatureMap, Operation, Reader
from hwloop.spec.layer_plan import LayerPlan
from hwloop.spec.planned import PlannedLayer
from hwloop.spec.workload import Workload


@dataclass(frozen=True)
class PlannedMap:
    """A map as it waits.

    Attributes:
        map: its values, and who writes and reads it by the names of the planned layers.
        bits: per value; None for the accelerator's width.
        density: of its values; None where they are dense, or nobody knows.
    """

    map: FeatureMap
    bits: int | None = None
    density: Density | None = None


@dataclass(frozen=True)
class PlannedMaps:
    """All maps of a network under a plan.

    Attributes:
        maps: in the order in which they are written.
        operations: in execution order.
    """

    maps: tuple[PlannedMap, ...] = ()
    operations: tuple[Operation, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, PlannedMap]:
        """The maps by name."""
        return {each.map.name: each for each in self.maps}


def planned_maps(workload: Workload, planned: Sequence[PlannedLayer], shares: Sequence[LayerPlan]) -> PlannedMaps:
    """The maps of a network under a plan.

    Maps of removed layers are not there, and who read them reads what the layers read. A factorised layer's map is that of its
    last factor; those between its factors are maps, too.

    Args:
        workload: the network.
        planned: its layers under the plan.
        shares: the plan's, of each layer of the workload.
    """
    if not workload.maps:
        return PlannedMaps()
    maps, operations, bits, densities = workload.waiting.maps(shares)
    parts: dict[str, list[PlannedLayer]] = {}
    for layer in planned:
        parts.setdefault(layer.layer.name, []).append(layer)
    first = {name: those[0].name for name, those in parts.items()}
    last = {name: those[-1].name for name, those in parts.items()}
    title = {each.name: last.get(each.writer, each.name) if each.writer == each.name else each.name for each in maps}
    made = {operation.name: operation for operation in operations}
    sizes: dict[str, tuple[int, int]] = {}  # by map: values before and under the plan
    out = []
    for each, number, density in zip(maps, bits, densities, strict=True):
        if each.writer in parts:
            problem, before = parts[each.writer][-1].problem, parts[each.writer][-1].layer.problem
            now = each.values
            if problem.bounds != before.bounds:
                now = each.values * problem.tensor_size("Outputs") // before.tensor_size("Outputs")
            out += [_between(part, then) for part, then in zip(parts[each.writer], parts[each.writer][1:], strict=False)]
        else:
            read = [sizes[name] for name in made[each.writer].reads] if each.writer else []
            now = each.values * sum(size for _, size in read) // sum(size for size, _ in read) if read else each.values
        sizes[each.name] = (each.values, now)
        readers, measured = (_renamed(those, first) for those in (each.readers, each.measured))
        found = FeatureMap(title[each.name], now, last.get(each.writer, each.writer), readers, each.output, measured)
        out.append(PlannedMap(found, number, density))
    return PlannedMaps(tuple(out), tuple(_operation(each, title, last, sizes) for each in operations))


def _between(part: PlannedLayer, then: PlannedLayer) -> PlannedMap:
    """The map that a factor writes for the next one."""
    values = part.problem.tensor_size("Outputs")
    return PlannedMap(FeatureMap(part.name, values, part.name, ((then.name, "Inputs"),)), part.output_bits, part.output_density)


def _renamed(readers: Sequence[Reader], first: Mapping[str, str]) -> tuple[Reader, ...]:
    return tuple((first.get(name, name) if space else name, space) for name, space in readers)


def _operation(
    operation: Operation, title: Mapping[str, str], last: Mapping[str, str], sizes: Mapping[str, tuple[int, int]]
) -> Operation:
    before = zip(operation.values, operation.reads, strict=bool(operation.values))
    values = tuple(count * sizes[name][1] // sizes[name][0] for count, name in before)
    reads, writes = (tuple(title[name] for name in names) for names in (operation.reads, operation.writes))
    return replace(operation, reads=reads, writes=writes, after=last.get(operation.after, operation.after), values=values)
