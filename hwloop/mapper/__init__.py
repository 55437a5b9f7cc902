"""The mapper: what a constraint set allows, and the best of it."""

from __future__ import annotations

from hwloop.mapper.check import check
from hwloop.mapper.describe import LevelRow, describe, level_table, loop_nest
from hwloop.mapper.mapper import map_problem
from hwloop.mapper.network import Item, NetworkResult, map_network
from hwloop.mapper.result import Ceiling, MapResult, Padding

__all__ = [
    "Ceiling", "Item", "LevelRow", "MapResult", "NetworkResult", "Padding", "check", "describe", "level_table", "loop_nest",
    "map_network", "map_problem",
]  # fmt: skip
