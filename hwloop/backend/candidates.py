"""What candidates of a search cost on the accelerator: many plans at once quickly, and a few of them in full.

Quickly means that every layer tries a short list of mappings known to be good for its shape: the one found for the reference,
and those found at a few plans far apart in density and bits (corners). A shape that comes up later, as of a layer with fewer
channels, gets its short list when it is first met. In full means that the mapper looks anew for every layer.

A plan's cost depends on the plan, the reference and the corners alone, never on what was asked before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hwloop.backend.network_cost import LayerShare, NetworkCost, mapped_share
from hwloop.backend.protocol import Backend, CostCase
from hwloop.backend.request import MapperSettings, MapRequest, OnOutcome, request_for, without_densities
from hwloop.backend.target import Target
from hwloop.mapper.objective import One, objective_values
from hwloop.mapper.result import MapResult
from hwloop.spec.mapping import Mapping
from hwloop.spec.plan import Plan, PlannedLayer
from hwloop.spec.problem import Problem
from hwloop.spec.workload import Workload

Bits = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class _Shape:
    """What has a short list of its own: a problem without its zeros, and the bits that its mappings are looked for at."""

    problem: Problem
    bits: tuple[Bits, ...]


@dataclass(frozen=True)
class _Case:
    """What has a cost of its own: equal cases cost the same."""

    shape: _Shape
    problem: Problem
    bits: Bits


class CandidateCosts:
    """Costs of one workload's plans on one target.

    Args:
        workload: the network.
        target: the accelerator, dataflow and energies.
        settings: of the mapper.
        backend: who answers.
    """

    def __init__(self, workload: Workload, target: Target, settings: MapperSettings, backend: Backend) -> None:
        self.workload, self.target, self.settings, self.backend = workload, target, settings, backend
        self._widths: dict[str, tuple[Bits, ...]] = {}
        self._short_lists: dict[_Shape, list[Mapping]] = {}
        self._costs: dict[_Case, LayerShare | None] = {}

    def prepare(self, reference: Plan, corners: Sequence[Plan] = (), on_outcome: OnOutcome | None = None) -> NetworkCost:
        """Maps the reference, then the corners starting from it, and keeps the short lists.

        Returns:
            The cost of the reference as mapped.

        Raises:
            InfeasibleMappingError: a layer of the reference fits no mapping; it says which.
        """
        planned = reference.apply(self.workload)
        others = [corner.apply(self.workload) for corner in corners]
        self._widths = _widths(planned, others)
        self._short_lists, self._costs = {}, {}
        requests = [self._request(layer) for layer in planned]
        shares = []
        for layer, request, outcome in zip(planned, requests, self.backend.map(requests, on_outcome), strict=True):
            share = mapped_share(request, outcome, self.target)
            assert share.result is not None
            self._add(self._shape(layer), share.result.mapping)
            shares.append(share)
        asked = [(self._shape(layer), self._request(layer)) for corner in others for layer in corner]
        outcomes = self.backend.map([request for _, request in asked], on_outcome) if asked else []
        for (shape, _), outcome in zip(asked, outcomes, strict=True):
            if isinstance(outcome, MapResult):  # a corner without a mapping adds none
                self._add(shape, outcome.mapping)
        return NetworkCost(self.workload.name, self.target.name, tuple(shares))

    def costs(self, plans: Sequence[Plan]) -> list[NetworkCost | None]:
        """Every plan's cost by the best of the short lists; where none of a layer's fits, the mapper looks.

        Returns:
            None for a plan with a layer that fits no mapping.
        """
        applied = [[(layer, self._case(layer)) for layer in plan.apply(self.workload)] for plan in plans]
        new = {case: layer for layers in applied for layer, case in layers if case not in self._costs}
        self._make_short_lists(new)
        self._cost(new)
        return [self._sum((layer.name, self._costs[case]) for layer, case in layers) for layers in applied]

    def remap(self, plans: Sequence[Plan], on_outcome: OnOutcome | None = None) -> list[NetworkCost | None]:
        """Every layer of every plan mapped in full, all requests at once; None for a plan with a layer that fits no mapping.

        Where the short list still beats what the mapper found, the short list's cost stands.
        """
        quick = self.costs(plans)
        applied = [plan.apply(self.workload) for plan in plans]
        requests = [self._request(layer) for layers in applied for layer in layers]
        outcomes = iter(self.backend.map(requests, on_outcome) if requests else [])
        costs: list[NetworkCost | None] = []
        for layers, known in zip(applied, quick, strict=True):
            shares: list[LayerShare | None] = []
            for at, layer in enumerate(layers):
                outcome = next(outcomes)
                found = [known.layers[at]] if known is not None else []
                if isinstance(outcome, MapResult):
                    found.append(LayerShare.of(layer.name, outcome))
                shares.append(min(found, key=self._rank) if found else None)
            costs.append(self._sum((layer.name, share) for layer, share in zip(layers, shares, strict=True)))
        return costs

    @property
    def simulated(self) -> int:
        """How many distinct (problem, densities, bits) were costed so far."""
        return len(self._costs)

    def _sum(self, shares: Iterable[tuple[str, LayerShare | None]]) -> NetworkCost | None:
        named = []
        for name, share in shares:
            if share is None:
                return None
            named.append(share if share.name == name else LayerShare(**{**vars(share), "name": name}))
        return NetworkCost(self.workload.name, self.target.name, tuple(named))

    def _shape(self, layer: PlannedLayer) -> _Shape:
        return _Shape(without_densities(layer.problem), self._widths.get(layer.layer.name, ((),)))

    def _case(self, layer: PlannedLayer) -> _Case:
        shape = self._shape(layer)
        problem = layer.problem if self.target.sees_zeros else shape.problem
        return _Case(shape, problem, tuple(sorted(layer.bits.items())))

    def _request(self, layer: PlannedLayer) -> MapRequest:
        known = self._short_lists.get(self._shape(layer), [])
        return request_for(layer, self.target, self.settings, self.workload.name, tuple(known[:1]))

    def _add(self, shape: _Shape, mapping: Mapping) -> None:
        known = self._short_lists.setdefault(shape, [])
        if mapping not in known:
            known.append(mapping)

    def _make_short_lists(self, new: dict[_Case, PlannedLayer]) -> None:
        """Maps every shape met for the first time, dense, at the widths of the reference and of the narrowest corner."""
        shapes = {case.shape: layer for case, layer in new.items() if case.shape not in self._short_lists}
        asked = []
        for shape, layer in shapes.items():
            self._short_lists[shape] = []
            for bits in shape.bits:
                asked.append((shape, self._dense_request(shape.problem, bits, layer.name)))
        outcomes = self.backend.map([request for _, request in asked]) if asked else []
        for (shape, _), outcome in zip(asked, outcomes, strict=True):
            if isinstance(outcome, MapResult):
                self._add(shape, outcome.mapping)

    def _dense_request(self, problem: Problem, bits: Bits, name: str) -> MapRequest:
        widths = dict(bits)
        return MapRequest(
            problem, self.target.arch, self.target.table(widths), self.target.constraints, widths or None, self.settings, (),
            self.workload.name, name,
        )  # fmt: skip

    def _cost(self, new: dict[_Case, PlannedLayer]) -> None:
        by_shape: dict[_Shape, list[_Case]] = {}
        for case in new:
            by_shape.setdefault(case.shape, []).append(case)
        left: list[_Case] = []
        for shape, cases in by_shape.items():
            mappings = self._short_lists[shape]
            left += self._try(mappings, cases) if mappings else cases
        outcomes = self.backend.map([self._request(new[case]) for case in left]) if left else []
        for case, outcome in zip(left, outcomes, strict=True):
            self._costs[case] = LayerShare.of(new[case].name, outcome) if isinstance(outcome, MapResult) else None

    def _try(self, mappings: Sequence[Mapping], cases: Sequence[_Case]) -> list[_Case]:
        """Costs cases of one shape by its short list; returns those that nothing on it fits."""
        asked = [CostCase(case.problem, self.target.table(dict(case.bits)), dict(case.bits) or None) for case in cases]
        best = self.backend.cheapest(mappings, self.target.arch, asked, self.settings.objective)
        names = list(best.component_energy_pj)
        parts = np.array([best.component_energy_pj[name] for name in names]).reshape(len(names), len(cases)).T.tolist()
        computes = cases[0].problem.computes
        columns = (best.at, best.energy_pj, best.cycles, best.utilization)
        rows = zip(cases, *(column.tolist() for column in columns), parts, strict=True)
        left = []
        for case, at, energy, cycles, used, energies in rows:
            if at < 0:
                left.append(case)
                continue
            self._costs[case] = LayerShare("", computes, energy, int(cycles), used, dict(zip(names, energies, strict=True)))
        return left

    def _rank(self, share: LayerShare) -> tuple[float, float]:
        value, tie = objective_values(self.settings.objective, One(share.energy_pj, share.cycles, share.utilization))
        return float(value[0]), float(tie[0])


def _widths(reference: Sequence[PlannedLayer], corners: Sequence[Sequence[PlannedLayer]]) -> dict[str, tuple[Bits, ...]]:
    """By layer name, the bits that a new shape of it is mapped at: the reference's, and those of the narrowest corner."""
    widths: dict[str, list[Bits]] = {layer.layer.name: [tuple(sorted(layer.bits.items()))] for layer in reference}
    if corners:
        narrow = min(corners, key=lambda layers: sum(sum(layer.bits.values()) for layer in layers))
        for layer in narrow:
            bits = tuple(sorted(layer.bits.items()))
            known = widths.setdefault(layer.layer.name, [])
            if bits not in known:
                known.append(bits)
    return {name: tuple(bits) for name, bits in widths.items()}
