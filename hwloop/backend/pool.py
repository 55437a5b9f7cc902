"""Work over several processes, each answer handed on as soon as it is there; no worker outlives the process that asked.

Workers come from a fork server: a clean process that has loaded the mapper and nothing else, so that they start in milliseconds
and inherit neither threads nor locks of the program that asks (torch's least of all). They do not import that program's script
again, so it needs no `if __name__ == "__main__"`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait as wait_for_sentinel
from types import ModuleType
from typing import Any, TypeVar

from hwloop.backend.request import MapRequest, OnOutcome, Outcome
from hwloop.errors import SimulatorError

T = TypeVar("T")
Workers = int | str | None  # processes of this machine, one a core when None; or the address of a Dask scheduler
_PRELOADED = ["hwloop.backend.fork_server"]
_starting = threading.Lock()
_progress: Any = None  # in a worker: shared with the main process; at a task's index the process that has begun it, 0 when done


def worker_count(wanted: Workers = None) -> int:
    """`wanted`, or one a core that this process may use: also where a cluster does the rest."""
    if isinstance(wanted, int):
        return max(1, wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def answer_on_pool(
    answer: Callable[[MapRequest], Outcome],
    requests: Sequence[MapRequest],
    workers: int | None = None,
    on_outcome: OnOutcome | None = None,
) -> list[Outcome]:
    """Every request's answer, from as many processes as `workers` says; the longest problems begin first.

    An objective that is a function stays in this process, as a worker may not know the module it comes from.

    Args:
        answer: of a module, so that it can be pickled.
        requests: questions.
        workers: processes; None for one a core.
        on_outcome: called with (index, request, outcome) as answers arrive.

    Raises:
        SimulatorError: a worker was killed; it says at which layers.
        KeyboardInterrupt: on Ctrl-C, after the workers were stopped; likewise whatever `answer` raises.
    """
    order = sorted(range(len(requests)), key=lambda i: -requests[i].problem.computes)
    count = min(worker_count(workers), len(requests))
    answers: dict[int, Outcome] = {}

    def take(at: int, outcome: Outcome) -> None:
        answers[at] = outcome
        if on_outcome is not None:
            on_outcome(at, requests[at], outcome)

    if count <= 1 or any(callable(request.settings.objective) for request in requests):
        for at, request in enumerate(requests):
            take(at, answer(request))
    else:
        tasks, names = [(requests[i],) for i in order], [requests[i].name for i in order]
        in_processes(answer, tasks, count, lambda place, outcome: take(order[place], outcome), names)
    return [answers[at] for at in range(len(requests))]


def in_processes(
    function: Callable[..., T],
    tasks: Sequence[tuple[Any, ...]],
    workers: int,
    on_result: Callable[[int, T], None],
    names: Sequence[str] = (),
) -> None:
    """Calls `function(*task)` for every task on a pool of processes, begun in the order given.

    Args:
        function: of an importable module (not of the script that runs), so that a worker can find it.
        tasks: its arguments, picklable.
        workers: processes.
        on_result: called in this process as `on_result(index, result)`, in the order in which the answers come.
        names: what each task is about, for messages.

    Raises:
        SimulatorError: a worker was killed, or could not be started.
        KeyboardInterrupt: on Ctrl-C, after the workers were stopped; likewise whatever a task raises.
    """
    context = _context()
    try:
        shared = context.RawArray("q", len(tasks))
        pool = ProcessPoolExecutor(min(workers, len(tasks)), context, initializer=_begin, initargs=(shared,))
    except OSError as error:
        raise _unstarted(error) from error
    try:
        futures = _submit(pool, function, tasks)
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=futures.__getitem__):
                on_result(futures[future], future.result())
    except BrokenProcessPool as error:
        begun = [i for i, process in enumerate(shared) if process]
        _stop(pool)
        raise _killed([names[i] for i in begun if i < len(names)]) from error
    except BaseException:
        _stop(pool)
        raise
    pool.shutdown()


def _submit(pool: ProcessPoolExecutor, function: Callable[..., T], tasks: Sequence[tuple[Any, ...]]) -> dict[Future[T], int]:
    try:
        with _undisturbed(), without_script():  # workers start as tasks are handed in
            return {pool.submit(_run, i, function, task): i for i, task in enumerate(tasks)}
    except (OSError, EOFError) as error:
        raise _unstarted(error) from error


def _unstarted(error: Exception) -> SimulatorError:
    return SimulatorError(f"worker processes cannot be started ({error}); ask for fewer of them, or for one, which needs none")


def _context() -> Any:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    resource_tracker.ensure_running()  # which would let Ctrl-C through again
    with _undisturbed():  # its folder would be left behind
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # of the server and all its workers, from their birth
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Holds Ctrl-C and SIGTERM back: a worker that starts unnoticed would be left behind. They come when this is over."""
    held: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, lambda number, _frame: held.append(number))
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, before[number] or signal.SIG_DFL)
        if held:
            signal.raise_signal(held[0])


@contextmanager
def without_script() -> Iterator[None]:
    """Workers that start in here do not import the running script again, which they would do by its `__main__`."""
    with _starting:
        script = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = script


def _killed(layers: Sequence[str]) -> SimulatorError:
    where = f" while it worked on {' or '.join(layers)}" if layers else ""
    return SimulatorError(
        f"a worker process was killed{where}: most often the machine is short of memory; what was answered before is kept "
        "where there is a memo table; run again, with fewer workers if it happens again"
    )


def _run(at: int, function: Callable[..., T], task: tuple[Any, ...]) -> T:
    """In a worker: a task, and a note of who has begun it for as long as it takes."""
    _progress[at] = os.getpid()
    result = function(*task)
    _progress[at] = 0
    return result


def _begin(shared: Any) -> None:
    """In a worker: Ctrl-C is for the main process, and without a main process there is nothing to do."""
    global _progress
    _progress = shared
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
