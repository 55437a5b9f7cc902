"""The simulator as the mapper uses it: compiled once for a problem, asked for batches."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC

import numpy as np

from hwloop.mapper.prices import word_prices
from hwloop.simulator.batch import BatchSimulator
from hwloop.simulator.result import BatchCost, LayerCost
from hwloop.spec.architecture import Architecture
from hwloop.spec.batch import MappingBatch
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.mapping import Mapping
from hwloop.spec.problem import Problem


class BatchSimulation:
    """A problem on an accelerator.

    Attributes:
        compiled: the simulator's view of both.
        prices: what words cost, what sparsity saves of their traffic left out.
        sparse: whether sparse optimisations change the costs.
    """

    def __init__(
        self, problem: Problem, architecture: Architecture, table: EnergyTable, bits: MappingABC[str, int] | None
    ) -> None:
        self.problem, self.architecture = problem, architecture
        self._simulator = BatchSimulator(problem, architecture, table, bits)
        self.compiled = self._simulator.compiled
        context = self._simulator.scalar.sparse
        self.sparse = context is not None
        compressed = np.zeros((len(self.compiled.levels), len(self.compiled.spaces)), bool)
        if context is not None:
            compressed = np.array([[form is not None for form in row] for row in context.formats])
        self.prices = word_prices(self.compiled, compressed)

    def one(self, mapping: Mapping) -> LayerCost:
        """The cost of one mapping, in full."""
        return self._simulator.scalar.run(mapping)

    def batch(self, batch: MappingBatch) -> BatchCost:
        """The cost of many; those that the accelerator cannot run are masked."""
        return self._simulator.run(batch)
