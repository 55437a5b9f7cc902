"""The embedded simulator: counts, energy and cycles of a mapping, as Timeloop computes them."""

from __future__ import annotations

from hwloop.simulate.batch import BatchSimulator, simulate_batch
from hwloop.simulate.result import BatchCost, ComponentCost, DataSpaceCost, LayerCost
from hwloop.simulate.simulator import Simulator, simulate

__all__ = [
    "BatchCost", "BatchSimulator", "ComponentCost", "DataSpaceCost", "LayerCost", "Simulator", "simulate", "simulate_batch",
]  # fmt: skip
