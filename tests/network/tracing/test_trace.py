from __future__ import annotations

from collections import Counter
from math import prod

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune
from torch.utils.flop_counter import FlopCounterMode

from hwloop.errors import DataError
from hwloop.network.tracing.trace import input_densities, trace
from hwloop.spec.workload import Workload


def sizes(workload: Workload, layer: str) -> dict[str, int]:
    """Sizes and coefficients of a layer other than 1."""
    problem = workload.by_name[layer].problem
    return {name: value for name, value in {**problem.sizes, **problem.coefficient_values}.items() if value != 1}


def counted(model: nn.Module, *inputs: Tensor) -> int:
    """Multiply-accumulates by torch's own counter, which has formulas of its own."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*inputs)
    return counter.get_total_flops() // 2


# (multiply-accumulates in thousands of millions as torchvision publishes them, layers with weights, products of two activations)
PUBLISHED = {
    "vgg16": (15.47, 16, 0),
    "resnet18": (1.814, 21, 0),
    "resnet50": (4.089, 54, 0),
    "mobilenet_v2": (0.301, 53, 0),
    "mobilenet_v3_large": (0.217, 64, 0),
    "densenet121": (2.834, 121, 0),
    "efficientnet_b0": (0.386, 82, 0),
    "inception_v3": (5.713, 95, 0),
    "vit_b_16": (17.564, 74, 24),
    "convnext_tiny": (4.456, 59, 0),
    "swin_t": (4.491, 53, 24),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_torchvision_models_cost_what_is_published_and_what_torch_counts(name: str) -> None:
    with torch.device("meta"):
        extra = {"init_weights": True} if name == "inception_v3" else {}
        model = torchvision.models.get_model(name, weights=None, **extra).eval()
    pixels = 299 if name == "inception_v3" else 224
    images = torch.zeros(1, 3, pixels, pixels, device="meta")
    workload = trace(model, images)
    billions, weighted, products = PUBLISHED[name]
    assert workload.computes == counted(model, images)
    assert workload.computes / 1e9 == pytest.approx(billions, abs=6e-4)
    assert torchvision.models.get_model_weights(name).DEFAULT.meta["_ops"] == pytest.approx(billions, abs=2.0)
    assert len(workload.weights) == weighted
    assert Counter(layer.kind == "matmul" for layer in workload.layers)[True] == products
    assert workload.unmapped == ()
    shapes = {key: tuple(value.shape) for key, value in model.named_parameters()}
    for weight in workload.weights:
        name, _, rows = weight.name.partition("[")
        assert rows or shapes[name] == weight.shape
    whole = {weight.name.partition("[")[0] for weight in workload.weights}
    assert workload.weight_values == sum(prod(shapes[name]) for name in whole)


def test_regnet_without_meta() -> None:
    model = torchvision.models.regnet_y_400mf(weights=None).eval()
    images = torch.zeros(2, 3, 64, 64)
    workload = trace(model, images)
    assert workload.computes == counted(model.to("meta"), images.to("meta"))
    assert {layer.kind for layer in workload.layers} == {"conv", "grouped", "linear"}


def test_batch_is_n_and_computes_scale_with_it() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 10))
    one, five = trace(model, torch.zeros(1, 3, 8, 8)), trace(model, torch.zeros(5, 3, 8, 8))
    assert five.computes == 5 * one.computes == 5 * (3 * 4 * 9 * 36 + 1440)
    assert [layer.problem.sizes["N"] for layer in five.layers] == [5, 5]


def test_convolutions_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, (3, 5), stride=(2, 4), padding=(1, 2), dilation=(1, 2)),
        nn.Conv2d(8, 8, 3, padding="same", groups=8),
        nn.Conv2d(8, 16, 3, padding="same", groups=8),
        nn.Conv2d(16, 12, 1, groups=4),
        nn.Conv2d(12, 4, (2, 4), padding="same", dilation=2),
    )
    workload = trace(model, torch.zeros(2, 3, 20, 40))
    # height (20 + 2*1 - 3)//2 + 1 = 10; width (40 + 2*2 - 2*(5-1) - 1)//4 + 1 = 9
    assert [layer.kind for layer in workload.layers] == ["conv", "depthwise", "grouped", "grouped", "conv"]
    assert sizes(workload, "0") == {
        "N": 2,
        "C": 3,
        "M": 8,
        "R": 5,
        "S": 3,
        "P": 9,
        "Q": 10,
        "Wstride": 4,
        "Hstride": 2,
        "Wdilation": 2,
    }
    assert sizes(workload, "1") == {"N": 2, "C": 8, "R": 3, "S": 3, "P": 9, "Q": 10}
    assert sizes(workload, "2") == {"N": 2, "G": 8, "M": 2, "R": 3, "S": 3, "P": 9, "Q": 10}
    assert sizes(workload, "3") == {"N": 2, "G": 4, "C": 4, "M": 3, "P": 9, "Q": 10}
    assert sizes(workload, "4") == {"N": 2, "C": 12, "M": 4, "R": 4, "S": 2, "P": 9, "Q": 10, "Wdilation": 2, "Hdilation": 2}
    assert list(workload.graph.edges) == [("0", "1"), ("1", "2"), ("2", "3"), ("3", "4")]


def test_1d_convolution_and_linear_on_sequences() -> None:
    model = nn.Sequential(nn.Conv1d(4, 6, 3, stride=2), nn.ReLU(), nn.Linear(9, 5))
    workload = trace(model, torch.zeros(7, 4, 20))
    assert sizes(workload, "0") == {"N": 7, "C": 4, "M": 6, "R": 3, "P": 9, "Wstride": 2}
    assert sizes(workload, "2") == {"N": 7 * 6, "C": 9, "M": 5}
    assert workload.free_operations == (("relu", 1),)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.shared = nn.Linear(3, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.shared(torch.relu(self.shared(self.first(x))))


def test_a_module_used_twice_is_two_layers_and_one_weight() -> None:
    workload = trace(Twice(), torch.zeros(2, 3))
    assert [(layer.name, layer.module, layer.parameter) for layer in workload.layers] == [
        ("first", "first", "first.weight"),
        ("shared", "shared", "shared.weight"),
        ("shared#2", "shared", "shared.weight"),
    ]
    assert [(weight.name, weight.values, weight.layers) for weight in workload.weights] == [
        ("first.weight", 12, ("first",)),
        ("shared.weight", 16, ("shared", "shared#2")),
    ]
    assert [repeated.layers for repeated in workload.unique] == [("first",), ("shared", "shared#2")]


class Functional(nn.Module):
    """Weights that no `nn.Conv2d` or `nn.Linear` holds, on either side of a product."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(6, 3, 3, 3))
        self.left = nn.Parameter(torch.zeros(9, 6))
        self.heads = nn.Parameter(torch.zeros(3, 3, 5))
        self.register_buffer("fixed", torch.zeros(5, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.kernel, stride=2).flatten(2)  # (2, 6, 16)
        x = self.left @ x  # (2, 9, 16)
        x = x[:, :, :9].reshape(2, 9, 3, 3)
        return torch.einsum("bnhd,hde->bnhe", x, self.heads) @ self.fixed


def test_functional_operations() -> None:
    model, images = Functional(), torch.zeros(2, 3, 9, 9)
    workload = trace(model, images)
    assert [(layer.name, layer.kind, layer.parameter) for layer in workload.layers] == [
        ("kernel", "conv", "kernel"),
        ("left", "linear", "left"),
        ("heads", "linear", "heads"),
        ("matmul", "linear", ""),
    ]
    assert sizes(workload, "kernel") == {"N": 2, "C": 3, "M": 6, "R": 3, "S": 3, "P": 4, "Q": 4, "Wstride": 2, "Hstride": 2}
    assert sizes(workload, "left") == {"N": 2 * 16, "C": 6, "M": 9}, "one weight matrix for the whole batch"
    assert sizes(workload, "heads") == {"N": 2 * 9, "G": 3, "C": 3, "M": 5}
    assert sizes(workload, "matmul") == {"N": 2 * 9 * 3, "C": 5, "M": 2}
    assert workload.weight_values == 6 * 27 + 54 + 45
    assert workload.computes == counted(model, images)


@pytest.mark.parametrize("need_weights", [True, False])
def test_attention_is_two_products_of_activations(need_weights: bool) -> None:
    model = nn.MultiheadAttention(8, 2, batch_first=True)
    tokens = torch.zeros(3, 5, 8)
    workload = trace(model, {"query": tokens, "key": tokens, "value": tokens, "need_weights": need_weights})
    assert [layer.name for layer in workload.layers] == ["q", "k", "v", "qk", "pv", "out_proj"]
    assert [sizes(workload, name) for name in "qkv"] == [{"N": 15, "C": 8, "M": 8}] * 3
    assert [weight.name for weight in workload.weights[:3]] == [f"in_proj_weight[{at}:{at + 8}]" for at in (0, 8, 16)]
    assert sizes(workload, "qk") == {"G": 3 * 2, "N": 5, "C": 4, "M": 5}
    assert sizes(workload, "pv") == {"G": 3 * 2, "N": 5, "C": 5, "M": 4}
    assert [workload.by_name[name].parameter for name in ("qk", "pv", "out_proj")] == ["", "", "out_proj.weight"]
    assert workload.by_name["pv"].inputs == ("v", "qk")


def test_the_attention_of_a_vit() -> None:
    with torch.device("meta"):
        model = torchvision.models.vit_b_16(weights=None)
    workload = trace(model, torch.zeros(2, 3, 224, 224), name="vit")
    path = "encoder.layers.encoder_layer_0.self_attention"
    assert (workload.name, workload.by_name[f"{path}.qk"].module) == ("vit", path)
    assert sizes(workload, f"{path}.qk") == {"G": 2 * 12, "N": 197, "C": 64, "M": 197}
    assert [sizes(workload, f"{path}.{name}") for name in "qkv"] == [{"N": 2 * 197, "C": 768, "M": 768}] * 3
    assert len(next(r for r in workload.unique if r.layers[0] == f"{path}.qk").layers) == 12


@pytest.mark.parametrize("fast_path", [True, False])
def test_encoder_layer_leaves_the_fast_path_as_it_was(fast_path: bool) -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(fast_path)
    try:
        workload = trace(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), torch.zeros(1, 4, 8))
        assert torch.backends.mha.get_fastpath_enabled() == fast_path
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
    assert len(workload.layers) == 8


def test_recurrent_layers_are_the_products_they_are_made_of() -> None:
    workload = trace(nn.LSTM(5, 7), torch.zeros(3, 2, 5))
    assert {weight.name: len(weight.layers) for weight in workload.weights} == {"weight_ih_l0": 1, "weight_hh_l0": 3}
    assert workload.computes == 3 * 2 * 4 * 7 * (5 + 7)


class Up(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        deep = nn.Sequential(nn.Unflatten(1, (2, 1)), nn.Conv3d(2, 2, 1), nn.Flatten(1, 2))
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), deep, nn.Conv2d(2, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def test_names_what_it_cannot_map_with_the_module_path() -> None:
    with pytest.raises(DataError, match=r"Up: 1 operation\(s\) cannot be mapped: body\.1\.1: aten\.convolution: a 3-D"):
        trace(Up(), torch.zeros(1, 1, 4, 4))
    workload = trace(Up(), torch.zeros(1, 1, 4, 4), allow_unmapped=True)
    assert [layer.name for layer in workload.layers] == ["body.0", "body.2"]
    assert [(u.module, u.operation) for u in workload.unmapped] == [("body.1.1", "aten.convolution")]
    assert workload.edges == (("body.0", "body.2"),)


def test_names_3d_convolutions_and_custom_operations() -> None:
    with pytest.raises(DataError, match=r"0: aten\.convolution: a 3-D convolution"):
        trace(nn.Sequential(nn.Conv3d(1, 2, 2)), torch.zeros(1, 1, 3, 3, 3))
    boxes = torch.zeros(1, 2 * 9, 4, 4)

    class Deformed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torchvision.ops.deform_conv2d(x, boxes.to(x.device) + x.sum(), torch.zeros(3, 2, 3, 3), padding=1)

    with pytest.raises(DataError, match=r"\(model\): torchvision\.deform_conv2d: its products depend on the data"):
        trace(Deformed(), torch.zeros(1, 2, 4, 4))
    with pytest.raises(DataError, match=r"aten\._fft_r2c: no problem shape stands for it"):
        trace(nn.Sequential(nn.Linear(4, 4), Apply(torch.fft.rfft)), torch.zeros(2, 4))


class Apply(nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def test_control_flow_on_values_is_run_for_real() -> None:
    def halve(x: Tensor) -> Tensor:
        return x / 2 if x.sum() > 0 else x

    workload = trace(nn.Sequential(nn.Linear(4, 3), Apply(halve), nn.Linear(3, 2)), torch.ones(2, 4))
    assert [layer.name for layer in workload.layers] == ["0", "2"]
    assert workload.edges == (("0", "2"),)


def test_an_input_that_does_not_fit_names_the_module() -> None:
    with pytest.raises(DataError, match=r"Up: cannot run on an input of shape \(1, 3, 4, 4\) .*: in body\.0: RuntimeError"):
        trace(Up(), torch.zeros(1, 3, 4, 4))
    with torch.device("meta"):
        model = Up()
    with pytest.raises(DataError, match=r"Up: cannot run on an input of shape \(1, 3, 4, 4\)"):
        trace(model, torch.zeros(1, 3, 4, 4))


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(DataError, match="ReLU: no convolution, linear layer or matrix product ran on an input of shape"):
        trace(nn.ReLU(), torch.zeros(1, 3))


def test_branches_and_slices_written_in_place_keep_their_edges() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.zeros(2, 4)
            y[:, :2] = self.a(x)[:, :2]
            return self.c(y.relu_()) + self.b(x)

    workload = trace(Branches(), torch.zeros(2, 4))
    assert set(workload.graph.edges) == {("a", "c")}


def test_a_tensor_taken_for_its_shape_alone_is_no_source() -> None:
    with torch.device("meta"):
        workload = trace(torchvision.models.swin_t(weights=None), torch.zeros(1, 3, 224, 224))
    shifted = workload.by_name["features.1.1.attn.pv"]  # its mask is made of `x.new_zeros`
    assert shifted.inputs == ("features.1.1.attn.qkv", "features.1.1.attn.qk")


def test_residual_connections_feed_the_next_block_from_both_sides() -> None:
    with torch.device("meta"):
        graph = trace(torchvision.models.resnet18(weights=None), torch.zeros(1, 3, 64, 64)).graph
    assert set(graph.predecessors("layer1.1.conv1")) == {"conv1", "layer1.0.conv2"}
    assert set(graph.predecessors("layer2.1.conv1")) == {"layer2.0.conv2", "layer2.0.downsample.0"}
    assert set(graph.successors("layer4.1.conv2")) == {"fc"}


def test_masked_and_parametrised_weights_are_layers_without_a_weight_to_compress() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3))
    prune.l1_unstructured(model[0], "weight", 0.5)
    parametrizations.weight_norm(model[1])
    workload = trace(model, torch.zeros(1, 1, 8, 8))
    assert [(layer.name, layer.parameter) for layer in workload.layers] == [
        ("0", ""),
        ("1", ""),
    ]


def test_what_is_made_of_weights_alone_is_no_layer() -> None:
    class LowRank(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.full = nn.Parameter(torch.zeros(6, 5))
            self.down, self.up = nn.Parameter(torch.zeros(2, 5)), nn.Parameter(torch.zeros(6, 2))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.full + self.up @ self.down)

    workload = trace(LowRank(), torch.zeros(3, 5))
    assert [(layer.name, layer.computes) for layer in workload.layers] == [("full", 3 * 5 * 6)]


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    model[1].eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trace(model, torch.ones(2, 3, 8, 8))
    assert [module.training for module in model] == [True, False, True]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_captured_graphs_can_be_traced() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    images = torch.zeros(1, 3, 8, 8)
    plain = trace(model, images)
    for captured in (torch.fx.symbolic_trace(model), torch.export.export(model, (images,)).module(), torch.compile(model)):
        layers = trace(captured, images).layers
        assert [(a.name, a.problem, a.parameter) for a in layers] == [(b.name, b.problem, b.parameter) for b in plain.layers]


def test_input_densities_are_those_of_each_layer() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.diag(torch.tensor([1.0, -1.0, 1.0, -1.0])))
    batch = torch.tensor([[1.0, 2.0, 3.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    assert input_densities(model, batch) == {"0": 5 / 8, "2": 3 / 8}
    with pytest.raises(DataError, match=r"Sequential: cannot run on an input of shape \(2, 3\)"):
        input_densities(model, torch.zeros(2, 3))
