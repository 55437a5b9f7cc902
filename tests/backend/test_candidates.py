"""What candidates cost: quickly by the short lists, in full by the mapper, and the same whatever was asked before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from hwloop.backend.candidates import CandidateCosts
from hwloop.backend.embedded import map_one
from hwloop.backend.protocol import Cheapest, ShortList
from hwloop.backend.request import MapperSettings, MapRequest, OnOutcome, Outcome
from hwloop.backend.target import Target, make_targets
from hwloop.errors import InfeasibleMappingError
from hwloop.mapper.objective import Objective
from hwloop.mapper.result import MapResult
from hwloop.simulator import LayerCandidate, simulate
from hwloop.spec.levels import Architecture
from hwloop.spec.mapping import Mapping
from hwloop.spec.plan import Plan, make_plan
from hwloop.spec.problem import Problem

from .conftest import Asked, small_network

SETTINGS = MapperSettings("energy", "quick", 0)


class NoRoom(Asked):
    """Nothing fits: neither a known mapping nor one that the mapper finds, except for requests of `fits` bits."""

    def __init__(self, fits: int = 0) -> None:
        super().__init__()
        self.fits = fits

    def map(self, requests: Sequence[MapRequest], on_outcome: OnOutcome | None = None) -> list[Outcome]:
        found = super().map(requests, on_outcome)
        pairs = zip(requests, found, strict=True)
        return [o if (r.bits or {}).get("Weights") == self.fits else InfeasibleMappingError("no room", "glb") for r, o in pairs]

    def short_list(self, problem: Problem, arch: Architecture, mappings: Sequence[Mapping]) -> ShortList:
        return NoneFits()


class NoneFits:
    def cheapest(self, cases: Sequence[LayerCandidate], objective: Objective = "edp") -> Cheapest:
        infinite, none = np.full(len(cases), np.inf), np.full(len(cases), -1)
        return Cheapest(none, infinite, infinite, infinite, {})


def target(name: str) -> Target:
    [found] = make_targets(name, "row_stationary")
    return found


def plan(density: float = 1.0, bits: int = 16, channels: int | None = None) -> Plan:
    kept = None if channels is None else {"conv0": channels}
    return make_plan(small_network(), density, 0.5, bits, bits, kept)


def candidates(name: str, backend: Asked | None = None) -> CandidateCosts:
    return CandidateCosts(small_network(), target(name), SETTINGS, backend or Asked())


def test_the_reference_costs_what_its_mappings_cost() -> None:
    asked = Asked()
    model = candidates("flexible", asked)
    cost = model.prepare(plan())
    [quick] = model.costs([plan()])
    assert quick is not None
    assert quick.energy_pj == pytest.approx(cost.energy_pj)
    assert quick.cycles == cost.cycles == sum(share.cycles for share in cost.layers)
    assert [share.name for share in quick.layers] == ["conv0", "conv1", "conv2"]
    assert quick.component_energy_pj == pytest.approx(cost.component_energy_pj)
    assert (quick.computes, quick.utilization) == (cost.computes, pytest.approx(cost.utilization))
    request = asked.requests[0]
    found = map_one(request)
    assert isinstance(found, MapResult)
    again = simulate(request.problem, request.arch, found.mapping, request.ert, bits=dict(request.bits or {}))
    assert again.energy_pj == pytest.approx(cost.layers[0].energy_pj)


def test_candidates_are_simulated_once_each_without_the_mapper() -> None:
    asked = Asked()
    model = candidates("flexible_skipping", asked)
    model.prepare(plan(), [plan(0.3, 4)])
    before = len(asked.requests)
    plans = [plan(density, bits) for density, bits in ((1.0, 16), (1.0, 8), (0.5, 8), (0.2, 4))]
    energies = [cost.energy_pj for cost in model.costs(plans) if cost is not None]
    assert energies == sorted(energies, reverse=True)
    seen = model.simulated
    model.costs([plans[0], plans[3]])
    assert model.simulated == seen
    assert len(asked.requests) == before


@pytest.mark.parametrize("accelerator", ["flexible", "flexible_skipping"])
def test_a_cost_does_not_depend_on_what_was_asked_before_or_together(accelerator: str) -> None:
    plans = [
        plan(density, bits, channels) for density, bits, channels in ((0.5, 8, None), (0.3, 4, 5), (0.9, 12, 5), (0.5, 8, 3))
    ]
    together = candidates(accelerator)
    together.prepare(plan(), [plan(0.3, 4)])
    alone = candidates(accelerator)
    alone.prepare(plan(), [plan(0.3, 4)])
    one_by_one = [alone.costs([one])[0] for one in reversed(plans)][::-1]
    assert together.costs(plans) == one_by_one


def test_every_request_after_the_reference_starts_from_its_mapping() -> None:
    asked = Asked()
    model = candidates("flexible", asked)
    model.prepare(plan(), [plan(0.3, 4)])
    model.remap([plan(0.5, 8)])
    assert [not request.start for request in asked.requests] == [True] * 3 + [False] * 6
    starts = {request.layer: request.start for request in asked.requests[3:6]}
    assert all(request.start == starts[request.layer] for request in asked.requests[6:])


def test_full_mapping_is_never_worse_than_the_short_list() -> None:
    model = candidates("flexible_skipping")
    model.prepare(plan())
    plans = [plan(0.4, 6), plan(0.9, 12)]
    for quick, full in zip(model.costs(plans), model.remap(plans), strict=True):
        assert quick is not None
        assert full is not None
        assert full.energy_pj <= quick.energy_pj * (1 + 1e-9)


def test_density_does_not_matter_where_nothing_can_use_it() -> None:
    asked = Asked()
    model = candidates("flexible", asked)
    model.prepare(plan(1.0, 8))
    assert model.costs([plan(0.1, 8)]) == model.costs([plan(1.0, 8)])
    assert model.simulated == 2  # conv1 and conv2 are the same
    assert all(not request.problem.densities for request in asked.requests)


def test_a_new_shape_is_mapped_as_it_is_when_it_is_met() -> None:
    asked = Asked()
    model = candidates("flexible", asked)
    model.prepare(plan(), [plan(0.3, 4)])
    before = len(asked.requests)
    told: list[str] = []
    plans = [plan(0.5, 8, 5), plan(0.2, 4, 5), plan(0.5, 8, 7)]
    costs = model.costs(plans, lambda _at, request, _outcome: told.append(request.layer))
    assert sorted(told) == ["conv0"] * 4 + ["conv1"] * 4
    new = asked.requests[before:]
    assert {(r.problem.sizes["C"], r.problem.sizes["M"]) for r in new} == {(4, 5), (5, 8), (4, 7), (7, 8)}
    assert [dict(r.bits or {})["Weights"] for r in new] == [16, 4] * 4  # as the reference, and as the narrowest corner
    assert all(cost is not None for cost in costs)
    first, second, third = (cost.energy_pj for cost in costs if cost is not None)
    assert second < first < third
    whole = model.costs([plan(0.5, 8)])[0]
    assert whole is not None
    assert costs[0] is not None
    assert costs[0].computes == whole.computes - 36 * 9 * (4 * 3 + 3 * 8)


def test_without_a_reference_shapes_are_mapped_at_the_accelerators_widths() -> None:
    asked = Asked()
    [cost] = candidates("flexible", asked).costs([plan(1.0, 16)])
    assert cost is not None
    assert [request.bits for request in asked.requests] == [None, None]


def test_factors_and_removed_layers_are_costed_as_planned() -> None:
    network = small_network()
    factorised = make_plan(network, rank={"conv1": (3, 2)}, removed=())
    model = candidates("flexible")
    model.prepare(plan())
    [cost] = model.costs([factorised])
    assert cost is not None
    assert [share.name for share in cost.layers] == ["conv0", "conv1.rank0", "conv1.rank1", "conv1.rank2", "conv2"]


class OnlyDense(Asked):
    """Nothing that was found for a problem with zeros fits any case."""

    def short_list(self, problem: Problem, arch: Architecture, mappings: Sequence[Mapping]) -> ShortList:
        dense = [request for request in self.requests if request.problem == problem]
        return super().short_list(problem, arch, mappings) if dense else NoneFits()


def test_a_mapping_without_zeros_is_tried_before_the_mapper_is_asked() -> None:
    backend = OnlyDense()
    model = candidates("flexible_skipping", backend)
    model.prepare(plan())
    before = len(backend.requests)
    costs = model.costs([plan(0.9, 16), plan(0.8, 8)])
    assert all(cost is not None for cost in costs)
    spare = backend.requests[before:]
    assert [request.problem.sizes["C"] for request in spare] == [4, 8]
    assert all(not request.problem.densities and request.bits == {"Weights": 16, "Inputs": 16} for request in spare)
    model.costs([plan(0.7, 4)])
    assert len(backend.requests) == before + 2


def test_where_no_known_mapping_fits_the_mapper_is_asked() -> None:
    backend = NoRoom(fits=16)
    model = candidates("flexible", backend)
    model.prepare(plan())
    before = len(backend.requests)
    assert model.costs([plan(1.0, 16)])[0] is not None
    assert len(backend.requests) == before + 2
    assert model.costs([plan(1.0, 12)]) == [None]
    assert model.remap([plan(1.0, 12), plan(1.0, 16)])[0] is None


def test_a_reference_that_fits_nothing_is_named() -> None:
    model = candidates("flexible", NoRoom())
    with pytest.raises(InfeasibleMappingError, match="small layer conv0 on flexible under flexible row_stationary: no room"):
        model.prepare(plan())


def test_preparing_again_starts_anew() -> None:
    model = candidates("flexible")
    model.prepare(plan(1.0, 8))
    [narrow] = model.costs([plan(1.0, 4)])
    model.prepare(plan(1.0, 16))
    other = candidates("flexible")
    other.prepare(plan(1.0, 16))
    assert model.costs([plan(1.0, 4)]) == other.costs([plan(1.0, 4)])
    assert narrow is not None


def test_the_objective_decides_between_known_mappings() -> None:
    costs = []
    for objective in ("energy", "cycles"):
        model = CandidateCosts(small_network(), target("flexible"), replace(SETTINGS, objective=objective), Asked())
        model.prepare(plan(1.0, 8), [plan(1.0, 4)])
        [cost] = model.costs([plan(1.0, 8)])
        assert cost is not None
        costs.append(cost)
    assert costs[0].energy_pj <= costs[1].energy_pj
    assert costs[0].cycles >= costs[1].cycles
