"""Who does the work of a backend: processes of this machine, or a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hwloop.backend.cluster import answer_on_cluster
from hwloop.backend.pool import Workers, answer_on_pool
from hwloop.backend.request import MapRequest, OnOutcome, Outcome


def answer_all(
    answer: Callable[[MapRequest], Outcome],
    requests: Sequence[MapRequest],
    workers: Workers = None,
    on_outcome: OnOutcome | None = None,
) -> list[Outcome]:
    """Every request's answer; the longest problems begin first. Answers do not depend on who does the work.

    An objective that is a function stays in this process, as a worker may not know the module it comes from.

    Args:
        answer: of a module, so that it can be pickled.
        requests: questions.
        workers: processes of this machine; None for one a core; text for the address of a Dask scheduler.
        on_outcome: called in this process with (index, request, outcome) as answers arrive.

    Raises:
        SimulatorError: a worker was killed; it says at which layers.
        KeyboardInterrupt: on Ctrl-C, after the workers were stopped; likewise whatever `answer` raises.
    """
    if not isinstance(workers, str):
        return answer_on_pool(answer, requests, workers, on_outcome)
    if any(callable(request.settings.objective) for request in requests):
        return answer_on_pool(answer, requests, 1, on_outcome)
    return answer_on_cluster(answer, requests, workers, on_outcome) if requests else []
