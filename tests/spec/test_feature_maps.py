from __future__ import annotations

from dataclasses import replace

import pytest

from hwloop.errors import SpecError
from hwloop.spec.channels import ChannelGroup
from hwloop.spec.density import Density
from hwloop.spec.feature_maps import FeatureMap, Operation, without_layers
from hwloop.spec.plan import LayerPlan, Plan, PlannedLayer, make_plan
from hwloop.spec.planned_maps import PlannedMap
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.workload import Layer, Workload, load_workload

BODY = {"C": 8, "M": 8, "R": 3, "S": 3, "P": 4, "Q": 4}
MAPS = (
    FeatureMap("input", 108, readers=(("stem", "Inputs"),), measured=(("stem", "Inputs"),)),
    FeatureMap("stem", 128, "stem", (("one", "Inputs"), ("add", "")), measured=(("one", "Inputs"),)),
    FeatureMap("one", 128, "one", (("two", "Inputs"),), measured=(("two", "Inputs"),)),
    FeatureMap("two", 128, "two", (("pool", ""),), measured=(("product", "Inputs"),)),
    FeatureMap("pool", 8, "pool", (("product", "Inputs"),), measured=(("product", "Inputs"),)),
    FeatureMap("keys", 8, "keys", (("product", "Weights"),), measured=(("product", "Weights"),)),
    FeatureMap("product", 1, "product", output=True),
)
OPERATIONS = (
    Operation("add", "join", ("stem",), ("two",), "two"),
    Operation("pool", "pass", ("two",), ("pool",), "two"),
)


@pytest.fixture
def workload() -> Workload:
    """A residual block, pooling, and a product of two activations: one from the block, one from a layer on another input."""

    def layer(name: str, sizes: dict[str, int], kind: str = "conv", inputs: tuple[str, ...] = ()) -> Layer:
        parameter = "" if kind == "matmul" else f"{name}.weight"
        problem = make_problem(conv2d_shape(), sizes, name=name)
        return Layer(name, problem, kind, name, parameter, inputs, (4, 4) if name in ("one", "two") else ())

    layers = (
        layer("stem", {**BODY, "C": 3}), layer("one", BODY, inputs=("stem",)), layer("two", BODY, inputs=("one",)),
        layer("keys", {"C": 3, "M": 8}, "linear"), layer("product", {"C": 8, "M": 1}, "matmul", ("two", "keys")),
    )  # fmt: skip
    shapes = tuple((each.parameter, (1,)) for each in layers if each.parameter)
    return Workload("toy", layers, shapes, maps=MAPS, operations=OPERATIONS, input_bits=8)


def planned(workload: Workload, plan: Plan) -> dict[str, PlannedLayer]:
    return {layer.name: layer for layer in plan.apply(workload)}


def waits(layers: dict[str, PlannedLayer]) -> dict[str, int | None]:
    return {name: layer.output_bits for name, layer in layers.items()}


def test_round_trip(workload: Workload) -> None:
    assert load_workload(workload.to_yaml()) == workload
    assert load_workload(workload.to_yaml()).operations == OPERATIONS
    sliced = replace(workload, operations=(replace(OPERATIONS[0], values=(64,)), OPERATIONS[1]))
    assert load_workload(sliced.to_yaml()) == sliced


def test_a_map_has_the_most_bits_of_all_who_read_it_directly_or_through_operations(workload: Workload) -> None:
    bits = {"stem": 9, "one": 4, "two": 5, "keys": 7, "product": 6}
    layers = planned(workload, make_plan(workload, activation_bits=bits))
    assert waits(layers) == {"stem": 6, "one": 5, "two": 6, "keys": 6, "product": None}
    assert {name: layer.stored_bits for name, layer in layers.items()} == {
        "stem": (("Inputs", 8),), "one": (("Inputs", 6),), "two": (), "keys": (), "product": (),
    }  # fmt: skip
    product = replace(workload.maps[-1], output=False)
    unread = replace(workload, maps=(*MAPS[:-1], product))
    assert waits(planned(unread, make_plan(unread, activation_bits=bits)))["product"] is None, "nobody reads it"


def test_second_operands_have_their_own_bits_where_a_plan_says_so(workload: Workload) -> None:
    plan = make_plan(workload, weight_bits={"product": 3}, activation_bits={"product": 6})
    assert waits(planned(workload, plan)) == {"stem": None, "one": None, "two": 6, "keys": 3, "product": None}


def test_one_reader_at_the_accelerators_width_keeps_it_for_all(workload: Workload) -> None:
    layers = planned(workload, make_plan(workload, activation_bits={"one": 4, "two": 4, "stem": 4}))
    assert waits(layers) == {"stem": None, "one": 4, "two": None, "keys": None, "product": None}
    assert layers["one"].stored_bits == (("Inputs", None),)
    assert layers["stem"].stored_bits == (("Inputs", 8),)
    unknown = replace(workload, input_bits=None)
    assert planned(unknown, make_plan(unknown, activation_bits=4))["stem"].stored_bits == ()
    dense = planned(workload, Plan())
    assert set(waits(dense).values()) == {None}
    assert {layer.stored_bits for layer in dense.values()} == {()}


def test_a_map_has_the_density_that_was_measured_as_it_waits(workload: Workload) -> None:
    densities = {"stem": 0.9, "one": 0.5, "two": 0.25, "product": 0.75}
    layers = planned(workload, make_plan(workload, {"product": 0.6}, densities))
    assert {name: layer.output_density for name, layer in layers.items()} == {
        "stem": Density("hypergeometric", 0.5), "one": Density("hypergeometric", 0.25), "two": Density("hypergeometric", 0.75),
        "keys": Density("hypergeometric", 0.6), "product": None,
    }  # fmt: skip
    both = tuple(replace(each, measured=(*each.measured, ("two", "Inputs"))) if each.name == "stem" else each for each in MAPS)
    wider = replace(workload, maps=both)
    plan = make_plan(wider, input_density={"one": 0.25, "two": Density("fixed_structured", 0.5)})
    assert planned(wider, plan)["stem"].output_density == Density("fixed_structured", 0.5), "the most of several"
    assert planned(wider, make_plan(wider, input_density={"one": 0.25}))["stem"].output_density is None, "one sees it dense"


def test_a_factorised_layer_is_written_by_its_last_factor(workload: Workload) -> None:
    plan = make_plan(workload, rank={"two": (2, 3)}, activation_bits=4, input_density=0.5)
    layers = planned(workload, plan)
    parts = [layers[f"two.rank{i}"] for i in range(3)]
    assert [part.output_bits for part in parts] == [4, 4, 4]
    assert [part.output_density for part in parts] == [None, None, Density("hypergeometric", 0.5)]
    mixed = make_plan(workload, rank={"one": (2, 3)}, activation_bits={"one": 4, "two": 5, "product": 8})
    layers = planned(workload, mixed)
    assert [layers[f"one.rank{i}"].output_bits for i in range(3)] == [4, 4, 5]
    assert [layers[f"one.rank{i}"].stored_bits for i in range(3)] == [(("Inputs", 8),), (), ()]


def test_a_removed_layer_passes_its_map_on(workload: Workload) -> None:
    bits = {"one": 4, "two": 5, "product": 3}
    shares = {name: LayerPlan(input_density=0.5, activation_bits=b) for name, b in bits.items()}
    layers = planned(workload, Plan(tuple((shares | {"one": LayerPlan(removed=True)}).items())))
    assert (layers["stem"].output_bits, layers["two"].stored_bits) == (5, ())
    assert layers["stem"].output_density is None, "nobody measured it"
    layers = planned(workload, Plan(tuple((shares | {"two": LayerPlan(removed=True)}).items())))
    assert (layers["stem"].output_bits, layers["one"].output_bits) == (4, 3)
    assert layers["one"].stored_bits == ()


def test_without_layers_leaves_a_structure_that_holds(workload: Workload) -> None:
    names = list(workload.by_name)
    maps, operations = without_layers(MAPS, OPERATIONS, {"one"}, names)
    assert set(replace(workload, maps=maps, operations=operations).maps[1].readers) == {("two", "Inputs"), ("add", "")}
    maps, operations = without_layers(MAPS, OPERATIONS, {"two"}, names)
    assert operations[0] == Operation("add", "pass", ("stem", "one"), ("two",), "one"), "the sum is written by itself"
    assert operations[1].after == "one"
    assert replace(workload, maps=maps, operations=operations).maps[3].writer == "add"
    maps, operations = without_layers(MAPS, OPERATIONS, {"one", "two"}, names)
    assert (operations[0].reads, operations[0].after) == (("stem",), "stem")
    replace(workload, maps=maps, operations=operations)
    assert [each.name for each in maps] == ["input", "stem", "two", "pool", "keys", "product"]


def test_maps_under_a_plan_have_sizes_bits_and_densities(workload: Workload) -> None:
    group = ChannelGroup("one", 8, ("one",), (("two", 0, 1),))
    network = replace(workload, channels=(group,))
    plan = make_plan(network, channels={"one": 6}, rank={"two": (2, 3)}, activation_bits=4, input_density=0.5)
    found = plan.maps(network)
    assert [(each.map.name, each.map.values, each.bits) for each in found.maps] == [
        ("input", 108, 8), ("stem", 128, 4), ("one", 96, 4), ("two.rank0", 32, 4), ("two.rank1", 48, 4), ("two.rank2", 128, 4),
        ("pool", 8, 4), ("keys", 8, 4), ("product", 1, None),
    ]  # fmt: skip
    half = Density("hypergeometric", 0.5)
    assert found.by_name["two.rank0"] == PlannedMap(FeatureMap("two.rank0", 32, "two.rank0", (("two.rank1", "Inputs"),)), 4)
    assert found.by_name["one"].map == FeatureMap("one", 96, "one", (("two.rank0", "Inputs"),), False, (("two.rank0", "Inputs"),))
    assert {name: each.density for name, each in found.by_name.items() if each.density != half} == {
        "two.rank0": None, "two.rank1": None, "product": None,
    }  # fmt: skip
    assert found.operations[0] == Operation("add", "join", ("stem",), ("two.rank2",), "two.rank2")
    assert found.operations[1] == Operation("pool", "pass", ("two.rank2",), ("pool",), "two.rank2")


def test_maps_of_removed_layers_are_gone_and_pooling_shrinks_with_what_it_reads(workload: Workload) -> None:
    found = Plan((("two", LayerPlan(removed=True)),)).maps(workload)
    assert found.operations[0] == Operation("add", "pass", ("stem", "one"), ("two",), "one")
    assert (found.by_name["two"].map.writer, found.by_name["two"].map.values) == ("add", 128)
    group = ChannelGroup("stem", 8, ("stem", "two"), (("one", 0, 1), ("product", 0, 1)))
    network = replace(workload, channels=(group,))
    fewer = make_plan(network, channels={"stem": 6}).maps(network)
    sliced = replace(network, operations=(replace(OPERATIONS[0], values=(64,)), OPERATIONS[1]))
    assert make_plan(sliced, channels={"stem": 6}).maps(sliced).operations[0].values == (48,)
    assert [fewer.by_name[name].map.values for name in ("stem", "one", "two", "pool")] == [96, 128, 96, 6]
    assert Plan().maps(replace(workload, maps=(), operations=())).maps == ()


def test_a_workload_without_maps_says_nothing_of_them(workload: Workload) -> None:
    bare = replace(workload, maps=(), operations=())
    layers = make_plan(bare, input_density=0.5, activation_bits=4).apply(bare)
    assert {(layer.output_bits, layer.output_density, layer.stored_bits) for layer in layers} == {(None, None, ())}


def changed(at: int, **fields: object) -> tuple[FeatureMap, ...]:
    return tuple(replace(each, **fields) if i == at else each for i, each in enumerate(MAPS))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"maps": changed(2, name="stem")}, r"toy: maps: expected each name once"),
        ({"maps": changed(2, writer="six")}, r"maps\[2\]\.writer: expected the name of a layer or operation, found 'six'"),
        ({"maps": changed(2, writer="stem")}, r"maps\[2\]\.writer: expected a layer or operation that writes no other map"),
        ({"maps": changed(2, readers=(("two", "Sums"),))}, r"maps\[2\]\.readers: expected operands of layers"),
        ({"maps": changed(2, readers=(("add", ""),))}, r"maps\[2\]\.readers: expected operands of layers, or operations that"),
        ({"maps": changed(2, measured=(("add", ""),))}, r"maps\[2\]\.measured: expected operands of layers"),
        ({"maps": changed(3, readers=(("one", "Inputs"), ("pool", "")))}, r"maps\[3\]\.readers: expected readers that"),
        ({"maps": changed(1, readers=(("one", "Inputs"),))}, r"operations\[0\]\.reads: expected maps that have 'add' among"),
        ({"operations": (replace(OPERATIONS[0], name="two"), OPERATIONS[1])}, r"ions\[0\]\.name: expected a name that no"),
        ({"operations": (replace(OPERATIONS[0], kind="add"), OPERATIONS[1])}, r"operations\[0\]\.kind: expected one of"),
        ({"operations": (replace(OPERATIONS[0], after="ad"), OPERATIONS[1])}, r"ions\[0\]\.after: expected the name of a"),
        ({"operations": (replace(OPERATIONS[0], after="one"), OPERATIONS[1])}, r"ions\[0\]\.writes: expected the one map"),
        ({"operations": (*OPERATIONS, Operation("b", "pass", ("pool",), ("stem",)))}, r"operations\[2\]\.reads: expected maps"),
        ({"operations": (replace(OPERATIONS[0], values=(1, 2)), OPERATIONS[1])}, r"ions\[0\]\.values: expected as many numbers"),
        ({"input_bits": 0}, r"toy: input_bits: expected a whole number from 1 to 64, found 0"),
    ],
)  # fmt: skip
def test_refuses_what_does_not_hang_together(workload: Workload, fields: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        replace(workload, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maps": [{"name": "a", "values": 0}]}, r"<dict>: maps\[0\]\.values: expected a number from 1"),
        ({"maps": [{"name": "a", "values": 1, "readers": [["b"]]}]}, r"maps\[0\]\.readers\[0\]: expected \[layer, data space\]"),
        ({"maps": [{"name": "a", "values": 1, "reader": []}]}, r"maps\[0\]\.reader: expected a known field.*mean 'readers'"),
        (
            {"operations": [{"name": "a", "kind": "pass", "reads": ["a"]}]},
            r"operations\[0\]\.writes: expected a list, found nothing",
        ),
        (
            {"operations": [{"name": "a", "kind": "pass", "reads": [1], "writes": ["a"]}]},
            r"operations\[0\]\.reads: expected names",
        ),
        (
            {"operations": [{"name": "a", "kind": "pass", "reads": ["a"], "writes": ["a"], "values": [0]}]},
            r"values: expected num",
        ),
        ({"input_bits": "eight"}, r"input_bits: expected a value of type int, found 'eight'"),
    ],
)
def test_a_file_that_is_wrong_says_where(workload: Workload, change: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_workload(workload.to_dict() | change)
