"""What a search is made of where its accelerator is searched, too: the network scored without it, costs by accelerator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from hwloop.backend.candidates import CandidateCosts
from hwloop.backend.codesign import DesignCosts, DesignTarget, design_target
from hwloop.backend.layer_runs import Known, NetworkRun
from hwloop.backend.network_cost import NetworkCost
from hwloop.backend.protocol import Backend
from hwloop.backend.request import MapperSettings, OnOutcome
from hwloop.backend.target import ArchitectureLike, DataflowLike, Target
from hwloop.errors import SpecError
from hwloop.run.sweeps.sweep import FieldsLike, axes_of
from hwloop.search.objectives import AREA, Budget, Objective
from hwloop.search.seams import Scorer
from hwloop.search.space import Space
from hwloop.search.spaces.codesign import Codesign
from hwloop.spec.plan import Plan
from hwloop.spec.workload import Workload

OBJECTIVES = ("accuracy", "energy", "area")  # of a co-design, where nothing else is said


def design_targets(
    arch: ArchitectureLike = "eyeriss_168",
    fields: FieldsLike = None,
    dataflows: DataflowLike | Sequence[DataflowLike] = None,
    *,
    points: Sequence[Mapping[str, Any]] | None = None,
    energy: Any = "shipped",
    activations: str = "streamed",
) -> tuple[DesignTarget, ...]:
    """Targets whose accelerator is searched together with the network, for `hwloop.compress`.

    A candidate is then a plan with the fields of its accelerator (`plan.accelerator`); energy and area are estimated for each
    accelerator, once, and area may be an objective or a budget (`area<=2mm2`). The reference is the network that is not
    compressed on the accelerator as given.

    Args:
        arch: the accelerator to vary.
        fields, points: what is searched of it, as in `hwloop.sweep`.
        dataflows: constraints, each a target of its own.
        energy, activations: as in `make_targets`.

    Raises:
        SpecError: fields that the accelerator does not have, values that do not load, clocks that differ.
        EnergyTableError: energies that cannot be estimated, or would not follow a field.

    Example:
        >>> targets = hwloop.design_targets("flexible", {"PE.spatial.meshY": [4, 8, 16]}, "row_stationary")
        >>> settings = hwloop.Settings(objectives=("accuracy", "energy", "area"))
        >>> found = hwloop.compress("lenet5", "digits", targets, settings=settings, library_dir="library")
        >>> [(member.plan.accelerator, member.metrics) for member in found.fronts[0].members]
    """
    flows: list[Any] = list(dataflows) if isinstance(dataflows, (list, tuple)) else [dataflows]
    axes = axes_of(fields, points)
    return tuple(design_target(arch, axes, flow, energy, activations) for flow in flows)


class Costs(Protocol):
    """What `CandidateCosts` and `DesignCosts` have in common."""

    def prepare(self, reference: Plan, corners: Sequence[Plan] = (), on_outcome: OnOutcome | None = None) -> NetworkCost:
        """The cost of the reference."""
        ...

    def plain(self, plan: Plan) -> NetworkCost | None:
        """Where no zero is used."""
        ...

    def costs(self, plans: Sequence[Plan], on_outcome: OnOutcome | None = None) -> list[NetworkCost | None]:
        """Quickly."""
        ...

    def remap(self, plans: Sequence[Plan], on_outcome: OnOutcome | None = None) -> list[NetworkCost | None]:
        """In full."""
        ...

    def run(self, plan: Plan, cost: NetworkCost, known: Known) -> NetworkRun:
        """How its layers run."""
        ...


class DesignScorer:
    """A network, scored once for all accelerators that it runs on.

    Args:
        inner: scores plans of the network alone.
    """

    def __init__(self, inner: Scorer) -> None:
        self._inner = inner
        self._accuracy: dict[str, float] = {}

    @property
    def workload(self) -> Workload:
        """The network as the accelerator sees it."""
        return self._inner.workload

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that a plan may change."""
        return self._inner.layers

    @property
    def images(self) -> int:
        """Validation images that one accuracy looks at."""
        return self._inner.images

    @property
    def train_images(self) -> int:
        """Images of one epoch of training."""
        return self._inner.train_images

    @property
    def has_test(self) -> bool:
        """Whether there is a test set."""
        return self._inner.has_test

    def complete(self, plan: Plan) -> Plan:
        """The plan with the densities that its weights and inputs really have, on its accelerator."""
        return replace(self._inner.complete(_alone(plan)), accelerator=plan.accelerator)

    def accuracy(self, plan: Plan, network: Any = None) -> float:
        """On the validation images; networks that differ in their accelerator alone are run once."""
        alone = _alone(plan)
        if network is not None:
            return self._inner.accuracy(alone, network)
        if alone.key not in self._accuracy:
            self._accuracy[alone.key] = self._inner.accuracy(alone)
        return self._accuracy[alone.key]

    def divergence(self, plan: Plan, reference: Plan, images: int) -> float:
        """How far a plan's outputs are from those of another's."""
        return self._inner.divergence(_alone(plan), _alone(reference), images)

    def test_accuracy(self, plan: Plan, network: Any = None) -> float:
        """On the test set."""
        return self._inner.test_accuracy(_alone(plan), network)

    def size_bits(self, plan: Plan, coding: str | None = None) -> float:
        """Of the stored network under a coding [bits]."""
        return self._inner.size_bits(_alone(plan), coding)

    def macs(self, plan: Plan) -> float:
        """Multiply-accumulates with a weight that is not zero."""
        return self._inner.macs(_alone(plan))

    def materialise(self, plan: Plan, training: Any = None) -> Any:
        """The network of a plan."""
        return self._inner.materialise(_alone(plan), training)


def search_parts(
    target: Target, scorer: Scorer, space: Space, settings: MapperSettings, backend: Backend
) -> tuple[Scorer, Space, Costs]:
    """Scorer, space and costs of a search on a target, whose accelerator is given or searched."""
    if not isinstance(target, DesignTarget):
        return scorer, space, CandidateCosts(scorer.workload, target, settings, backend)
    return DesignScorer(scorer), Codesign(space, target.axes), DesignCosts(scorer.workload, target, settings, backend)


def check_area(targets: Sequence[Target], objectives: Sequence[Objective], budgets: Sequence[Budget]) -> None:
    """Refuses area as an objective or a budget where accelerators are given.

    Raises:
        SpecError: it is one.
    """
    asked = AREA in objectives or any(budget.objective == AREA for budget in budgets)
    if asked and not all(isinstance(target, DesignTarget) for target in targets):
        names = ", ".join(target.name for target in targets)
        expected = "objectives that a plan of the network changes"
        raise SpecError("<arguments>", "objectives", expected, "area", f"{names} is given: search it with hwloop codesign")


def _alone(plan: Plan) -> Plan:
    return replace(plan, accelerator=()) if plan.accelerator else plan
