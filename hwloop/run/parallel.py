"""Mapper requests over several processes, each answer handed on as soon as it is there."""

from __future__ import annotations

import multiprocessing
import os
import signal
import warnings
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

from hwloop.memo import MapRequest, Outcome, solve, solve_here
from hwloop.memo.memo import OnOutcome, Solver


def worker_count(wanted: int | None = None) -> int:
    """`wanted`, or one a core that this process may use."""
    if wanted is not None:
        return max(1, wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def make_solver(workers: int | None = None) -> Solver:
    """A solver for `Memo.map_many` that keeps `workers` processes busy; in this process with one worker or without fork.

    The answers do not depend on the number of workers.
    """
    count = worker_count(workers)
    if count == 1 or "fork" not in multiprocessing.get_all_start_methods():
        return solve_here

    def solve_all(requests: Sequence[MapRequest], on_outcome: OnOutcome) -> None:
        if len(requests) == 1:
            return solve_here(requests, on_outcome)
        context = multiprocessing.get_context("fork")  # workers start at once and do nothing but numpy
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
            pool = ProcessPoolExecutor(min(count, len(requests)), context, initializer=_begin)
            try:
                order = sorted(range(len(requests)), key=lambda i: -requests[i].problem.computes)  # the longest first
                futures: dict[Future[Outcome], int] = {pool.submit(solve, requests[i]): i for i in order}
                waiting = set(futures)
                while waiting:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in sorted(done, key=futures.__getitem__):
                        on_outcome(futures[future], requests[futures[future]], future.result())
            except BaseException:
                _stop(pool)
                raise
            pool.shutdown()
        return None

    return solve_all


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _stop(pool: ProcessPoolExecutor) -> None:
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
