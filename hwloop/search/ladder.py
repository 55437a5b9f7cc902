"""A ladder of pruning: the amounts and N:M patterns that a layer may be pruned to, read from text."""

from __future__ import annotations

from dataclasses import dataclass

from hwloop.errors import SpecError
from hwloop.spec.layer_plan import Kept
from hwloop.spec.pruning import BlockPattern, check_pruning, read_pattern

DIGITS = 4  # of an amount: 0.01%
_STEPS = 1000


@dataclass(frozen=True)
class Level:
    """One step of a ladder.

    Attributes:
        amount: fraction removed.
        pattern: whether it is an N:M pattern.
        kept: what a layer's share says.
    """

    amount: float
    pattern: bool
    kept: Kept

    def beyond(self, have: float) -> Kept:
        """What a share says where the base has `have` pruned already: 1.0, as in the base, where that is enough."""
        return 1.0 if not self.pattern and self.amount <= have + 1e-9 else self.kept


def read_ladder(text: str, what: str) -> tuple[Level, ...]:
    """Reads amounts (`0.5`), ranges (`FROM:TO:STEP`, both ends inside) and N:M patterns (`2:4`), by comma; 0 is always there.

    Returns:
        Distinct levels by rising amount, patterns behind the amounts equal to theirs.

    Raises:
        SpecError: anything else, or amounts that are no fractions from 0 to below 1.
    """
    levels = {Level(amount, False, round(1 - amount, DIGITS)) for amount in (0.0, *read_amounts(_without_patterns(text), what))}
    for part in _parts(text):
        if part.count(":") == 1:
            pattern = _pattern(part, what)
            levels.add(Level(round(1 - pattern.keep / pattern.block, DIGITS), True, pattern))
    return tuple(sorted(levels, key=lambda level: (level.amount, level.pattern, str(level.kept))))


def read_amounts(text: str, what: str) -> tuple[float, ...]:
    """Reads amounts (`0.5`) and ranges (`FROM:TO:STEP`, both ends inside), by comma: distinct, rising.

    Raises:
        SpecError: anything else, or amounts that are no fractions from 0 to below 1.
    """
    amounts: set[float] = set()
    for part in _parts(text):
        numbers = [_number(number, what) for number in part.split(":")]
        if len(numbers) == 1:
            amounts.add(round(check_pruning(numbers[0], what), DIGITS))
        elif len(numbers) == 3 and numbers[2] > 0 and numbers[0] <= numbers[1] <= numbers[0] + _STEPS * numbers[2]:
            first, last, step = numbers
            for i in range(round((last - first) // step + 1) + 1):
                if first + i * step <= last + 1e-9:
                    amounts.add(round(check_pruning(first + i * step, what), DIGITS))
        else:
            raise SpecError("<arguments>", what, f"an amount, or FROM:TO:STEP of at most {_STEPS} steps", part)
    return tuple(sorted(amounts))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _without_patterns(text: str) -> str:
    return ",".join(part for part in _parts(text) if part.count(":") != 1)


def _pattern(text: str, what: str) -> BlockPattern:
    try:
        pattern = read_pattern(text)
    except SpecError:
        raise SpecError("<arguments>", what, "keep:block with 0 < keep < block, such as 2:4", text) from None
    if pattern.keep == pattern.block:
        raise SpecError("<arguments>", what, "a pattern that removes something", text)
    return pattern


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SpecError("<arguments>", what, "amounts such as 0.5, ranges FROM:TO:STEP or patterns N:M, by comma", text) from None
