"""A whole network on a target: every layer mapped, the costs layer by layer and in sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from hwloop.backend.request import MapRequest, Outcome
from hwloop.backend.target import Target
from hwloop.errors import HwloopError, InfeasibleMappingError
from hwloop.mapper.result import MapResult
from hwloop.simulator import StreamCost
from hwloop.spec.mapping import Mapping as LoopMapping


@dataclass(frozen=True)
class LayerShare:
    """One layer's part of a network's cost.

    Attributes:
        name: the layer's, as planned.
        computes: multiply-accumulates of its problem when dense.
        energy_pj: its energy [pJ].
        cycles: its time [cycles].
        utilization: part of the compute units' time that they compute, 0-1.
        component_energy_pj: its energy by component and network, leakage included [pJ].
        result: mapping and full cost, where the layer was mapped; None where a known mapping was costed.
        mapping: what it runs by; None for work between layers.
    """

    name: str
    computes: int
    energy_pj: float
    cycles: int
    utilization: float
    component_energy_pj: Mapping[str, float] = field(repr=False)
    result: MapResult | None = field(default=None, repr=False)
    mapping: LoopMapping | None = field(default=None, repr=False)

    @property
    def mapped(self) -> MapResult:
        """`result` of a layer that was mapped, as every layer is that `map_network` returns.

        Raises:
            HwloopError: only a known mapping's cost was looked up.
        """
        if self.result is None:
            raise HwloopError(f"layer {self.name}: this is the cost of a known mapping; map the network to have the mapping")
        return self.result

    @classmethod
    def of_operation(cls, name: str, cost: StreamCost) -> LayerShare:
        """Work between layers, which computes nothing in the array."""
        return cls(name, 0, sum(cost.energy_pj.values()), cost.cycles, 0.0, cost.energy_pj)

    @classmethod
    def of(cls, name: str, result: MapResult) -> LayerShare:
        """A layer that was mapped."""
        cost = result.cost
        parts = {part: component.energy_pj for part, component in cost.components.items()}
        parts |= {link: wires.energy_pj for link, wires in cost.networks.items()}
        return cls(name, int(cost.computes), float(cost.energy_pj), int(cost.cycles), float(cost.utilization), parts, result,
                   result.mapping)  # fmt: skip


@dataclass(frozen=True)
class NetworkCost:
    """What a network costs on a target, its layers run one after the other.

    Attributes:
        network: its name.
        target: accelerator and dataflow.
        layers: in execution order, as planned.
        operations: the work between them: residual adds, pooling, normalisation.
        resident: names of the feature maps that stay on chip, at `level`.
        level: where they stay; empty where none does.
        area_um2: of the accelerator's components, where it is one of several; None where it is given [um^2].
    """

    network: str
    target: str
    layers: tuple[LayerShare, ...]
    operations: tuple[LayerShare, ...] = ()
    resident: tuple[str, ...] = ()
    level: str = ""
    area_um2: float | None = None

    @property
    def shares(self) -> tuple[LayerShare, ...]:
        """Layers, then operations."""
        return (*self.layers, *self.operations)

    @cached_property
    def energy_pj(self) -> float:
        """Sum over layers and operations."""
        return sum(share.energy_pj for share in self.shares)

    @cached_property
    def cycles(self) -> int:
        """Sum over layers and operations."""
        return sum(share.cycles for share in self.shares)

    @property
    def edp(self) -> float:
        """Energy of the network times its cycles [pJ x cycles]."""
        return self.energy_pj * self.cycles

    @property
    def computes(self) -> int:
        """Multiply-accumulates of the planned layers when dense."""
        return sum(share.computes for share in self.layers)

    @property
    def utilization(self) -> float:
        """Part of the compute units' time that they compute, over the whole network, 0-1."""
        return sum(share.utilization * share.cycles for share in self.layers) / max(self.cycles, 1)

    @property
    def component_energy_pj(self) -> dict[str, float]:
        """Energy by component over all layers and operations [pJ]."""
        total: dict[str, float] = {}
        for share in self.shares:
            for name, energy in share.component_energy_pj.items():
                total[name] = total.get(name, 0.0) + energy
        return total


def mapped_share(request: MapRequest, outcome: Outcome, target: Target) -> LayerShare:
    """A mapped layer's part of the cost.

    Raises:
        InfeasibleMappingError: no mapping fits it; names network, layer and target.
    """
    if isinstance(outcome, MapResult):
        return LayerShare.of(request.layer, outcome)
    where = f"{request.network} layer {request.layer}".strip()
    raise InfeasibleMappingError(
        f"{where} on {target.arch.name} under {target.name}: {outcome.reason}", outcome.level, outcome.data_space
    )
