"""The interface of everything that says what a layer costs: hwloop's own simulator, the real Timeloop, and their wrappers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hwloop.backend.request import MapRequest, OnOutcome, Outcome
from hwloop.mapper.objective import Objective
from hwloop.simulator import LayerCandidate, LayerCost
from hwloop.spec.levels import Architecture
from hwloop.spec.mapping import Mapping as LoopMapping
from hwloop.spec.problem import Problem


@dataclass(frozen=True)
class Cheapest:
    """The best of a short list of mappings for each of many cases: arrays `(cases,)`.

    Attributes:
        at: which mapping; -1 where none of them fits.
        energy_pj: its energy; infinite where none fits [pJ].
        cycles: its cycles, as floats; infinite where none fits.
        utilization: part of the compute units' time that they compute, 0-1.
        component_energy_pj: by component; infinite where none fits [pJ].
    """

    at: NDArray[np.int64]
    energy_pj: NDArray[np.float64]
    cycles: NDArray[np.float64]
    utilization: NDArray[np.float64]
    component_energy_pj: dict[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.at)


class ShortList(Protocol):
    """Some mappings of one layer's shape, ready to be costed for any densities, bits and energies."""

    def cheapest(self, cases: Sequence[LayerCandidate], objective: Objective = "edp") -> Cheapest:
        """For each case the mapping that minimises `objective`, and what it costs.

        Args:
            cases: densities, bits and energies of the layer.
            objective: as in `hwloop.map_problem`.

        Raises:
            SimulatorError: an outside program failed.
        """
        ...


class Backend(Protocol):
    """Says what layers cost. The same request always gets the same answer, however many are asked together."""

    @property
    def name(self) -> str:
        """One of `hwloop.backend.find.SIMULATORS`."""
        ...

    @property
    def identity(self) -> str:
        """Name and version of everything that makes its answers: part of every memo key and of a run's identity.

        Raises:
            SimulatorError: an outside program is not there.
        """
        ...

    def map(self, requests: Sequence[MapRequest], on_outcome: OnOutcome | None = None) -> list[Outcome]:
        """The best mapping of each request and its cost, or the `InfeasibleMappingError` that says why there is none.

        Args:
            requests: questions.
            on_outcome: called with (index, request, outcome) as answers arrive, in any order.

        Raises:
            SimulatorError: an outside program is missing, crashed or timed out, or a worker process was killed.
        """
        ...

    def simulate(self, request: MapRequest, mapping: LoopMapping) -> LayerCost:
        """The cost of a request's layer under one mapping, in full.

        Raises:
            InfeasibleMappingError: the accelerator cannot run the mapping.
            SimulatorError: an outside program failed.
        """
        ...

    def short_list(self, problem: Problem, arch: Architecture, mappings: Sequence[LoopMapping]) -> ShortList:
        """Mappings to be costed for many densities, bits and energies.

        Args:
            problem: shape and sizes of the layer.
            arch: the accelerator.
            mappings: of that shape and size; at least one.
        """
        ...
