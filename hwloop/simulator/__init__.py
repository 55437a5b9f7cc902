"""The embedded simulator: counts, energy and cycles of a mapping, as Timeloop computes them."""

from __future__ import annotations

from hwloop.simulator.batch import BatchSimulator, simulate_batch
from hwloop.simulator.candidates import CandidateCosts, LayerCandidate, LayerNests
from hwloop.simulator.result import BatchCost, ComponentCost, DataSpaceCost, LayerCost, WiresCost
from hwloop.simulator.simulator import Simulator, simulate
from hwloop.simulator.streams import Stream, StreamCost, Streams

__all__ = [
    "BatchCost",
    "BatchSimulator",
    "CandidateCosts",
    "ComponentCost",
    "DataSpaceCost",
    "LayerCandidate",
    "LayerCost",
    "LayerNests",
    "Simulator",
    "Stream",
    "StreamCost",
    "Streams",
    "WiresCost",
    "simulate",
    "simulate_batch",
]  # fmt: skip
