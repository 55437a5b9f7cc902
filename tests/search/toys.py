"""A toy network and target with known answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hwloop.backend.network_cost import LayerShare, NetworkCost
from hwloop.search.log import EvaluationLog
from hwloop.search.objectives import find_objectives, read_budget
from hwloop.search.seams import SearchBudget
from hwloop.search.space import Choices, Space
from hwloop.search.spaces.global_pruning import GlobalPruning
from hwloop.search.study import Study
from hwloop.spec.plan import Plan, make_plan
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.pruning import BlockPattern, base_pruning
from hwloop.spec.workload import Layer, Workload

NEED = {"a": 6, "b": 4, "c": 3}  # bits below which a layer loses accuracy
AMOUNTS = tuple(i / 10 for i in range(10))
OBJECTIVES = find_objectives(["accuracy", "energy"])


def workload() -> Workload:
    """Layers a, b, c; c is called twice."""
    problem = make_problem(conv2d_shape(), {"C": 4, "M": 4})
    names = ("a", "b", "c", "c#2")
    layers = tuple(Layer(name, problem, "linear", "", f"{name[0]}.weight") for name in names)
    return Workload("toy", layers, tuple((f"{name}.weight", (4, 4)) for name in "abc"))


@dataclass(frozen=True)
class Training:
    epochs: int


class ToyScorer:
    """Accuracy falls with pruning above 0.6 and with bits below what a layer needs; training gives some of it back."""

    workload, layers = workload(), ("a", "b", "c")
    images, train_images, has_test = 10, 100, True

    def __init__(self, stop_after: int | None = None) -> None:
        self.asked: list[Plan] = []
        self.seen: list[tuple[str, int]] = []
        self.stop_after = stop_after

    def complete(self, plan: Plan) -> Plan:
        base = 1 - base_pruning(plan.base)
        density = {name: min(base, _kept(plan.of(name).weight_density)) for name in self.workload.by_name}
        bits = {name: plan.of(name).weight_bits or 16 for name in self.workload.by_name}
        return make_plan(self.workload, density, weight_bits=bits, base=plan.base)

    def accuracy(self, plan: Plan, network: Any = None) -> float:
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked.append(plan)
        return 1 - (1 - self._accuracy(plan)) / (1 if network is None else 2)

    def _accuracy(self, plan: Plan) -> float:
        loss = max(base_pruning(plan.base) - 0.6, 0)
        loss += 0.05 * sum(max(need - (plan.of(name).weight_bits or 16), 0) for name, need in NEED.items())
        loss += sum(max(0.4 - _kept(plan.of(name).weight_density), 0) for name in NEED)
        return max(1 - loss, 0.0)

    def divergence(self, plan: Plan, reference: Plan, images: int) -> float:
        """What it takes off the accuracy, and a little for each bit."""
        self.seen.append((plan.key, images))
        return max(self._damage(plan) - self._damage(reference), 0.0)

    def _damage(self, plan: Plan) -> float:
        return 1 - self._accuracy(plan) + sum(0.001 * 2.0 ** -(plan.of(name).weight_bits or 16) for name in NEED)

    def test_accuracy(self, plan: Plan, network: Any = None) -> float:
        return self.accuracy(plan, network) - 0.01

    def size_bits(self, plan: Plan, coding: str | None = None) -> float:
        return float(sum(self.complete(plan).of(name).weight_bits or 0 for name in "abc"))

    def macs(self, plan: Plan) -> float:
        return 100 * (1 - base_pruning(plan.base))

    def materialise(self, plan: Plan, training: Any = None) -> Any:
        return ("network", plan.key, training)


def _kept(density: Any) -> float:
    return density.keep / density.block if isinstance(density, BlockPattern) else float(density)


class ToyHardware:
    """Energy is density times bits, summed over a, b, c; above `most` pruning no mapping fits."""

    def __init__(self, most: float = 1.0) -> None:
        self.most, self.batches = most, []

    def costs(self, plans: Sequence[Plan]) -> list[NetworkCost | None]:
        self.batches.append(len(plans))
        return [self.cost(plan) for plan in plans]

    def cost(self, plan: Plan) -> NetworkCost | None:
        if base_pruning(plan.base) > self.most:
            return None
        energies = [float(plan.of(name).weight_density) * (plan.of(name).weight_bits or 0) for name in "abc"]
        shares = [LayerShare(name, 16, energy, 10, 1.0, {}) for name, energy in zip("abc", energies, strict=True)]
        return NetworkCost("toy", "here", (*shares, LayerShare("c#2", 16, 0.0, 10, 1.0, {})))


def make_study(
    log: EvaluationLog | None = None, *, scorer: Any = None, hardware: Any = None, budgets: Sequence[str] = (), seed: int = 3,
    limit: SearchBudget | None = None, folder: Any = None,
) -> Study:  # fmt: skip
    scorer, hardware = scorer or ToyScorer(), hardware or ToyHardware()
    reference = ToyHardware().cost(scorer.complete(Plan()))
    assert reference is not None
    bounds = [read_budget(text) for text in budgets]
    return Study(scorer, hardware, reference, OBJECTIVES, bounds, limit, seed, log, folder)


def choices() -> Choices:
    return Choices(workload(), ("a", "b", "c"), AMOUNTS, (2, 9))


def paper_space() -> Space:
    return GlobalPruning(choices())
