from __future__ import annotations

import pytest

from hwloop.errors import SpecError
from hwloop.spec.density import Density
from hwloop.spec.plan import LayerPlan, Plan, load_plan, make_plan
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.workload import Layer, Workload


def layer(name: str, parameter: str, kind: str = "linear") -> Layer:
    return Layer(name, make_problem(conv2d_shape(), {"C": 4, "M": 6}, name=name), kind, name, parameter)


@pytest.fixture
def workload() -> Workload:
    layers = (layer("a", "a.weight"), layer("b", "b.weight"), layer("b#2", "b.weight"), layer("qk", "", "matmul"))
    return Workload("toy", layers, (("a.weight", (6, 4)), ("b.weight", (6, 4))))


def test_one_value_holds_for_every_layer_with_weights(workload: Workload) -> None:
    planned = make_plan(workload, weight_density=0.25, weight_bits=4, activation_bits=8).apply(workload)
    assert [p.layer.name for p in planned] == ["a", "b", "b#2", "qk"]
    for p in planned[:3]:
        assert p.problem.density("Weights") == Density("hypergeometric", 0.25)
        assert p.bits == {"Weights": 4, "Inputs": 8}


def test_both_operands_of_an_activation_product_are_activations(workload: Workload) -> None:
    product = make_plan(workload, weight_density=0.25, weight_bits=4, activation_bits=8).apply(workload)[3]
    assert product.bits == {"Weights": 8, "Inputs": 8}
    assert product.problem == workload.layers[3].problem, "nothing in it is pruned"
    named = make_plan(workload, weight_density={"qk": 0.5}, weight_bits={"a": 4}, activation_bits=8).apply(workload)[3]
    assert (named.problem.density("Weights").density, named.bits["Weights"]) == (0.5, 8)


def test_mappings_by_layer_parameter_and_first_call(workload: Workload) -> None:
    plan = make_plan(workload, weight_density={"b.weight": 0.5}, input_density={"b": 0.75, "b#2": 0.25}, weight_bits={"b": 3})
    a, b, again, _ = plan.apply(workload)
    assert a.problem == workload.layers[0].problem
    assert a.bits == {}
    assert b.problem.density("Weights").density == again.problem.density("Weights").density == 0.5
    assert (b.problem.density("Inputs").density, again.problem.density("Inputs").density) == (0.75, 0.25)
    assert b.bits == again.bits == {"Weights": 3}


def test_dense_stays_the_very_problem(workload: Workload) -> None:
    planned = make_plan(workload, weight_density=1.0, input_density=1.0).apply(workload)
    assert [p.problem for p in planned] == [layer.problem for layer in workload.layers]
    assert Plan().apply(workload) == planned
    assert planned[1] != planned[2]
    assert len({(p.problem, p.weight_bits, p.activation_bits) for p in planned}) == 1


def test_structured_density_passes_through(workload: Workload) -> None:
    two_of_four = Density("fixed_structured", 0.5)
    assert make_plan(workload, weight_density=two_of_four).apply(workload)[0].problem.density("Weights") == two_of_four


def test_round_trip(workload: Workload) -> None:
    banded = Density("banded", 0.5, band_width=2)
    plan = make_plan(workload, {"a": banded, "b": 0.3}, 0.75, weight_bits=4, activation_bits={"qk": 9})
    assert load_plan(plan.to_yaml()) == plan
    assert load_plan(plan.to_dict()).apply(workload) == plan.apply(workload)


def test_refuses_layers_that_disagree_about_a_shared_weight(workload: Workload) -> None:
    plan = Plan((("b", LayerPlan(weight_bits=4)), ("b#2", LayerPlan(weight_bits=8))))
    with pytest.raises(SpecError, match=r"<plan>: layers\.b: expected one treatment for all who share b\.weight"):
        plan.apply(workload)


def test_refuses_unknown_names_with_the_near_one(workload: Workload) -> None:
    with pytest.raises(SpecError, match=r"weight_bits: expected a layer or parameter .*'b\.wieght'; did you mean 'b\.weight'"):
        make_plan(workload, weight_bits={"b.wieght": 4})
    with pytest.raises(SpecError, match=r"layers: expected a layer or parameter of the workload, found 'c'"):
        Plan((("c", LayerPlan()),)).apply(workload)


def test_refuses_what_is_out_of_range(workload: Workload) -> None:
    with pytest.raises(SpecError, match=r"layers\.a\.weight_bits: expected a whole number from 1 to 64, found 0"):
        make_plan(workload, weight_bits=0).apply(workload)
    with pytest.raises(SpecError, match=r"layers\.a\.weight_density: expected a fraction .*found 1\.5"):
        make_plan(workload, weight_density=1.5).apply(workload)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plan: {layers: {a: {weight_bitz: 4}}}", r"plan\.layers\.a\.weight_bitz: .*found 4; did you mean 'weight_bits'"),
        (
            "plan: {layers: {a: {input_density: half}}}",
            r"<text>: plan\.layers\.a\.input_density: expected a fraction .*found 'half'",
        ),
        ("plan: {}", r"plan\.layers: expected a mapping of fields, found nothing"),
    ],
)
def test_names_the_field_that_is_wrong(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_plan(text)
