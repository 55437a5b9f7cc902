"""What a study is made of (network, target, budget) and what it reports (features of layers, steps)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hwloop.backend.network_cost import NetworkCost
from hwloop.errors import HwloopError, SpecError
from hwloop.spec.plan import Plan
from hwloop.spec.workload import Layer, Workload

Floats = NDArray[np.float64]


class Scorer(Protocol):
    """A trained network, as the search asks about it. The same plan always gets the same answers."""

    @property
    def workload(self) -> Workload:
        """The network as the accelerator sees it."""
        ...

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that a plan may change."""
        ...

    @property
    def images(self) -> int:
        """Validation images that one accuracy looks at."""
        ...

    @property
    def train_images(self) -> int:
        """Images of one epoch of training."""
        ...

    @property
    def has_test(self) -> bool:
        """Whether there is a test set."""
        ...

    def complete(self, plan: Plan) -> Plan:
        """The plan with the densities that its weights and inputs really have."""
        ...

    def accuracy(self, plan: Plan, network: Any = None) -> float:
        """On the validation images, 0 to 1, of `network`, or of what the plan alone makes when None."""
        ...

    def divergence(self, plan: Plan, reference: Plan, images: int) -> float:
        """How far a plan's outputs are from those of another's, on `images` training images; 0 or more, minimised."""
        ...

    def test_accuracy(self, plan: Plan, network: Any = None) -> float:
        """On the test set; for the report only."""
        ...

    def size_bits(self, plan: Plan, coding: str | None = None) -> float:
        """Of the stored network under a coding, its own when None [bits]."""
        ...

    def macs(self, plan: Plan) -> float:
        """Multiply-accumulates with a weight that is not zero, for one input."""
        ...

    def materialise(self, plan: Plan, training: Any = None) -> Any:
        """The network of a plan, trained further when `training` (a dataclass with `epochs`) is given."""
        ...


@runtime_checkable
class ManyScorer(Protocol):
    """What a scorer may have besides: answers about many plans at once, for which it takes less time than one by one."""

    def prepare(self, plans: Sequence[Plan]) -> None:
        """Called before `complete` is asked of each."""
        ...

    def accuracies(
        self, plans: Sequence[Plan], hopeless: Callable[[Floats, Floats], NDArray[np.bool_]] | None = None
    ) -> list[tuple[float, bool]]:
        """By plan its accuracy and True. Or what it is at most and False, where `hopeless` said that this is enough.

        Args:
            plans: different from each other.
            hopeless: given what each accuracy is at least and at most by now.
        """
        ...


class Hardware(Protocol):
    """The target, as the search asks about it."""

    def costs(self, plans: Sequence[Plan]) -> Sequence[NetworkCost | None]:
        """What each plan costs; None where a layer fits no mapping."""
        ...


@dataclass(frozen=True)
class SearchBudget:
    """How much a method may ask; None bounds nothing.

    Attributes:
        evaluations: candidates, each counted once.
        images: images that networks are run on, in evaluation and in training.

    Raises:
        SpecError: a bound below 1.
    """

    evaluations: int | None = None
    images: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("evaluations", self.evaluations), ("images", self.images)):
            if value is not None and value < 1:
                raise SpecError("<arguments>", name, "1 or more", value)


class BudgetSpent(HwloopError):
    """The budget is used up. A method may catch it to put something in order, and then returns; it need not."""


@dataclass(frozen=True)
class LayerFeatures:
    """What is known of a layer before anything is changed.

    Attributes:
        layer: name, kind, problem, parameter.
        changes: whether a plan may change it.
        energy_pj: of the network that is not compressed, on the target.
        cycles: likewise.
    """

    layer: Layer
    changes: bool
    energy_pj: float
    cycles: int


@dataclass(frozen=True)
class Step:
    """Where a method stands.

    Attributes:
        number: from 1.
        steps: how many there will be; 0 where nobody knows.
        F: `(n, n_obj)` of the candidates it holds, minimised.
        G: `(n, 1 + n_budgets)`, feasible where all are at most 0.
    """

    number: int
    steps: int
    F: Floats
    G: Floats
