from __future__ import annotations

from dataclasses import replace

import pytest

from hwloop.errors import SpecError
from hwloop.spec.channels import ChannelGroup
from hwloop.spec.problem import conv2d_shape, load_problem, make_problem
from hwloop.spec.workload import Layer, UnmappedOperation, Workload, load_workload

CONV, GROUPED = conv2d_shape(), conv2d_shape(grouped=True)


def conv(name: str, sizes: dict[str, int], parameter: str = "", inputs: tuple[str, ...] = (), kind: str = "conv") -> Layer:
    shape = GROUPED if "G" in sizes else CONV
    return Layer(name, make_problem(shape, sizes, name=name), kind, name, parameter, inputs)


@pytest.fixture
def workload() -> Workload:
    """A stem, one convolution used twice, another of the same size, and a product of two activations."""
    body = {"C": 8, "M": 8, "R": 3, "S": 3, "P": 4, "Q": 4}
    layers = (
        conv("stem", {"C": 3, "M": 8, "R": 3, "S": 3, "P": 4, "Q": 4, "Wstride": 2, "Hstride": 2}, "stem.weight"),
        conv("body", body, "body.weight", ("stem",)),
        conv("body#2", body, "body.weight", ("body",)),
        conv("tail", body, "tail.weight", ("stem", "body#2")),
        conv("qk", {"G": 2, "N": 4, "C": 8, "M": 4}, inputs=("tail",), kind="matmul"),
    )
    shapes = (("stem.weight", (8, 3, 3, 3)), ("body.weight", (8, 8, 3, 3)), ("tail.weight", (8, 8, 3, 3)))
    unmapped = UnmappedOperation("up", "aten.convolution", "a transposed convolution")
    return Workload("toy", layers, shapes, (unmapped,), (("relu", 3),))


def test_totals_by_hand(workload: Workload) -> None:
    stem, body, product = 3 * 8 * 9 * 16, 8 * 8 * 9 * 16, 2 * 4 * 8 * 4
    assert workload.computes == stem + 3 * body + product
    assert workload.weight_values == 8 * 3 * 9 + 2 * 8 * 8 * 9, "the shared parameter counts once"
    assert [layer.weight_values for layer in workload.layers] == [216, 576, 576, 576, 0]


def test_equal_problems_are_mapped_once_and_keep_their_layers(workload: Workload) -> None:
    assert [repeated.layers for repeated in workload.unique] == [("stem",), ("body", "body#2", "tail"), ("qk",)]
    assert workload.unique[1].problem == workload.by_name["tail"].problem


def test_a_stride_makes_a_problem_distinct(workload: Workload) -> None:
    strided = conv("strided", {"C": 8, "M": 8, "R": 3, "S": 3, "P": 4, "Q": 4, "Wstride": 2}, "tail.weight")
    assert len(replace(workload, layers=(*workload.layers, strided)).unique) == 4


def test_a_shared_parameter_is_one_weight_with_two_layers(workload: Workload) -> None:
    weights = {weight.name: weight for weight in workload.weights}
    assert weights["body.weight"].layers == ("body", "body#2")
    assert (weights["body.weight"].values, len(weights)) == (576, 3)


def test_graph_has_a_node_a_layer_in_execution_order(workload: Workload) -> None:
    graph = workload.graph
    assert list(graph) == ["stem", "body", "body#2", "tail", "qk"]
    assert set(graph.edges) == {("stem", "body"), ("body", "body#2"), ("stem", "tail"), ("body#2", "tail"), ("tail", "qk")}
    assert graph.nodes["tail"]["layer"].parameter == "tail.weight"


def test_round_trip(workload: Workload) -> None:
    again = load_workload(workload.to_yaml())
    assert again == workload
    assert again.free_operations == workload.free_operations
    assert again.layers[0].problem.name == "stem"
    assert load_workload(workload.to_dict()) == workload
    assert load_workload(again) is again


def test_round_trip_of_a_shape_of_its_own() -> None:
    problem = load_problem(
        {
            "shape": {
                "name": "gemm",
                "dimensions": ["I", "J"],
                "coefficients": [],
                "data_spaces": [
                    {"name": "Weights", "projection": [[["I"]], [["J"]]]},
                    {"name": "Outputs", "projection": [[["I"]]], "read_write": True},
                ],
            },
            "instance": {"I": 2, "J": 3},
        }
    )
    workload = Workload("own", (Layer("only", problem, "linear"),))
    assert load_workload(workload.to_yaml()) == workload


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "stem"}, r"toy: layers\[1\]\.name: expected a name no other layer has, found 'stem'"),
        ({"kind": "convolution"}, r"layers\[1\]\.kind: expected one of .*'depthwise'.*found 'convolution'"),
        ({"parameter": "bodi.weight"}, r"layers\[1\]\.parameter: expected .*parameters, found 'bodi.weight'"),
        ({"inputs": ("tail",)}, r"layers\[1\]\.inputs: expected names of earlier layers, found 'tail'"),
    ],
)
def test_refuses_what_does_not_hang_together(workload: Workload, change: dict[str, object], message: str) -> None:
    layers = list(workload.layers)
    layers[1] = replace(layers[1], **change)
    with pytest.raises(SpecError, match=message):
        replace(workload, layers=tuple(layers))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: conv\n", "knd: conv\n", r"workload\.layers\[0\]\.kind: .*found nothing; did you mean"),
        ("shape: conv2D", "shape: conv3D", r"workload\.layers\[0\]\.shape: expected one of .*found 'conv3D'"),
        ("R: 3", "R: 0", r"workload\.layers\[0\]\.instance\.R: expected a whole number of at least 1, found 0"),
        ("- 8\n", "- eight\n", r"workload\.parameters\.stem\.weight: expected a list of sizes"),
    ],
)
def test_names_the_field_that_is_wrong(workload: Workload, old: str, new: str, message: str) -> None:
    text = workload.to_yaml().replace("[8, 3, 3, 3]", "\n    - 8\n    - 3\n    - 3\n    - 3")
    assert old in text
    with pytest.raises(SpecError, match=message):
        load_workload(text.replace(old, new, 1))


GROUPS = (
    ChannelGroup("stem", 8, ("stem",), (("body", 0, 1),)),
    ChannelGroup("body", 8, ("body", "body#2", "tail"), (("body#2", 0, 1),), fixed="read by an operation that nobody knows"),
)


def test_channel_groups_and_input_sizes_come_back(workload: Workload) -> None:
    groups = (replace(GROUPS[0], multiple=4), GROUPS[1])
    layers = tuple(replace(layer, input_size=(8, 6)) if layer.kind == "conv" else layer for layer in workload.layers)
    grouped = replace(workload, layers=layers, channels=groups)
    assert load_workload(grouped.to_yaml()) == grouped
    assert grouped.group_of_outputs["body#2"] is groups[1]
    assert "qk" not in grouped.group_of_outputs


def test_channels_of_all_groups_count() -> None:
    shapes = (CONV, GROUPED, conv2d_shape(depthwise=True))
    problems = [make_problem(shape, {"C": 3, "M": 4, "G": 2} if shape is GROUPED else {"C": 3}) for shape in shapes]
    layers = [Layer("a", problem, "conv") for problem in problems]
    assert [(layer.input_channels, layer.output_channels) for layer in layers] == [(3, 1), (6, 8), (3, 3)]
    assert layers[0].activation_operands == ("Inputs",)
    assert replace(layers[0], kind="matmul").activation_operands == ("Inputs", "Weights")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "body"}, r"channels\[1\]\.name: expected a name no other group has, found 'body'"),
        ({"size": 7}, r"channels\[0\]\.size: expected the 8 output channels of 'stem', found 7"),
        ({"multiple": 3}, r"channels\[0\]\.size: expected a multiple of 3"),
        ({"outputs": ("body",)}, r"channels\[1\]\.outputs: expected layers of no other group \('stem' has it\)"),
        ({"outputs": ("root",)}, r"channels\[0\]\.outputs: expected names of layers, found 'root'"),
        ({"inputs": (("root", 0, 1),)}, r"channels\[0\]\.inputs: expected names of layers, found 'root'"),
        ({"inputs": (("body", 0, 2),)}, r"channels\[0\]\.inputs: expected within the 8 input channels of 'body'"),
    ],
)
def test_groups_that_do_not_fit_the_layers_are_refused(workload: Workload, change: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        replace(workload, channels=(replace(GROUPS[0], **change), GROUPS[1]))
