"""Bits and energies: what rows hold and what accesses cost, for one design or for many candidates at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from hwloop.errors import EnergyTableError, SpecError
from hwloop.simulator.compiled import (
    COMPUTE_ACTIONS,
    METADATA_ACTIONS,
    STORAGE_ACTIONS,
    Compiled,
    CompiledLevel,
    CompiledSpace,
    compile_structure,
)
from hwloop.simulator.networks import price_wires
from hwloop.simulator.numeric import Number
from hwloop.simulator.packing import Waiting, pack
from hwloop.spec.architecture import Architecture
from hwloop.spec.bits import ELSEWHERE, Bits, elsewhere, width_at
from hwloop.spec.energy_table import ComponentEnergy, EnergyTable
from hwloop.spec.problem import Problem

Key = TypeVar("Key")
_DATA = frozenset({("random", "read"), ("random", "fill"), ("random", "update")})


def compile_simulation(
    problem: Problem, architecture: Architecture, energy_table: EnergyTable, bits: Bits | None = None
) -> Compiled:
    """Looks everything up.

    Args:
        problem: the layer.
        architecture: the accelerator.
        energy_table: energies [pJ] per vector access; never rescaled.
        bits: width of the values of a data space [bits], `{data space: int}`, or `{data space: {level: int}}` with `*` for
            the levels not named; each level's `datawidth` where nothing is said. With bits up to the row's, a row holds
            floor(row / bits) words, otherwise a word takes ceil(bits / row) rows. Capacity counts rows, energy counts vector
            accesses (rows), bandwidth counts the share of a row that a word takes. That is what the real program does when the
            level is split into one level per data space (`!Parallel`) that share depth and bandwidth.

            A result waits for its reader at the outermost level that keeps it. There the width of a named level is that of
            finished values (each word's last arrival); partial sums that come by have the width of `*`, the level's
            `datawidth` unless given.

    Raises:
        SpecError: bits of a data space or level that is not there, or below 1.
        EnergyTableError: a component or an action that the table lacks.
    """
    compiled = price(compile_structure(problem, architecture), [energy_table], bits or {})
    return replace(compiled, counts_hops=bool(compiled.wires))


def price(compiled: Compiled, tables: Sequence[EnergyTable], bits: Mapping[str, Any], which: Number = 0) -> Compiled:
    """Fills in bits and energies, of one design or of many candidates.

    Args:
        compiled: from `compile_structure`.
        tables: energy tables [pJ], each once.
        bits: as in `compile_simulation`; a width is one for all, or `(candidate, 1)`.
        which: the table: 0 for all, or each candidate's index `(candidate, 1)`.

    Raises:
        SpecError: bits of a data space or level that is not there, or below 1.
        EnergyTableError: a component or an action that a table lacks.
    """
    _check(compiled, bits)
    prices = _Prices(tables, which)
    wires = price_wires(compiled.architecture, tables, which)
    return replace(
        compiled,
        levels=tuple(_price_level(level, compiled.spaces, bits, prices) for level in compiled.levels),
        compute_pj=prices.compute(compiled.compute_name),
        compute_leak_pj=prices.leak(compiled.compute_name),
        wires=wires,
    )


class _Prices:
    """Energies by component and action: a number, or one a candidate where tables differ."""

    def __init__(self, tables: Sequence[EnergyTable], which: Number) -> None:
        self._tables, self._which = tables, which
        self._components: dict[str, tuple[list[ComponentEnergy], Number]] = {}

    def storage(self, level: CompiledLevel, chains: Mapping[Key, tuple[str, ...]]) -> dict[Key, Number]:
        """Energies of a level's actions, by fall-back chain; what is neither read, filled nor updated need not be there."""
        must = (
            {("random", kind) for kind in ("read", "fill", "update")}
            if chains is STORAGE_ACTIONS and not level.spatial
            else set()
        )
        return {
            key: self._energy(level.name, chain, None if key in must else 0.0, level.builtin_pj) for key, chain in chains.items()
        }

    def compute(self, name: str) -> dict[str, Number]:
        """Energies of the operations of the compute units."""
        return {kind: self._energy(name, chain, None, None) for kind, chain in COMPUTE_ACTIONS.items()}

    def leak(self, name: str) -> Number:
        """Leakage of one of the compute units in a cycle."""
        return self._energy(name, ("leak",), 0.0, None)

    def _energy(self, name: str, chain: tuple[str, ...], default: float | None, builtin_pj: float | None) -> Number:
        if name not in self._components:
            distinct: list[ComponentEnergy] = []
            place = [_place(distinct, table.component(name)) for table in self._tables]
            if builtin_pj is not None:
                distinct = [component.as_storage(builtin_pj) for component in distinct]
            self._components[name] = distinct, np.array(place)[self._which]
        distinct, index = self._components[name]
        values = [component.energy_pj(*chain, default=default) for component in distinct]
        return values[0] if values.count(values[0]) == len(values) else np.array(values)[index]

    def __contains__(self, name: str) -> bool:
        return all(name in table for table in self._tables)


def _place(distinct: list[ComponentEnergy], component: ComponentEnergy) -> int:
    for i, known in enumerate(distinct):
        if known is component or known.actions == component.actions:
            return i
    distinct.append(component)
    return len(distinct) - 1


def _check(compiled: Compiled, bits: Mapping[str, Any]) -> None:
    spaces = [space.name for space in compiled.spaces]
    levels = [level.name for level in compiled.levels if not level.spatial]
    for name, given in bits.items():
        if name not in spaces:
            raise SpecError("bits", name, f"a data space among {spaces}", given)
        for level, width in given.items() if isinstance(given, Mapping) else ((ELSEWHERE, given),):
            where = f"{name}.{level}" if isinstance(given, Mapping) else name
            if level != ELSEWHERE and level not in levels:
                raise SpecError("bits", where, f"a storage level among {levels}, or {ELSEWHERE!r} for the others", level)
            values = np.asarray(width)
            if values.dtype.kind not in "iu" or (values < 1).any():
                raise SpecError("bits", where, "a whole number of at least 1", width)


def _waiting(level: CompiledLevel, scale: Number, width: Number | None, other: Number | None) -> Waiting | None:
    """How a result lies where it waits; None where finished values and partial sums are of one width."""
    partial, finished = pack(level, scale, other), pack(level, scale, width)
    return None if np.array_equal(partial.bits, finished.bits) else Waiting(partial, finished)


def _price_level(
    level: CompiledLevel, spaces: tuple[CompiledSpace, ...], bits: Mapping[str, Any], prices: _Prices
) -> CompiledLevel:
    changes: dict[str, Any] = {}
    given = [bits.get(space.name) for space in spaces]
    widths = [width_at(value, level.name) for value in given]
    partial = [elsewhere(value) for value in given]  # of partial sums, at the level where results wait
    if any(width is not None for width in widths):
        scales = [packing.bandwidth_scale for packing in level.packing]
        changes = {
            "packing": tuple(pack(level, scale, width) for scale, width in zip(scales, widths, strict=True)),
            "waiting": tuple(
                _waiting(level, scale, width, other) if space.read_write and isinstance(value, Mapping) else None
                for space, scale, value, width, other in zip(spaces, scales, given, widths, partial, strict=True)
            ),
            "capacity": None if level.capacity is None else level.capacity // level.block_size,
            "by_rows": True,
            "min_capacity": level.min_capacity / level.block_size,
        }
    if level.vector_pj is not None:
        changes["energy_pj"] = {key: level.vector_pj if key[0] == "random" else 0.0 for key in STORAGE_ACTIONS}
    elif level.name in prices:
        changes["energy_pj"] = prices.storage(level, STORAGE_ACTIONS)
        changes["metadata_pj"] = prices.storage(level, METADATA_ACTIONS)
        others = {"decompression_pj": ("decompression_count",), "compression_pj": ("compression_count",), "leak_pj": ("leak",)}
        changes |= prices.storage(level, others)
    elif not level.spatial:
        raise EnergyTableError(f"energy table: no component {level.name!r}; add an entry with its actions [pJ per vector access]")
    return replace(level, **changes)
