"""What the mapper returns, and what holds a mapping back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hwloop.simulator.result import LayerCost
from hwloop.spec.architecture import Architecture
from hwloop.spec.mapping import Mapping, load_mapping
from hwloop.spec.problem import Problem


@dataclass(frozen=True)
class Ceiling:
    """What sets the cycles of a mapping.

    Attributes:
        kind: `compute`, `read`, `write` or `shared` bandwidth.
        component: the component that sets it.
        cycles: its cycles.
        compute_cycles: what the compute units alone would take [cycles].
    """

    kind: str
    component: str
    cycles: int
    compute_cycles: int

    def __str__(self) -> str:
        if self.kind == "compute":
            return f"compute ({self.component}): {self.cycles} cycles"
        slow = self.cycles / max(self.compute_cycles, 1)
        compute = f"{slow:.2f} times the compute's {self.compute_cycles}"
        return f"{self.kind} bandwidth of {self.component}: {self.cycles} cycles, {compute}"


@dataclass(frozen=True)
class Padding:
    """A dimension whose factors do not divide it.

    Attributes:
        dimension: its name.
        size: its size.
        covered: the product of its factors, what the passes could cover.
    """

    dimension: str
    size: int
    covered: int

    def __str__(self) -> str:
        return f"{self.dimension}={self.size} is covered by factors of {self.covered}: the last passes are incomplete"


@dataclass(frozen=True)
class MapResult:
    """The best mapping found for one problem.

    Attributes:
        mapping: the loop nest.
        cost: what it costs, by the simulator.
        objective: name of what was minimised (`custom` for a function).
        value: the objective's value, minimised.
        ceiling: what sets its cycles.
        padding: dimensions with imperfect factors; empty when all divide.
        evaluated: tilings that were costed, by the model or the simulator.
        simulated: mappings that the simulator costed.
        seconds: wall-clock time of the search [s].
    """

    mapping: Mapping
    cost: LayerCost
    objective: str
    value: float
    ceiling: Ceiling
    padding: tuple[Padding, ...]
    evaluated: int
    simulated: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "mapping": self.mapping.to_list(),
            "cost": self.cost.to_dict(),
            "objective": self.objective,
            "value": self.value,
            "ceiling": vars(self.ceiling),
            "padding": [vars(p) for p in self.padding],
            "evaluated": self.evaluated,
            "simulated": self.simulated,
            "seconds": self.seconds,
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> MapResult:
        """The inverse of `to_dict`, also after a trip through JSON."""
        built = {
            "mapping": load_mapping(raw["mapping"]),
            "cost": LayerCost.from_dict(raw["cost"]),
            "ceiling": Ceiling(**raw["ceiling"]),
            "padding": tuple(Padding(**p) for p in raw["padding"]),
        }
        return cls(**{**raw, **built})


def find_ceiling(cost: LayerCost, architecture: Architecture) -> Ceiling:
    """What sets the cycles: the compute units, or the bandwidth of the level that throttles most."""
    compute = cost.components[architecture.compute.name].cycles
    slowest = architecture.compute.name
    most = 0
    for level in architecture.storage:
        component = cost.components.get(level.name)
        if component is not None and component.cycles > most:
            slowest, most = level.name, component.cycles
    busy = _compute_cycles(cost, architecture)
    if most <= busy:
        return Ceiling("compute", architecture.compute.name, compute, busy)
    return Ceiling(_bandwidth_kind(cost, architecture, slowest), slowest, most, busy)


def _compute_cycles(cost: LayerCost, architecture: Architecture) -> int:
    """Cycles of the compute units without throttling: the least that any level would take on its own."""
    own = [c.cycles for name, c in cost.components.items() if name != architecture.compute.name]
    return min(own, default=cost.cycles)


def _bandwidth_kind(cost: LayerCost, architecture: Architecture, name: str) -> str:
    level = architecture.level(name)
    spaces = cost.components[name].dataspaces.values()
    reads = sum(s.reads + s.gated_reads for s in spaces)
    writes = sum(s.fills + s.updates + s.gated_fills + s.gated_updates for s in spaces)
    both = level.number("bandwidth", 0.0) / 2
    loads = {
        "read": reads / (level.number("read_bandwidth", 0.0) or both or float("inf")),
        "write": writes / (level.number("write_bandwidth", 0.0) or both or float("inf")),
        "shared": (reads + writes) / (level.number("shared_bandwidth", 0.0) or float("inf")),
    }
    return max(loads, key=lambda kind: loads[kind])


def find_padding(mapping: Mapping, problem: Problem) -> tuple[Padding, ...]:
    """The dimensions whose factors do not divide them."""
    out = []
    for d, size in problem.sizes.items():
        covered = 1
        for loops in mapping.loops:
            for name, bound, _ in loops.factors:
                covered *= (bound or size) if name == d else 1
        if covered != size:
            out.append(Padding(d, size, covered))
    return tuple(out)
