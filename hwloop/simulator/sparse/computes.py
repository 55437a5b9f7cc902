"""What becomes of the computes: done, gated or skipped, by the state of the two operands (MICRO 2022 section 5.4, figure 10)."""

from __future__ import annotations

from dataclasses import dataclass

from hwloop.simulator.nest import Nest
from hwloop.simulator.numeric import Number, floor, maximum, minimum, round_half_up, where
from hwloop.simulator.sparse.context import SparseContext
from hwloop.simulator.sparse.refusals import Refusals

_PARTS = 1_000_000  # the real program rounds these probabilities to a millionth
_SLACK = 1e-5  # and stops when one is further than this outside 0..1


@dataclass(slots=True)
class Computes:
    """Operations over all units: done, gated (a cycle each) and skipped (none)."""

    done: Number
    gated: Number
    skipped: Number


def computes(context: SparseContext, nest: Nest, total: Number, operands: dict[int, Number], refusals: Refusals) -> Computes:
    """Splits the computes that reach the units.

    Each operand is a value, a zero, or (when its innermost level has metadata) not there at all.

    Args:
        context: problem and accelerator.
        nest: which level keeps what.
        total: computes left after what the storage levels have saved.
        operands: by operand whose accesses are saved, with what chance its innermost saving level saves them.
        refusals: where a probability falls outside 0..1.
    """
    a, b = context.operands
    value: dict[int, Number] = {}
    sent: dict[int, Number] = {}
    for this, other in ((a, b), (b, a)):
        density = round_half_up(_PARTS * context.spaces[this].value_density()) / _PARTS
        chance: Number = density
        if other in operands:  # what is left of this operand's values, given that the other one's accesses were not saved
            kept = 1.0 - round_half_up(maximum(operands[other], 0.0) * _PARTS) / _PARTS
            chance = where(operands[other] < 0, density, density / where(kept == 0, 1.0, kept))
        refusals.add(
            chance > 1.0 + _SLACK, f"the density of {context.spaces[this].name} that remains is above 1: its leader tiles are "
            "empty more often than its values are zero", context.compiled.compute_name, context.spaces[this].name,
        )  # fmt: skip
        value[this] = minimum(chance, 1.0)
        levels = [level for level, row in enumerate(nest.tiles) if row[this].kept]
        sent[this] = 0.0 if context.formats[levels[-1]][this] is not None else 1.0
    zero = {i: sent[i] * (1.0 - value[i]) for i in (a, b)}  # there, but zero
    absent = {i: (1.0 - sent[i]) * (1.0 - value[i]) for i in (a, b)}
    with_zero = total * (value[a] * zero[b] + zero[a] * value[b]), total * (zero[a] * zero[b])
    lone = total * (value[a] * absent[b] + absent[a] * value[b]), total * (zero[a] * absent[b] + absent[a] * zero[b])
    nobody = total * (absent[a] * absent[b])
    gated: Number = 0.0
    skipped: Number = 0.0
    if context.gate_compute:
        gated = with_zero[0] + with_zero[1]
    if context.skip_compute:
        skipped = lone[0] + lone[1]
    elif context.gate_compute:
        gated = with_zero[0] + lone[0] + with_zero[1] + lone[1]
    gated, skipped = floor(gated), floor(skipped)
    return Computes(total - skipped - gated - floor(nobody), gated, skipped)
