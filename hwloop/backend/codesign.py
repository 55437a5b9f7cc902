"""A target whose accelerator is searched, too, and what plans cost on each of its accelerators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hwloop.backend.candidates import CandidateCosts
from hwloop.backend.designs import Base, Design, area_of, at_point, check_axes_of
from hwloop.backend.layer_runs import Known, NetworkRun, network_run
from hwloop.backend.network_cost import NetworkCost
from hwloop.backend.protocol import Backend
from hwloop.backend.request import MapperSettings, OnOutcome
from hwloop.backend.target import ArchitectureLike, DataflowLike, Target
from hwloop.errors import EnergyTableError, InfeasibleMappingError, SpecError
from hwloop.spec.axes import Axis, Fields, cross
from hwloop.spec.plan import Plan
from hwloop.spec.workload import Workload

_TRIED = 2000  # accelerators that are loaded before a search, at most


@dataclass(frozen=True)
class DesignTarget(Target):
    """An accelerator as given, and what may be changed of it.

    Attributes:
        base: its spec.
        axes: fields and values.
        flow: the dataflow, as `make_targets` takes it.
    """

    base: Base = field(default=Base("", None, ""), compare=False)
    axes: tuple[Axis, ...] = ()
    flow: DataflowLike = None
    _known: dict[Fields, Target] = field(default_factory=dict, init=False, repr=False, compare=False)

    def at(self, fields: Fields) -> Target:
        """The accelerator with these values in its fields, with energies estimated for it; kept.

        Raises:
            SpecError, EnergyTableError: it does not load, or has a size that no source has figures for.
        """
        if fields not in self._known:
            design = Design(0, self.base, fields)
            [found] = design.targets([self.flow], "resident" if self.resident else "streamed")
            self._known[fields] = replace(found, name=self.name)
        return self._known[fields]

    @property
    def identity(self) -> dict[str, Any]:
        """What is searched, as plain data."""
        axes = [[list(point) for point in axis.points] for axis in self.axes]
        return {"spec": self.base.document, "axes": axes}


def design_target(
    arch: ArchitectureLike, axes: Sequence[Axis], dataflow: DataflowLike = None, energy: Any = "shipped",
    activations: str = "streamed",
) -> DesignTarget:  # fmt: skip
    """The target of a co-design, with its accelerators tried before anything else is done: all of them, or 2000.

    Raises:
        SpecError: an unknown field, no values, an accelerator that does not load, or clocks that differ.
        EnergyTableError: energies that cannot be estimated, or would not follow a field.
    """
    if not axes:
        raise SpecError("<arguments>", "fields", "fields of the accelerator to search, e.g. PE.spatial.meshX=8..32:8", None)
    base = Base.open(arch, energy)
    check_axes_of(base, axes)
    [given] = Design(0, base, ()).targets([dataflow], activations)
    target = DesignTarget(
        given.name, given.arch, given.constraints, given.energies, given.resident, base=base, axes=tuple(axes), flow=dataflow
    )
    for number, fields in enumerate(cross(axes)):
        if number == _TRIED:
            break
        [one] = Design(0, base, fields).targets([dataflow], activations)
        at_point(base.name, fields, one.table)
        if one.arch.cycle_s != given.arch.cycle_s:
            raise SpecError("<arguments>", "fields", "accelerators of one clock, as latency is in cycles", dict(fields))
    return target


class DesignCosts:
    """Costs of one workload's plans, each on the accelerator that the plan names.

    Each accelerator has mappings of its own, found for the reference and the corners when it is first met, so that a plan's cost
    depends on the plan, the reference and the corners alone, as on a fixed accelerator, where it is the same.

    Args:
        workload: the network.
        target: the accelerators.
        settings: of the mapper.
        backend: who answers.
    """

    def __init__(self, workload: Workload, target: DesignTarget, settings: MapperSettings, backend: Backend) -> None:
        self.workload, self.target, self.settings, self.backend = workload, target, settings, backend
        self._reference, self._corners = Plan(), tuple[Plan, ...]()
        self._models: dict[Fields, CandidateCosts | None] = {}

    def prepare(self, reference: Plan, corners: Sequence[Plan] = (), on_outcome: OnOutcome | None = None) -> NetworkCost:
        """Maps the reference and the corners on the accelerator as given.

        Returns:
            The cost of the reference there.

        Raises:
            InfeasibleMappingError: a layer of the reference fits no mapping.
        """
        self._reference, self._corners, self._models = reference, tuple(corners), {}
        model = CandidateCosts(self.workload, self.target, self.settings, self.backend)
        cost = model.prepare(reference, corners, on_outcome)
        self._models[()] = model
        return replace(cost, area_um2=self._areas(()))

    def plain(self, plan: Plan) -> NetworkCost | None:
        """See `CandidateCosts.plain`: on the accelerator as given."""
        model = self._models[()]
        assert model is not None
        return model.plain(plan)

    def costs(self, plans: Sequence[Plan], on_outcome: OnOutcome | None = None) -> list[NetworkCost | None]:
        """See `CandidateCosts.costs`; None also for an accelerator that nothing fits."""
        return self._by_accelerator(plans, on_outcome, again=False)

    def remap(self, plans: Sequence[Plan], on_outcome: OnOutcome | None = None) -> list[NetworkCost | None]:
        """See `CandidateCosts.remap`."""
        return self._by_accelerator(plans, on_outcome, again=True)

    def run(self, plan: Plan, cost: NetworkCost, known: Known) -> NetworkRun:
        """See `CandidateCosts.run`."""
        target = self.target.at(plan.accelerator) if plan.accelerator else self.target
        return network_run(self.workload, plan, cost, target, self.settings, self.backend, known)

    @property
    def accelerators(self) -> int:
        """How many were met."""
        return len(self._models)

    def _by_accelerator(self, plans: Sequence[Plan], on_outcome: OnOutcome | None, again: bool) -> list[NetworkCost | None]:
        groups: dict[Fields, list[int]] = {}
        for at, plan in enumerate(plans):
            groups.setdefault(plan.accelerator, []).append(at)
        found: list[NetworkCost | None] = [None] * len(plans)
        for fields, places in groups.items():
            model = self._model(fields)
            if model is None:
                continue
            some = [plans[at] for at in places]
            costs = model.remap(some, on_outcome) if again else model.costs(some, on_outcome)
            for at, cost in zip(places, costs, strict=True):
                found[at] = None if cost is None else replace(cost, area_um2=self._areas(fields))
        return found

    def _model(self, fields: Fields) -> CandidateCosts | None:
        """Of one accelerator, None for one that does not load or that the reference does not fit."""
        if fields not in self._models:
            self._models[fields] = None
            try:
                model = CandidateCosts(self.workload, self.target.at(fields), self.settings, self.backend)
                model.prepare(self._reference, self._corners)
                self._models[fields] = model
            except (InfeasibleMappingError, SpecError, EnergyTableError):
                pass
        return self._models[fields]

    def _areas(self, fields: Fields) -> float | None:
        return area_of(self.target.at(fields) if fields else self.target)
