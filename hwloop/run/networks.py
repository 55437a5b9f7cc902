"""Mapping whole networks: one accelerator under one dataflow, or several dataflows side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwloop.backend.distinct import Distinct
from hwloop.backend.find import find_backend
from hwloop.backend.network_cost import NetworkCost
from hwloop.backend.network_cost import map_network as map_on
from hwloop.backend.protocol import EMBEDDED, Backend
from hwloop.backend.request import MapperSettings, OnOutcome
from hwloop.backend.target import ArchitectureLike, DataflowLike, Target, make_targets
from hwloop.mapper.objective import Objective
from hwloop.memo import Memo
from hwloop.spec.plan import Plan
from hwloop.spec.workload import Workload


def open_backend(simulator: str = EMBEDDED, workers: int | None = None, memo: Memo | None = None) -> Backend:
    """The backend of a name, with the memo table before it where there is one; equal requests are asked once.

    Args:
        simulator: `embedded`, `timeloop` or `timeloop-mapper`.
        workers: processes, one a core when None.
        memo: results are read from and written to it.

    Raises:
        SpecError: there is no such simulator.
        SimulatorError: its program is not on PATH.
    """
    backend = find_backend(simulator, workers)
    return Distinct(backend if memo is None else memo.remember(backend))


def map_network(
    workload: Workload,
    arch: ArchitectureLike | Target,
    dataflow: DataflowLike = None,
    *,
    plan: Plan | None = None,
    energy: Any = "shipped",
    objective: Objective = "edp",
    effort: str = "normal",
    seed: int = 0,
    simulator: str = EMBEDDED,
    memo: Memo | None = None,
    workers: int | None = None,
    on_outcome: OnOutcome | None = None,
) -> NetworkCost:
    """Maps every layer of a network; equal layers are mapped once.

    Args:
        workload: the network, e.g. from `hwloop.trace`.
        arch: an accelerator by name, file or object, or a whole `Target`.
        dataflow: constraints by name, file or object; with a `Target` it has one already.
        plan: what is done to each layer; dense at the accelerator's width when None.
        energy: where energies come from, see `make_targets`.
        objective, effort, seed: of the mapper.
        simulator: who costs the mappings: `embedded`, `timeloop` or `timeloop-mapper` (which finds them too).
        memo: results are read from and written to it.
        workers: processes, one a core when None.
        on_outcome: called once a layer, as answers arrive.

    Raises:
        InfeasibleMappingError: names the layer that fits no mapping.
        SimulatorError: an outside program failed, or a worker was killed.
    """
    target = arch if isinstance(arch, Target) else make_targets(arch, dataflow, energy)[0]
    backend = open_backend(simulator, workers, memo)
    return map_on(workload, target, backend, plan, MapperSettings(objective, effort, seed), on_outcome)


def compare_dataflows(
    workload: Workload,
    arch: ArchitectureLike,
    dataflows: Sequence[DataflowLike],
    *,
    plan: Plan | None = None,
    energy: Any = "shipped",
    objective: Objective = "edp",
    effort: str = "normal",
    seed: int = 0,
    simulator: str = EMBEDDED,
    memo: Memo | None = None,
    workers: int | None = None,
) -> tuple[NetworkCost, ...]:
    """The same network on the same accelerator under each dataflow, so that area and storage are equal.

    Args:
        workload: the network.
        arch: the accelerator.
        dataflows: constraints by name, file or object.
        plan, energy, objective, effort, seed, simulator, memo, workers: as in `map_network`.

    Raises:
        InfeasibleMappingError: names the layer and the dataflow that does not fit it.
    """
    backend, settings = open_backend(simulator, workers, memo), MapperSettings(objective, effort, seed)
    return tuple(map_on(workload, target, backend, plan, settings) for target in make_targets(arch, list(dataflows), energy))
