from __future__ import annotations

import pytest

from hwloop.errors import SpecError
from hwloop.search.ladder import read_amounts, read_ladder
from hwloop.spec.pruning import BlockPattern


def test_amounts_ranges_and_patterns_make_one_rising_ladder() -> None:
    ladder = read_ladder("0.9, 0.2:0.6:0.2, 2:4,0.95", "amounts")
    assert [(level.amount, level.kept) for level in ladder] == [
        (0.0, 1.0), (0.2, 0.8), (0.4, 0.6), (0.5, BlockPattern(2, 4)), (0.6, 0.4), (0.9, 0.1), (0.95, 0.05),
    ]  # fmt: skip
    assert read_ladder("", "amounts")[0].kept == 1.0
    assert len(read_amounts("0:0.99:0.05", "amounts")) == 20, "0, 0.05, ..., 0.95"
    assert read_amounts("0.1:0.3:0.1", "amounts") == (0.1, 0.2, 0.3)


def test_amounts_within_what_the_base_has_mean_the_base_and_patterns_never_do() -> None:
    low, pattern, high = read_ladder("0.4,2:4,0.6", "amounts")[1:]
    assert (low.beyond(0.5), high.beyond(0.5), high.beyond(0.6)) == (1.0, 0.4, 1.0)
    assert pattern.beyond(0.9) == BlockPattern(2, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.0", "amounts: expected a fraction from 0 to below 1"),
        ("0.2:0.1:0.1", "FROM:TO:STEP of at most 1000 steps, found '0.2:0.1:0.1'"),
        ("0:0.9:0", "FROM:TO:STEP"),
        ("0:0.9:1e-9", "FROM:TO:STEP"),
        ("nan:1:0.1", "FROM:TO:STEP"),
        ("4:2", "expected keep:block with 0 < keep < block, such as 2:4, found '4:2'"),
        ("4:4", "a pattern that removes something"),
        ("half", "amounts such as 0.5, ranges FROM:TO:STEP or patterns N:M, by comma, found 'half'"),
    ],
)
def test_other_ladders_are_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_ladder(text, "amounts")
