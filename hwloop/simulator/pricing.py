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
    compile_structure,
)
from hwloop.simulator.networks import price_wires
from hwloop.simulator.numeric import Number, ceil_div, maximum
from hwloop.spec.architecture import Architecture
from hwloop.spec.energy_table import ComponentEnergy, EnergyTable
from hwloop.spec.problem import Problem

Key = TypeVar("Key")
_DATA = frozenset({("random", "read"), ("random", "fill"), ("random", "update")})


def compile_simulation(
    problem: Problem, architecture: Architecture, energy_table: EnergyTable, bits: Mapping[str, int] | None = None
) -> Compiled:
    """Looks everything up.

    Args:
        problem: the layer.
        architecture: the accelerator.
        energy_table: energies [pJ] per vector access; never rescaled.
        bits: width of the values of a data space [bits]; a data space not named has each level's `datawidth`. With bits up to
            the row's, a row holds floor(row / bits) words, otherwise a word takes ceil(bits / row) rows. Capacity counts rows,
            energy counts vector accesses (rows), bandwidth counts the share of a row that a word takes. That is what the real
            program does when the level is split into one level per data space (`!Parallel`) that share depth and bandwidth.

    Raises:
        SpecError: bits of a data space that is not there, or below 1.
        EnergyTableError: a component or an action that the table lacks.
    """
    compiled = price(compile_structure(problem, architecture), [energy_table], bits or {})
    return replace(compiled, counts_hops=bool(compiled.wires))


def price(compiled: Compiled, tables: Sequence[EnergyTable], bits: Mapping[str, Number], which: Number = 0) -> Compiled:
    """Fills in bits and energies, of one design or of many candidates.

    Args:
        compiled: from `compile_structure`.
        tables: energy tables [pJ], each once.
        bits: width of the values of a data space [bits]: one for all, or `(candidate, 1)`.
        which: the table: 0 for all, or each candidate's index `(candidate, 1)`.

    Raises:
        SpecError: bits of a data space that is not there, or below 1.
        EnergyTableError: a component or an action that a table lacks.
    """
    for name, width in bits.items():
        if name not in {s.name for s in compiled.spaces}:
            raise SpecError("bits", name, f"a data space among {[s.name for s in compiled.spaces]}", width)
        given = np.asarray(width)
        if given.dtype.kind not in "iu" or (given < 1).any():
            raise SpecError("bits", name, "a whole number of at least 1", width)
    widths = [bits.get(space.name) for space in compiled.spaces]
    prices = _Prices(tables, which)
    wires = price_wires(compiled.architecture, tables, which)
    return replace(
        compiled,
        levels=tuple(_price_level(level, widths, prices) for level in compiled.levels),
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


def _price_level(level: CompiledLevel, widths: list[Number], prices: _Prices) -> CompiledLevel:
    changes: dict[str, Any] = {}
    if any(width is not None for width in widths):
        block, row_bits = level.block_size, level.block_size * level.word_bits
        row_words = tuple(block if w is None else maximum(row_bits // w, 1) for w in widths)
        word_rows = tuple(1 if w is None else ceil_div(w, row_bits) for w in widths)
        changes = {
            "space_bits": tuple(level.word_bits if w is None else w for w in widths),
            "row_words": row_words,
            "word_rows": word_rows,
            "bandwidth_scale": tuple(
                scale if w is None else scale * block * r / n
                for scale, w, r, n in zip(level.bandwidth_scale, widths, word_rows, row_words, strict=True)
            ),
            "capacity": None if level.capacity is None else level.capacity // block,
            "by_rows": True,
            "min_capacity": level.min_capacity / block,
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
