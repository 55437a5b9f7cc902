"""What is minimised: energy, cycles, their product, or a function of the arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Costs(Protocol):
    """Arrays `(batch,)` that an objective may read."""

    @property
    def energy_pj(self) -> Array:
        """Energy [pJ]."""

    @property
    def cycles(self) -> NDArray[np.int64] | Array:
        """Time [cycles]."""

    @property
    def utilization(self) -> Array:
        """Part of the compute units' time that they compute, 0-1."""


Objective = str | Callable[[Costs], Array]
NAMES = ("edp", "energy", "cycles")


def objective_values(objective: Objective, costs: Costs) -> tuple[Array, Array]:
    """The objective (minimised) and what breaks its ties, arrays `(batch,)`.

    Ties are common: most tilings of a compute-bound layer take the same cycles, and the better one needs less energy.

    Raises:
        ValueError: an unknown name, or a function that returns another shape.
    """
    energy, cycles = np.asarray(costs.energy_pj), np.asarray(costs.cycles, np.float64)
    if objective == "edp":
        return energy * cycles, energy
    if objective == "energy":
        return energy, cycles
    if objective == "cycles":
        return cycles, energy
    if isinstance(objective, str):
        raise ValueError(f"objective: expected one of {NAMES} or a function, found {objective!r}")
    values = np.asarray(objective(costs), np.float64)
    if values.shape != energy.shape:
        raise ValueError(f"objective: expected an array of shape {energy.shape}, found {values.shape}")
    return values, energy * cycles


class One:
    """The costs of one mapping as arrays of one."""

    def __init__(self, energy_pj: float, cycles: float, utilization: float) -> None:
        self.energy_pj = np.array([energy_pj])
        self.cycles = np.array([cycles])
        self.utilization = np.array([utilization])


def objective_value(objective: Objective, energy_pj: float, cycles: int, utilization: float) -> float:
    """The objective of one mapping, minimised."""
    value, _ = objective_values(objective, One(energy_pj, cycles, utilization))
    return float(value[0])
