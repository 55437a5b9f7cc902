"""What candidates of a search cost on the accelerator: many plans at once quickly, and a few of them in full.

Quickly means that every layer tries a short list of mappings known to be good for its shape: the one found for the reference,
and those found at a few plans far apart in density and bits (corners). A shape that comes up later, as of a layer with fewer
channels, gets its short list when it is first met. Where nothing on a list fits, as when a candidate's inputs have fewer zeros
than the reference's, a mapping found without any zeros is tried, and only then the mapper is asked. In full means that the
mapper searches again for every layer.

A plan's cost depends on the plan, the reference and the corners alone, never on what was asked before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from hwloop.backend.network_cost import LayerShare, NetworkCost, mapped_share
from hwloop.backend.protocol import Backend, ShortList
from hwloop.backend.request import MapperSettings, MapRequest, OnOutcome, Outcome, request_for, without_densities
from hwloop.backend.target import Target
from hwloop.mapper.objective import One, objective_values
from hwloop.mapper.result import MapResult
from hwloop.simulator import LayerCandidate
from hwloop.spec.density import Density
from hwloop.spec.mapping import Mapping
from hwloop.spec.plan import Plan, PlannedLayer
from hwloop.spec.problem import Problem
from hwloop.spec.workload import Workload

Bits = tuple[tuple[str, int], ...]
Key = tuple[tuple[tuple[str, Density], ...], int | None, int | None]  # densities, weight and activation bits


@dataclass
class _Known:
    """Mappings of a shape that are known, and the same ready to be costed."""

    mappings: list[Mapping] | None = None  # None until they were looked for
    ready: ShortList | None = None

    def add(self, outcome: Outcome) -> None:
        """Adds a mapping; a request that nothing fits adds none."""
        self.mappings = self.mappings or []
        if isinstance(outcome, MapResult) and outcome.mapping not in self.mappings:
            self.mappings.append(outcome.mapping)
            self.ready = None


@dataclass(eq=False)
class _Shape:
    """What has a short list of its own: a problem without its zeros, and the bits that its mappings are looked for at.

    There is one object a shape, so that they are told apart by identity, which is quick.
    """

    problem: Problem
    bits: tuple[Bits, ...]
    short: _Known = field(default_factory=_Known)
    spare: _Known = field(default_factory=_Known)  # found without zeros, for cases that nothing on the short list fits
    costs: dict[Key, LayerShare | None] = field(default_factory=dict)  # None where no mapping fits


New = dict[_Shape, dict[Key, PlannedLayer]]


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
        self._sees_zeros = target.sees_zeros
        self._forget({})

    def _forget(self, widths: dict[str, tuple[Bits, ...]]) -> None:
        self._widths = widths
        self._shapes: dict[tuple[Problem, tuple[Bits, ...]], _Shape] = {}
        self._met: dict[tuple[str, tuple[int, ...], tuple[int, ...], int], _Shape] = {}

    def prepare(self, reference: Plan, corners: Sequence[Plan] = (), on_outcome: OnOutcome | None = None) -> NetworkCost:
        """Maps the reference, then the corners starting from it, and keeps the short lists.

        Returns:
            The cost of the reference as mapped.

        Raises:
            InfeasibleMappingError: a layer of the reference fits no mapping; it says which.
        """
        planned = reference.apply(self.workload)
        others = [corner.apply(self.workload) for corner in corners]
        self._forget(_widths(planned, others))
        requests = [self._request(layer) for layer in planned]
        shares = []
        for layer, request, outcome in zip(planned, requests, self.backend.map(requests, on_outcome), strict=True):
            shares.append(mapped_share(request, outcome, self.target))
            self._shape(layer).short.add(outcome)
        corner_layers = [layer for corner in others for layer in corner]
        requests = [self._request(layer) for layer in corner_layers]
        outcomes = self.backend.map(requests, on_outcome) if requests else []
        for layer, outcome in zip(corner_layers, outcomes, strict=True):
            self._shape(layer).short.add(outcome)
        return NetworkCost(self.workload.name, self.target.name, tuple(shares))

    def costs(self, plans: Sequence[Plan], on_outcome: OnOutcome | None = None) -> list[NetworkCost | None]:
        """Every plan's cost by the best of the short lists; where none of a layer's fits, the mapper looks.

        Args:
            plans: of the workload.
            on_outcome: called as the mapper answers, for shapes met for the first time and for what no short list fits.

        Returns:
            None for a plan with a layer that fits no mapping.
        """
        new: New = {}
        asked: list[list[tuple[str, _Shape, Key]]] = []
        for plan in plans:
            layers = []
            for layer in plan.apply(self.workload):
                shape = self._shape(layer)
                key = (layer.problem.densities if self._sees_zeros else (), layer.weight_bits, layer.activation_bits)
                if key not in shape.costs:
                    new.setdefault(shape, {})[key] = layer
                layers.append((layer.name, shape, key))
            asked.append(layers)
        self._cost(new, on_outcome)
        return [self._sum((name, shape.costs[key]) for name, shape, key in layers) for layers in asked]

    def remap(self, plans: Sequence[Plan], on_outcome: OnOutcome | None = None) -> list[NetworkCost | None]:
        """Every layer of every plan mapped in full, all requests at once; None for a plan with a layer that fits no mapping.

        Where the short list has a cheaper mapping than the mapper found, its cost is taken.
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

    def known_mappings(self, layer: PlannedLayer) -> tuple[Mapping, ...]:
        """The short list of a layer as planned; empty before it was looked for."""
        return tuple(self._shape(layer).short.mappings or ())

    @property
    def simulated(self) -> int:
        """How many distinct (problem, densities, bits) were costed so far."""
        return sum(len(shape.costs) for shape in self._shapes.values())

    def _sum(self, shares: Iterable[tuple[str, LayerShare | None]]) -> NetworkCost | None:
        named = []
        for name, s in shares:
            if s is None:
                return None
            parts = s.component_energy_pj
            named.append(LayerShare(name, s.computes, s.energy_pj, s.cycles, s.utilization, parts, s.result))
        return NetworkCost(self.workload.name, self.target.name, tuple(named))

    def _shape(self, layer: PlannedLayer) -> _Shape:
        problem = layer.problem
        met = (layer.name, problem.bounds, problem.coefficients, id(problem.shape))
        if met not in self._met:
            bare, bits = without_densities(problem), self._widths.get(layer.layer.name, ((),))
            self._met[met] = self._shapes.setdefault((bare, bits), _Shape(bare, bits))
        return self._met[met]

    def _request(self, layer: PlannedLayer) -> MapRequest:
        start = self.known_mappings(layer)[:1]
        return request_for(layer, self.target, self.settings, self.workload.name, start)

    def _cost(self, new: New, on_outcome: OnOutcome | None) -> None:
        """Costs new cases: by the short lists, then by the spare mappings, then by asking the mapper."""
        # a shape met for the first time: at the widths of the reference and of the narrowest corner
        self._find([(shape.short, shape, bits, cases) for shape, cases in new.items() for bits in shape.bits], on_outcome)
        left = {shape: unfit for shape, cases in new.items() if (unfit := self._try(shape, shape.short, cases))}
        if self._sees_zeros:
            self._find([(shape.spare, shape, shape.bits[0], cases) for shape, cases in left.items()], on_outcome)
            left = {shape: unfit for shape, cases in left.items() if (unfit := self._try(shape, shape.spare, cases))}
        asked = [(shape, key, layer) for shape, cases in left.items() for key, layer in cases.items()]
        outcomes = self.backend.map([self._request(layer) for _, _, layer in asked], on_outcome) if asked else []
        for (shape, key, layer), outcome in zip(asked, outcomes, strict=True):
            shape.costs[key] = LayerShare.of(layer.name, outcome) if isinstance(outcome, MapResult) else None

    def _find(self, wanted: Sequence[tuple[_Known, _Shape, Bits, dict[Key, PlannedLayer]]], on_outcome: OnOutcome | None) -> None:
        """Maps shapes without their zeros, where that was not done before."""
        asked = []
        for known, shape, bits, cases in wanted:
            if known.mappings is None:
                name, widths = next(iter(cases.values())).name, dict(bits)
                asked.append((known, self._dense_request(shape.problem, widths, name)))
        outcomes = self.backend.map([request for _, request in asked], on_outcome) if asked else []
        for (known, _), outcome in zip(asked, outcomes, strict=True):
            known.add(outcome)

    def _dense_request(self, problem: Problem, bits: dict[str, int], layer: str) -> MapRequest:
        target, network = self.target, self.workload.name
        table = target.table(bits)
        return MapRequest(problem, target.arch, table, target.constraints, bits or None, self.settings, (), network, layer)

    def _try(self, shape: _Shape, known: _Known, cases: dict[Key, PlannedLayer]) -> dict[Key, PlannedLayer]:
        """Costs cases of one shape by known mappings; returns those that none of them fits."""
        if not known.mappings:
            return cases
        if known.ready is None:
            known.ready = self.backend.short_list(shape.problem, self.target.arch, known.mappings)
        asked = []
        for (densities, _, _), layer in cases.items():
            bits = layer.bits
            asked.append(LayerCandidate(self.target.table(bits), dict(densities), bits))
        best = known.ready.cheapest(asked, self.settings.objective)
        names = list(best.component_energy_pj)
        parts = np.array([best.component_energy_pj[name] for name in names]).reshape(len(names), len(cases)).T.tolist()
        columns = (best.at, best.energy_pj, best.cycles, best.utilization)
        rows = zip(cases, *(column.tolist() for column in columns), parts, strict=True)
        computes, left = shape.problem.computes, {}
        for key, at, energy, cycles, used, energies in rows:
            if at < 0:
                left[key] = cases[key]
                continue
            shape.costs[key] = LayerShare("", computes, energy, int(cycles), used, dict(zip(names, energies, strict=True)))
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
