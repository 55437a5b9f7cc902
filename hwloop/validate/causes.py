"""Why hwloop and the real Timeloop differ on a case: a cause is named where it can be shown for that very case.

Each cause is tried out: the case is simulated again as the real program would have it, and a number that differs is put down to
the cause when the real program's number is then reached. What is not reached stays unexplained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import prod

import numpy as np

from hwloop.backend.timeloop.costing import in_parts
from hwloop.errors import InfeasibleMappingError
from hwloop.simulator import LayerCost, Simulator
from hwloop.simulator.density import DensityModel, Floats, Ints
from hwloop.simulator.hypergeometric import Hypergeometric
from hwloop.simulator.sparse import SparseContext
from hwloop.simulator.sparse.distinct import Lookup
from hwloop.spec.architecture import Architecture
from hwloop.spec.batch import MappingBatch
from hwloop.spec.bits import Bits
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.mapping import Mapping as LoopMapping
from hwloop.spec.problem import Problem
from hwloop.validate.compare import PRINTED, Difference, Pair

LARGE_TENSOR = "large hypergeometric tensor"
LAST_BIT = "last bit of a chance"
WHOLE_ROWS = "whole rows"
BOTH = f"{WHOLE_ROWS} and chances"
UNEXPLAINED = "unexplained"
WORDS = {
    LARGE_TENSOR: "above 104,729 values the library that Timeloop takes chances from errs by up to 1e-12, and counts that are "
    "rounded follow; the difference is within what such errors make",
    LAST_BIT: "counts are rounded from chances that differ in their last bits; the difference is within what those make",
    WHOLE_ROWS: "Timeloop was asked with a level for each data space's bits, in which compressed words of odd rows are paid one "
    "by one and not by the row; hwloop, asked that way, gives the same number",
    BOTH: "the two together",
    UNEXPLAINED: "no known cause could be shown",
}

_PRIMES_UP_TO = 104_729  # the library's table of primes: up to here factorials are taken apart exactly
_LARGE_ERROR = 2e-12  # relative error of a chance above it
_LAST_BITS = 2.0**-50
_NEAR_PJ, _NEAR = 0.2, 1e-6  # sums of energies that were printed with two decimals


class _Inexact(Hypergeometric):
    """A hypergeometric tensor whose chances are off by a fraction.

    Args:
        exact: the tensor.
        empty: by what fraction chances of empty tiles are off.
        occupied: likewise those of an occupancy.
    """

    def __init__(self, exact: Hypergeometric, empty: float, occupied: float) -> None:
        self.size, self.nonzeros = exact.size, exact.nonzeros
        self._off = empty, occupied

    def empty(self, tiles: Ints) -> Floats:
        """Probability that a tile of the tensor has no nonzero."""
        return _off(super().empty(tiles), self._off[0])

    def empty_within(self, parts: Ints, tiles: Ints, occupancies: Ints) -> Floats:
        """Probability that a part of a tile is empty, by the occupancy of the tile."""
        return _off(super().empty_within(parts, tiles, occupancies), self._off[0])

    def occupancies(self, tiles: Ints) -> tuple[Ints, Floats]:
        """Possible occupancies and their probabilities."""
        counts, chances = super().occupancies(tiles)
        return counts, _off(chances, self._off[1])


def _off(chances: Floats, by: float) -> Floats:
    uncertain = (chances > 0.0) & (chances < 1.0)
    return np.where(uncertain, np.minimum(chances * (1.0 + by), 1.0), chances)


Errors = Mapping[str, tuple[float, float]]  # by data space, by what fraction chances are off: of empty tiles, of occupancies


class _InexactSimulator(Simulator):
    """Simulates with chances that are off."""

    def __init__(self, problem: Problem, arch: Architecture, table: EnergyTable, bits: Bits | None, errors: Errors) -> None:
        super().__init__(problem, arch, table, bits)
        self.errors = errors

    def _seen(self, context: SparseContext) -> SparseContext:
        def model(name: str, exact: DensityModel) -> DensityModel:
            return _Inexact(exact, *self.errors[name]) if name in self.errors and isinstance(exact, Hypergeometric) else exact

        spaces = tuple(replace(s, models=tuple(model(s.name, m) for m in s.models)) for s in context.spaces)
        return replace(context, spaces=spaces, lookup=Lookup())


class Explainer:
    """Tries the known causes on one case.

    Args:
        problem: the layer.
        architecture: the accelerator.
        mapping: the loop nest.
        table: energies.
        bits: by data space, where it has bits of its own.
    """

    def __init__(
        self, problem: Problem, architecture: Architecture, mapping: LoopMapping, table: EnergyTable,
        bits: Bits | None = None,
    ) -> None:  # fmt: skip
        self._problem, self._architecture, self._table, self._bits = problem, architecture, table, dict(bits or {})
        batch = MappingBatch.from_mappings([mapping], problem.shape, problem.bounds, architecture)
        self._mapping = batch.to_mapping(0, problem.shape, architecture)

    def causes(self, pairs: Sequence[Pair], compare: Callable[[LayerCost], Iterable[Pair]]) -> list[str]:
        """The cause of each pair that is not equal, empty for those that are.

        Args:
            pairs: how hwloop's cost compares.
            compare: the same comparison for another cost.
        """
        out = ["" if equal else UNEXPLAINED for equal, _ in pairs]
        for name, costs in self._trials():
            if UNEXPLAINED not in out:
                break
            reached: dict[tuple[str, str], list[float]] = {}
            for cost in costs:
                for _, difference in [] if cost is None else compare(cost):
                    reached.setdefault((difference.quantity, difference.where), []).append(difference.found)
            for i, (_, difference) in enumerate(pairs):
                if out[i] == UNEXPLAINED and _reaches(difference, reached.get((difference.quantity, difference.where), [])):
                    out[i] = name
        return out

    def refusal(self, runs: bool) -> str:
        """The cause of one program refusing what the other runs.

        Args:
            runs: whether it is hwloop that runs it.
        """
        return next((name for name, costs in self._trials() if any((cost is None) == runs for cost in costs)), UNEXPLAINED)

    def _trials(self) -> Iterator[tuple[str, Iterator[LayerCost | None]]]:
        """Causes with the costs that each leads to, the most telling first; None where the mapping is then refused."""
        names = [s.name for s in self._problem.shape.data_spaces]
        uncertain = [name for name in names if self._problem.density(name).distribution == "hypergeometric"]
        large = [name for name in uncertain if prod(self._problem.rank_sizes(name)) > _PRIMES_UP_TO]
        if self._bits:
            yield WHOLE_ROWS, self._costs([{}], parts=True)
        for cause, off, error in ((LARGE_TENSOR, large, _LARGE_ERROR), (LAST_BIT, uncertain, _LAST_BITS)):
            if off:
                yield cause, self._costs(_errors(off, error), parts=False)
        if self._bits and uncertain:
            yield BOTH, self._costs(_errors(large or uncertain, _LARGE_ERROR if large else _LAST_BITS), parts=True)

    def _costs(self, trials: Iterable[Errors], parts: bool) -> Iterator[LayerCost | None]:
        for errors in trials:

            def ask(
                problem: Problem, arch: Architecture, mapping: LoopMapping, table: EnergyTable,
                bits: Bits | None = None, off: Errors = errors,
            ) -> LayerCost:  # fmt: skip
                return _InexactSimulator(problem, arch, table, bits, off).run(mapping)

            case = (self._problem, self._architecture, self._mapping, self._table)
            try:
                yield in_parts(ask, *case, self._bits) if parts else ask(*case, self._bits)
            except InfeasibleMappingError:
                yield None


def _errors(names: Sequence[str], error: float) -> Iterator[Errors]:
    """Every tensor's chances of empty tiles up or down, and those of occupancies up or down."""
    for occupied, *signs in product((error, -error), repeat=1 + len(names)):
        yield {name: (sign, occupied) for name, sign in zip(names, signs, strict=True)}


def _reaches(difference: Difference, found: Sequence[float]) -> bool:
    """Whether the real program's number lies within those found, energies as far as they are printed."""
    if not found:
        return False
    real = difference.expected
    near = max(_NEAR_PJ, _NEAR * abs(real)) if difference.quantity in PRINTED else 0.0
    return min(found) - near <= real <= max(found) + near


def answered_for(ours: LayerCost | None, refusal: str) -> str:
    """What hwloop says where the real program crashed or took too long, and why that may be."""
    if ours is None:
        return f"hwloop refuses: {refusal}"
    said = f"hwloop: {ours.energy_pj:.6g} pJ, {ours.cycles} cycles"
    if ours.actual_computes + ours.gated_computes == 0:
        said += "; every operation is skipped, and Timeloop divides by those that are not"
    return said
