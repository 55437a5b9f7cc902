"""A bounded part of `tools/fuzz_inputs.py`: damaged specs and data of any kind end in `HwloopError` or in an answer."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hwloop
from hwloop.errors import HwloopError, InfeasibleMappingError
from hwloop.spec.plan import load_plan
from hwloop.spec.workload import load_workload

from .cases import RUNS, make_case, run_case
from .strategies import DATA, architectures, problems, table

LOADERS = (
    hwloop.load_architecture, hwloop.load_problem, hwloop.load_mapping, hwloop.load_constraints, hwloop.load_energy_table,
    load_workload,
    load_plan,
)  # fmt: skip


@pytest.mark.parametrize("kind", sorted(RUNS))
def test_damaged_specs_are_refused_or_read(kind: str) -> None:
    outcomes = Counter(run_case(make_case(kind, 2024, number))[:7] for number in range(25))
    assert outcomes["refused"] >= 5
    assert outcomes["read"] >= 1


def test_cases_can_be_made_again() -> None:
    assert make_case("mapping", 3, 4) == make_case("mapping", 3, 4)
    assert make_case("mapping", 3, 4) != make_case("mapping", 3, 5)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(LOADERS), DATA)
def test_data_of_any_kind_is_read_or_refused(load: Any, data: Any) -> None:
    with suppress(HwloopError):
        load(data)


@settings(max_examples=8, deadline=None)
@given(problems(), architectures())
def test_specs_that_go_together_are_mapped_and_simulated_alike(problem: dict[str, Any], architecture: dict[str, Any]) -> None:
    energies = table(architecture)
    try:
        found = hwloop.map_problem(problem, architecture, energies, effort="quick")
    except InfeasibleMappingError:
        return
    again = hwloop.simulate(problem, architecture, found.mapping.to_list(), energies)
    assert again.energy_pj == pytest.approx(found.cost.energy_pj)
    assert again.cycles == found.cost.cycles
