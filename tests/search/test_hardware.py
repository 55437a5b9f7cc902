from __future__ import annotations

from collections.abc import Sequence

import pytest
from hwloop.backend.solve import solve
from hwloop.search.hardware import HardwareModel, MapperSettings, Target

from hwloop.backend.request import MapRequest, Outcome
from hwloop.energy import estimate_energy_table
from hwloop.errors import HwloopError, InfeasibleMappingError
from hwloop.simulator import simulate, simulate_batch
from hwloop.spec.plan import Plan, make_plan
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.resources import open_architecture, open_mapping
from hwloop.spec.workload import Layer, Workload

SETTINGS = MapperSettings("energy", "quick", 0)


def network() -> Workload:
    shape = conv2d_shape()
    sizes = ({"C": 4, "M": 8}, {"C": 8, "M": 8}, {"C": 8, "M": 8})
    problems = [make_problem(shape, {**size, "R": 3, "S": 3, "P": 6, "Q": 6}) for size in sizes]
    layers = [Layer(f"conv{i}", problem, "conv", "", f"conv{i}.weight") for i, problem in enumerate(problems)]
    return Workload("small", tuple(layers), tuple((f"conv{i}.weight", (8, 8, 3, 3)) for i in range(3)))


class Asked:
    """A mapper that keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[MapRequest] = []

    def __call__(self, requests: Sequence[MapRequest]) -> list[Outcome]:
        self.requests += requests
        return [solve(request) for request in requests]


def target(name: str) -> Target:
    arch = open_architecture(name)
    return Target(name, arch, open_mapping("row_stationary"), lambda bits: estimate_energy_table(arch, "shipped", bits or None))


def plan(density: float = 1.0, bits: int = 16) -> Plan:
    return make_plan(network(), density, 0.5, bits, bits)


def test_the_reference_costs_what_its_mappings_cost() -> None:
    asked = Asked()
    model = HardwareModel(network(), target("flexible"), SETTINGS, asked)
    cost = model.prepare(plan())
    quick = model.cost(plan())
    assert quick is not None
    assert quick.energy_pj == pytest.approx(cost.energy_pj)
    assert quick.cycles == cost.cycles == sum(share.cycles for share in cost.layers)
    assert [share.layer for share in cost.layers] == ["conv0", "conv1", "conv2"]
    request = asked.requests[0]
    again = simulate(request.problem, request.arch, solve(request).mapping, request.ert, bits=dict(request.bits))  # type: ignore[union-attr]
    assert again.energy_pj == pytest.approx(cost.layers[0].energy_pj)


def test_candidates_are_simulated_once_each_without_the_mapper() -> None:
    asked = Asked()
    model = HardwareModel(network(), target("flexible_skipping"), SETTINGS, asked)
    model.prepare(plan(), [plan(0.3, 4)])
    before = len(asked.requests)
    energies = [model.cost(plan(density, bits)).energy_pj for density, bits in ((1.0, 16), (1.0, 8), (0.5, 8), (0.2, 4))]  # type: ignore[union-attr]
    assert energies == sorted(energies, reverse=True)
    seen = model.simulated
    for density, bits in ((1.0, 16), (0.2, 4)):
        model.cost(plan(density, bits))
    assert model.simulated == seen
    assert len(asked.requests) == before


def test_every_request_after_the_reference_starts_from_its_mapping() -> None:
    asked = Asked()
    model = HardwareModel(network(), target("flexible"), SETTINGS, asked)
    model.prepare(plan(), [plan(0.3, 4)])
    model.remap([plan(0.5, 8)])
    assert [request.start is None for request in asked.requests] == [True] * 3 + [False] * 6
    starts = {request.layer: request.start for request in asked.requests[3:6]}
    assert all(request.start == starts[request.layer] for request in asked.requests[6:])


def test_full_mapping_is_never_worse_than_the_short_list() -> None:
    model = HardwareModel(network(), target("flexible_skipping"), SETTINGS, Asked())
    model.prepare(plan())
    plans = [plan(0.4, 6), plan(0.9, 12)]
    for one, full in zip(plans, model.remap(plans), strict=True):
        assert full.energy_pj <= model.cost(one).energy_pj * (1 + 1e-9)  # type: ignore[union-attr]


def test_density_does_not_matter_where_nothing_can_use_it() -> None:
    asked = Asked()
    model = HardwareModel(network(), target("flexible"), SETTINGS, asked)
    model.prepare(plan(1.0, 8))
    assert model.cost(plan(0.1, 8)) == model.cost(plan(1.0, 8))
    assert model.simulated == 2  # conv1 and conv2 are the same
    assert all(not request.problem.densities for request in asked.requests)


def test_where_no_known_mapping_fits_the_mapper_is_asked(monkeypatch) -> None:
    asked = Asked()
    model = HardwareModel(network(), target("flexible"), SETTINGS, asked)
    model.prepare(plan(1.0, 2))
    real = simulate_batch

    def nothing_fits(*arguments, **more):
        costs = real(*arguments, **more)
        costs.feasible[:] = False
        return costs

    monkeypatch.setattr("hwloop.search.hardware.simulate_batch", nothing_fits)
    before = len(asked.requests)
    cost = model.cost(plan(1.0, 16))
    assert cost is not None
    assert len(asked.requests) == before + 2
    infeasible = HardwareModel(network(), target("flexible"), SETTINGS, lambda rs: [InfeasibleMappingError("no room")] * len(rs))
    infeasible._short_lists, infeasible._starts = model._short_lists, model._starts
    assert infeasible.cost(plan(1.0, 12)) is None
    assert infeasible.remap([plan(1.0, 12)]) == [None]


def test_a_reference_that_fits_nothing_is_named() -> None:
    model = HardwareModel(
        network(), target("flexible"), SETTINGS, lambda rs: [InfeasibleMappingError("no room", "glb")] * len(rs)
    )
    with pytest.raises(InfeasibleMappingError, match="small layer conv0 on flexible under flexible: no room"):
        model.prepare(plan())
    with pytest.raises(HwloopError, match=r"call prepare\(\)"):
        model.cost(plan())
