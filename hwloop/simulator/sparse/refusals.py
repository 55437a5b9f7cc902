"""Where and why a mapping is refused: raised for one mapping, collected as a mask for a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import InfeasibleMappingError


class Refusals:
    """Collects refusals.

    Args:
        single: whether there is one mapping, for which the first refusal is raised.
        batch: number of mappings.
    """

    def __init__(self, single: bool, batch: int) -> None:
        self.single = single
        self.mask: NDArray[np.bool_] = np.zeros(batch, np.bool_)

    def add(self, where: Any, reason: str, level: str, data_space: str = "") -> None:
        """Refuses the mappings where the condition (a bool or an array) holds.

        Raises:
            InfeasibleMappingError: there is one mapping, and it holds.
        """
        if self.single:
            if where is not False and np.any(where):
                raise InfeasibleMappingError(f"{level}: {reason}", level, data_space)
            return
        self.mask = self.mask | where

    def all(self, reason: str, level: str, data_space: str = "") -> None:
        """Refuses every mapping.

        Raises:
            InfeasibleMappingError: there is one mapping.
        """
        self.add(True, reason, level, data_space)

    def no_tile(self, values: list[Any], data_space: str, level: str) -> list[Any]:
        """Refuses the mappings with a value that is not a number, and returns the values with 0 in their place.

        Raises:
            InfeasibleMappingError: there is one mapping, and it has such a value.
        """
        wrong = np.isnan(sum(values))
        if not np.any(wrong):
            return values
        self.add(
            wrong, f"tiles of {data_space} do not divide its banded matrix, or none has the nonzeros asked for; the real program "
            "stops here", level, data_space,
        )  # fmt: skip
        return [np.nan_to_num(value) for value in values]
