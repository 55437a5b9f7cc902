"""The mapper: what a constraint set allows, and the best of it."""

from __future__ import annotations

from hwloop.mapper.bound import Bound, lower_bound
from hwloop.mapper.check import check
from hwloop.mapper.describe import LevelRow, describe, level_table, loop_nest
from hwloop.mapper.mapper import map_problem
from hwloop.mapper.result import Ceiling, MapResult, Padding

__all__ = [
    "Bound", "Ceiling", "LevelRow", "MapResult", "Padding", "check", "describe", "level_table", "loop_nest",
    "lower_bound", "map_problem",
]  # fmt: skip
