"""Which feature maps of a network stay on chip between layers.

A map stays at the level where all of it fits beside what the layers that run meanwhile need there. Then neither its writer nor
its readers move it through the levels outside; but they must keep it whole, and other layers have less room. So a map stays only
where the network's objective falls by it: what each set of maps costs is found by mapping every layer it touches.

The search starts from the maps that save something on their own, takes as many of them as fit, most saved first, and then takes
back, one at a time, what costs more than it saves in company. All layers of a step are mapped together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from hwloop.backend.network_cost import LayerShare, NetworkCost
from hwloop.backend.network_maps import NetworkMaps, network_maps
from hwloop.backend.operations import OperationCosts
from hwloop.backend.protocol import Backend
from hwloop.backend.request import OUTPUTS, MapperSettings, MapRequest, request_for
from hwloop.backend.residency import Residency, level_for_maps, rows_for
from hwloop.backend.target import Target
from hwloop.errors import InfeasibleMappingError
from hwloop.mapper.objective import One, objective_values
from hwloop.mapper.result import MapResult
from hwloop.spec.plan import Plan, PlannedLayer
from hwloop.spec.workload import Workload

OPERANDS = ("Weights", "Inputs")
_ROUNDS = 4  # of taking one map back
_WORTH = 0.98  # part of what maps save alone that is good enough in company


@dataclass(frozen=True)
class MemoryPlan:
    """The maps that stay, and what that means for each layer.

    Attributes:
        level: where they stay.
        maps: their names, in the order in which they are written.
        layers: of each planned layer, in order; None where it finds the accelerator as it is.
    """

    level: str
    maps: tuple[str, ...]
    layers: tuple[Residency | None, ...]


class MapPlaces:
    """Where the maps of a planned network may stay on a target.

    Args:
        planned: the network's layers as they run.
        maps: its feature maps.
        target: the accelerator under its dataflow.
        step: rows that are taken for maps of other layers are rounded up to a multiple of this part of the level, so that few
            different amounts come up.
    """

    def __init__(self, planned: Sequence[PlannedLayer], maps: NetworkMaps, target: Target, step: int = 16) -> None:
        self.planned, self.maps = planned, maps
        arch = target.arch.with_constraints(target.constraints)
        self.level = level_for_maps(arch) or ""
        self._level = arch.level(self.level) if self.level else None
        self.capacity = 0
        if self._level is not None and self._level.entries is not None:
            buffering = self._level.number("multiple_buffering", 1.0) or 1.0
            self.capacity = int(self._level.entries / buffering) // self._level.block_size
        self._step = max(self.capacity // step, 1)
        ends: dict[str, set[int]] = {name: {each.writer} - {None} for name, each in self.maps.maps.items()}  # type: ignore[misc]
        for (at, _), names in self.maps.read.items():
            for name in names:
                ends[name].add(at)
        self._ends = {name: tuple(sorted(places)) for name, places in ends.items()}

    def rows(self, name: str) -> int:
        """Rows of the level that a map takes."""
        each = self.maps.maps[name]
        assert self._level is not None
        return rows_for(self._level, each.values, each.bits)

    @property
    def candidates(self) -> tuple[str, ...]:
        """The maps that may stay at all: from layer to layer within the network, and not too large."""
        if self._level is None:
            return ()
        inner = [each for each in self.maps.maps.values() if not each.external and each.born >= 0]
        return tuple(each.name for each in inner if self.rows(each.name) < self.capacity)

    def touched(self, name: str) -> range:
        """The planned layers that run while a map is there, its writer and its last reader among them."""
        each = self.maps.maps[name]
        return range(max(each.born, 0), each.last + 1)

    def ends(self, name: str) -> tuple[int, ...]:
        """The planned layers that write or read a map."""
        return self._ends[name]

    def residency(self, at: int, chosen: Collection[str]) -> Residency | None:
        """What it means for a layer that these maps stay.

        Raises:
            InfeasibleMappingError: they take the whole level.
        """
        if not chosen:
            return None
        assert self._level is not None
        layer = self.planned[at]
        spaces, own, taken = [], set(), 0
        for space in OPERANDS:
            names = self.maps.read.get((at, space), ())
            if names and all(name in chosen for name in names):
                spaces.append(space)
                own |= set(names)
                held = rows_for(self._level, layer.problem.tensor_size(space), self.maps.maps[names[0]].bits)
                taken += max(sum(self.rows(name) for name in names) - held, 0)  # of a map that it reads a part of
        for name in chosen:
            each = self.maps.maps[name]
            if each.writer == at:
                spaces.append(OUTPUTS)
                own.add(name)
            elif name not in own and max(each.born, 0) <= at <= each.last:
                taken += self.rows(name)
        reserved = -(-taken // self._step) * self._step if taken else 0
        if reserved >= self.capacity:
            raise InfeasibleMappingError(f"{self.level}: feature maps take {taken} rows, {self.capacity} rows fit", self.level)
        return Residency(self.level, tuple(spaces), reserved) if spaces or reserved else None

    def memory_plan(self, chosen: Collection[str]) -> MemoryPlan:
        """What it means for every layer.

        Raises:
            InfeasibleMappingError: the maps do not fit beside each other.
        """
        names = tuple(name for name in self.maps.maps if name in chosen)
        return MemoryPlan(self.level, names, tuple(self.residency(at, chosen) for at in range(len(self.planned))))


class MemoryPlanner:
    """Finds a memory plan by mapping layers.

    Args:
        workload: the network.
        plan: what is done to each layer.
        target: the accelerator under its dataflow.
        settings: of the mapper.
        backend: who answers.
        base: what each layer costs when nothing stays.
    """

    def __init__(
        self, workload: Workload, plan: Plan, target: Target, settings: MapperSettings, backend: Backend,
        base: Sequence[LayerShare],
    ) -> None:  # fmt: skip
        self._network, self._planned, self._target = workload.name, plan.apply(workload), target
        self._settings, self._backend = settings, backend
        self.places = MapPlaces(self._planned, network_maps(workload, plan, self._planned), target)
        self._operations = OperationCosts(target)
        self._known: dict[tuple[int, Residency | None], LayerShare | None] = {(at, None): share for at, share in enumerate(base)}

    def find(self) -> tuple[MemoryPlan | None, tuple[LayerShare, ...]]:
        """The best plan that was found, None where none helps, and what each layer costs under it."""
        nothing = self._value(())
        saved = self._saved_alone(nothing)
        chosen = self._fitting(sorted(saved, key=lambda name: -saved[name]))
        best = self._value(chosen)
        while chosen and best == float("inf"):  # a layer has no room left: what saves least goes
            chosen = chosen[:-1]
            self._ask([chosen])
            best = self._value(chosen)
        for _ in range(_ROUNDS):
            if best <= nothing - _WORTH * sum(saved[name] for name in chosen):
                break  # in company they save what they save alone
            fewer = [tuple(name for name in chosen if name != left_out) for left_out in chosen if self._in_the_way(left_out)]
            self._ask(fewer)
            values = [self._value(names) for names in fewer]
            if not values or min(values) >= best:
                break
            best = min(values)
            chosen = fewer[values.index(best)]
        if not chosen or best >= nothing:
            return None, self._shares(())
        plan = self.places.memory_plan(chosen)
        return plan, self._shares(chosen)

    def _saved_alone(self, nothing: float) -> dict[str, float]:
        """By how much the objective falls when one map stays, where it does; layers that run meanwhile are taken as they are."""
        candidates = self.places.candidates
        ends = {name: self.places.ends(name) for name in candidates}
        self._ask(((name,) for name in candidates), ends)
        out = {}
        for name in candidates:
            value = self._value((name,), ends[name])
            if value < nothing:
                out[name] = nothing - value
        return out

    def _in_the_way(self, name: str) -> bool:
        """Whether layers run beside a map that neither write nor read it."""
        return len(self.places.touched(name)) > len(self.places.ends(name))

    def plan(self) -> tuple[NetworkCost, MemoryPlan | None]:
        """What the network costs, and what stays on chip where the target allows it and it pays."""
        memory, layers = self.find() if self._target.resident else (None, self._shares(()))
        cost = self._cost(layers, () if memory is None else memory.maps)
        return cost, memory

    def _fitting(self, names: Iterable[str]) -> tuple[str, ...]:
        """As many of them as fit beside each other, one after the other."""
        chosen: tuple[str, ...] = ()
        for name in names:
            try:
                for at in self.places.touched(name):
                    self.places.residency(at, (*chosen, name))
            except InfeasibleMappingError:
                continue
            chosen = (*chosen, name)
        self._ask([chosen])
        return chosen

    def _ask(self, sets: Iterable[Collection[str]], only: Mapping[str, Collection[int]] | None = None) -> None:
        """Maps every layer that these sets of maps touch, all together; of each map those of `only` where that is given."""
        wanted: dict[tuple[int, Residency | None], MapRequest] = {}
        for chosen in sets:
            for at in {at for name in chosen for at in (only[name] if only else self.places.touched(name))}:
                try:
                    residency = self.places.residency(at, chosen)
                except InfeasibleMappingError:
                    continue
                key = (at, residency)
                if key in self._known or key in wanted:
                    continue
                try:
                    wanted[key] = request_for(self._planned[at], self._target, self._settings, self._network, residency=residency)
                except InfeasibleMappingError:
                    self._known[key] = None
        outcomes = self._backend.map(list(wanted.values())) if wanted else []
        for (key, request), outcome in zip(wanted.items(), outcomes, strict=True):
            self._known[key] = LayerShare.of(request.layer, outcome) if isinstance(outcome, MapResult) else None

    def _shares(self, chosen: Collection[str], only: Collection[int] | None = None) -> tuple[LayerShare, ...]:
        """What each layer costs; those that are not among `only` as when nothing stays.

        Raises:
            InfeasibleMappingError: a layer fits no mapping then.
        """
        out = []
        for at, layer in enumerate(self._planned):
            plain = only is not None and at not in only
            share = self._known[at, None if plain else self.places.residency(at, chosen)]
            if share is None:
                raise InfeasibleMappingError(f"{layer.name} fits no mapping beside the feature maps that stay")
            out.append(share)
        return tuple(out)

    def _value(self, chosen: Collection[str], only: Collection[int] | None = None) -> float:
        """The network's objective; infinite where a layer does not fit. See `_shares`."""
        try:
            shares = self._shares(chosen, only)
        except InfeasibleMappingError:
            return float("inf")
        cost = self._cost(shares, chosen)
        return float(objective_values(self._settings.objective, One(cost.energy_pj, cost.cycles, cost.utilization))[0][0])

    def _cost(self, layers: tuple[LayerShare, ...], chosen: Collection[str]) -> NetworkCost:
        """The network with these maps staying."""
        costs = self._operations.of(self.places.maps, chosen, self.places.level)
        work = tuple(LayerShare.of_operation(name, cost) for name, cost in costs)
        return NetworkCost(self._network, self._target.name, layers, work, tuple(chosen), self.places.level if chosen else "")
