"""What a simulation returns: the cost of one mapping, and of a batch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DataSpaceCost:
    """One data space at one level. Words are per instance, over the whole problem; energy is over all instances.

    Attributes:
        tile_size: words of the tile as the loops have it, zeros included.
        capacity: words (rows with `bits`) it takes of the level: the worst-case occupancy when compressed, else the tile.
        instances: instances in use, the most at a time (on average, with imperfect factors).
        reads: words read; under sparsity those actually read. Likewise `fills` (from the level above) and `updates` (from below).
        temporal_reductions: words added to a value already there.
        finished_updates: of `updates`, those that are finished values, where a result waits for its reader in a width or with a
            density of its own; the others are partial sums.
        energy_pj: energy of all accesses, over all instances [pJ].
        algorithmic_reads: reads without sparsity; likewise `algorithmic_fills` and `algorithmic_updates`.
        gated_reads: words whose read was gated; likewise `gated_fills`, `gated_updates`.
        skipped_reads: words whose read was skipped; likewise `skipped_fills`, `skipped_updates`.
        metadata_reads: accesses of the metadata storage that were made; likewise `metadata_fills`, `metadata_updates`.
        metadata_capacity_bits: metadata it must hold at worst [bits].
        density: expected density of the tile. With imperfect factors a compressed tile is held, and paid for, as large as its
            loops cover, padding included: more words may be read than the tile has.
        metadata: words of metadata by kind (`read`, `gated_fill`, ...): (metadata, payload) a rank, outermost first.
    """

    tile_size: int
    capacity: int
    instances: int
    reads: int
    fills: int
    updates: int
    temporal_reductions: int
    energy_pj: float
    algorithmic_reads: int
    algorithmic_fills: int
    algorithmic_updates: int
    gated_reads: int = 0
    gated_fills: int = 0
    gated_updates: int = 0
    skipped_reads: int = 0
    skipped_fills: int = 0
    skipped_updates: int = 0
    metadata_reads: float = 0
    metadata_fills: float = 0
    metadata_updates: float = 0
    metadata_capacity_bits: int = 0
    density: float = 1.0
    finished_updates: int = 0
    metadata: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ComponentCost:
    """One component: a storage level, or the compute units (which have no data spaces).

    Attributes:
        energy_pj: accesses (or operations) and leakage of all instances [pJ].
        leakage_pj: the leakage in it [pJ].
        cycles: cycles of the whole problem if only this component throttled.
        dataspaces: the data spaces it keeps.
        instances: instances in use, the most at a time.
    """

    energy_pj: float
    leakage_pj: float
    cycles: int
    instances: int
    dataspaces: dict[str, DataSpaceCost] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WiresCost:
    """The wires between two levels.

    Attributes:
        energy_pj: of all instances [pJ].
        dataspaces: of it, by data space [pJ].
    """

    energy_pj: float
    dataspaces: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LayerCost:
    """The cost of one layer under one mapping, minimised by the mapper.

    Attributes:
        energy_pj: energy of everything, leakage included [pJ].
        cycles: time [cycles].
        utilization: part of the compute units' time that they compute, 0-1.
        computes: multiply-accumulates of the dense problem, `padded_computes` among them.
        components: by name, storage levels that store something and the compute units.
        actual_computes: those done; equal to `computes` without sparsity.
        gated_computes: those gated.
        skipped_computes: those skipped.
        networks: the networks that cost something, by name as the real program prints it.
        compute_leakage_pj: leakage of all compute units [pJ]. It is not in `energy_pj`: the real program counts none.
        padded_computes: those beyond the layer's own, of loops that cover more than the layer (imperfect factors).
    """

    energy_pj: float
    cycles: int
    utilization: float
    computes: int
    components: dict[str, ComponentCost]
    actual_computes: int
    gated_computes: int = 0
    skipped_computes: int = 0
    networks: dict[str, WiresCost] = field(default_factory=dict)
    compute_leakage_pj: float = 0.0
    padded_computes: int = 0

    @property
    def useful_utilization(self) -> float:
        """Part of the compute units' time that they compute something of the layer, 0-1: utilization without the padding."""
        return self.utilization * (1.0 - self.padded_computes / self.computes) if self.computes else 0.0

    @property
    def edp(self) -> float:
        """Energy times delay [pJ x cycles]."""
        return self.energy_pj * self.cycles

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> LayerCost:
        """The inverse of `to_dict`, also after a trip through JSON."""
        components = {}
        for name, component in raw["components"].items():
            spaces = {}
            for space, values in component["dataspaces"].items():
                ranks = {kind: tuple((m, p) for m, p in pairs) for kind, pairs in values["metadata"].items()}
                spaces[space] = DataSpaceCost(**{**values, "metadata": ranks})
            components[name] = ComponentCost(**{**component, "dataspaces": spaces})
        networks = {name: WiresCost(**network) for name, network in raw.get("networks", {}).items()}
        return cls(**{**raw, "components": components, "networks": networks})


@dataclass(frozen=True, slots=True)
class BatchCost:
    """The cost of many mappings: arrays `(batch,)` in the batch's order.

    Attributes:
        feasible: bool; where False the other arrays hold infinity (floats) or -1 (integers).
        energy_pj: energy of everything, leakage included [pJ].
        cycles: time [cycles], int64.
        utilization: part of the compute units' time that they compute, 0-1.
        computes: multiply-accumulates of the dense problem, int64.
        component_energy_pj: by name of component or network, leakage included [pJ].
    """

    feasible: NDArray[np.bool_]
    energy_pj: NDArray[np.float64]
    cycles: NDArray[np.int64]
    utilization: NDArray[np.float64]
    computes: NDArray[np.int64]
    component_energy_pj: dict[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.feasible)

    @property
    def edp(self) -> NDArray[np.float64]:
        """Energy times delay [pJ x cycles], infinite where infeasible."""
        return np.where(self.feasible, self.energy_pj * self.cycles, np.inf)
