"""Work over a Dask cluster: one request a task, each answer handed on as it comes, so that one process writes the memo table.

As many tasks are out as the workers have threads, never more: Dask blames a worker's death on all that waited for it. A task that
three workers died at (on a cluster that was there before: one more than its scheduler's `allowed-failures`) is given up,
and the rest goes on. `distributed` is loaded when a cluster is first asked for.
"""

from __future__ import annotations

import atexit
import logging
import re
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from hwloop.backend.pool import without_script
from hwloop.backend.request import MapRequest, OnOutcome, Outcome
from hwloop.errors import SimulatorError, SpecError, SpecWarning
from hwloop.mapper.version import MODEL_VERSION as MAPPER_VERSION
from hwloop.simulator.version import MODEL_VERSION as SIMULATOR_VERSION

CONNECT_S = 5.0  # a scheduler that runs answers in milliseconds
WAIT_S = 10.0  # for a first worker, before a word is said
KILLS = 3  # workers that a task may take with it on a local cluster
_VERSIONS = f"mapper {MAPPER_VERSION}, simulator {SIMULATOR_VERSION}"
_LOCAL = re.compile(r"local:(\d+)")
_ADDRESS = re.compile(r"((tcp|tls|ws|wss|ucx)://)?[\w.\-\[\]:]+:\d+/?")
_FORMS = "host:port, tcp://host:port, tls://host:port, a scheduler's .json file, or local:N"
_clients: dict[str, Any] = {}


class LostTasks(SimulatorError):
    """Requests that no worker lived to answer; everything else was answered.

    Attributes:
        requests: those that are lost.
    """

    def __init__(self, message: str, requests: Sequence[MapRequest] = ()) -> None:
        super().__init__(message)
        self.requests = tuple(requests)

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.message, self.requests))


def check_address(address: str) -> str:
    """The address, if it looks like one.

    Raises:
        SpecError: it does not.
    """
    local = _LOCAL.fullmatch(address)
    if local is not None and not 1 <= int(local[1]) <= 1024:
        raise SpecError("<arguments>", "--scheduler", "local:N with 1 to 1024 workers", address)
    if local is None and not _ADDRESS.fullmatch(address) and not _is_file(address):
        raise SpecError("<arguments>", "--scheduler", _FORMS, address)
    return address


def connect(address: str) -> Any:
    """The client of a cluster, kept for the life of the process; a local cluster is started.

    Raises:
        SpecError: no address.
        SimulatorError: `distributed` is not installed, or no scheduler answers.
    """
    check_address(address)
    known = _clients.get(address)
    if known is not None and known.status == "running":
        return known
    if find_spec("distributed") is None:
        raise SimulatorError("--scheduler takes the package distributed, which is not installed: pip install 'hwloop[cluster]'")
    distributed = _distributed()
    for name in ("distributed", "distributed.client", "distributed.core", "distributed.comm", "distributed.scheduler"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = _start_local(int(local[1])) if (local := _LOCAL.fullmatch(address)) else _connect(distributed, address)
    except (OSError, ValueError, TimeoutError) as error:
        raise SimulatorError(
            f"no Dask scheduler answers at {address} ({_first_line(error)}); start one with `dask scheduler`, look whether the "
            "address and the port can be reached from here, or use --workers N for this machine's own cores"
        ) from None
    _clients[address] = client
    atexit.register(_close, client)
    return client


def answer_on_cluster(
    answer: Callable[[MapRequest], Outcome], requests: Sequence[MapRequest], address: str, on_outcome: OnOutcome | None = None
) -> list[Outcome]:
    """Every request's answer, from the workers of a cluster; the longest problems begin first.

    Args:
        answer: of a module that the workers have.
        requests: questions.
        address: of the scheduler, or `local:N`.
        on_outcome: called in this process with (index, request, outcome) as answers arrive.

    Raises:
        LostTasks: the workers of some requests died again and again; the rest is answered.
        SimulatorError: no scheduler, or one that is gone; workers that have another hwloop or none.
        KeyboardInterrupt: on Ctrl-C, after what was out was called back; likewise whatever `answer` raises.
    """
    client = connect(address)
    answers: dict[int, Outcome] = {}
    lost: dict[int, str] = {}
    waiting = deque(sorted(range(len(requests)), key=lambda at: -requests[at].problem.computes))
    batch, out = uuid4().hex[:12], _distributed().as_completed(loop=client.loop)
    places: dict[Any, int] = {}

    def submit() -> None:
        while waiting and len(places) < max(_threads(client), 1):
            at = waiting.popleft()
            future = client.submit(_answer, answer, requests[at], _VERSIONS, key=f"{requests[at].name}-{batch}-{at}", pure=False)
            places[future] = at
            out.add(future)

    try:
        _await_workers(client, address)
        submit()
        while places:
            future = next(out)
            at = places.pop(future)
            if future.status == "finished":
                answers[at] = future.result()
                if on_outcome is not None:
                    on_outcome(at, requests[at], answers[at])
            else:
                lost[at] = _why(future, address)
            submit()
    except BaseException:
        with suppress(Exception):
            client.cancel(list(places), force=True)
        raise
    if lost:
        raise _lost([requests[at] for at in lost], next(iter(lost.values())))
    return [answers[at] for at in range(len(requests))]


def _answer(answer: Callable[[MapRequest], Outcome], request: MapRequest, versions: str) -> Outcome:
    """On a worker. An answer of another version would be kept as if it were this one's."""
    if versions != _VERSIONS:
        raise SimulatorError(
            f"a worker has another hwloop than this process ({_VERSIONS}, here {versions}); install the same version on all"
        )
    return answer(request)


def _distributed() -> Any:
    """The package, which takes a second to load."""
    return import_module("distributed")


def _start_local(count: int) -> Any:
    distributed = _distributed()
    with without_script():
        cluster = distributed.LocalCluster(
            n_workers=count, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=logging.CRITICAL,
            scheduler_kwargs={"allowed_failures": KILLS - 1},
        )  # fmt: skip
        return distributed.Client(cluster)


def _connect(distributed: Any, address: str) -> Any:
    if _is_file(address):
        if not Path(address).is_file():
            raise OSError("there is no such file")
        return distributed.Client(scheduler_file=address, timeout=CONNECT_S, set_as_default=False)
    return distributed.Client(address, timeout=CONNECT_S, set_as_default=False)


def _is_file(address: str) -> bool:
    return address.endswith(".json")


def _threads(client: Any) -> int:
    """Threads of all workers that are there now."""
    return sum(int(worker["nthreads"]) for worker in client.scheduler_info(n_workers=-1)["workers"].values())


def _await_workers(client: Any, address: str) -> None:
    """Waits for a first worker as long as it takes: jobs of a queue may begin hours later. Says so once."""
    with suppress(TimeoutError):
        client.wait_for_workers(1, timeout=WAIT_S)
        return
    warnings.warn(f"the scheduler at {address} has no workers yet; waiting for the first", SpecWarning, stacklevel=3)
    client.wait_for_workers(1)


def _why(future: Any, address: str) -> str:
    """Why a task has no answer, where its workers died.

    Raises:
        SimulatorError: the scheduler is gone, or the workers lack hwloop; likewise whatever the task raised.
    """
    if future.status != "error":
        raise SimulatorError(
            f"the Dask scheduler at {address} is gone; what was answered before is kept where there is a memo table; run again"
        )
    error = future.exception()
    if isinstance(error, _distributed().KilledWorker):
        return f"{error.allowed_failures + 1} workers died at it"
    if isinstance(error, ImportError):
        raise SimulatorError(f"a worker of {address} cannot load hwloop ({error}); install it there, the same version") from None
    raise error


def _lost(requests: Sequence[MapRequest], why: str) -> LostTasks:
    names = ", ".join(dict.fromkeys(f"{request.network} {request.name}".strip() for request in requests))
    return LostTasks(
        f"no answer for {names}: {why}; most often they are short of memory (the workers' logs say more); everything else was "
        "answered, and is kept where there is a memo table",
        requests,
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _close(client: Any) -> None:
    with suppress(Exception):
        cluster = client.cluster
        client.close(timeout=2)
        if cluster is not None:
            cluster.close(timeout=5)
