"""The seam for methods: a method gets a study and a space, and evaluates candidates until it is done or the budget is spent.

A method is a frozen dataclass whose fields are its settings; they reach the command line, `config.json` and the identity of the
run by themselves. To add one: write a module with such a class, and either name it in `METHODS` or give it as
`--method package.module:Class`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from hwloop.search.options import describe_options, find_class, read_options
from hwloop.search.seams import BudgetSpent
from hwloop.search.space import Space
from hwloop.search.study import Study

METHODS = {
    "nsga2": "hwloop.search.methods.nsga2:Nsga2",
    "nsga3": "hwloop.search.methods.nsga3:Nsga3",
    "knapsack": "hwloop.search.methods.knapsack:Knapsack",
    "random": "hwloop.search.methods.random:Random",
}


class Method(Protocol):
    """A way to search. It keeps nothing: the study holds what was evaluated.

    What it asks for depends on its settings, the study's seed and the numbers alone, so that a run that is started again, and
    answered from its log, ends the same. One whose steps are costly (an agent that learns) gives its state to `study.keep` and
    takes it from `study.kept`. `study.evaluate` raises `BudgetSpent` when the budget is used up; a method need not catch it.
    """

    name: ClassVar[str]

    def expected(self) -> int:
        """About how many candidates it asks for when no budget stops it, for the display; 0 where nobody knows."""
        ...

    def run(self, study: Study, space: Space) -> None:
        """Evaluates candidates of `space`."""
        ...


def find_method(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """The method called `name`, or the user's own `package.module:Class`, with its settings.

    Raises:
        SpecError: no such method, or settings that it does not have or that make no sense.
        DataError: the user's module cannot be imported.
    """
    kind = find_class(name, METHODS, "method")
    method: Method = kind(**read_options(kind, options or {}, "method option"))
    return method


def describe_method(name: str) -> str:
    """The settings of a method with their defaults, in one line."""
    return describe_options(find_class(name, METHODS, "method"))


def run_method(method: Method, study: Study, space: Space) -> None:
    """Runs a method until it is done or the budget is spent."""
    try:
        method.run(study, space)
    except BudgetSpent:
        return
