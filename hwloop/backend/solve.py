"""Answers requests one by one, in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hwloop.backend.outside import solve_outside
from hwloop.backend.request import MapRequest, Outcome
from hwloop.backend.simulators import EMBEDDED
from hwloop.errors import InfeasibleMappingError
from hwloop.mapper.mapper import map_problem
from hwloop.mapper.result import MapResult

OnOutcome = Callable[[int, MapRequest, Outcome], None]
Solver = Callable[[Sequence[MapRequest], OnOutcome], None]


def solve(request: MapRequest) -> Outcome:
    """Runs the mapper on one request."""
    try:
        if request.simulator != EMBEDDED:
            return solve_outside(request)
        best: MapResult = map_problem(
            request.problem,
            request.arch,
            request.ert,
            constraints=request.constraints,
            objective=request.objective,
            bits=None if request.bits is None else dict(request.bits),
            start=request.start,
            seed=request.seed,
            effort=request.effort,
        )
        return best
    except InfeasibleMappingError as error:
        return error


def solve_here(requests: Sequence[MapRequest], on_outcome: OnOutcome) -> None:
    """Runs the mapper on each request in turn, in this process."""
    for i, request in enumerate(requests):
        on_outcome(i, request, solve(request))
