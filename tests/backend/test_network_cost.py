"""A whole network: its layers' costs and their sums, equal layers once, in any number of processes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwloop.backend.distinct import Distinct
from hwloop.backend.embedded import Embedded
from hwloop.backend.network_cost import LayerShare
from hwloop.backend.request import MapperSettings, MapRequest, Outcome
from hwloop.backend.target import make_targets
from hwloop.backend.whole_network import map_network
from hwloop.errors import HwloopError, InfeasibleMappingError
from hwloop.spec.constraints import Constraints
from hwloop.spec.plan import make_plan

from .conftest import Asked, small_network

QUICK = MapperSettings("energy", "quick")
[TARGET] = make_targets("flexible", "row_stationary")
[SPARSE] = make_targets("flexible_skipping", "row_stationary")


def test_layers_add_up_and_equal_ones_are_asked_once() -> None:
    asked, told = Asked(), []

    def on_outcome(at: int, request: MapRequest, outcome: Outcome) -> None:
        told.append((at, request.layer))

    cost = map_network(small_network(), TARGET, Distinct(asked), settings=QUICK, on_outcome=on_outcome)
    assert [request.layer for request in asked.requests] == ["conv0", "conv1"]
    assert sorted(told) == [(0, "conv0"), (1, "conv1"), (2, "conv2")]
    assert [share.name for share in cost.layers] == ["conv0", "conv1", "conv2"]
    assert cost.layers[1].mapped is cost.layers[2].mapped
    assert cost.energy_pj == pytest.approx(sum(share.mapped.cost.energy_pj for share in cost.layers))
    assert sum(cost.component_energy_pj.values()) == pytest.approx(cost.energy_pj)
    assert cost.cycles == sum(share.cycles for share in cost.layers)
    assert cost.edp == cost.energy_pj * cost.cycles
    assert cost.computes == small_network().computes
    assert 0 < cost.utilization <= 1


def test_answers_are_kept_from_call_to_call() -> None:
    asked = Asked()
    backend = Distinct(asked)
    first = map_network(small_network(), TARGET, backend, settings=QUICK)
    assert map_network(small_network(), TARGET, backend, settings=QUICK) == first
    assert len(asked.requests) == 2
    map_network(small_network(), TARGET, backend, settings=replace(QUICK, seed=1))
    assert len(asked.requests) == 4


def test_workers_do_not_change_the_answer() -> None:
    one, two = (map_network(small_network(), TARGET, Embedded(workers), settings=QUICK) for workers in (1, 2))
    assert [share.mapped.mapping for share in one.layers] == [share.mapped.mapping for share in two.layers]
    assert one.energy_pj == two.energy_pj


def test_an_objective_that_is_a_function_needs_no_worker_to_know_it() -> None:
    by_name, by_function = (
        map_network(small_network(), TARGET, Embedded(workers=2), settings=MapperSettings(objective, "quick"))
        for objective in ("energy", lambda costs: costs.energy_pj)
    )
    assert by_function.energy_pj == pytest.approx(by_name.energy_pj)


def test_densities_are_left_out_where_nothing_can_use_them() -> None:
    plan = make_plan(small_network(), weight_density=0.3, input_density=0.5)
    asked = Asked()
    dense = map_network(small_network(), TARGET, asked, plan, QUICK)
    assert all(not request.problem.densities for request in asked.requests)
    assert dense.energy_pj == map_network(small_network(), TARGET, asked, settings=QUICK).energy_pj
    asked = Asked()
    sparse = map_network(small_network(), SPARSE, asked, plan, QUICK)
    assert all(request.problem.densities for request in asked.requests)
    assert sparse.energy_pj < map_network(small_network(), SPARSE, asked, settings=QUICK).energy_pj


def test_fewer_channels_and_bits_are_what_is_asked() -> None:
    plan = make_plan(small_network(), weight_bits={"conv0": 4}, activation_bits={"conv0": 6}, channels={"conv0": 5})
    asked = Asked()
    map_network(small_network(), TARGET, asked, plan, QUICK)
    first, second, third = asked.requests
    assert (first.problem.sizes["M"], second.problem.sizes["C"], third.problem.sizes["C"]) == (5, 5, 8)
    assert (first.bits, second.bits) == ({"Weights": 4, "Inputs": 6}, None)
    assert first.ert is TARGET.table({"Inputs": 6, "Weights": 4})


def test_a_layer_that_fits_no_mapping_is_named() -> None:
    full = replace(TARGET, constraints=Constraints(min_utilization=1.0), name="full")
    with pytest.raises(InfeasibleMappingError, match="small layer conv0 on flexible under full: "):
        map_network(small_network(), full, Embedded(1), settings=QUICK)


def test_a_looked_up_cost_has_no_mapping() -> None:
    with pytest.raises(HwloopError, match="layer a: this is the cost of a known mapping"):
        LayerShare("a", 1, 1.0, 1, 1.0, {}).mapped  # noqa: B018
