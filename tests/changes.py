"""Every way to change one thing in a spec or in settings, for what must notice each of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any


def changes(value: Any) -> Iterator[tuple[str, Any, bool]]:
    """Every way to change one thing in a value: (where, the changed value, whether it counts)."""
    if is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            for where, new, counts in changes(getattr(value, field.name)):
                other = copy.copy(value)
                object.__setattr__(other, field.name, new)
                yield f".{field.name}{where}", other, counts and field.compare
    elif isinstance(value, tuple):
        for i, entry in enumerate(value):
            yield f"[-{i}]", value[:i] + value[i + 1 :], True
            for where, new, counts in changes(entry):
                yield f"[{i}]{where}", (*value[:i], new, *value[i + 1 :]), counts
        if not value:
            yield "[+]", ("more",), True
    elif isinstance(value, dict):
        for name, entry in value.items():
            yield f"[-{name}]", {k: v for k, v in value.items() if k != name}, True
            yield f"[{name}]", {**value, name: entry + 1}, True
    elif isinstance(value, bool):
        yield "", not value, True
    elif isinstance(value, (int, float)):
        yield "", value + 1, True
    elif isinstance(value, str):
        yield "", f"{value}_other", True
    else:
        assert value is None, f"{value!r}: say here how to change one"
        yield "", 7, True
