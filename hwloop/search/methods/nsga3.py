"""NSGA-III (Deb and Jain, 2014) over whole numbers, by pymoo: for three objectives and more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hwloop.errors import SpecError
from hwloop.search.integer import IntegerProblem
from hwloop.search.methods.nsga2 import Nsga2
from hwloop.search.seams import Floats


@dataclass(frozen=True)
class Nsga3(Nsga2):
    """Reference directions in place of crowding; everything else as in NSGA-II.

    Attributes:
        weights: of the objectives, in their order: candidates gather where one objective is as much nearer to its best than
            another as its weight is larger; None spreads them evenly.
    """

    name: ClassVar[str] = "nsga3"
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights is not None and (not all(weight >= 0 for weight in self.weights) or not sum(self.weights) > 0):
            raise SpecError("<arguments>", "method option weights", "numbers of 0 or more, one of them above", self.weights)

    def _directions(self, problem: IntegerProblem) -> Floats | None:
        from hwloop.search.pymoo_adapter import reference_directions  # loads pymoo, which the settings alone do not need

        if self.weights is not None and len(self.weights) != problem.n_obj:
            raise SpecError("<arguments>", "method option weights", f"{problem.n_obj} numbers, one an objective", self.weights)
        return reference_directions(problem.n_obj, self.population, self.weights)
