"""Mapper requests that name an outside simulator: the mapping is ours or timeloop-mapper's, the cost is always Timeloop's."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

from hwloop.backend.request import MapRequest
from hwloop.backend.simulators import TIMELOOP_MAPPER, find_simulator, map_with_timeloop
from hwloop.mapper.mapper import map_problem
from hwloop.mapper.result import MapResult, find_ceiling, find_padding
from hwloop.simulator import LayerCost


def solve_outside(request: MapRequest) -> MapResult:
    """Answers a request whose `simulator` is not the embedded one.

    Raises:
        InfeasibleMappingError: no mapping fits, or Timeloop refuses the one found.
        SimulatorError: Timeloop is missing, crashed or timed out.
    """
    bits = None if request.bits is None else dict(request.bits)
    began = perf_counter()
    if request.simulator == TIMELOOP_MAPPER:
        mapping, cost = map_with_timeloop(
            request.problem, request.arch, request.ert, request.constraints, request.objective, bits
        )  # fmt: skip
        return MapResult(
            mapping,
            cost,
            request.objective,
            _value(request.objective, cost),
            find_ceiling(cost, request.arch),
            find_padding(mapping, request.problem),
            evaluated=1,
            simulated=1,
            seconds=perf_counter() - began,
        )
    best = map_problem(
        request.problem, request.arch, request.ert, request.constraints, request.objective, bits,
        request.start, request.seed, request.effort,
    )  # fmt: skip
    cost = find_simulator(request.simulator).simulate(request.problem, request.arch, best.mapping, request.ert, bits)
    return replace(
        best,
        cost=cost,
        value=_value(request.objective, cost),
        ceiling=find_ceiling(cost, request.arch),
        seconds=perf_counter() - began,
    )


def _value(objective: str, cost: LayerCost) -> float:
    return {"edp": cost.edp, "energy": cost.energy_pj, "cycles": float(cost.cycles)}[objective]
