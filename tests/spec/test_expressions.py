"""Arithmetic is computed, code is refused."""

from __future__ import annotations

import pytest

from hwloop.spec.expressions import ExpressionError, evaluate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 + 3 * 4", 14),
        ("width / datawidth", 8.0),
        ("max(1, ceil(log2(depth))) if depth >= 1 else 1", 14),
        ("'45nm'", "45nm"),
        ('"45nm"', "45nm"),
        ("1e-9", 1e-9),
        ("-2 ** 2", -4),
        ("7 // 2 + 7 % 4", 6),
        ("1 < 2 < 3 and not 0", True),
        ("depth == 16384 or depth == 1", True),
        ("pow(2, 10)", 1024),
    ],
)
def test_computes_arithmetic(text: str, expected: object) -> None:
    assert evaluate(text, {"width": 64, "datawidth": 8, "depth": 16384}) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("__import__('os').system('true')", "only arithmetic"),
        ("(1).__class__", "only arithmetic"),
        ("[x for x in (1, 2)]", "only arithmetic"),
        ("lambda: 1", "only arithmetic"),
        ("unknown + 1", "unknown name 'unknown'"),
        ("open('x')", "unknown function 'open'"),
        ("2 ** 99999", "a power too large"),
        ("9 ** 9 ** 9", "a power too large"),
        ("1 / 0", "cannot be computed"),
        ("45nm", "not an arithmetic expression"),
        ("'a' + 1", "arithmetic on the string"),
        ("(" * 500, "not an arithmetic expression"),
        ("1" * 2000, "longer than"),
        ("(-8) ** 0.5", "not a real number"),
    ],
)
def test_refuses_the_rest_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ExpressionError, match=reason.replace("(", r"\(").replace("*", r"\*")):
        evaluate(text, {})
