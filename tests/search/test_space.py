"""The contract of spaces, run over every registered one and a user's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwloop.errors import SpecError
from hwloop.search.space import SPACES, Choices, Space, check_space, find_space, space_identity
from hwloop.spec.plan import LayerPlan, Plan

from .toys import AMOUNTS, choices, workload

LAYERS = ("a", "b", "c")
VARIANTS: tuple[tuple[Any, ...], ...] = (((2, 9), None), ((2, 16), 8), ((4, 4), (3, 8)))


@pytest.fixture(autouse=True)
def _toys_are_found(monkeypatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)


def make(name: str, variant: int = 0) -> Space:
    return find_space(name, Choices(workload(), LAYERS, AMOUNTS, *VARIANTS[variant]))


@pytest.mark.parametrize("name", [*SPACES, "toy_space:OneBitWidth"])
class TestContract:
    """What methods and the log rely on."""

    @settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_rows_and_plans_bring_each_other_back(self, name: str, data: st.DataObject) -> None:
        space = make(name, data.draw(st.integers(0, 2)))
        ends = zip(space.lower.tolist(), space.upper.tolist(), strict=True)
        row = data.draw(st.tuples(*(st.integers(low, high) for low, high in ends)))
        plan = space.plan(row)
        assert space.plan(space.row(plan)) == plan
        assert space.row(space.plan(np.array(row))) == space.row(plan)
        assert len(plan.apply(workload())) >= 1, "it fits the network"

    @pytest.mark.parametrize("variant", range(3))
    def test_ends_groups_and_starting_points_fit_together(self, name: str, variant: int) -> None:
        space = make(name, variant)
        assert len(space.names) == len(space.lower) == len(space.upper) == len(set(space.names))
        assert (space.lower <= space.upper).all()
        assert [column for start, end in space.groups for column in range(start, end)] == list(range(len(space.names)))
        anchors = np.asarray(space.anchors()).reshape(-1, len(space.lower))
        assert ((anchors >= space.lower) & (anchors <= space.upper)).all()
        assert len(np.unique(anchors, axis=0)) == len(anchors)
        assert all(space.plan(space.row(plan)) == plan for plan in space.corners())

    def test_what_is_outside_is_refused(self, name: str) -> None:
        space = make(name)
        for row in (space.lower - 1, space.upper + 1, space.lower[:-1], [*space.lower, 2]):
            with pytest.raises(ValueError, match=r"expected .* whole numbers"):
                space.plan(row)
        with pytest.raises(ValueError, match=r"."):
            space.row(Plan((("a", LayerPlan(weight_bits=64)),)))

    def test_has_a_name_and_options(self, name: str) -> None:
        assert space_identity(make(name))["name"]
        check_space(name)
        with pytest.raises(SpecError, match="space option nonsense: expected an option of"):
            check_space(name, {"nonsense": 1})


def test_a_plan_holds_for_all_who_share_weights() -> None:
    plan = make("global-pruning").plan([7, 3, 4, 5])
    assert plan.base == "p=0.7"
    assert (plan.of("a").weight_bits, plan.of("c").weight_bits, plan.of("c#2").weight_bits) == (3, 5, 5)


def test_the_paper_s_space_has_p_then_weight_bits_then_activation_bits() -> None:
    space = make("global-pruning", 2)
    assert space.names == ("pruning", *(f"weight_bits:{n}" for n in LAYERS), *(f"activation_bits:{n}" for n in LAYERS))
    assert space.groups == ((0, 1), (1, 4), (4, 7))
    assert space.plan([0, 4, 4, 4, 3, 8, 5]).of("b") == LayerPlan(weight_bits=4, activation_bits=8)
    assert make("global-pruning", 1).plan([0, 4, 4, 4]).of("b") == LayerPlan(weight_bits=4, activation_bits=8), "fixed"
    assert make("global-pruning").plan([0, 4, 4, 4]).base == "", "the trained network"


def test_products_of_two_activations_have_activation_bits_and_nothing_else() -> None:
    layers = workload().layers
    network = replace(workload(), layers=(*layers, replace(layers[0], name="qk", kind="matmul", parameter="")))
    searched = find_space("global-pruning", Choices(network, LAYERS, AMOUNTS, (4, 4), (3, 8)))
    assert searched.names[4:] == tuple(f"activation_bits:{n}" for n in (*LAYERS, "qk"))
    assert searched.groups == ((0, 1), (1, 4), (4, 8))
    plan = searched.plan([0, 4, 4, 4, 3, 8, 5, 6])
    assert plan.of("qk") == LayerPlan(activation_bits=6)
    assert searched.row(plan) == (0, 4, 4, 4, 3, 8, 5, 6)
    assert plan.apply(network)[-1].bits == {"Weights": 6, "Inputs": 6}
    fixed = find_space("global-pruning", Choices(network, LAYERS, AMOUNTS, (4, 4), 8))
    assert fixed.plan([0, 4, 4, 4]).of("qk") == LayerPlan(activation_bits=8)
    assert fixed.names == ("pruning", *(f"weight_bits:{n}" for n in LAYERS))
    floating = find_space("global-pruning", Choices(network, LAYERS, AMOUNTS, (4, 4)))
    assert floating.plan([0, 4, 4, 4]).of("qk") == LayerPlan()


def test_anchors_begin_with_the_extremes_and_corners_lie_far_apart() -> None:
    space = make("global-pruning")
    assert {tuple(row) for row in space.anchors()[:4].tolist()} == {(0, 9, 9, 9), (9, 2, 2, 2), (0, 2, 2, 2), (9, 9, 9, 9)}
    assert {plan.base for plan in space.corners()} == {"", "p=0.4", "p=0.9"}


def test_options_of_a_space_are_read_from_text() -> None:
    space = find_space("toy_space:OneBitWidth", choices(), {"amount": "0.5"})
    assert space.plan([4]).base == "p=0.5"
    assert space_identity(space) == {"name": "one-width", "options": {"amount": 0.5}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pruning": (0.5, 0.1)}, "pruning: expected pruning amounts, rising and distinct"),
        ({"pruning": ()}, "pruning: expected pruning amounts"),
        ({"pruning": (0.5, 1.0)}, "pruning: expected a fraction from 0 to below 1, found 1.0"),
        ({"layers": ()}, "layers: expected layers of the workload, at least one"),
        ({"layers": ("d",)}, "layers: expected layers of the workload"),
        ({"weight_bits": (8, 4)}, "weight_bits: expected the least bits first"),
        ({"weight_bits": (1, 4)}, "weight_bits: expected a whole number from 2 to 23, found 1"),
        ({"activation_bits": 99}, "activation_bits: expected a whole number from 2 to 23, found 99"),
    ],
)
def test_choices_that_make_no_sense_are_refused(change: dict[str, Any], message: str) -> None:
    given = {"workload": workload(), "layers": LAYERS, "pruning": AMOUNTS} | change
    with pytest.raises(SpecError, match=message):
        Choices(**given)


def test_an_unknown_space_is_named() -> None:
    with pytest.raises(
        SpecError, match="space: expected one of global-pruning, layerwise, found 'global-prunin'; did you mean 'global-pruning'"
    ):
        check_space("global-prunin")
