"""How far a mapped network is from the best possible: the layers' lower bounds, in sum."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from statistics import median
from typing import Any

from hwloop.backend.network_cost import NetworkCost
from hwloop.backend.pool import Workers, in_processes, worker_count
from hwloop.backend.request import MapperSettings, MapRequest, request_for
from hwloop.backend.target import Target
from hwloop.mapper.bound import OPTIMAL, Bound, lower_bound
from hwloop.mapper.result import MapResult
from hwloop.report.progress import Progress, Silent
from hwloop.spec.plan import Plan, make_plan
from hwloop.spec.workload import Workload

NODES = 25  # a layer: a few tenths of a second


@dataclass(frozen=True)
class NetworkBound:
    """What no choice of mappings for a network's layers goes below.

    Attributes:
        objective: `edp`, `energy` or `cycles`, of the whole network.
        layers: each layer's name and bound, in execution order.
    """

    objective: str
    layers: tuple[tuple[str, Bound], ...]

    @property
    def value(self) -> float:
        """The bound: a sum, or for the product, by Cauchy's inequality, (sum E)(sum C) >= (sum sqrt(E C))^2."""
        values = [bound.value for _, bound in self.layers]
        return sum(map(sqrt, values)) ** 2 if self.objective == "edp" else sum(values)

    @property
    def found(self) -> float:
        """What the mappings that were found have, every count in full."""
        bounds = [bound for _, bound in self.layers]
        if self.objective == "edp":
            return sum(bound.energy_pj for bound in bounds) * sum(bound.cycles for bound in bounds)
        return sum(bound.found for bound in bounds)

    @property
    def gap(self) -> float:
        """How far above the best possible the network can be at most, 0.05 for 5%."""
        return max(self.found / self.value - 1.0, 0.0) if self.value > 0 else inf

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        layers = [{"layer": name, **bound.to_dict()} for name, bound in self.layers]
        return {"objective": self.objective, "value": self.value, "found": self.found, "gap": self.gap, "layers": layers}

    def __str__(self) -> str:
        gaps = [bound.gap for _, bound in self.layers]
        optimal = sum(gap <= OPTIMAL for gap in gaps)
        whole = "optimal" if self.gap <= OPTIMAL else f"within {self.gap:.1%} of the best possible"
        return (
            f"{self.objective}: {whole}; its layers within {median(gaps):.1%} at the median and {max(gaps):.1%} at most, "
            f"{optimal} of {len(gaps)} optimal"
        )


def bound_network(
    workload: Workload,
    target: Target,
    cost: NetworkCost,
    *,
    objective: str = "edp",
    plan: Plan | None = None,
    nodes: int = NODES,
    workers: Workers = None,
    progress: Progress | None = None,
) -> NetworkBound:
    """Bounds every layer of a mapped network from below; equal layers once.

    Args:
        workload: the network.
        target: the accelerator under its dataflow.
        cost: what `map_network` returned.
        objective: what was minimised: `edp`, `energy` or `cycles`.
        plan: as it was given to `map_network`.
        nodes: parts of each layer's mapspace to look at, at most.
        workers: processes, one a core when None; or the address of a Dask scheduler.
        progress: where to show how far it is; nowhere when None.

    Raises:
        ValueError: an unknown objective, or one that is a function.
    """
    planned = (plan or make_plan(workload)).apply(workload)
    requests = [request_for(layer, target, MapperSettings(objective), workload.name) for layer in planned]
    found = [share.mapped for share in cost.layers]
    first: dict[Any, int] = {}
    for at, (request, result) in enumerate(zip(requests, found, strict=True)):
        first.setdefault((request.question, result.mapping), at)
    tasks = [(requests[at], found[at], nodes) for at in first.values()]
    bounds: dict[int, Bound] = {}
    with (progress or Silent()).task(f"bound {workload.name} on {target.name}", len(tasks)) as task:

        def take(place: int, bound: Bound) -> None:
            bounds[place] = bound
            task.advance(tasks[place][0].name)

        count = min(worker_count(workers), len(tasks))
        if count > 1:
            in_processes(_bound, tasks, count, take, [request.name for request, _, _ in tasks])
        else:
            for k, (request, result, most) in enumerate(tasks):
                take(k, _bound(request, result, most))
    place = {question: k for k, question in enumerate(first)}
    by_layer = [bounds[place[request.question, result.mapping]] for request, result in zip(requests, found, strict=True)]
    return NetworkBound(objective, tuple((share.name, bound) for share, bound in zip(cost.layers, by_layer, strict=True)))


def _bound(request: MapRequest, found: MapResult, nodes: int) -> Bound:
    return lower_bound(
        request.problem,
        request.arch,
        request.ert,
        request.constraints,
        str(request.settings.objective),
        request.bits,
        found,
        nodes,
    )
