"""How each layer of a costed network runs: the question that was asked of the accelerator, the mapping, and the cost in full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hwloop.backend.memory_plan import MapPlaces
from hwloop.backend.network_cost import NetworkCost
from hwloop.backend.network_maps import network_maps
from hwloop.backend.protocol import Backend
from hwloop.backend.request import MapperSettings, MapRequest, request_for
from hwloop.backend.target import Target
from hwloop.errors import HwloopError
from hwloop.simulator import LayerCost
from hwloop.spec.mapping import Mapping
from hwloop.spec.plan import Plan
from hwloop.spec.workload import Workload

Known = dict[tuple[Any, ...], LayerCost]


@dataclass(frozen=True)
class LayerRun:
    """One layer as the accelerator runs it.

    Attributes:
        request: problem, accelerator (with what stays on chip), energy table and bits.
        mapping: the loop nest.
        cost: of that mapping, in full.
    """

    request: MapRequest
    mapping: Mapping
    cost: LayerCost


@dataclass(frozen=True)
class NetworkRun:
    """A costed network, and how each of its layers runs."""

    cost: NetworkCost
    layers: tuple[LayerRun, ...]


def network_run(
    workload: Workload,
    plan: Plan,
    cost: NetworkCost,
    target: Target,
    settings: MapperSettings,
    backend: Backend,
    known: Known,
) -> NetworkRun:
    """How the layers of a plan run; layers whose known mapping was only looked up in a short list are simulated in full.

    Args:
        workload: the network.
        plan: what is done to each layer.
        cost: of that plan on that target.
        target: the accelerator under its dataflow.
        settings: of the mapper, as they were.
        backend: who answered.
        known: full costs by question and mapping, for plans that share layers; what is new is added.

    Raises:
        HwloopError: a layer has a cost and no mapping.
    """
    planned = plan.apply(workload)
    stay = (
        MapPlaces(planned, network_maps(workload, plan, planned), target).memory_plan(cost.resident).layers
        if cost.resident
        else (None,) * len(planned)
    )
    runs = []
    for layer, residency, share in zip(planned, stay, cost.layers, strict=True):
        request = request_for(layer, target, settings, workload.name, residency=residency)
        if share.mapping is None:
            raise HwloopError(f"layer {layer.name}: has a cost and no mapping")
        full = None if share.result is None else share.result.cost
        if full is None:
            key = (request.question, share.mapping)
            if key not in known:
                known[key] = backend.simulate(request, share.mapping)
            full = known[key]
        runs.append(LayerRun(request, share.mapping, full))
    return NetworkRun(cost, tuple(runs))
