"""Divisors and odd problems: huge sizes, too many operations, widths that fit nowhere, a dimension that indexes two ranks."""

from __future__ import annotations

from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.energy.estimate import estimate_energy_table
from hwloop.errors import InfeasibleMappingError, SpecError
from hwloop.mapper import lower_bound, map_problem
from hwloop.mapper.factors import ceilings, divisors, prime_factors
from hwloop.simulator.simulator import Simulator
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.problem import conv2d_shape, load_problem, make_problem
from hwloop.spec.resources import open_architecture

from .conftest import make_dataflow

PRIMES = st.sampled_from([2, 3, 7, 997, 1009, 65_537, 999_983, 1_000_003, 2_147_483_647])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(primes=st.lists(PRIMES, max_size=4))
def test_divisors_of_products_of_large_primes(primes: list[int]) -> None:
    n = prod(primes)
    assert prime_factors(n) == {p: primes.count(p) for p in set(primes)}
    found = divisors(n)
    assert found == sorted({prod(p**k for p, k in zip(set(primes), powers, strict=True)) for powers in _powers(primes)})


def _powers(primes: list[int]) -> list[tuple[int, ...]]:
    out: list[tuple[int, ...]] = [()]
    for p in set(primes):
        out = [(*row, k) for row in out for k in range(primes.count(p) + 1)]
    return out


@pytest.mark.parametrize("n", [1, 97, 1000, 10**6, 1_000_003 * 999_983])
def test_ceilings_hold_the_divisors_and_no_two_with_the_same_passes(n: int) -> None:
    found = ceilings(n)
    assert set(divisors(n)) <= set(found)
    if n <= 1000:
        assert {-(-n // v) for v in range(1, n + 1)} == {-(-n // v) for v in found}
        assert len({-(-n // v) for v in found}) == len(found)


def test_a_dimension_with_two_huge_prime_factors_is_mapped(energies: EnergyTable) -> None:
    problem = make_problem(conv2d_shape(), {"C": 1_000_003 * 999_983})
    found = map_problem(problem, make_dataflow("output_stationary"), energies, effort="quick")
    assert found.cost.computes == 1_000_003 * 999_983


def test_more_operations_than_can_be_counted_exactly(energies: EnergyTable) -> None:
    largest = {"C": 2**30, "M": 2**23}
    assert (
        map_problem(make_problem(conv2d_shape(), largest), make_dataflow("output_stationary"), energies, effort="quick").value > 0
    )
    with pytest.raises(SpecError, match=r"sizes whose product is 9007199254740992 at most.*1\.8e\+16"):
        map_problem(make_problem(conv2d_shape(), {**largest, "P": 2}), make_dataflow("output_stationary"), energies)


def test_weights_wider_than_the_register_that_must_hold_them() -> None:
    architecture = open_architecture("tpu_like_gating")
    problem = make_problem(conv2d_shape(), {"C": 8, "M": 8, "P": 4})
    table = estimate_energy_table(architecture, bits={"Weights": 17})
    with pytest.raises(InfeasibleMappingError, match=r"weight_reg must hold one value of Weights: needs 3 rows .*, 2 fit"):
        map_problem(problem, architecture, table, bits={"Weights": 17})
    assert map_problem(problem, architecture, table, bits={"Weights": 16}, effort="quick").value > 0


@pytest.mark.parametrize(
    "projection",
    [
        [[["C"]], [["P"], ["P"], ["R"]]],  # 2 P + R
        [[["C"], ["P"]], [["P"], ["R"]]],  # P moves two ranks
        [[["C"]], [["P"]], [["P"]]],  # a diagonal
    ],
)
def test_a_dimension_that_indexes_more_than_once(projection: list[object], energies: EnergyTable) -> None:
    shape = {
        "name": "odd",
        "dimensions": list("CMRSNPQ"),
        "data_spaces": [
            {"name": "Weights", "projection": [[["C"]], [["M"]], [["R"]]]},
            {"name": "Inputs", "projection": projection},
            {"name": "Outputs", "projection": [[["M"]], [["P"]]], "read_write": True},
        ],
    }
    instance = {"C": 4, "M": 4, "R": 3, "S": 1, "N": 1, "P": 6, "Q": 1}
    problem = load_problem({"version": 0.4, "instance": instance, "shape": shape})
    architecture = make_dataflow("output_stationary", 64)
    for objective in ("energy", "edp"):
        found = map_problem(problem, architecture, energies, objective=objective)
        assert Simulator(problem, architecture, energies).run(found.mapping) == found.cost
        bound = lower_bound(problem, architecture, energies, objective=objective, found=found, nodes=20)
        assert 0 < bound.value <= bound.found * (1 + 1e-9)
