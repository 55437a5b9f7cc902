"""The backend of a name."""

from __future__ import annotations

from hwloop.backend.embedded import Embedded
from hwloop.backend.protocol import EMBEDDED, SIMULATORS, TIMELOOP, TIMELOOP_MAPPER, Backend
from hwloop.backend.timeloop.backend import TimeloopBackend, TimeloopMapperBackend
from hwloop.backend.timeloop.programs import Timeloop
from hwloop.errors import SpecError


def find_backend(name: str = EMBEDDED, workers: int | None = None, timeout_s: float = 600.0) -> Backend:
    """The backend called `name`.

    Args:
        name: one of `SIMULATORS`.
        workers: processes; None for one a core.
        timeout_s: longest time for one run of an outside program [s].

    Raises:
        SpecError: there is no such simulator.
        SimulatorError: its program is not on PATH; the message says what to install.
    """
    if name == EMBEDDED:
        return Embedded(workers)
    if name == TIMELOOP:
        return TimeloopBackend(Timeloop.find(timeout_s), workers)
    if name == TIMELOOP_MAPPER:
        return TimeloopMapperBackend(Timeloop.find(timeout_s), workers)
    raise SpecError("<arguments>", "simulator", f"one of {', '.join(SIMULATORS)}", name)
