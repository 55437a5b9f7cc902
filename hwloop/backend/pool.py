"""Work over several processes, each answer handed on as soon as it is there; no worker outlives the process that asked."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing.connection import wait as wait_for_sentinel
from typing import Any, TypeVar

T = TypeVar("T")


def worker_count(wanted: int | None = None) -> int:
    """`wanted`, or one a core that this process may use."""
    if wanted is not None:
        return max(1, wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def in_processes(
    function: Callable[..., T], tasks: Sequence[tuple[Any, ...]], workers: int, on_result: Callable[[int, T], None]
) -> None:
    """Calls `function(*task)` for every task on a pool of processes, begun in the order given.

    Args:
        function: of a module, so that it can be pickled.
        tasks: its arguments, picklable.
        workers: processes.
        on_result: called in this process as `on_result(index, result)`, in the order in which the answers come.

    Raises:
        KeyboardInterrupt: on Ctrl-C, after the workers were stopped; likewise whatever a task raises.
    """
    # Forked workers start at once and need no main guard in a script; they do nothing but numpy.
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
        pool = ProcessPoolExecutor(min(workers, len(tasks)), multiprocessing.get_context(method), initializer=_begin)
        try:
            futures: dict[Future[T], int] = {pool.submit(function, *task): i for i, task in enumerate(tasks)}
            waiting = set(futures)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=futures.__getitem__):
                    on_result(futures[future], future.result())
        except BaseException:
            _stop(pool)
            raise
        pool.shutdown()


def _begin() -> None:
    """In a worker: Ctrl-C is for the main process, and without a main process there is nothing to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_sentinel([parent.sentinel])
        os._exit(1)  # killed, or interrupted between making this worker and knowing of it


def _stop(pool: ProcessPoolExecutor) -> None:
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
