"""Equal requests are asked once, and their answer is kept for as long as the object lives. Touches no disk."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from hwloop.backend.protocol import Backend, ShortList
from hwloop.backend.request import MapRequest, OnOutcome, Outcome
from hwloop.simulator import LayerCost
from hwloop.spec.levels import Architecture
from hwloop.spec.mapping import Mapping as LoopMapping
from hwloop.spec.problem import Problem


class Wrapper:
    """A backend in front of another one, which passes every call on."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner

    @property
    def name(self) -> str:
        """The inner backend's."""
        return self.inner.name

    @property
    def identity(self) -> str:
        """The inner backend's, which makes the answers."""
        return self.inner.identity

    def map(self, requests: Sequence[MapRequest], on_outcome: OnOutcome | None = None) -> list[Outcome]:
        """See `Backend.map`."""
        return self.inner.map(requests, on_outcome)

    def simulate(self, request: MapRequest, mapping: LoopMapping) -> LayerCost:
        """See `Backend.simulate`."""
        return self.inner.simulate(request, mapping)

    def short_list(self, problem: Problem, arch: Architecture, mappings: Sequence[LoopMapping]) -> ShortList:
        """See `Backend.short_list`."""
        return self.inner.short_list(problem, arch, mappings)


class Distinct(Wrapper):
    """Asks the inner backend each question once."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._answers: dict[Any, Outcome] = {}

    def map(self, requests: Sequence[MapRequest], on_outcome: OnOutcome | None = None) -> list[Outcome]:
        """The best mapping of each request; see `Backend.map`."""
        return ask_distinct(self.inner, requests, [request.question for request in requests], self._answers, on_outcome)


def ask_distinct(
    backend: Backend,
    requests: Sequence[MapRequest],
    keys: Sequence[Hashable],
    known: dict[Any, Outcome],
    on_outcome: OnOutcome | None = None,
    on_new: Callable[[MapRequest, Outcome], None] | None = None,
) -> list[Outcome]:
    """What is known, and the backend's answers for the rest, each distinct one asked once.

    Args:
        backend: answers what is not known.
        requests: questions.
        keys: one a request; equal keys mean equal answers.
        known: answers by key; new ones are added as they arrive.
        on_outcome: called with (index, request, outcome) once for every request, those known first.
        on_new: called with each new answer before anything else is done with it.
    """
    places: dict[Hashable, list[int]] = {}
    for at, key in enumerate(keys):
        places.setdefault(key, []).append(at)

    def tell(key: Hashable) -> None:
        if on_outcome is not None:
            for at in places[key]:
                on_outcome(at, requests[at], known[key])

    missing = [key for key in places if key not in known]
    for key in places:
        if key in known:
            tell(key)

    def take(at: int, request: MapRequest, outcome: Outcome) -> None:
        if on_new is not None:
            on_new(request, outcome)
        known[missing[at]] = outcome
        tell(missing[at])

    if missing:
        backend.map([requests[places[key][0]] for key in missing], take)
    return [known[key] for key in keys]
