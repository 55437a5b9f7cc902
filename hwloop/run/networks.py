"""Mapping whole networks: one accelerator under one dataflow, or several dataflows side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hwloop.backend.request import MapRequest, Outcome
from hwloop.backend.simulators import EMBEDDED
from hwloop.backend.solve import OnOutcome
from hwloop.errors import InfeasibleMappingError
from hwloop.mapper.result import MapResult
from hwloop.memo import Memo
from hwloop.memo.key import request_key
from hwloop.run.parallel import make_solver
from hwloop.run.targets import ArchitectureLike, DataflowLike, make_targets
from hwloop.search.hardware import MapAll, MapperSettings, Target
from hwloop.spec.plan import Plan, make_plan
from hwloop.spec.workload import Workload


@dataclass(frozen=True)
class MappedLayer:
    """One layer as it runs.

    Attributes:
        name: of the layer.
        result: mapping and cost.
    """

    name: str
    result: MapResult


@dataclass(frozen=True)
class NetworkMapping:
    """A network on a target, its layers run one after the other.

    Attributes:
        network: its name.
        target: accelerator and dataflow.
        layers: in execution order.
    """

    network: str
    target: str
    layers: tuple[MappedLayer, ...]

    @property
    def energy_pj(self) -> float:
        """Sum over the layers."""
        return sum(layer.result.cost.energy_pj for layer in self.layers)

    @property
    def cycles(self) -> int:
        """Sum over the layers."""
        return sum(int(layer.result.cost.cycles) for layer in self.layers)

    @property
    def computes(self) -> int:
        """Multiply-accumulates of the dense network."""
        return sum(int(layer.result.cost.computes) for layer in self.layers)


def mapper_for(memo: Memo | None, workers: int | None = None, on_outcome: OnOutcome | None = None) -> MapAll:
    """Answers mapper requests, from the memo table where there is one; equal requests are asked once."""
    solve = make_solver(workers)
    remember = _NoMemo() if memo is None else memo

    def map_all(requests: Sequence[MapRequest]) -> list[Outcome]:
        return remember.map_many(requests, solve, on_outcome)

    return map_all


class _NoMemo:
    """Keeps answers for as long as the process runs, and touches no disk."""

    def __init__(self) -> None:
        self.known: dict[str, Outcome] = {}

    def map_many(
        self,
        requests: Sequence[MapRequest],
        solve: Callable[[Sequence[MapRequest], OnOutcome], None],
        on_outcome: OnOutcome | None,
    ) -> list[Outcome]:
        first: dict[str, MapRequest] = {}
        for request in requests:
            first.setdefault(request_key(request), request)
        missing = [request for key, request in first.items() if key not in self.known]

        def keep(at: int, request: MapRequest, outcome: Outcome) -> None:
            self.known[request_key(request)] = outcome
            if on_outcome:
                on_outcome(at, request, outcome)

        if missing:
            solve(missing, keep)
        return [self.known[request_key(request)] for request in requests]


def map_network(
    workload: Workload,
    arch: ArchitectureLike | Target,
    dataflow: DataflowLike = None,
    *,
    plan: Plan | None = None,
    energy: Any = "shipped",
    objective: str = "edp",
    effort: str = "normal",
    seed: int = 0,
    simulator: str = EMBEDDED,
    memo: Memo | None = None,
    workers: int | None = None,
    on_outcome: OnOutcome | None = None,
) -> NetworkMapping:
    """Maps every layer of a network; equal layers are mapped once.

    Args:
        workload: the network, e.g. from `hwloop.trace`.
        arch: an accelerator by name, file or object, or a whole `Target`.
        dataflow: constraints by name, file or object; with a `Target` it has one already.
        plan: densities and bits; dense at the accelerator's width when None.
        energy: where energies come from, see `make_targets`.
        objective, effort, seed: of the mapper.
        simulator: who costs the mappings: `embedded`, `timeloop` or `timeloop-mapper` (which finds them too).
        memo: results are read from and written to it.
        workers: processes, one a core when None.
        on_outcome: called as answers arrive.

    Raises:
        InfeasibleMappingError: names the layer that fits no mapping.
    """
    target = arch if isinstance(arch, Target) else make_targets(arch, dataflow, energy)[0]
    settings = MapperSettings(objective, effort, seed, simulator)
    tables: dict[tuple[tuple[str, int], ...], Any] = {}
    requests = []
    for planned in (plan or make_plan(workload)).apply(workload):
        bits = planned.bits
        table = tables.setdefault(tuple(sorted(bits.items())), None) or target.energy(bits)
        tables[tuple(sorted(bits.items()))] = table
        requests.append(
            MapRequest(
                planned.problem,
                target.arch,
                table,
                target.constraints,
                settings.objective,
                bits or None,
                None,
                settings.seed,
                settings.effort,
                workload.name,
                planned.layer.name,
                settings.simulator,
            )
        )
    layers = []
    for request, outcome in zip(requests, mapper_for(memo, workers, on_outcome)(requests), strict=True):
        if isinstance(outcome, InfeasibleMappingError):
            reason = f"{workload.name} layer {request.layer} on {target.arch.name} under {target.name}: {outcome.reason}"
            raise InfeasibleMappingError(reason, outcome.level, outcome.data_space)
        layers.append(MappedLayer(request.layer, outcome))
    return NetworkMapping(workload.name, target.name, tuple(layers))


def compare_dataflows(
    workload: Workload,
    arch: ArchitectureLike,
    dataflows: Sequence[DataflowLike],
    *,
    plan: Plan | None = None,
    energy: Any = "shipped",
    objective: str = "edp",
    effort: str = "normal",
    seed: int = 0,
    simulator: str = EMBEDDED,
    memo: Memo | None = None,
    workers: int | None = None,
) -> tuple[NetworkMapping, ...]:
    """The same network on the same accelerator under each dataflow, so that area and storage are equal.

    Args:
        workload: the network.
        arch: the accelerator.
        dataflows: constraints by name, file or object.
        plan, energy, objective, effort, seed, simulator, memo, workers: as in `map_network`.

    Raises:
        InfeasibleMappingError: names the layer and the dataflow that does not fit it.
    """
    return tuple(
        map_network(
            workload, target, plan=plan, objective=objective, effort=effort, seed=seed, simulator=simulator, memo=memo,
            workers=workers,
        )
        for target in make_targets(arch, list(dataflows), energy)
    )  # fmt: skip
