"""The memo table in front of a backend: known answers are read from disk, new ones are stored as soon as they arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwloop.backend.distinct import Wrapper, ask_distinct
from hwloop.backend.embedded import Embedded
from hwloop.backend.protocol import Backend
from hwloop.backend.request import MapperSettings, MapRequest, OnOutcome, Outcome
from hwloop.errors import InfeasibleMappingError, MemoError
from hwloop.mapper.objective import Objective
from hwloop.mapper.result import MapResult
from hwloop.memo.key import request_key
from hwloop.memo.rows import documents_of, outcome_of, row_of
from hwloop.memo.store import Store
from hwloop.spec.architecture import Architecture, load_architecture
from hwloop.spec.bits import Bits
from hwloop.spec.constraint_sets import load_constraints
from hwloop.spec.constraints import Constraints
from hwloop.spec.energy_table import EnergyTable, load_energy_table
from hwloop.spec.mapping import Mapping, load_mapping
from hwloop.spec.problem import Problem, load_problem


@dataclass
class MemoStatistics:
    """What this object did since it was made.

    Attributes:
        hits: answers that were in the table.
        misses: answers that had to be found.
        damaged: of them, those whose row was damaged and is replaced.
        seconds_saved: what the hits took to find, when they were found.
        seconds_spent: what the misses took.
    """

    hits: int = 0
    misses: int = 0
    damaged: int = 0
    seconds_saved: float = 0.0
    seconds_spent: float = 0.0


class Memo:
    """Mapper results on disk, shared by any number of processes.

    Args:
        path: the SQLite file; made when missing.
        read_only: look up only; results that are not there are found but not stored.

    Raises:
        MemoError: (on first use) see `Store`.

    An objective that is a function cannot be part of a key: use `hwloop.map_problem` for those.

    Example:
        >>> memo = Memo("memo.sqlite")
        >>> best = memo.map_problem(problem, arch, ert)   # found by the mapper, stored
        >>> best = memo.map_problem(problem, arch, ert)   # read from the table
        >>> memo.statistics.hits
        1
        >>> backend = memo.remember(find_backend("timeloop"))   # any backend, with the table in front
    """

    def __init__(self, path: str | Path, read_only: bool = False) -> None:
        self.store = Store(path, read_only)
        self.statistics = MemoStatistics()

    def __enter__(self) -> Memo:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        self.store.close()

    def remember(self, backend: Backend) -> Remembered:
        """The same backend with this table in front of it."""
        return Remembered(backend, self)

    def map_problem(
        self,
        problem: Problem | Any,
        arch: Architecture | Any,
        ert: EnergyTable | Any,
        constraints: Constraints | Any | None = None,
        objective: Objective = "edp",
        bits: Bits | None = None,
        start: Sequence[Mapping | Any] | None = None,
        seed: int = 0,
        effort: str = "normal",
        *,
        network: str = "",
        layer: str = "",
    ) -> MapResult:
        """Like `hwloop.map_problem`, from the table when it is there, into the table when it is not.

        Raises:
            InfeasibleMappingError: no mapping fits; that is remembered too.
            MemoError: the table cannot be read or written, or the objective is a function.
        """
        request = MapRequest(
            load_problem(problem),
            load_architecture(arch),
            load_energy_table(ert),
            None if constraints is None else load_constraints(constraints),
            bits,
            MapperSettings(objective, effort, seed),
            tuple(load_mapping(mapping) for mapping in start or ()),
            network,
            layer,
        )
        [outcome] = self.remember(Embedded(workers=1)).map([request])
        if isinstance(outcome, InfeasibleMappingError):
            raise outcome
        return outcome

    def lookup(self, requests: Sequence[MapRequest], identity: str) -> tuple[dict[str, Outcome], set[str]]:
        """What the table has, by key, in one query. Not counted.

        Args:
            requests: questions.
            identity: of the backend whose answers are wanted.

        Returns:
            The answers, and the keys of rows that are there but damaged.
        """
        answers: dict[str, Outcome] = {}
        damaged: set[str] = set()
        for key, row in self.store.get_many(list({request_key(request, identity) for request in requests})).items():
            try:
                answers[key] = outcome_of(row)
            except MemoError:
                damaged.add(key)
        return answers, damaged


class Remembered(Wrapper):
    """A backend whose answers are kept in a memo table.

    Args:
        inner: answers what the table does not have.
        memo: the table.
    """

    def __init__(self, inner: Backend, memo: Memo) -> None:
        super().__init__(inner)
        self.memo = memo

    def map(self, requests: Sequence[MapRequest], on_outcome: OnOutcome | None = None) -> list[Outcome]:
        """One look-up, then the backend for what is missing, each new answer stored as soon as it is there.

        Raises:
            MemoError: the table cannot be read or written, or an objective is a function.
        """
        identity, store, statistics = self.identity, self.memo.store, self.memo.statistics
        keys = [request_key(request, identity) for request in requests]
        answers, damaged = self.memo.lookup(requests, identity)
        statistics.hits += len(answers)
        statistics.seconds_saved += sum(_seconds(outcome) for outcome in answers.values())
        statistics.damaged += len(damaged)

        def keep(request: MapRequest, outcome: Outcome) -> None:
            statistics.misses += 1
            statistics.seconds_spent += _seconds(outcome)
            if not store.read_only:
                row = row_of(request, outcome, identity)
                store.put_many([row], documents_of(request), replace=row["key"] in damaged)

        return ask_distinct(self.inner, requests, keys, answers, on_outcome, keep)


def _seconds(outcome: Outcome) -> float:
    return outcome.seconds if isinstance(outcome, MapResult) else 0.0
