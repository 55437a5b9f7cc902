"""The search methods by name."""

from __future__ import annotations

from collections.abc import Callable

from hwloop.errors import SpecError
from hwloop.search.method import SearchMethod
from hwloop.search.nsga2 import Nsga2

METHODS: dict[str, Callable[[], SearchMethod]] = {Nsga2.name: Nsga2}


def find_method(name: str | SearchMethod) -> SearchMethod:
    """The method called `name`, with its default settings; a method itself is passed through.

    Raises:
        SpecError: there is none.
    """
    if not isinstance(name, str):
        return name
    if name not in METHODS:
        raise SpecError("<arguments>", "method", f"one of {', '.join(METHODS)}", name)
    return METHODS[name]()
