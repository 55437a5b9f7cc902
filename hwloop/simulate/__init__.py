"""The embedded simulator: counts, energy and cycles of a mapping, as Timeloop computes them.

Calling this package, `hwloop.simulate(...)`, costs one mapping: it is `hwloop.simulate.simulate`.
"""

from __future__ import annotations

from hwloop.packages import make_callable
from hwloop.simulate.batch import BatchSimulator, simulate_batch
from hwloop.simulate.result import BatchCost, ComponentCost, DataSpaceCost, LayerCost
from hwloop.simulate.simulator import Simulator, simulate

__all__ = [
    "BatchCost", "BatchSimulator", "ComponentCost", "DataSpaceCost", "LayerCost", "Simulator", "simulate", "simulate_batch",
]  # fmt: skip

make_callable(__name__, "hwloop.simulate.simulator", "simulate")
