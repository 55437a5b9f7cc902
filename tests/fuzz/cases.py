"""Cases: a spec is damaged, read, and used as the library would use it. All that a case may raise is `HwloopError`."""

from __future__ import annotations

import math
import os
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import hwloop
from hwloop.errors import HwloopError
from hwloop.spec.document import to_yaml
from hwloop.spec.plan import load_plan
from hwloop.spec.workload import load_workload

from .corpus import PLAN, WORKLOAD, Bundle, bundles
from .mutators import has_raw, mutate, mutate_bytes, tweak, written

MAPPED = 0.15  # part of the cases that search a mapping, the dearest thing they can do


@dataclass(frozen=True)
class Case:
    """What to run.

    Attributes:
        kind: which spec is damaged.
        number: which case of the kind.
        content: what is given to the loader: text, bytes (written to a file) or data.
        bundle: the specs that are not damaged.
        maps: whether a mapping is searched.
    """

    kind: str
    number: int
    content: Any
    bundle: Bundle
    maps: bool


def _original(kind: str, bundle: Bundle) -> Any:
    if kind in ("workload", "plan"):
        return WORKLOAD if kind == "workload" else PLAN
    return getattr(bundle, kind)


def make_case(kind: str, seed: int, number: int) -> Case:
    """One case, the same for the same arguments."""
    rng = Random(f"{seed}-{kind}-{number}")
    bundle = rng.choice(bundles())
    original = _original(kind, bundle)
    how = rng.random()
    content: Any
    if how < 0.8:
        content = (tweak if how < 0.4 else mutate)(original, rng)
        if rng.random() < 0.7 or has_raw(content):
            content = written(content)
    else:
        content = mutate_bytes((written(original) if how < 0.9 else to_yaml(original)).encode(), rng)
        if rng.random() < 0.5:
            content = content.decode("utf-8", "surrogateescape")
    return Case(kind, number, content, bundle, rng.random() < MAPPED)


def run_case(case: Case) -> str:
    """Runs a case.

    Returns:
        `read` (all of it worked) or `refused: ...`.

    Raises:
        Exception: anything that hwloop should not have raised.
    """
    place = None
    content = case.content
    if isinstance(content, bytes):
        handle, place = tempfile.mkstemp(suffix=".yaml")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        content = Path(place)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", hwloop.SpecWarning)
            RUNS[case.kind](content, case)
        return "read"
    except HwloopError as error:
        text = str(error)
        assert len(text) < 8000, f"a message of {len(text)} characters"
        assert "\x1b" not in text, "a control character in a message"
        return f"refused: {text}"
    finally:
        if place is not None:
            os.unlink(place)


def _use(case: Case, **changed: Any) -> None:
    """Simulates and, for some cases, searches a mapping."""
    from hwloop.spec.batch import MappingBatch

    b = case.bundle
    arch = hwloop.load_architecture(changed.get("architecture", b.architecture))
    arch.to_yaml()
    problem = hwloop.load_problem(changed.get("problem", b.problem))
    table = hwloop.load_energy_table(changed.get("table", b.table))
    mapping = hwloop.load_mapping(changed.get("mapping", b.mapping))
    constraints = hwloop.load_constraints(changed.get("constraints", b.constraints))
    for made in (problem, table, mapping, constraints):
        made.to_yaml()
    cost = None
    try:
        cost = hwloop.simulate(problem, arch, mapping, table)
        assert cost.energy_pj >= 0
        assert cost.cycles >= 0
    except HwloopError:
        if case.kind == "mapping":
            raise
    batch = MappingBatch.from_mappings([mapping] * 2, problem.shape, problem.bounds, arch)
    many = hwloop.simulate_batch(problem, arch, batch, table)
    if cost is not None and bool(many.feasible[1]):
        one, other = (cost.energy_pj, cost.cycles), (float(many.energy_pj[1]), int(many.cycles[1]))
        assert all(math.isclose(a, b, rel_tol=1e-6) for a, b in zip(one, other, strict=True)), f"{one} alone, {other} in a batch"
    if case.maps:
        hwloop.map_problem(problem, arch, table, constraints, effort="quick")


def _workload(content: Any, case: Case) -> None:
    workload = load_workload(content)
    assert load_workload(workload.to_yaml()) == workload
    load_plan(PLAN).apply(workload)


def _plan(content: Any, case: Case) -> None:
    plan = load_plan(content)
    load_plan(plan.to_yaml())
    for planned in plan.apply(load_workload(WORKLOAD)):
        hwloop.load_problem(planned.problem.to_dict())


def _of(name: str) -> Callable[[Any, Case], None]:
    return lambda content, case: _use(case, **{name: content})


RUNS: dict[str, Callable[[Any, Case], None]] = {
    **{name: _of(name) for name in ("architecture", "table", "problem", "mapping", "constraints")}, "workload": _workload,
    "plan": _plan,
}  # fmt: skip
