"""Safe arithmetic for attributes: Timeloop v0.4 writes them as Python expressions; hwloop parses them and never evaluates code.

Allowed: numbers, quoted strings, names of known variables, + - * / // % **, comparisons, and/or/not, `a if c else b`, and
the functions min, max, abs, round, ceil, floor, sqrt, log, log2, log10, int, float.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from hwloop.spec.limits import WHOLE

Value = int | float | str | bool

_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "round": round,
    "ceil": math.ceil,
    "floor": math.floor,
    "sqrt": math.sqrt,
    "log": math.log,
    "log2": math.log2,
    "log10": math.log10,
    "int": int,
    "float": float,
    "pow": lambda a, b: _power(a, b),
}
_MAX_LENGTH = 1000
_MAX_EXPONENT = 1024


class ExpressionError(ValueError):
    """Text that is not an expression hwloop computes; the message says which part."""


def evaluate(text: str, variables: Mapping[str, Value]) -> Value:
    """Computes an arithmetic expression.

    Raises:
        ExpressionError: not an expression, an unknown name, or anything beyond the arithmetic listed above.
    """
    if len(text) > _MAX_LENGTH:
        raise ExpressionError(f"longer than {_MAX_LENGTH} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError("not an arithmetic expression") from None
    try:
        value = _compute(tree.body, variables)
    except (ZeroDivisionError, OverflowError, TypeError, ValueError) as error:
        if isinstance(error, ExpressionError):
            raise
        raise ExpressionError(f"cannot be computed: {error}") from None
    except RecursionError:
        raise ExpressionError("nested too deeply") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ExpressionError("not a finite number")
    if isinstance(value, int) and abs(value) > WHOLE:
        raise ExpressionError(f"a whole number beyond {WHOLE}")
    return value


def _power(base: float, exponent: float) -> float:
    if abs(exponent) > _MAX_EXPONENT or abs(base) > 1e30:
        raise ExpressionError(f"a power too large to compute: {base} ** {exponent}")
    result: float | complex = base**exponent
    if isinstance(result, complex):
        raise ExpressionError(f"a power that is not a real number: {base} ** {exponent}")
    return result


def _number(node: ast.expr, variables: Mapping[str, Value]) -> float:
    value = _compute(node, variables)
    if isinstance(value, str):
        raise ExpressionError(f"arithmetic on the string {value!r}")
    return value


def _compute(node: ast.expr, variables: Mapping[str, Value]) -> Value:
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float, str)):
        return node.value
    if isinstance(node, ast.Name):
        if node.id not in variables:
            raise ExpressionError(f"unknown name {node.id!r}")
        return variables[node.id]
    if isinstance(node, ast.BinOp):
        left, right = _number(node.left, variables), _number(node.right, variables)
        if isinstance(node.op, ast.Pow):
            return _power(left, right)
        if type(node.op) in _BINARY:
            return _BINARY[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp):
        operand = _number(node.operand, variables)
        if isinstance(node.op, ast.USub):
            return -operand
        if isinstance(node.op, ast.UAdd):
            return operand
        if isinstance(node.op, ast.Not):
            return not operand
    if isinstance(node, ast.Compare):
        left_value = _compute(node.left, variables)
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            right_value = _compute(right_node, variables)
            if type(op) not in _COMPARE:
                raise ExpressionError("a comparison other than < <= > >= == !=")
            if not _COMPARE[type(op)](left_value, right_value):
                return False
            left_value = right_value
        return True
    if isinstance(node, ast.BoolOp):
        values = [_compute(v, variables) for v in node.values]
        return all(values) if isinstance(node.op, ast.And) else any(values)
    if isinstance(node, ast.IfExp):
        return _compute(node.body if _compute(node.test, variables) else node.orelse, variables)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id not in _FUNCTIONS:
            raise ExpressionError(f"unknown function {node.func.id!r}; known: {', '.join(sorted(_FUNCTIONS))}")
        return _FUNCTIONS[node.func.id](*(_number(a, variables) for a in node.args))
    raise ExpressionError(f"only arithmetic is allowed, not {ast.unparse(node)!r}")
