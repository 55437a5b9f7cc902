"""Mapper requests over several processes, each answer handed on as soon as it is there."""

from __future__ import annotations

from collections.abc import Sequence

from hwloop.backend.pool import in_processes, worker_count
from hwloop.backend.request import MapRequest, Outcome
from hwloop.backend.solve import OnOutcome, Solver, solve, solve_here


def make_solver(workers: int | None = None) -> Solver:
    """A solver for `Memo.map_many` that keeps `workers` processes busy; in this process with one worker.

    The answers do not depend on the number of workers.
    """
    count = worker_count(workers)
    if count == 1:
        return solve_here

    def solve_all(requests: Sequence[MapRequest], on_outcome: OnOutcome) -> None:
        if len(requests) == 1:
            return solve_here(requests, on_outcome)
        order = sorted(range(len(requests)), key=lambda i: -requests[i].problem.computes)  # the longest first

        def on_result(at: int, outcome: Outcome) -> None:
            on_outcome(order[at], requests[order[at]], outcome)

        return in_processes(solve, [(requests[i],) for i in order], count, on_result)

    return solve_all
