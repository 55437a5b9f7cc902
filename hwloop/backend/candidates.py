"""What candidates of a search cost on the accelerator: many plans at once quickly, and a few of them in full.

Quickly means that every layer tries a short list of mappings known to be good for its shape: the one found for the reference,
and those found at a few plans far apart in density and bits (corners). In full means that the mapper searches again for every
layer. Where feature maps may stay on chip, the sets of maps that stay for the reference and for the corners are tried for every
plan, and the cheapest counts, staying of none among them.

A plan's cost depends on the plan, the reference and the corners alone, never on what was asked before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from hwloop.backend.layer_runs import Known, NetworkRun, network_run
from hwloop.backend.memory_plan import MapPlaces, MemoryPlan, MemoryPlanner
from hwloop.backend.network_cost import LayerShare, NetworkCost, mapped_share
from hwloop.backend.network_maps import NetworkMaps, network_maps
from hwloop.backend.operations import OperationCosts
from hwloop.backend.protocol import Backend
from hwloop.backend.request import MapperSettings, OnOutcome
from hwloop.backend.short_lists import Case, ShortLists, widths_of
from hwloop.backend.target import Target
from hwloop.backend.whole_network import map_network
from hwloop.errors import InfeasibleMappingError
from hwloop.mapper.objective import One, objective_values
from hwloop.mapper.result import MapResult
from hwloop.spec.mapping import Mapping
from hwloop.spec.plan import Plan, PlannedLayer
from hwloop.spec.workload import Workload


class _Applied:
    """A plan applied to the network: its layers, and when asked for its feature maps."""

    def __init__(self, workload: Workload, plan: Plan) -> None:
        self._workload, self._plan = workload, plan
        self.layers = plan.apply(workload)

    @cached_property
    def maps(self) -> NetworkMaps:
        """The feature maps under the plan."""
        return network_maps(self._workload, self._plan, self.layers)


class CandidateCosts:
    """Costs of one workload's plans on one target.

    Args:
        workload: the network.
        target: the accelerator, dataflow and energies, and whether feature maps may stay on chip.
        settings: of the mapper.
        backend: who answers.
    """

    def __init__(self, workload: Workload, target: Target, settings: MapperSettings, backend: Backend) -> None:
        self.workload, self.target, self.settings, self.backend = workload, target, settings, backend
        self._operations = OperationCosts(target)
        self._memories: tuple[tuple[str, ...], ...] = ()  # sets of maps that are tried
        self._lists = ShortLists(workload.name, target, settings, backend, {})

    def prepare(self, reference: Plan, corners: Sequence[Plan] = (), on_outcome: OnOutcome | None = None) -> NetworkCost:
        """Maps the reference, then the corners starting from it, and keeps the short lists.

        Returns:
            The cost of the reference as mapped.

        Raises:
            InfeasibleMappingError: a layer of the reference fits no mapping; it says which.
        """
        planned = reference.apply(self.workload)
        others = [corner.apply(self.workload) for corner in corners]
        self._lists = ShortLists(self.workload.name, self.target, self.settings, self.backend, widths_of(planned, others))
        requests = [self._lists.request(layer) for layer in planned]
        shares = []
        for layer, request, outcome in zip(planned, requests, self.backend.map(requests, on_outcome), strict=True):
            shares.append(mapped_share(request, outcome, self.target))
            self._lists.learn(layer, None, outcome)
        requests = [self._lists.request(layer) for layers in others for layer in layers]
        outcomes = iter(self.backend.map(requests, on_outcome) if requests else [])
        mapped = [(reference, tuple(shares))]
        for corner, layers in zip(corners, others, strict=True):
            found = [next(outcomes) for _ in layers]
            for layer, outcome in zip(layers, found, strict=True):
                self._lists.learn(layer, None, outcome)
            if all(isinstance(outcome, MapResult) for outcome in found):
                known = [LayerShare.of(layer.name, o) for layer, o in zip(layers, found, strict=True) if isinstance(o, MapResult)]
                mapped.append((corner, tuple(known)))
        return self._plan_memory(mapped)

    def _plan_memory(self, mapped: Sequence[tuple[Plan, tuple[LayerShare, ...]]]) -> NetworkCost:
        """Finds which maps stay for the reference, the first, and for the corners; returns what the reference costs."""
        sets, costs = [], []
        for plan, shares in mapped if self.target.resident else mapped[:1]:
            planner = MemoryPlanner(self.workload, plan, self.target, self.settings, self.backend, shares)
            cost, memory = planner.plan()
            if memory is not None:
                sets.append(memory.maps)
                for layer, residency, share in zip(plan.apply(self.workload), memory.layers, cost.layers, strict=True):
                    if residency is not None and share.result is not None:
                        self._lists.learn(layer, residency, share.result)
            costs.append(cost)
        self._memories = tuple(dict.fromkeys(sets))
        return costs[0]

    def plain(self, plan: Plan) -> NetworkCost | None:
        """What a plan costs where no zero is used and no feature map stays on chip; None where that is how it is costed anyway.

        Raises:
            InfeasibleMappingError: a layer fits no mapping without its zeros.
        """
        if not self.target.sees_zeros and not self.target.resident:
            return None
        layers = tuple((name, replace(share, weight_density=1.0, input_density=1.0)) for name, share in plan.layers)
        target = replace(self.target, resident=False)
        return map_network(self.workload, target, self.backend, Plan(layers, plan.base), self.settings)

    def costs(self, plans: Sequence[Plan], on_outcome: OnOutcome | None = None) -> list[NetworkCost | None]:
        """Every plan's cost by the best of the short lists; where none of a layer's fits, the mapper looks.

        Args:
            plans: of the workload.
            on_outcome: called as the mapper answers, for shapes met for the first time and for what no short list fits.

        Returns:
            None for a plan with a layer that fits no mapping.
        """
        found = self._best([_Applied(self.workload, plan) for plan in plans], on_outcome)
        return [None if best is None else best[0] for best in found]

    def remap(self, plans: Sequence[Plan], on_outcome: OnOutcome | None = None) -> list[NetworkCost | None]:
        """Every layer of every plan mapped in full, all requests at once; None for a plan with a layer that fits no mapping.

        The maps that stay are those of the quick answer. Where the short list has a cheaper mapping than the mapper found, its
        cost is taken.
        """
        applied = [_Applied(self.workload, plan) for plan in plans]
        quick = self._best(applied, None)
        cases: list[list[Case]] = []
        for run, known in zip(applied, quick, strict=True):
            stay = known[1].layers if known is not None and known[1] is not None else (None,) * len(run.layers)
            cases.append(list(zip(run.layers, stay, strict=True)))
        requests = [self._lists.request(*case) for each in cases for case in each]
        outcomes = iter(self.backend.map(requests, on_outcome) if requests else [])
        costs: list[NetworkCost | None] = []
        for run, known in zip(applied, quick, strict=True):
            shares: list[LayerShare | None] = []
            for at, layer in enumerate(run.layers):
                outcome = next(outcomes)
                found = [known[0].layers[at]] if known is not None else []
                if isinstance(outcome, MapResult):
                    found.append(LayerShare.of(layer.name, outcome))
                shares.append(min(found, key=self._rank) if found else None)
            costs.append(self._sum(run, shares, None if known is None else known[1]))
        return costs

    def run(self, plan: Plan, cost: NetworkCost, known: Known) -> NetworkRun:
        """How the layers of a plan run that costs so; see `layer_runs.network_run`."""
        return network_run(self.workload, plan, cost, self.target, self.settings, self.backend, known)

    def known_mappings(self, layer: PlannedLayer) -> tuple[Mapping, ...]:
        """The short list of a layer as planned; empty before it was looked for."""
        return self._lists.known_mappings(layer)

    @property
    def simulated(self) -> int:
        """How many distinct (problem, densities, bits) were costed so far."""
        return self._lists.simulated

    def _best(
        self, applied: Sequence[_Applied], on_outcome: OnOutcome | None
    ) -> list[tuple[NetworkCost, MemoryPlan | None] | None]:
        """The cheapest cost of each network and what stays then; None where nothing fits."""
        options: list[list[tuple[MemoryPlan | None, list[Case]]]] = []
        for run in applied:
            options.append([(None, [(layer, None) for layer in run.layers])])
            options[-1] += [(stay, list(zip(run.layers, stay.layers, strict=True))) for stay in self._staying(run)]
        every = [case for tried in options for _, cases in tried for case in cases]
        shares = iter(self._lists.costs(every, on_outcome))
        out: list[tuple[NetworkCost, MemoryPlan | None] | None] = []
        for run, tried in zip(applied, options, strict=True):
            found = []
            for memory, cases in tried:
                cost = self._sum(run, [next(shares) for _ in cases], memory)
                if cost is not None:
                    found.append((cost, memory))
            out.append(min(found, key=lambda option: self._rank(option[0])) if found else None)
        return out

    def _staying(self, run: _Applied) -> list[MemoryPlan]:
        """The known sets of maps as they stay under a plan, where they fit beside each other."""
        if not self._memories:
            return []
        places = MapPlaces(run.layers, run.maps, self.target)
        out = []
        for names in self._memories:
            there = [name for name in names if name in run.maps.maps]
            try:
                out.append(places.memory_plan(there))
            except InfeasibleMappingError:
                continue
        return out

    def _sum(self, run: _Applied, shares: Sequence[LayerShare | None], memory: MemoryPlan | None) -> NetworkCost | None:
        named = []
        for layer, s in zip(run.layers, shares, strict=True):
            if s is None:
                return None
            parts = s.component_energy_pj
            named.append(LayerShare(layer.name, s.computes, s.energy_pj, s.cycles, s.utilization, parts, s.result, s.mapping))
        operations: list[LayerShare] = []
        if self.workload.operations:
            costs = self._operations.of(run.maps, memory.maps if memory else (), memory.level if memory else "")
            operations = [LayerShare.of_operation(name, cost) for name, cost in costs]
        stay = (memory.maps, memory.level) if memory is not None else ()
        return NetworkCost(self.workload.name, self.target.name, tuple(named), tuple(operations), *stay)

    def _rank(self, share: LayerShare | NetworkCost) -> tuple[float, float]:
        value, tie = objective_values(self.settings.objective, One(share.energy_pj, share.cycles, share.utilization))
        return float(value[0]), float(tie[0])
