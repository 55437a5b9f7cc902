"""The embedded simulator: counts, energy and cycles of a mapping, as Timeloop computes them."""

from __future__ import annotations

from hwloop.simulate.result import ComponentCost, DataSpaceCost, LayerCost
from hwloop.simulate.simulator import Simulator, simulate

__all__ = ["ComponentCost", "DataSpaceCost", "LayerCost", "Simulator", "simulate"]
