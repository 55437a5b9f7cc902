"""A whole network on a target: every layer mapped, the work between them counted, and what may stay on chip decided."""

from __future__ import annotations

from hwloop.backend.memory_plan import MemoryPlanner
from hwloop.backend.network_cost import NetworkCost, mapped_share
from hwloop.backend.protocol import Backend
from hwloop.backend.request import MapperSettings, OnOutcome, request_for
from hwloop.backend.target import Target
from hwloop.spec.plan import Plan, make_plan
from hwloop.spec.workload import Workload


def map_network(
    workload: Workload,
    target: Target,
    backend: Backend,
    plan: Plan | None = None,
    settings: MapperSettings | None = None,
    on_outcome: OnOutcome | None = None,
) -> NetworkCost:
    """Maps every layer of a network.

    Args:
        workload: the network.
        target: the accelerator under its dataflow; says whether feature maps may stay on chip between layers.
        backend: who answers; wrap it in `Distinct` for equal layers to be mapped once.
        plan: what is done to each layer; dense at the accelerator's widths when None.
        settings: of the mapper; `MapperSettings()` when None.
        on_outcome: called as answers arrive, once a layer.

    Raises:
        InfeasibleMappingError: names the layer that fits no mapping.
        SimulatorError: an outside program failed, or a worker was killed.
    """
    settings = settings or MapperSettings()
    plan = plan or make_plan(workload)
    requests = [request_for(layer, target, settings, workload.name) for layer in plan.apply(workload)]
    outcomes = backend.map(requests, on_outcome)
    layers = tuple(mapped_share(request, outcome, target) for request, outcome in zip(requests, outcomes, strict=True))
    return MemoryPlanner(workload, plan, target, settings, backend, layers).plan()[0]
