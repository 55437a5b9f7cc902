"""Mapping layers and whole networks on one accelerator under one dataflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwloop.backend.distinct import Distinct
from hwloop.backend.embedded import EMBEDDED
from hwloop.backend.find import find_backend
from hwloop.backend.network_cost import NetworkCost, mapped_share
from hwloop.backend.pool import Workers
from hwloop.backend.protocol import Backend
from hwloop.backend.request import MapperSettings, MapRequest
from hwloop.backend.target import ArchitectureLike, DataflowLike, Target, make_targets
from hwloop.backend.whole_network import map_network as map_on
from hwloop.mapper.bound import NODES, Bound, lower_bound
from hwloop.mapper.objective import Objective
from hwloop.mapper.result import MapResult
from hwloop.memo import Memo
from hwloop.report.progress import Progress, Silent
from hwloop.spec.bits import Bits
from hwloop.spec.density import Density
from hwloop.spec.plan import Plan
from hwloop.spec.problem import Problem, load_problem
from hwloop.spec.source import read_spec
from hwloop.spec.workload import Workload, load_workload


def open_backend(simulator: str = EMBEDDED, workers: Workers = None, memo: Memo | None = None) -> Backend:
    """The backend of a name, with the memo table before it where there is one; equal requests are asked once.

    Args:
        simulator: `embedded`, `timeloop` or `timeloop-mapper`.
        workers: processes, one a core when None; or the address of a Dask scheduler.
        memo: results are read from and written to it.

    Raises:
        SpecError: there is no such simulator.
        SimulatorError: its program is not on PATH.
    """
    backend = find_backend(simulator, workers)
    return Distinct(backend if memo is None else memo.remember(backend))


def map_layer(
    problem: Problem | Any,
    arch: ArchitectureLike | Target,
    dataflow: DataflowLike = None,
    *,
    densities: Mapping[str, Density | float] | None = None,
    bits: Bits | None = None,
    energy: Any = "shipped",
    objective: Objective = "edp",
    effort: str = "normal",
    seed: int = 0,
    simulator: str = EMBEDDED,
    memo: Memo | None = None,
) -> MapResult:
    """Maps one layer on a target: energies for its bits, the dataflow and the memo table included.

    Args:
        problem: a `Problem`, or what `load_problem` takes.
        arch: an accelerator by name, file or object, or a whole `Target`.
        dataflow: constraints by name, file or object; with a `Target` it has one already.
        densities: by data space, on top of the problem's own.
        bits: widths of values, as in `hwloop.simulate`.
        energy, objective, effort, seed, simulator, memo: as in `map_network`.

    Raises:
        InfeasibleMappingError: names the layer and the target that it does not fit.
        SimulatorError: an outside program failed.
    """
    problem, target = with_densities(load_problem(problem), densities), _target(arch, dataflow, energy)
    request = MapRequest(
        problem, target.arch, target.table(bits), target.constraints, bits or None, MapperSettings(objective, effort, seed)
    )
    [outcome] = open_backend(simulator, 1, memo).map([request])
    return mapped_share(request, outcome, target).mapped


def bound_layer(
    problem: Problem | Any,
    arch: ArchitectureLike | Target,
    dataflow: DataflowLike = None,
    *,
    found: MapResult,
    densities: Mapping[str, Density | float] | None = None,
    bits: Bits | None = None,
    energy: Any = "shipped",
    nodes: int = NODES,
) -> Bound:
    """How far a mapping of `map_layer` is from the best possible one: a proven lower bound on its objective.

    Args:
        problem, arch, dataflow, densities, bits, energy: as they were given to `map_layer`.
        found: what it returned.
        nodes: parts of the mapspace to look at, at most.

    Raises:
        ValueError: the objective is a function.
    """
    problem, target = with_densities(load_problem(problem), densities), _target(arch, dataflow, energy)
    return lower_bound(
        problem, target.arch, target.table(bits), target.constraints, found.objective, bits or None, found, nodes
    )  # fmt: skip


def map_network(
    workload: Workload,
    arch: ArchitectureLike | Target,
    dataflow: DataflowLike = None,
    *,
    plan: Plan | None = None,
    energy: Any = "shipped",
    activations: str = "streamed",
    objective: Objective = "edp",
    effort: str = "normal",
    seed: int = 0,
    simulator: str = EMBEDDED,
    memo: Memo | None = None,
    workers: Workers = None,
    progress: Progress | None = None,
) -> NetworkCost:
    """Maps every layer of a network; equal layers are mapped once.

    Args:
        workload: the network, e.g. from `hwloop.trace`.
        arch: an accelerator by name, file or object, or a whole `Target`.
        dataflow: constraints by name, file or object; with a `Target` it has one already.
        plan: what is done to each layer; dense at the accelerator's width when None.
        energy, activations: where energies come from, and whether feature maps may stay on chip; see `make_targets`.
        objective, effort, seed: of the mapper.
        simulator: who costs the mappings: `embedded`, `timeloop` or `timeloop-mapper` (which finds them too).
        memo: results are read from and written to it.
        workers: processes, one a core when None; or the address of a Dask scheduler.
        progress: where to show how far it is; nowhere when None.

    Raises:
        InfeasibleMappingError: names the layer that fits no mapping.
        SimulatorError: an outside program failed, or a worker was killed.
    """
    settings = MapperSettings(objective, effort, seed)
    return _shown(
        workload, _target(arch, dataflow, energy, activations), open_backend(simulator, workers, memo), plan, settings, progress
    )


def open_subject(
    path: str | Path, variables: Mapping[str, Any] | None = None, include: Sequence[str | Path] = ()
) -> Problem | Workload:
    """Reads a file that holds a layer (a Timeloop problem) or a network (a workload).

    Args:
        path: the file.
        variables: of a file that is a template.
        include: further folders that a template may take files from.

    Raises:
        SpecError: it is neither.
    """
    document, _ = read_spec(path, variables, include)
    if isinstance(document, Mapping) and ("workload" in document or "layers" in document):
        return load_workload(path)
    problem = load_problem(path, variables, include)
    return problem if problem.name else replace(problem, name=Path(path).stem)


def with_densities(problem: Problem, densities: Mapping[str, Density | float] | None) -> Problem:
    """The problem with these densities on top of its own."""
    return problem.with_densities(dict(problem.densities) | dict(densities)) if densities else problem


def _target(arch: ArchitectureLike | Target, dataflow: DataflowLike, energy: Any, activations: str = "streamed") -> Target:
    return arch if isinstance(arch, Target) else make_targets(arch, dataflow, energy, activations)[0]


def _shown(
    workload: Workload, target: Target, backend: Backend, plan: Plan | None, settings: MapperSettings, progress: Progress | None
) -> NetworkCost:
    with (progress or Silent()).task(f"map {workload.name} on {target.name}", len(workload.layers)) as task:
        return map_on(workload, target, backend, plan, settings, lambda _at, request, _outcome: task.advance(request.layer))
