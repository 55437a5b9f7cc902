"""A whole network: every distinct layer mapped once, over the machine's cores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from hwloop.backend.pool import in_processes, worker_count
from hwloop.errors import InfeasibleMappingError
from hwloop.mapper.mapper import map_problem
from hwloop.mapper.objective import Objective
from hwloop.mapper.result import MapResult
from hwloop.spec.architecture import Architecture, load_architecture
from hwloop.spec.constraints import Constraints
from hwloop.spec.energy_table import EnergyTable, load_energy_table
from hwloop.spec.mapping import Mapping
from hwloop.spec.problem import Problem

Outcome = MapResult | InfeasibleMappingError
MapFunction = Callable[..., MapResult]
Progress = Callable[[int, int, str, Outcome], None]


@dataclass(frozen=True)
class Item:
    """One layer.

    Attributes:
        name: for progress and reports.
        problem: what is mapped.
        bits: width of the values of a data space [bits].
        start: known good mappings.
        count: how often the layer occurs.
    """

    name: str
    problem: Problem
    bits: tuple[tuple[str, int], ...] | None = None
    start: tuple[Mapping, ...] = ()
    count: int = 1


@dataclass(frozen=True)
class NetworkResult:
    """All layers of a network.

    Attributes:
        outcomes: by layer in the order given: a `MapResult`, or the `InfeasibleMappingError` that says why there is none.
        items: the layers.
        mapped: how many distinct problems were mapped.
        seconds: wall-clock time [s].
    """

    outcomes: tuple[Outcome, ...]
    items: tuple[Item, ...]
    mapped: int
    seconds: float

    @property
    def energy_pj(self) -> float:
        """Energy of all layers, repeats counted [pJ]; infinite when a layer has no mapping."""
        return float(
            sum(
                _cost(o).energy_pj * i.count if _cost(o) else float("inf") for o, i in zip(self.outcomes, self.items, strict=True)
            )
        )

    @property
    def cycles(self) -> float:
        """Cycles of all layers one after the other, repeats counted; infinite when a layer has no mapping."""
        return float(
            sum(_cost(o).cycles * i.count if _cost(o) else float("inf") for o, i in zip(self.outcomes, self.items, strict=True))
        )


def _cost(outcome: Outcome) -> Any:
    return outcome.cost if isinstance(outcome, MapResult) else None


def map_network(
    items: Iterable[Item],
    arch: Architecture | Any,
    ert: EnergyTable | Any,
    constraints: Constraints | None = None,
    objective: Objective = "edp",
    seed: int = 0,
    effort: str = "normal",
    workers: int | None = None,
    progress: Progress | None = None,
    mapper: MapFunction = map_problem,
) -> NetworkResult:
    """Maps every layer; identical ones once.

    The answer does not depend on the number of workers: each layer's search depends on its own arguments alone.

    Args:
        items: the layers.
        arch: an `Architecture`, or what `load_architecture` takes.
        ert: an `EnergyTable`, or what `load_energy_table` takes.
        constraints: as in `map_problem`, for all layers.
        objective: as in `map_problem`. A function must be one that can be pickled when more than one worker is used.
        seed: of each layer's search.
        effort: as in `map_problem`.
        workers: processes; None for one a core, 1 to stay in this process.
        progress: called as `progress(done, total, name, outcome)` after each distinct layer.
        mapper: called in place of `map_problem` with the same arguments, e.g. one that remembers; picklable when workers > 1.

    Raises:
        SpecError: a spec that cannot be read.
        KeyboardInterrupt: on Ctrl-C, after the workers were stopped.
    """
    began = perf_counter()
    items = tuple(items)
    architecture, table = load_architecture(arch), load_energy_table(ert)
    keys = [(item.problem, item.bits, item.start) for item in items]
    first: dict[Any, Item] = {}
    for key, item in zip(keys, items, strict=True):
        first.setdefault(key, item)
    common = (architecture, table, constraints, objective, seed, effort)
    tasks = [(key, (mapper, item, *common)) for key, item in first.items()]
    count = min(worker_count(workers), len(tasks))
    done: dict[Any, Outcome] = {}

    def report(key: Any, outcome: Outcome) -> None:
        done[key] = outcome
        if progress is not None:
            progress(len(done), len(tasks), first[key].name, outcome)

    if count <= 1:
        for key, task in tasks:
            report(key, _map_one(*task))
    else:
        tasks.sort(key=lambda task: -task[1][1].problem.computes)  # the longest first
        in_processes(_map_one, [task for _, task in tasks], count, lambda i, outcome: report(tasks[i][0], outcome))
    return NetworkResult(tuple(done[key] for key in keys), items, len(tasks), perf_counter() - began)


def _map_one(
    mapper: MapFunction,
    item: Item,
    architecture: Architecture,
    table: EnergyTable,
    constraints: Constraints | None,
    objective: Objective,
    seed: int,
    effort: str,
) -> Outcome:
    bits: MappingABC[str, int] | None = dict(item.bits) if item.bits is not None else None
    try:
        return mapper(
            item.problem, architecture, table, constraints=constraints, objective=objective, bits=bits,
            start=item.start, seed=seed, effort=effort,
        )  # fmt: skip
    except InfeasibleMappingError as why:
        return why
