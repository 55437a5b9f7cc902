"""What a candidate costs on the accelerator, quickly inside the search and in full for the front.

Inside the search every layer tries a short list of mappings known to be good: the one found for the dense layer at the
reference bits, and those found at a few corners of density and bits. Each (layer, densities, bits) is simulated once. In full
means that the mapper looks anew, starting from the mapping of the dense reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwloop.backend.request import MapRequest, Outcome
from hwloop.backend.simulators import EMBEDDED, Simulator, find_simulator
from hwloop.errors import HwloopError, InfeasibleMappingError
from hwloop.mapper.result import MapResult
from hwloop.simulator import simulate_batch
from hwloop.spec.architecture import Architecture
from hwloop.spec.batch import MappingBatch
from hwloop.spec.constraints import Constraints
from hwloop.spec.density import Density
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.mapping import Mapping
from hwloop.spec.plan import LayerPlan, Plan
from hwloop.spec.problem import Problem
from hwloop.spec.pruning import BlockPattern
from hwloop.spec.workload import Workload

EnergySource = Callable[[dict[str, int]], EnergyTable]
MapAll = Callable[[Sequence[MapRequest]], list[Outcome]]


@dataclass(frozen=True)
class Target:
    """An accelerator under a dataflow: what one search is about.

    Attributes:
        name: for tables and file names.
        arch: the accelerator.
        constraints: the dataflow; None leaves what the accelerator itself allows.
        energy: energy table for `{data space: bits}`.
    """

    name: str
    arch: Architecture
    constraints: Constraints | None
    energy: EnergySource


@dataclass(frozen=True)
class MapperSettings:
    """How the mapper is asked.

    Attributes:
        objective: what it minimises.
        effort: how long it looks.
        seed: of its draws.
        simulator: who costs mappings, one of `hwloop.backend.simulators.SIMULATORS`.
    """

    objective: str = "edp"
    effort: str = "normal"
    seed: int = 0
    simulator: str = EMBEDDED


@dataclass(frozen=True)
class LayerShare:
    """One layer's part of a network's cost."""

    layer: str
    energy_pj: float
    cycles: int


@dataclass(frozen=True)
class NetworkCost:
    """A network's cost: the layers run one after the other.

    Attributes:
        layers: in execution order.
    """

    layers: tuple[LayerShare, ...]

    @property
    def energy_pj(self) -> float:
        """Sum over the layers."""
        return sum(share.energy_pj for share in self.layers)

    @property
    def cycles(self) -> int:
        """Sum over the layers."""
        return sum(share.cycles for share in self.layers)

    @property
    def edp(self) -> float:
        """Energy of the network times its cycles [pJ x cycles]."""
        return self.energy_pj * self.cycles


class HardwareModel:
    """Costs of one workload on one target.

    Args:
        workload: the network.
        target: the accelerator, dataflow and energies.
        settings: of the mapper.
        map_all: answers mapper requests: `Memo.map_many` or the mapper itself.
    """

    def __init__(self, workload: Workload, target: Target, settings: MapperSettings, map_all: MapAll) -> None:
        self.workload, self.target, self.settings = workload, target, settings
        self._map_all = map_all
        self._outside: Simulator | None = None if settings.simulator == EMBEDDED else find_simulator(settings.simulator)
        self._sees_zeros = any(bool(level.sparse) for level in target.arch.levels)
        self._energy: dict[tuple[tuple[str, int], ...], EnergyTable] = {}
        self._starts: dict[Problem, Mapping] = {}
        self._short_lists: dict[Problem, list[Mapping]] = {}
        self._batches: dict[Problem, MappingBatch] = {}
        self._costs: dict[tuple[Problem, LayerPlan], tuple[float, int] | None] = {}

    def prepare(self, reference: Plan, corners: Sequence[Plan] = ()) -> NetworkCost:
        """Maps the reference, then the corners starting from it, and keeps the short lists.

        Returns:
            The cost of the reference as mapped.

        Raises:
            InfeasibleMappingError: a layer of the reference fits no mapping; it says which.
        """
        shares = [(layer.name, layer.problem, reference.of(layer.name)) for layer in self.workload.layers]
        requests = [self._request(name, problem, share, start=None) for name, problem, share in shares]
        layers = []
        for (name, problem, _), outcome in zip(shares, self._map_all(requests), strict=True):
            found = self._found(name, outcome)
            self._starts[problem] = found.mapping
            self._add(problem, found.mapping)
            layers.append(LayerShare(name, found.cost.energy_pj, int(found.cost.cycles)))
        requests, problems = [], []
        for plan in corners:
            for layer in self.workload.layers:
                requests.append(self._request(layer.name, layer.problem, plan.of(layer.name), self._starts[layer.problem]))
                problems.append(layer.problem)
        for problem, outcome in zip(problems, self._map_all(requests) if requests else [], strict=True):
            if isinstance(outcome, MapResult):  # a corner without a mapping adds none
                self._add(problem, outcome.mapping)
        self._costs.clear()
        return NetworkCost(tuple(layers))

    def cost(self, plan: Plan) -> NetworkCost | None:
        """The best of the short lists; where none of a layer's fits, the mapper looks. None when it finds nothing either."""
        shares = []
        for layer in self.workload.layers:
            share = plan.of(layer.name)
            key = (layer.problem, share if self._sees_zeros else replace(share, weight_density=1.0, input_density=1.0))
            if key not in self._costs:
                self._costs[key] = self._simulate(layer.name, layer.problem, share)
            found = self._costs[key]
            if found is None:
                return None
            shares.append(LayerShare(layer.name, *found))
        return NetworkCost(tuple(shares))

    def remap(self, plans: Sequence[Plan]) -> list[NetworkCost | None]:
        """Every layer of every plan mapped in full, all requests at once; None for a plan with a layer that fits no mapping.

        Where the short list still beats what the mapper found, the short list's cost stands.
        """
        requests = [
            self._request(layer.name, layer.problem, plan.of(layer.name), self._starts.get(layer.problem))
            for plan in plans
            for layer in self.workload.layers
        ]
        outcomes = iter(self._map_all(requests) if requests else [])
        costs: list[NetworkCost | None] = []
        for plan in plans:
            quick = self.cost(plan)
            shares: list[LayerShare] = []
            for at, layer in enumerate(self.workload.layers):
                outcome = next(outcomes)
                found = [quick.layers[at]] if quick is not None else []
                if isinstance(outcome, MapResult):
                    found.append(LayerShare(layer.name, outcome.cost.energy_pj, int(outcome.cost.cycles)))
                shares += [min(found, key=lambda s: self._rank(s.energy_pj, s.cycles))] if found else []
            costs.append(NetworkCost(tuple(shares)) if len(shares) == len(self.workload.layers) else None)
        return costs

    @property
    def simulated(self) -> int:
        """How many (layer, densities, bits) were simulated so far."""
        return len(self._costs)

    def _rank(self, energy_pj: float, cycles: float) -> tuple[float, float]:
        if self.settings.objective == "energy":
            return (energy_pj, cycles)
        if self.settings.objective == "edp":
            return (energy_pj * cycles, energy_pj)
        return (cycles, energy_pj)

    def _found(self, name: str, outcome: Outcome) -> MapResult:
        if isinstance(outcome, MapResult):
            return outcome
        where = f"{self.workload.name} layer {name} on {self.target.arch.name} under {self.target.name}"
        raise InfeasibleMappingError(f"{where}: {outcome.reason}", outcome.level, outcome.data_space)

    def _add(self, problem: Problem, mapping: Mapping) -> None:
        known = self._short_lists.setdefault(problem, [])
        if mapping not in known:
            known.append(mapping)
            self._batches.pop(problem, None)

    def _table(self, bits: dict[str, int]) -> EnergyTable:
        key = tuple(sorted(bits.items()))
        if key not in self._energy:
            self._energy[key] = self.target.energy(bits)
        return self._energy[key]

    def _request(self, name: str, problem: Problem, share: LayerPlan, start: Mapping | None) -> MapRequest:
        return MapRequest(
            problem=self._planned(problem, share),
            arch=self.target.arch,
            ert=self._table(_bits(share)),
            constraints=self.target.constraints,
            objective=self.settings.objective,
            bits=_bits(share) or None,
            start=None if start is None else (start,),
            seed=self.settings.seed,
            effort=self.settings.effort,
            simulator=self.settings.simulator,
            network=self.workload.name,
            layer=name,
        )

    def _planned(self, problem: Problem, share: LayerPlan) -> Problem:
        """The problem with its densities; without them where no level has a sparse optimisation, as zeros save nothing there."""
        kept = share.weight_density.density if isinstance(share.weight_density, BlockPattern) else share.weight_density
        given = {"Weights": kept, "Inputs": share.input_density} if self._sees_zeros else {}
        densities: dict[str, Density | float] = dict(problem.densities)
        densities |= {name: value for name, value in given.items() if value != 1.0}
        return replace(problem.with_densities(densities), name=problem.name) if densities else problem

    def _simulate(self, name: str, problem: Problem, share: LayerPlan) -> tuple[float, int] | None:
        if problem not in self._short_lists:
            raise HwloopError(f"layer {name}: no mappings are known for it; call prepare() with a plan of this workload first")
        if problem not in self._batches:
            self._batches[problem] = MappingBatch.from_mappings(
                self._short_lists[problem], problem.shape, problem.bounds, self.target.arch
            )
        costs = simulate_batch(
            self._planned(problem, share),
            self.target.arch,
            self._batches[problem],
            self._table(_bits(share)),
            bits=_bits(share) or None,
        )
        fits = np.flatnonzero(costs.feasible)
        if len(fits):
            best = min(fits.tolist(), key=lambda i: self._rank(float(costs.energy_pj[i]), float(costs.cycles[i])))
            if self._outside is None:
                return float(costs.energy_pj[best]), int(costs.cycles[best])
            return self._ask_outside(best, problem, share)
        [outcome] = self._map_all([self._request(name, problem, share, self._starts.get(problem))])
        if not isinstance(outcome, MapResult):
            return None
        return float(outcome.cost.energy_pj), int(outcome.cost.cycles)

    def _ask_outside(self, best: int, problem: Problem, share: LayerPlan) -> tuple[float, int]:
        assert self._outside is not None
        mapping, bits = self._short_lists[problem][best], _bits(share) or None
        cost = self._outside.simulate(self._planned(problem, share), self.target.arch, mapping, self._table(bits or {}), bits)
        return cost.energy_pj, cost.cycles


def _bits(share: LayerPlan) -> dict[str, int]:
    pairs = (("Weights", share.weight_bits), ("Inputs", share.activation_bits))
    return {name: bits for name, bits in pairs if bits is not None}
