"""The accelerator beside the network: the space, and what plans cost on accelerators of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import hwloop
from hwloop.backend.candidates import CandidateCosts
from hwloop.backend.codesign import DesignCosts, design_target
from hwloop.backend.distinct import Distinct
from hwloop.backend.embedded import Embedded
from hwloop.backend.request import MapperSettings
from hwloop.backend.target import make_targets
from hwloop.energy import area_um2
from hwloop.errors import EnergyTableError, SpecError
from hwloop.run.design_search import DesignScorer, check_area, search_parts
from hwloop.search.objectives import find_objectives, read_budget
from hwloop.search.space import Choices
from hwloop.search.spaces.codesign import Codesign
from hwloop.search.spaces.global_pruning import GlobalPruning
from hwloop.search.study import Study
from hwloop.spec.axes import read_axes
from hwloop.spec.plan import Plan, load_plan, make_plan

from ..backend.conftest import small_network

DEPTH, MESH = "shared_glb.attributes.depth", "PE_column.spatial.meshX+PE.spatial.meshY"
AXES = read_axes({DEPTH: [2048, 8192, 16384], MESH: [4, 16]})
QUICK = MapperSettings("edp", "quick")


def space() -> Codesign:
    net = small_network()
    choices = Choices(net, tuple(layer.name for layer in net.layers), (0.0, 0.5), (2, 8), 8)
    return Codesign(GlobalPruning(choices), AXES)


def test_rows_and_plans_say_the_same() -> None:
    found = space()
    rng = np.random.default_rng(0)
    assert len(found.names) == len(found.lower) == len(found.upper) == 2 + 1 + 3
    assert found.names[:2] == (f"accelerator:{DEPTH}", f"accelerator:{MESH}")
    assert [column for start, end in found.groups for column in range(start, end)] == list(range(6))
    for _ in range(50):
        row = tuple(rng.integers(found.lower, found.upper + 1).tolist())
        plan = found.plan(row)
        assert found.row(plan) == row
        assert load_plan(plan.to_dict()) == plan
        assert len(plan.accelerator) == 3
    anchors = found.anchors()
    assert ((anchors >= found.lower) & (anchors <= found.upper)).all()
    assert len({tuple(found.plan(row).accelerator) for row in anchors[:6]}) == 3


def test_plans_of_other_accelerators_are_not_in_the_space() -> None:
    found = space()
    plan = found.plan(found.lower)
    for other in ((), (*plan.accelerator, ("DRAM.attributes.width", 64)), ((DEPTH, 1), *plan.accelerator[1:])):
        with pytest.raises(ValueError, match="a plan that is not in the space"):
            found.row(replace(plan, accelerator=other))


def test_plans_that_differ_in_their_accelerator_differ() -> None:
    plan = make_plan(small_network(), weight_bits=4)
    there = replace(plan, accelerator=((DEPTH, 2048),))
    assert there != plan
    assert there.key != plan.key
    assert "accelerator" not in plan.to_dict()
    assert there.apply(small_network()) == plan.apply(small_network())


def test_a_plan_costs_what_it_costs_where_its_accelerator_is_given() -> None:
    net, backend = small_network(), Distinct(Embedded(1))
    target = design_target("flexible", AXES, "row_stationary")
    costs = DesignCosts(net, target, QUICK, backend)
    corners = [make_plan(net, weight_bits=4, activation_bits=8)]
    reference = costs.prepare(Plan(), corners)
    fields = ((DEPTH, 2048), ("PE_column.spatial.meshX", 4), ("PE.spatial.meshY", 4))
    plain = make_plan(net, weight_bits=3, activation_bits=8)
    there, given = costs.costs([replace(plain, accelerator=fields), plain])
    assert there is not None
    assert given is not None

    arch = target.at(fields).arch
    assert (arch.level("shared_glb").depth, arch.level("mac").instances) == (2048, 16)
    [fixed] = make_targets(arch, "row_stationary")
    alone = CandidateCosts(net, fixed, QUICK, backend)
    alone.prepare(Plan(), corners)
    [expected] = alone.costs([plain])
    assert expected is not None
    assert (there.energy_pj, there.cycles) == (expected.energy_pj, expected.cycles)
    assert there.area_um2 == area_um2(arch, hwloop.estimate_energy_table(arch))
    assert there.area_um2 < given.area_um2 == reference.area_um2
    assert costs.accelerators == 2


def test_an_accelerator_that_fits_nothing_has_no_cost() -> None:
    net = small_network()
    wide = hwloop.load_constraints([{"target": "psum_spad", "type": "temporal", "factors": ["M=8"]}])
    keeps = hwloop.load_constraints([{"target": "psum_spad", "type": "dataspace", "keep": ["Outputs"]}])
    target = design_target("flexible", read_axes({"psum_spad.attributes.depth": [4, 24]}), wide.merged_with(keeps))
    costs = DesignCosts(net, target, QUICK, Distinct(Embedded(1)))
    costs.prepare(Plan())
    found = costs.costs([Plan(accelerator=(("psum_spad.attributes.depth", depth),)) for depth in (4, 24)])
    assert found[0] is None
    assert found[1] is not None


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({}, SpecError, "fields of the accelerator to search"),
        ({"shared_glb.attributes.dept": [1, 2]}, SpecError, "did you mean"),
        ({DEPTH: [16384, 10**12]}, EnergyTableError, "flexible with shared_glb"),
        ({"flexible.attributes.global_cycle_seconds": [1e-9, 2e-9]}, SpecError, "accelerators of one clock"),
    ],
)
def test_nonsense_is_refused_before_the_search(fields, error, words: str) -> None:
    with pytest.raises(error, match=words):
        design_target("flexible", read_axes(fields))


class Counting:
    """A scorer that counts how often a network is run."""

    layers, images, train_images, has_test = (), 10, 10, False

    def __init__(self) -> None:
        self.workload, self.asked = small_network(), []

    def complete(self, plan: Plan) -> Plan:
        assert not plan.accelerator
        return plan

    def accuracy(self, plan: Plan, network=None) -> float:
        self.asked.append(plan.key)
        return 0.5

    def divergence(self, plan: Plan, reference: Plan, images: int) -> float:
        return 0.0

    def size_bits(self, plan: Plan, coding: str | None = None) -> float:
        return 8.0 * len(plan.layers)

    def macs(self, plan: Plan) -> float:
        return 1.0


def test_a_search_scores_a_network_once_and_knows_every_area() -> None:
    scorer = Counting()
    target = design_target("flexible", AXES, "row_stationary")
    wrapped, found, costs = search_parts(target, scorer, space().inner, QUICK, Distinct(Embedded(1)))
    assert isinstance(wrapped, DesignScorer)
    reference = costs.prepare(wrapped.complete(Plan()))
    study = Study(wrapped, costs, reference, find_objectives(["accuracy", "energy", "area"]), [read_budget("area<=1mm2")])
    rows = [(depth, mesh, 0, 4, 4, 4) for depth in range(3) for mesh in range(2)]
    records = study.evaluate([found.plan(row) for row in rows])
    assert len(scorer.asked) == 1
    assert len({record.metrics["area_um2"] for record in records}) == 6
    assert study.to_f(records).shape == (6, 3)
    violated = study.to_g(records)[:, 1] > 0
    assert violated.tolist() == [record.metrics["area_um2"] > 1e6 for record in records]
    assert 0 < violated.sum() < 6


def test_area_is_no_objective_where_the_accelerator_is_given() -> None:
    targets = make_targets("flexible", "row_stationary")
    check_area(targets, find_objectives(["accuracy", "energy"]), [])
    for objectives, budgets in ((["accuracy", "area"], []), (["accuracy", "energy"], ["area<=2mm2"])):
        with pytest.raises(SpecError, match="search it with hwloop codesign"):
            check_area(targets, find_objectives(objectives), [read_budget(text) for text in budgets])
    check_area([design_target("flexible", AXES)], find_objectives(["accuracy", "area"]), [])
