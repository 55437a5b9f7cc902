"""The code of what a caller brings, as text that changes when the code does and not with a comment."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any


def code_of(thing: Any) -> str:
    """Tells a function or class from another: its name and, where Python finds it, its code without comments and docstrings.

    Code that it calls in turn, and values that it holds, are not looked at.
    """
    name = f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"
    try:
        text = inspect.getsource(thing)
    except (OSError, TypeError):
        return name
    try:
        tree = ast.parse(textwrap.dedent(text))
    except SyntaxError:  # the source of a lambda may begin or end in the middle of something
        return f"{name}\n{text}"
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return f"{name}\n{ast.unparse(tree)}"
