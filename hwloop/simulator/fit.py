"""Whether a mapping fits the accelerator: with the reason for one mapping, as a mask for many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import InfeasibleMappingError
from hwloop.simulator.activity import Activity
from hwloop.simulator.compiled import Compiled
from hwloop.simulator.cost import needed_capacity
from hwloop.simulator.numeric import Number

Bools = NDArray[np.bool_]


def check_fit(compiled: Compiled, activity: Activity) -> None:
    """Refuses what does not fit: the mesh of the compute units, then each level from the innermost out.

    Raises:
        InfeasibleMappingError: with level, data space, need and room.
    """
    _check_mesh(
        compiled.compute_name, activity.compute.x_expansion, activity.compute.y_expansion, compiled.compute_mesh,
        compiled.compute_instances,
    )  # fmt: skip
    for index in range(len(compiled.levels) - 1, -1, -1):
        level, tiles = compiled.levels[index], activity.tiles[index]
        needed = needed_capacity(level, tiles)
        total = sum(needed)
        unit = "rows" if level.by_rows else "words"
        if level.capacity is not None:
            names = [space.name for space, need in zip(compiled.spaces, needed, strict=True) if need]
            detail = ", ".join(f"{n} {need}" for n, need in zip((s.name for s in compiled.spaces), needed, strict=True) if need)
            what = f"{names[0]} needs {total}" if len(names) == 1 else f"{' + '.join(names)} need {total} ({detail})"
            first = names[0] if len(names) == 1 else ""
            if total > level.capacity:
                raise InfeasibleMappingError(f"{level.name}: {what} {unit}, {level.capacity} {unit} fit", level.name, first)
            bits = sum(tile.metadata_capacity_bits for tile in tiles)
            if level.metadata_capacity_bits is not None and bits > level.metadata_capacity_bits:
                raise InfeasibleMappingError(
                    f"{level.name}: metadata needs {bits} bits, {level.metadata_capacity_bits} bits fit", level.name
                )
            if total < level.min_capacity:
                raise InfeasibleMappingError(
                    f"{level.name}: {total} {unit} are used, min_utilization asks for {level.min_capacity:g}", level.name
                )
        _check_mesh(
            level.name, max(t.x_expansion for t in tiles), max(t.y_expansion for t in tiles), (level.mesh_x, level.mesh_y),
            level.instances,
        )  # fmt: skip


def _check_mesh(name: str, used_x: int, used_y: int, mesh: tuple[int, int], instances: int) -> None:
    for axis, used, have in (("X", used_x, mesh[0]), ("Y", used_y, mesh[1])):
        if used > have:
            raise InfeasibleMappingError(
                f"{name}: spatial loops spread over {used} instances along {axis}, the mesh has {have}", name
            )
    if used_x * used_y > instances:
        raise InfeasibleMappingError(f"{name}: spatial loops use {used_x * used_y} instances, there are {instances}", name)


def fits(compiled: Compiled, activity: Activity) -> Bools:
    """Where the compute units' mesh, every level's mesh, its words and its metadata bits are not exceeded."""
    good: Bools = _fits_mesh(
        activity.compute.x_expansion, activity.compute.y_expansion, compiled.compute_mesh, compiled.compute_instances
    )
    for level, tiles in zip(compiled.levels, activity.tiles, strict=True):
        for tile in tiles:
            good = good & _fits_mesh(tile.x_expansion, tile.y_expansion, (level.mesh_x, level.mesh_y), level.instances)
        if level.capacity is None:
            continue
        used: Number = sum(needed_capacity(level, tiles))
        good = good & (used <= level.capacity) & (used >= level.min_capacity)
        if level.metadata_capacity_bits is not None:
            good = good & (sum(tile.metadata_capacity_bits for tile in tiles) <= level.metadata_capacity_bits)
    return good


def _fits_mesh(x: Number, y: Number, mesh: tuple[int, int], instances: int) -> Bools:
    return np.asarray((x <= mesh[0]) & (y <= mesh[1]) & (x * y <= instances))
