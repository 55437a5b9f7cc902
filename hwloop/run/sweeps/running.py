"""The sweep: every accelerator under every dataflow running every network, mapped many at once, each row kept as it is done.

A row is what `hwloop.map_network` says of the same accelerator, dataflow and network, to the last digit: the mapper starts from
nothing each time, so that no row depends on its neighbours, on the order or on where an earlier run was stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from hwloop.backend.cluster import LostTasks
from hwloop.backend.designs import Base, Design, area_of, at_point, make_designs
from hwloop.backend.distinct import Distinct
from hwloop.backend.pool import Workers, worker_count
from hwloop.backend.protocol import Backend
from hwloop.backend.request import MapperSettings, MapRequest, request_for
from hwloop.backend.target import Target
from hwloop.backend.whole_network import map_network
from hwloop.errors import EnergyTableError, InfeasibleMappingError
from hwloop.memo.key import digest, digest_of_energy_table, form_of
from hwloop.report.progress import Progress, Task, time_text
from hwloop.report.sweeps import SweepRow
from hwloop.run.sweeps.kept import KeptRows
from hwloop.spec.axes import Axis, count
from hwloop.spec.constraints import Constraints
from hwloop.spec.plan import Plan, PlannedLayer, make_plan
from hwloop.spec.workload import Workload

# Layers that the backend gets together, by worker and at least: some seconds of work, which is what a kill costs without a memo
# table. How many workers a cluster has changes, so it gets many.
_OF_A_WORKER, _LEAST, _OF_A_CLUSTER = 60, 120, 2000


@dataclass(frozen=True, eq=False)
class Treatment:
    """A network and what is done to it before it runs.

    Attributes:
        network: as a workload.
        weight_bits, activation_bits: None for the accelerator's own.
        density, input_density: fractions kept.
    """

    network: Workload
    weight_bits: int | None = None
    activation_bits: int | None = None
    density: float = 1.0
    input_density: float = 1.0

    @cached_property
    def plan(self) -> Plan:
        """The same as a plan."""
        return make_plan(self.network, self.density, self.input_density, self.weight_bits, self.activation_bits)

    @cached_property
    def layers(self) -> tuple[PlannedLayer, ...]:
        """The layers as they run."""
        return self.plan.apply(self.network)


@dataclass(frozen=True, eq=False)
class Case:
    """A row that is still to be filled in.

    Attributes:
        row: without numbers.
        target: the accelerator under the dataflow.
        treatment: the network.
        requests: of its layers.
    """

    row: SweepRow
    target: Target
    treatment: Treatment
    requests: tuple[MapRequest, ...]


@dataclass(frozen=True, eq=False)
class Grid:
    """All that a sweep asks.

    Attributes:
        bases: the accelerators that are varied.
        axes: fields and values.
        dataflows: None for what an accelerator itself allows.
        treatments: networks.
        settings: of the mapper.
        activations: as in `make_targets`.
        identity: of the backend.
    """

    bases: tuple[Base, ...]
    axes: tuple[Axis, ...]
    dataflows: tuple[Constraints | None, ...]
    treatments: tuple[Treatment, ...]
    settings: MapperSettings
    activations: str
    identity: str
    _bases_digests: dict[str, str] = field(default_factory=dict)

    @property
    def designs(self) -> Iterator[Design]:
        """Every accelerator."""
        return make_designs(self.bases, self.axes)

    @property
    def design_count(self) -> int:
        """How many accelerators there are."""
        return len(self.bases) * count(self.axes)

    @property
    def row_count(self) -> int:
        """How many rows there will be."""
        return self.design_count * len(self.dataflows) * len(self.treatments)

    def rows_of(self, design: Design) -> list[tuple[SweepRow, int, Treatment]]:
        """The rows of an accelerator without numbers, each with the place of its dataflow and its network."""
        out = []
        for at, flow in enumerate(self.dataflows):
            for treatment in self.treatments:
                row = SweepRow(
                    self.basis(design.base, flow, treatment.network), design.number, design.base.name, design.fields,
                    "" if flow is None else flow.name or "dataflow", treatment.network.name, treatment.weight_bits,
                    treatment.activation_bits, treatment.density, treatment.input_density,
                )  # fmt: skip
                out.append((row, at, treatment))
        return out

    def basis(self, base: Base, flow: Constraints | None, network: Workload) -> str:
        """Digest of all that a row's numbers depend on besides what stands in the row."""
        parts = [self._digest(base.name, base), self._digest("", flow), self._digest(network.name, network)]
        return digest([*parts, form_of(self.settings), self.activations, self.identity])[:16]

    def _digest(self, name: str, thing: Base | Constraints | Workload | None) -> str:
        key = f"{name} {id(thing)}"
        if key not in self._bases_digests:
            if isinstance(thing, Base):
                found = digest([thing.document, _energy_digest(thing)])
            else:
                found = digest(thing.to_dict() if isinstance(thing, Workload) else form_of(thing))
            self._bases_digests[key] = found
        return self._bases_digests[key]

    def cases(self, design: Design, rows: KeptRows) -> list[Case]:
        """The rows of an accelerator that are not known, with the questions to be asked.

        Raises:
            SpecError, EnergyTableError: names the point.
        """
        missing = [entry for entry in self.rows_of(design) if entry[0].place not in rows]
        if not missing:
            return []
        targets = design.targets(self.dataflows, self.activations)

        def asked() -> list[Case]:
            area = area_of(targets[0])
            out = []
            for row, at, treatment in missing:
                network, target = treatment.network.name, targets[at]
                requests = tuple(request_for(layer, target, self.settings, network) for layer in treatment.layers)
                out.append(Case(replace(row, area_um2=area), target, treatment, requests))
            return out

        return at_point(design.base.name, design.fields, asked)


def check_designs(grid: Grid, rows: KeptRows, progress: Progress) -> int:
    """Loads every accelerator and estimates its energies before anything is mapped.

    Returns:
        How many layers there are to map.

    Raises:
        SpecError, EnergyTableError: names the point that cannot be.
    """
    layers = 0
    with progress.task(f"check {grid.design_count} accelerators", grid.design_count) as task:
        for design in grid.designs:
            layers += sum(len(case.requests) for case in grid.cases(design, rows))
            task.advance()
    return layers


def batch_size(workers: Workers) -> int:
    """Layers that the backend gets together."""
    return _OF_A_CLUSTER if isinstance(workers, str) else max(_OF_A_WORKER * worker_count(workers), _LEAST)


def run_grid(grid: Grid, rows: KeptRows, backend: Backend, layers: int, together: int, progress: Progress) -> None:
    """Fills in what is missing.

    Args:
        grid: what is asked.
        rows: what is known; each new row is added as soon as it is there.
        backend: who answers.
        layers: how many there are to map.
        together: how many of them the backend gets together; see `batch_size`.
        progress: where to show how far it is, with the time left.

    Raises:
        SimulatorError: an outside program failed, or a worker was killed; what was done is kept.
    """
    missing = sum(row.place not in rows for design in grid.designs for row, _, _ in grid.rows_of(design))
    with progress.task(f"sweep {grid.design_count} accelerators", missing) as task:
        clock = _Clock(layers, task)
        batch: list[Case] = []
        for design in grid.designs:
            batch += grid.cases(design, rows)
            if sum(len(case.requests) for case in batch) >= together:
                _run_batch(batch, rows, backend, grid, clock)
                batch = []
        _run_batch(batch, rows, backend, grid, clock)


class _Clock:
    """Counts layers and says how long the rest will take."""

    def __init__(self, layers: int, task: Task) -> None:
        self.layers, self.task = layers, task
        self.done, self.began = 0, time.monotonic()

    def layer(self, name: str) -> None:
        """One more is mapped."""
        self.done += 1
        left = (time.monotonic() - self.began) / self.done * (self.layers - self.done)
        self.task.advance(f"{name}, about {time_text(left)} left", 0)


def _run_batch(cases: Sequence[Case], rows: KeptRows, backend: Backend, grid: Grid, clock: _Clock) -> None:
    """Maps the layers of some rows together; a row is filled in and kept when its last layer is there."""
    once = Distinct(backend)  # forgotten after the batch, as whole answers take room
    owner = [case for case in cases for _ in case.requests]
    left = {id(case): len(case.requests) for case in cases}

    def finish(case: Case) -> None:
        rows.add(_filled(case, once, grid.settings))
        clock.task.advance()

    def tell(at: int, request: MapRequest, _outcome: object) -> None:
        clock.layer(request.layer)
        left[id(owner[at])] -= 1
        if not left[id(owner[at])] and not owner[at].target.resident:  # else the backend is asked more, which is busy now
            finish(owner[at])

    gone: set[Any] = set()
    try:
        once.map([request for case in cases for request in case.requests], tell)
    except LostTasks as lost:
        gone = {request.question for request in lost.requests}
        why = lost.message
    for case in cases:
        if gone and any(request.question in gone for request in case.requests):
            rows.add(replace(case.row, problem=why, failed=True))
            clock.task.advance()
        elif case.target.resident:
            finish(case)


def _filled(case: Case, backend: Backend, settings: MapperSettings) -> SweepRow:
    try:
        cost = map_network(case.treatment.network, case.target, backend, case.treatment.plan, settings)
    except InfeasibleMappingError as refusal:
        return replace(case.row, problem=refusal.reason)
    return replace(
        case.row,
        energy_pj=float(cost.energy_pj),
        cycles=int(cost.cycles),
        latency_s=cost.cycles * case.target.arch.cycle_s,
        utilization=float(cost.utilization),
        component_energy_pj={name: float(energy) for name, energy in cost.component_energy_pj.items()},
    )


def _energy_digest(base: Base) -> Any:
    """What tells two energy sources apart, and two versions of one: its words, and what it says of the accelerator as it is."""
    [design] = make_designs([base], ())
    words = base.energy if isinstance(base.energy, str) else "table"
    try:
        return [words, digest_of_energy_table(design.targets([None], "streamed")[0].table())]
    except EnergyTableError:
        return [words]
