"""The simulator as the mapper uses it: compiled once for a problem, asked for batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwloop.mapper.prices import Prices, word_prices
from hwloop.simulator.batch import BatchSimulator
from hwloop.simulator.compiled import Compiled
from hwloop.simulator.result import BatchCost, LayerCost
from hwloop.spec.architecture import Architecture
from hwloop.spec.batch import MappingBatch
from hwloop.spec.bits import Bits
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

    def __init__(self, problem: Problem, architecture: Architecture, table: EnergyTable, bits: Bits | None) -> None:
        self.problem, self.architecture = problem, architecture
        self._simulator = BatchSimulator(problem, architecture, table, bits)
        self.compiled = self._simulator.compiled
        context = self._simulator.scalar.sparse
        self.sparse = context is not None
        self._compressed = np.zeros((len(self.compiled.levels), len(self.compiled.spaces)), bool)
        if context is not None:
            self._compressed = np.array([[form is not None for form in row] for row in context.formats])
        self.prices = word_prices(self.compiled, self._compressed)

    def least_prices(self, compiled: Compiled) -> Prices:
        """`prices` of a view in which every value is as cheap as it can be, finished results without their zeros."""
        prices = self.prices if compiled is self.compiled else word_prices(compiled, self._compressed)
        for s, space in enumerate(compiled.spaces):
            density = self.problem.density(space.name)
            if density.level and self._compressed[level := compiled.level_index[density.level], s]:
                update = prices.update.copy()
                update[level, s] *= density.density
                prices = replace(prices, update=update)
        return prices

    def one(self, mapping: Mapping) -> LayerCost:
        """The cost of one mapping, in full."""
        return self._simulator.scalar.run(mapping)

    def batch(self, batch: MappingBatch) -> BatchCost:
        """The cost of many; those that the accelerator cannot run are masked."""
        return self._simulator.run(batch)
