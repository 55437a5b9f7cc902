from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from hwloop.network.tracing.trace import trace
from hwloop.network.zoo.models import make_model
from hwloop.spec.feature_maps import FeatureMap, Operation
from hwloop.spec.workload import Workload, load_workload

from ..models import MODELS


def maps_of(workload: Workload) -> dict[str, FeatureMap]:
    return {each.name: each for each in workload.maps}


def readers(workload: Workload) -> dict[str, tuple[str, ...]]:
    return {each.name: tuple(name for name, _ in each.readers) for each in workload.maps}


def traced(model: nn.Module, *shape: int) -> Workload:
    return trace(model, torch.zeros(*shape))


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_of_a_network_reads_and_writes_maps_of_its_size(name: str) -> None:
    make, shape = MODELS[name]
    workload = traced(make(), *shape)
    maps = maps_of(workload)
    assert load_workload(workload.to_yaml()) == workload
    written = {each.writer for each in workload.maps}
    assert {layer.name for layer in workload.layers} <= written
    for layer in workload.layers:
        assert any((layer.name, "Inputs") in each.readers for each in workload.maps), layer.name
        if "transposed" not in layer.problem.shape.name:
            assert maps[layer.name].values == layer.problem.tensor_size("Outputs")
        seconds = [each.name for each in workload.maps if (layer.name, "Weights") in each.readers]
        assert bool(seconds) == (layer.kind == "matmul")
    assert all(each.readers or each.output for each in workload.maps), "what nobody reads is left out"
    assert sum(each.output for each in workload.maps) == 1


def test_lenet_waits_before_and_after_each_pooling() -> None:
    workload = traced(make_model("lenet5"), 1, 3, 32, 32)
    maps = maps_of(workload)
    assert list(maps) == ["input", "conv1", "max_pool2d", "conv2", "max_pool2d#2", "fc1", "fc2", "fc3"]
    assert workload.input_bits == 8
    assert maps["conv1"].readers == (("max_pool2d", ""),)
    assert maps["conv1"].measured == maps["max_pool2d"].measured == (("conv2", "Inputs"),)
    assert workload.operations[0] == Operation("max_pool2d", "pass", ("conv1",), ("max_pool2d",), "conv1")
    assert (maps["fc3"].output, maps["fc3"].measured) == (True, ())


def test_residual_adds_with_shortcuts_that_pad_ride_on_the_last_convolution() -> None:
    workload = traced(make_model("resnet20"), 1, 3, 32, 32)
    joins = [operation for operation in workload.operations if operation.kind == "join"]
    assert len(joins) == 9
    quarter = (16 * 16 * 16,)  # every second row and column
    assert joins[3] == Operation("layer2.0.add", "join", ("layer1.2.conv2",), ("layer2.0.conv2",), "layer2.0.conv2", quarter)
    assert [each.values for each in joins] == [(), (), (), quarter, (), (), (32 * 8 * 8,), (), ()]
    maps = maps_of(workload)
    assert len(maps) == 20 + 1 + 1, "a map each layer, the pixels and the mean"
    assert maps["layer1.2.conv2"].readers == (("layer2.0.conv1", "Inputs"), ("layer2.0.add", ""))
    assert maps["layer1.2.conv2"].measured == (("layer2.0.conv1", "Inputs"),)


def test_residual_adds_with_convolutions_ride_on_the_branch_that_is_written_last() -> None:
    workload = traced(torchvision.models.resnet18(), 1, 3, 64, 64)
    kinds = [operation.kind for operation in workload.operations]
    assert (kinds.count("join"), kinds.count("pass")) == (8, 2), "max pooling and the mean"
    maps, add = maps_of(workload), next(each for each in workload.operations if each.name == "layer2.0.add")
    assert add == Operation("layer2.0.add", "join", ("layer2.0.conv2",), ("layer2.0.downsample.0",), "layer2.0.downsample.0")
    assert maps["layer2.0.conv2"].measured == (), "it waits without the activation function, which comes after the sum"
    assert maps["layer2.0.downsample.0"].measured == (("layer2.1.conv1", "Inputs"),)
    assert readers(workload)["layer1.1.conv2"] == ("layer2.0.conv1", "layer2.0.downsample.0")


def test_inverted_residuals_wait_as_they_are_written() -> None:
    workload = traced(torchvision.models.mobilenet_v2(), 1, 3, 32, 32)
    assert [operation.kind for operation in workload.operations].count("join") == 10
    narrow = maps_of(workload)["features.2.conv.2"]
    assert narrow.readers == (("features.3.conv.0.0", "Inputs"), ("features.3.add", ""))
    assert narrow.measured == (("features.3.conv.0.0", "Inputs"),)


def test_a_product_with_a_smaller_map_is_an_operation_of_its_own() -> None:
    workload = traced(torchvision.models.efficientnet_b0(), 1, 3, 32, 32)
    [product] = [each for each in workload.operations if each.name == "features.1.0.block.1.mul"]
    assert (product.kind, product.reads) == ("pass", ("features.1.0.block.0.0", "features.1.0.block.1.fc2"))
    assert maps_of(workload)[product.name].values == maps_of(workload)["features.1.0.block.0.0"].values
    assert not any("silu" in each.name or "sigmoid" in each.name for each in workload.operations)


def test_readers_of_a_concatenation_read_every_part() -> None:
    workload = traced(MODELS["dense"][0](), 1, 3, 8, 8)
    assert readers(workload)["first"] == ("second", "third", "max_pool2d")
    assert readers(workload)["second"] == ("third", "max_pool2d")
    maps = maps_of(workload)
    assert maps["first"].measured == (), "the second reads it before it is normalised again, the third after"
    assert maps["second"].measured == (("third", "Inputs"),)
    dense = traced(torchvision.models.densenet121(), 1, 3, 32, 32)
    assert len(readers(dense)["features.conv0"]) == 1, "pooling"
    assert len(readers(dense)["features.pool0.max_pool2d"]) == 6 + 1, "the first convolutions of the block and the transition"


def test_attention_reads_two_maps_and_passes_softmax() -> None:
    workload = traced(MODELS["vit"][0](), 2, 3, 32, 32)
    maps, at = maps_of(workload), "encoder.layers.encoder_layer_0"
    for part, space in (("q", "Inputs"), ("k", "Weights")):
        assert maps[f"{at}.self_attention.{part}"].readers == ((f"{at}.self_attention.qk", space),)
        assert maps[f"{at}.self_attention.{part}"].values == 2 * 17 * 32
    assert maps[f"{at}.self_attention.v"].readers == ((f"{at}.self_attention.pv", "Weights"),)
    [softmax] = [each for each in workload.operations if "softmax" in each.name and at in each.name]
    assert softmax.reads == (f"{at}.self_attention.qk",)
    assert maps[softmax.name].readers == ((f"{at}.self_attention.pv", "Inputs"),)
    joins = [operation for operation in workload.operations if operation.kind == "join"]
    assert [each.after.rpartition(".")[0] for each in joins[:2]] == [f"{at}.self_attention", f"{at}.mlp"]
    assert maps[f"{at}.mlp.0"].measured == ((f"{at}.mlp.3", "Inputs"),), "an activation function makes no map"


class InPlace(nn.Module):
    """The same block as functions of values and written in place, into views too."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.first, self.second, self.last = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x), inplace=self.in_place)
        y = self.second(x)
        if self.in_place:
            y.view(-1).add_(x.view(-1))
            both = torch.zeros(x.shape[0], 4, *x.shape[2:])
            both[:, :2] = y[:, :2]
            both[:, 2:].copy_(y[:, 2:].relu_())
            both[:, :2].relu_()
            return self.last(both)
        y = F.relu(y + x)
        return self.last(torch.cat([y[:, :2], y[:, 2:]], dim=1))


def test_writing_in_place_is_followed_through_views() -> None:
    functional, in_place = (traced(InPlace(way), 1, 4, 6, 6) for way in (False, True))
    assert readers(functional) == readers(in_place) == {
        "input": ("first",), "first": ("second", "add"), "second": ("last",), "last": (),
    }  # fmt: skip
    assert functional.operations == in_place.operations == (Operation("add", "join", ("first",), ("second",), "second"),)
    assert maps_of(functional)["second"].measured == (("last", "Inputs"),)
    assert maps_of(in_place)["second"].measured == (), "each half had a function of its own"


class Joins(nn.Module):
    """Adds that a layer cannot carry, two that one layer carries, and a second input."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        a = self.a(x)
        b = self.b(a) + a + y
        c = self.c(b)
        kept = c + b  # c is read by the next layer as well
        return self.d(c), kept * torch.sigmoid(kept)


def test_a_join_rides_on_a_layer_only_where_its_map_has_no_other_reader() -> None:
    workload = trace(Joins(), (torch.zeros(2, 4), torch.zeros(2, 4)))
    assert workload.operations == (
        Operation("add", "join", ("a",), ("b",), "b"),
        Operation("add#2", "join", ("input#2",), ("b",), "b"),
        Operation("add#3", "pass", ("b", "c"), ("add#3",), "c"),
    )
    maps = maps_of(workload)
    assert maps["b"].readers == (("c", "Inputs"), ("add#3", ""))
    assert [name for name, each in maps.items() if each.output] == ["add#3", "d"]
    assert workload.input_bits is None, "no images"


class Before(nn.Module):
    """Normalises before it convolves: a sum waits as it is, and each reader applies a function of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.body = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return x + self.body(F.relu(self.norm(x)))


def test_a_map_whose_readers_apply_functions_of_their_own_is_measured_nowhere() -> None:
    maps = maps_of(traced(Before(), 1, 3, 4, 4))
    assert maps["stem"].measured == ()
    assert maps["body"].output


def test_pooling_before_the_activation_function_says_nothing_of_what_waits_before_it() -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(F.relu(F.max_pool2d(self.one(x), 2)))

    maps = maps_of(traced(Late(), 1, 3, 4, 4))
    assert maps["one"].measured == ()
    assert maps["max_pool2d"].measured == (("two", "Inputs"),)


def test_pooling_windows_of_one_value_is_nothing() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 2))
    assert traced(model, 1, 3, 4, 4).operations == ()
    assert len(traced(model, 1, 3, 8, 8).operations) == 1


def test_names_of_layers_are_never_taken() -> None:
    model = nn.Module()
    model.input, model.max_pool2d = nn.Conv2d(3, 4, 1), nn.Linear(16, 2)
    model.forward = lambda x: model.max_pool2d(F.max_pool2d(model.input(x), 2).flatten(1))  # type: ignore[method-assign]
    workload = traced(model, 1, 3, 4, 4)
    assert [each.name for each in workload.maps] == ["input#2", "input", "max_pool2d#2", "max_pool2d"]


def test_recurrent_layers_have_maps() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells, self.scores = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.scores(self.cells(x)[0][:, -1])

    workload = traced(Last(), 1, 3, 4)
    assert maps_of(workload)["scores"].output
    assert all(each.readers or each.output for each in workload.maps)
