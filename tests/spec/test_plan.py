from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given

from hwloop.errors import SpecError
from hwloop.spec.channels import ChannelGroup
from hwloop.spec.density import Density
from hwloop.spec.plan import LayerPlan, Plan, load_plan, make_plan
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.pruning import BlockPattern
from hwloop.spec.workload import Layer, Workload

from .plans import plans


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
    both = make_plan(workload, weight_density=0.25, input_density=0.75).apply(workload)[3].problem
    assert (both.density("Weights").density, both.density("Inputs").density) == (0.75, 0.75)
    first = make_plan(workload, input_density={"qk": 0.75}).apply(workload)[3].problem
    assert (first.density("Weights").density, first.density("Inputs").density) == (1.0, 0.75)


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


# A stem, two convolutions whose results are added, a depthwise one, a grouped one, a flattened 2 x 2 image into a linear layer.
def network() -> Workload:
    conv, depthwise, grouped = conv2d_shape(), conv2d_shape(depthwise=True), conv2d_shape(grouped=True)
    image = {"R": 3, "S": 3, "P": 8, "Q": 8}

    def made(name: str, shape, sizes: dict, kind: str, size: tuple[int, ...] = (8, 8)) -> Layer:
        return Layer(name, make_problem(shape, sizes, name=name), kind, name, f"{name}.weight", (), size)

    layers = (
        made("stem", conv, {"C": 3, "M": 8, **image}, "conv"),
        made("body", conv, {"C": 8, "M": 8, **image}, "conv"),
        made("deep", depthwise, {"C": 8, **image}, "depthwise"),
        made("point", conv, {"C": 8, "M": 12, "P": 4, "Q": 4, "Wstride": 2, "Hstride": 2}, "conv"),
        made(
            "group",
            grouped,
            {"G": 2, "C": 6, "M": 5, "R": 3, "S": 3, "P": 2, "Q": 2, "Wstride": 2, "Hstride": 2},
            "grouped",
            (4, 4),
        ),
        made("fc", conv, {"C": 40, "M": 10}, "linear", ()),
        Layer("qk", make_problem(conv, {"C": 10, "M": 4, "N": 4}), "matmul", "", ""),
    )
    groups = (
        ChannelGroup("stem", 8, ("stem", "body", "deep"), (("body", 0, 1), ("deep", 0, 1), ("point", 0, 1))),
        ChannelGroup("point", 12, ("point",), (("group", 0, 1),), multiple=2),
        ChannelGroup("group", 10, ("group",), (("fc", 0, 4),), multiple=2),
        ChannelGroup("fc", 10, ("fc",), fixed="scores of the network"),
    )
    return Workload("net", layers, tuple((f"{layer.name}.weight", (1,)) for layer in layers[:-1]), channels=groups)


def sizes(plan: Plan, *names: str) -> list[tuple[int, ...]]:
    """(C, M) or (C,) as each layer runs."""
    by_name = {p.name: p.problem.sizes for p in plan.apply(network())}
    return [tuple(by_name[name][d] for d in ("C", "M") if d in by_name[name]) for name in names]


def test_kept_channels_reach_every_layer_that_makes_or_reads_them() -> None:
    plan = make_plan(network(), channels={"body": 5, "point": 6, "group": (0, 1, 5, 6)})
    assert plan.of("stem").channels == plan.of("deep").channels == 5, "said of one, it holds for the group"
    found = sizes(plan, "stem", "body", "deep", "point", "group", "fc")
    assert found == [(3, 5), (5, 5), (5,), (5, 6), (3, 2), (16, 10)]
    dense = make_plan(network()).apply(network())
    assert [p.problem for p in dense] == [layer.problem for layer in network().layers]


def test_concatenated_channels_leave_the_others_alone() -> None:
    conv = conv2d_shape()
    layers = tuple(
        Layer(name, make_problem(conv, {"C": c, "M": 4}), "linear", "", f"{name}.weight")
        for name, c in (("a", 2), ("b", 2), ("c", 9))
    )
    groups = (ChannelGroup("a", 4, ("a",), (("c", 1, 1), ("c", 5, 1))), ChannelGroup("b", 4, ("b",)))
    workload = Workload("cat", layers, tuple((f"{layer.name}.weight", (1,)) for layer in layers), channels=groups)
    assert make_plan(workload, channels={"a": 1}).apply(workload)[2].problem.sizes["C"] == 9 - 2 * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": {"body": 9}}, r"layers\.stem\.channels: expected 1 to 8 channels, .*found 9"),
        ({"channels": {"body": (1, 8)}}, r"layers\.stem\.channels: expected 1 to 8 channels"),
        ({"channels": {"point": 7}}, r"layers\.point\.channels: expected a multiple of 2, found 7; grouped"),
        ({"channels": {"point": (0, 1)}}, r"layers\.point\.channels: expected as many in each of 2 blocks of 6"),
        ({"channels": {"fc": 9}}, r"layers\.fc\.channels: expected all 10 channels, found 9; scores of the network"),
        ({"channels": {"qk": 3}}, r"layers\.qk\.channels: expected a layer in one of the channel groups"),
        ({"channels": {"body": 0}}, r"layers\.stem\.channels: expected how many channels \(1 or more\)"),
        ({"rank": {"fc": 11}}, r"layers\.fc\.rank: expected one rank of at most 10 for a matrix of 10 by 40, found 11"),
        ({"rank": {"fc": (2, 2)}}, r"layers\.fc\.rank: expected one rank"),
        ({"rank": {"body": 3}}, r"layers\.body\.rank: expected two ranks"),
        ({"rank": {"body": (9, 3)}}, r"layers\.body\.rank: expected two ranks \(input, output\) of at most \(8, 8\)"),
        ({"rank": {"deep": (2, 2)}}, r"layers\.deep\.rank: expected a convolution or linear layer .* found 'depthwise'"),
        ({"removed": ("stem",)}, r"layers\.stem\.removed: expected a layer with as many output as input channels"),
        ({"removed": ("point",)}, r"layers\.point\.removed: expected a layer"),
        ({"removed": ("qk",)}, r"layers\.qk\.removed: expected a layer with weights"),
    ],
)
def test_what_a_layer_cannot_have_is_refused(change: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make_plan(network(), **change).apply(network())


def test_layers_of_a_group_that_disagree_are_named() -> None:
    plan = Plan((("stem", LayerPlan(channels=4)), ("body", LayerPlan(channels=5))))
    with pytest.raises(SpecError, match=r"layers\.stem\.channels: expected the same channels for all .*stem, body, deep"):
        plan.apply(network())


def test_a_truncated_svd_becomes_two_layers() -> None:
    plan = make_plan(
        network(), rank={"fc": 3, "point": 2}, weight_bits={"fc": 4}, input_density={"fc": 0.5}, weight_density={"fc": 0.25}
    )
    planned = {p.name: p for p in plan.apply(network())}
    first, second = planned["fc.rank0"], planned["fc.rank1"]
    assert "fc" not in planned
    assert (first.problem.sizes["C"], first.problem.sizes["M"]) == (40, 3)
    assert (second.problem.sizes["C"], second.problem.sizes["M"]) == (3, 10)
    assert first.bits == second.bits == {"Weights": 4}
    assert second.problem.density("Weights").density == 0.25
    assert (first.problem.density("Inputs").density, second.problem.density("Inputs").density) == (0.5, 1.0)
    strided, plain = planned["point.rank0"].problem, planned["point.rank1"].problem
    assert (strided.coefficient_values["Wstride"], plain.coefficient_values["Wstride"]) == (2, 1)
    assert strided.sizes["P"] == plain.sizes["P"] == 4
    assert strided.computes + plain.computes == 16 * (8 * 2 + 2 * 12)


def test_tucker_2_becomes_three_layers_at_the_right_sizes() -> None:
    plan = make_plan(network(), channels={"body": 6}, rank={"body": (3, 2)})
    planned = {p.name: p.problem for p in plan.apply(network())}
    first, core, last = (planned[f"body.rank{i}"] for i in range(3))
    assert [(p.sizes["C"], p.sizes["M"], p.sizes["R"]) for p in (first, core, last)] == [(6, 3, 1), (3, 2, 3), (2, 6, 1)]
    assert (first.sizes["P"], first.sizes["Q"]) == (8, 8), "the input without its padding"
    unknown = Workload("u", (replace(network().layers[1], input_size=()),), (("body.weight", (8, 8, 3, 3)),))
    assert make_plan(unknown, rank={"body": (3, 2)}).apply(unknown)[0].problem.sizes["P"] == 10, "as far as the filter slides"


def test_a_removed_layer_is_gone_and_nothing_else_is_said_of_it() -> None:
    plan = make_plan(network(), removed=("body", "deep"), weight_bits=4)
    assert [p.name for p in plan.apply(network())] == ["stem", "point", "group", "fc", "qk"]
    with pytest.raises(SpecError, match="removed: expected nothing else about a removed layer"):
        LayerPlan(weight_bits=4, removed=True)


def test_what_means_the_same_is_the_same() -> None:
    assert LayerPlan(Density("hypergeometric", 0.5)) == LayerPlan(0.5)
    assert LayerPlan(BlockPattern(4, 4)) == LayerPlan(Density("fixed_structured", 1.0)) == LayerPlan()
    assert LayerPlan("2:4") == LayerPlan(BlockPattern(2, 4)) != LayerPlan(BlockPattern(4, 8))  # type: ignore[arg-type]
    plan, turned = (
        Plan(entries)
        for entries in ((("a", LayerPlan(0.5)), ("b", LayerPlan(0.25))), (("b", LayerPlan(0.25)), ("a", LayerPlan(0.5))))
    )
    assert plan == turned
    assert len({plan, turned, Plan((*plan.layers, ("c", LayerPlan())))}) == 1
    assert plan.key != Plan(plan.layers, base="p=0.5").key
    assert plan != "plan"


@pytest.mark.parametrize("text", ["2:4", "'2:4'"])
def test_n_of_m_stands_in_a_file_with_and_without_quotes(text: str) -> None:
    assert load_plan(f"layers: {{fc: {{weight_density: {text}}}}}").of("fc") == LayerPlan(BlockPattern(2, 4))


def test_n_of_m_is_structured_for_the_simulator() -> None:
    planned = make_plan(network(), weight_density={"fc": "2:4"}).apply(network())[5]
    assert planned.problem.density("Weights") == Density("fixed_structured", 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layers: {fc: {weight_density: 124}}", r"layers\.fc\.weight_density: expected a fraction between 0 and 1, found 124"),
        (
            "layers: {fc: {weight_density: '4:2'}}",
            r"layers\.fc\.pattern: expected keep:block with 0 < keep <= block, found '4:2'",
        ),
        ("layers: {fc: {weight_density: {density: 0.5}}}", r"layers\.fc\.weight_density\.distribution: expected one of"),
        ("layers: {fc: {weight_bits: 4.5}}", r"layers\.fc\.weight_bits: expected a whole number from 1 to 64, found 4\.5"),
        ("layers: {fc: {channels: [1, 1]}}", r"layers\.fc\.channels: expected distinct numbers"),
        ("layers: {fc: {rank: [1, 2, 3]}}", r"layers\.fc\.rank: expected one rank, or two"),
        ("layers: {fc: {removed: 1}}", r"layers\.fc\.removed: expected true or false, found 1"),
        ("base: 3\nlayers: {}", r"base: expected a value of type str, found 3"),
    ],
)
def test_a_file_with_a_wrong_value_names_the_layer_and_the_field(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_plan(text)


@given(plans)
def test_dict_yaml_and_json_bring_a_plan_back(plan: Plan) -> None:
    assert load_plan(plan.to_dict()) == plan
    assert load_plan(plan.to_yaml()) == plan
    assert load_plan(json.loads(json.dumps(plan.to_dict()))).key == plan.key
