"""The backends by name. A new one takes a module with its class, and an entry here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hwloop.backend.cluster import connect
from hwloop.backend.embedded import EMBEDDED, Embedded
from hwloop.backend.pool import Workers
from hwloop.backend.protocol import Backend
from hwloop.backend.timeloop.backend import TIMELOOP, TIMELOOP_MAPPER, TimeloopBackend, TimeloopMapperBackend
from hwloop.backend.timeloop.programs import Timeloop
from hwloop.errors import SpecError


@dataclass(frozen=True)
class Entry:
    """One backend.

    Attributes:
        summary: for people, half a sentence.
        make: from workers (None for one a core, text for the address of a Dask scheduler) and the longest time for one run of an
            outside program [s].
    """

    summary: str
    make: Callable[[Workers, float], Backend]


SIMULATORS = {
    EMBEDDED: Entry("hwloop's own", lambda workers, _timeout_s: Embedded(workers)),
    TIMELOOP: Entry(
        "the real timeloop-model costs the mappings that hwloop's mapper finds",
        lambda workers, timeout_s: TimeloopBackend(Timeloop.find(timeout_s), workers),
    ),
    TIMELOOP_MAPPER: Entry(
        "the real timeloop-mapper finds the mappings, timeloop-model costs them",
        lambda workers, timeout_s: TimeloopMapperBackend(Timeloop.find(timeout_s), workers),
    ),
}


def find_backend(name: str = EMBEDDED, workers: Workers = None, timeout_s: float = 600.0) -> Backend:
    """The backend called `name`.

    Args:
        name: one of `SIMULATORS`.
        workers: processes; None for one a core; text for the address of a Dask scheduler, which is called up at once.
        timeout_s: longest time for one run of an outside program [s].

    Raises:
        SpecError: there is no such simulator.
        SimulatorError: its program is not on PATH (the message says what to install), or no scheduler answers.
    """
    if name not in SIMULATORS:
        raise SpecError("<arguments>", "simulator", f"one of {', '.join(SIMULATORS)}", name)
    if isinstance(workers, str):
        connect(workers)
    return SIMULATORS[name].make(workers, timeout_s)
