from __future__ import annotations

from dataclasses import replace

import pytest

from hwloop.errors import SpecError
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
