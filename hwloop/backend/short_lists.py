"""What planned layers cost by short lists of mappings known to be good for their shape, many at once.

A short list holds the mappings that were found for a shape at a few plans. A shape that comes up later, as of a layer with fewer
channels or with maps that stay on chip, gets its list when it is first met. Where nothing on a list fits, as when a candidate's
inputs have fewer zeros than the reference's, a mapping found without any zeros is tried, and only then the mapper is asked.

A layer's cost depends on the layer and on the lists alone, never on what was asked before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hwloop.backend.network_cost import LayerShare
from hwloop.backend.protocol import Backend, ShortList
from hwloop.backend.request import (
    OUTPUTS,
    MapperSettings,
    MapRequest,
    OnOutcome,
    Outcome,
    layer_bits,
    layer_densities,
    request_for,
    waiting_level,
    without_densities,
)
from hwloop.backend.residency import Residency, resident_architecture
from hwloop.backend.target import Target
from hwloop.errors import InfeasibleMappingError
from hwloop.mapper.result import MapResult
from hwloop.simulator import LayerCandidate
from hwloop.spec.architecture import Architecture
from hwloop.spec.bits import Bits, FrozenBits, frozen
from hwloop.spec.mapping import Mapping
from hwloop.spec.plan import PlannedLayer
from hwloop.spec.problem import Problem

Case = tuple[PlannedLayer, Residency | None]
Key = tuple[object, ...]  # all that a cost depends on beyond the shape: densities and bits


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
    """What has a short list of its own: a problem without its zeros, on the accelerator as it finds it.

    There is one object a shape, so that they are told apart by identity, which is quick.

    Attributes:
        problem: without zeros.
        arch: the accelerator with the constraints of the dataflow, and of what stays on chip.
        residency: what stays.
        bits: those that mappings are looked for at when the shape is met for the first time.
        short: the short list.
        spare: found without zeros, for cases that nothing on the short list fits.
        costs: known so far; None where no mapping fits.
    """

    problem: Problem
    arch: Architecture
    residency: Residency | None
    bits: tuple[FrozenBits, ...]
    short: _Known = field(default_factory=_Known)
    spare: _Known = field(default_factory=_Known)
    costs: dict[Key, LayerShare | None] = field(default_factory=dict)


New = dict[_Shape, dict[Key, PlannedLayer]]


class ShortLists:
    """Short lists of one workload's layers on one target.

    Args:
        network: name of the workload.
        target: the accelerator, dataflow and energies.
        settings: of the mapper.
        backend: who answers.
        widths: by layer name, the planned layers whose bits a new shape of it is mapped at.
    """

    def __init__(
        self, network: str, target: Target, settings: MapperSettings, backend: Backend, widths: dict[str, list[PlannedLayer]]
    ) -> None:
        self._network, self._target, self._settings, self._backend, self._widths = network, target, settings, backend, widths
        self._sees_zeros = target.sees_zeros
        self._coded: dict[str, bool] = {}  # by level, whether it codes results
        self._shapes: dict[tuple[Problem, Residency | None, tuple[FrozenBits, ...]], _Shape | None] = {}
        self._met: dict[tuple[object, ...], _Shape | None] = {}

    def learn(self, layer: PlannedLayer, residency: Residency | None, outcome: Outcome) -> None:
        """Puts the mapping of an outcome on the layer's short list."""
        shape = self._shape(layer, residency)
        if shape is not None:
            shape.short.add(outcome)

    def known_mappings(self, layer: PlannedLayer, residency: Residency | None = None) -> tuple[Mapping, ...]:
        """The short list of a layer as planned; empty before it was looked for."""
        shape = self._shape(layer, residency)
        return () if shape is None else tuple(shape.short.mappings or ())

    def request(self, layer: PlannedLayer, residency: Residency | None = None) -> MapRequest:
        """The mapper's question for a layer, starting from the first mapping of its short list.

        Raises:
            InfeasibleMappingError: what stays cannot stay.
        """
        start = self.known_mappings(layer, residency)[:1]
        return request_for(layer, self._target, self._settings, self._network, start, residency)

    def costs(self, cases: Sequence[Case], on_outcome: OnOutcome | None = None) -> list[LayerShare | None]:
        """The cost of each case by the best of its short list; where none fits, the mapper looks. None where nothing fits.

        Args:
            cases: planned layers with what stays of their data.
            on_outcome: called as the mapper answers.
        """
        new: New = {}
        places: list[tuple[_Shape | None, Key]] = []
        for layer, residency in cases:
            shape = self._shape(layer, residency)
            key = self._key(layer, residency)
            if shape is not None and key not in shape.costs:
                new.setdefault(shape, {})[key] = layer
            places.append((shape, key))
        if new:
            self._cost(new, on_outcome)
        return [None if shape is None else shape.costs[key] for shape, key in places]

    @property
    def simulated(self) -> int:
        """How many distinct (problem, densities, bits) were costed so far."""
        return sum(len(shape.costs) for shape in self._shapes.values() if shape is not None)

    def _key(self, layer: PlannedLayer, residency: Residency | None) -> Key:
        coded = None
        if layer.output_density is not None and self._sees_zeros:
            level = waiting_level(OUTPUTS, self._target, residency)
            if level not in self._coded:
                self._coded[level] = self._target.codes(level, OUTPUTS)
            coded = layer.output_density if self._coded[level] else None
        densities = layer.problem.densities if self._sees_zeros else ()
        return (densities, layer.weight_bits, layer.activation_bits, layer.output_bits, coded, layer.stored_bits)

    def _shape(self, layer: PlannedLayer, residency: Residency | None) -> _Shape | None:
        """The shape of a layer; None where what stays cannot stay."""
        problem = layer.problem
        met = (layer.name, problem.bounds, problem.coefficients, id(problem.shape), residency)
        if met not in self._met:
            bare = without_densities(problem)
            widths = self._widths.get(layer.layer.name, [])
            bits = tuple(dict.fromkeys(frozen(layer_bits(each, self._target, residency)) for each in widths)) or ((),)
            key = (bare, residency, bits)
            if key not in self._shapes:
                self._shapes[key] = self._new_shape(bare, residency, bits)
            self._met[met] = self._shapes[key]
        return self._met[met]

    def _new_shape(self, bare: Problem, residency: Residency | None, bits: tuple[FrozenBits, ...]) -> _Shape | None:
        arch = self._target.arch
        if residency is not None:
            try:
                arch = resident_architecture(arch.with_constraints(self._target.constraints), bare, residency)
            except InfeasibleMappingError:
                return None
        return _Shape(bare, arch, residency, bits)

    def _cost(self, new: New, on_outcome: OnOutcome | None) -> None:
        """Costs new cases: by the short lists, then by the spare mappings, then by asking the mapper."""
        # a shape met for the first time: at the widths of the reference and of the narrowest corner
        self._find([(shape.short, shape, bits, cases) for shape, cases in new.items() for bits in shape.bits], on_outcome)
        left = {shape: unfit for shape, cases in new.items() if (unfit := self._try(shape, shape.short, cases))}
        if self._sees_zeros:
            self._find([(shape.spare, shape, shape.bits[0], cases) for shape, cases in left.items()], on_outcome)
            left = {shape: unfit for shape, cases in left.items() if (unfit := self._try(shape, shape.spare, cases))}
        asked = [(shape, key, layer) for shape, cases in left.items() for key, layer in cases.items()]
        requests = [self.request(layer, shape.residency) for shape, _, layer in asked]
        outcomes = self._backend.map(requests, on_outcome) if requests else []
        for (shape, key, layer), outcome in zip(asked, outcomes, strict=True):
            shape.costs[key] = LayerShare.of(layer.name, outcome) if isinstance(outcome, MapResult) else None

    def _find(
        self, wanted: Sequence[tuple[_Known, _Shape, FrozenBits, dict[Key, PlannedLayer]]], on_outcome: OnOutcome | None
    ) -> None:
        """Maps shapes without their zeros, where that was not done before."""
        asked = []
        for known, shape, bits, cases in wanted:
            if known.mappings is None:
                asked.append((known, self._dense_request(shape, bits, next(iter(cases.values())).name)))
        outcomes = self._backend.map([request for _, request in asked], on_outcome) if asked else []
        for (known, _), outcome in zip(asked, outcomes, strict=True):
            known.add(outcome)

    def _dense_request(self, shape: _Shape, widths: FrozenBits, layer: str) -> MapRequest:
        target = self._target
        bits: Bits = {space: dict(given) if isinstance(given, tuple) else given for space, given in widths}
        constraints = target.constraints if shape.residency is None else None
        return MapRequest(
            shape.problem, shape.arch, target.table(bits), constraints, bits or None, self._settings, (), self._network, layer
        )

    def _try(self, shape: _Shape, known: _Known, cases: dict[Key, PlannedLayer]) -> dict[Key, PlannedLayer]:
        """Costs cases of one shape by known mappings; returns those that none of them fits."""
        if not known.mappings:
            return cases
        if known.ready is None:
            known.ready = self._backend.short_list(shape.problem, shape.arch, known.mappings)
        asked = []
        for layer in cases.values():
            bits = layer_bits(layer, self._target, shape.residency)
            densities = dict(layer_densities(layer, self._target, shape.residency))
            asked.append(LayerCandidate(self._target.table(bits), densities, bits))
        best = known.ready.cheapest(asked, self._settings.objective)
        names = list(best.component_energy_pj)
        parts = np.array([best.component_energy_pj[name] for name in names]).reshape(len(names), len(cases)).T.tolist()
        columns = (best.at, best.energy_pj, best.cycles, best.utilization)
        rows = zip(cases, *(column.tolist() for column in columns), parts, strict=True)
        computes, left = shape.problem.computes, {}
        for key, at, energy, cycles, used, energies in rows:
            if at < 0:
                left[key] = cases[key]
                continue
            each = dict(zip(names, energies, strict=True))
            shape.costs[key] = LayerShare("", computes, energy, int(cycles), used, each, mapping=known.mappings[at])
        return left


def widths_of(reference: Sequence[PlannedLayer], corners: Sequence[Sequence[PlannedLayer]]) -> dict[str, list[PlannedLayer]]:
    """By layer name, whose bits a new shape of it is mapped at: the reference's, and those of the narrowest corner."""
    widths: dict[str, list[PlannedLayer]] = {layer.layer.name: [layer] for layer in reference}
    if corners:
        for layer in min(corners, key=lambda layers: sum(sum(layer.bits.values()) for layer in layers)):
            widths.setdefault(layer.layer.name, []).append(layer)
    return widths
