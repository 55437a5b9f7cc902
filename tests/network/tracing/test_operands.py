from __future__ import annotations

import pickle
import warnings

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from hwloop.errors import DataError, SpecError
from hwloop.network.data.samples import ImageSplit
from hwloop.network.tracing.operands import attach, attached
from hwloop.network.tracing.registry import Registry, register
from hwloop.network.transforms.calibrate import ActivationRange, calibrate
from hwloop.network.transforms.quantize import ActivationQuantizer, activation_quantizer, quantize_activation, quantized


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(6, 3, 3, 3))
        self.fc = nn.Linear(6 * 9, 8)
        self.out = nn.Parameter(torch.randn(8, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.conv2d(x, self.kernel, stride=2))
        return torch.tanh(self.fc(x.flatten(1))) @ self.out


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x, x, x, need_weights=False)[0]


def images(count: int = 12) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def everything(registry: Registry) -> list[str]:
    return [layer.name for layer in registry.workload.layers]


@pytest.mark.parametrize("inference", [True, False])
def test_operations_without_a_module_are_seen_and_changed(inference: bool) -> None:
    torch.manual_seed(0)
    model, x = Functional().eval(), images()
    registry = register(model, x[:1])
    assert dict(registry.hooked) == {"fc": "fc"}
    seen: dict[str, Tensor] = {}

    def see(layer: str, operand: str, values: Tensor) -> Tensor:
        assert operand == "Inputs"
        seen[layer] = values
        return values * 2

    with torch.inference_mode(inference), torch.set_grad_enabled(not inference):
        with attached(model, registry, see, everything(registry)):
            changed = model(x)
        maps = F.relu(F.conv2d(2 * x, model.kernel, stride=2))
        hidden = torch.tanh(F.linear(2 * maps.flatten(1), model.fc.weight, model.fc.bias))
        assert torch.allclose(changed, 2 * hidden @ model.out, atol=1e-4)
        assert torch.equal(seen["kernel"], x)
        assert torch.allclose(seen["out"], hidden, atol=1e-5)
        plain = torch.tanh(model.fc(F.relu(F.conv2d(x, model.kernel, stride=2)).flatten(1))) @ model.out
        assert torch.allclose(model(x), plain)  # and nothing is left behind


def test_each_projection_of_an_attention_and_both_operands_of_its_products() -> None:
    torch.manual_seed(0)
    model = Attention().eval()
    x = torch.randn(3, 5, 8)
    registry = register(model, x)
    body = model.body
    span = ActivationRange(-2.0, 2.0)
    spans = {
        ("body.q", "Inputs"): (2, span),
        ("body.v", "Inputs"): (3, span),
        ("body.qk", "Weights"): (3, span),
        ("body.pv", "Inputs"): (4, ActivationRange(0.0, 1.0)),
        ("body.pv", "Weights"): (5, span),
    }
    quantizer = ActivationQuantizer(spans)
    with torch.no_grad():
        with attached(model, registry, quantizer, quantizer.layers):
            found = model(x)

        def project(values: Tensor, part: int) -> Tensor:
            rows = slice(8 * part, 8 * part + 8)
            made = F.linear(values, body.in_proj_weight[rows], body.in_proj_bias[rows])
            return made.view(3, 5, 2, 4).transpose(1, 2)

        q, k = project(quantize_activation(x, 2, span), 0), project(x, 1)
        v = project(quantize_activation(x, 3, span), 2)
        root = 4**0.25  # torch spreads the scale 1 / sqrt(4) over both operands
        scores = torch.softmax((q / root) @ quantize_activation(k / root, 3, span).transpose(-1, -2), dim=-1)
        mixed = quantize_activation(scores, 4, ActivationRange(0.0, 1.0)) @ quantize_activation(v, 5, span)
        expected = body.out_proj(mixed.transpose(1, 2).reshape(3, 5, 8))
        assert torch.allclose(found, expected, atol=1e-5)
        assert not torch.allclose(found, model(x), atol=1e-3)


def test_a_transformer_is_calibrated_and_quantised_whole() -> None:
    torch.manual_seed(0)
    model = torchvision.models.VisionTransformer(8, 4, 2, 2, 16, 32, num_classes=5).eval()
    nn.init.normal_(model.heads.head.weight)  # torchvision starts it at zero
    registry = register(model, torch.zeros(1, 3, 8, 8))
    pixels = torch.randint(0, 256, (16, 3, 8, 8), dtype=torch.uint8)
    split = ImageSplit(pixels, torch.zeros(16, dtype=torch.int64), (0.5,) * 3, (0.25,) * 3)
    calibration = calibrate(model, registry, split, "minmax")
    assert set(calibration.layers) == set(everything(registry))
    assert {name.rpartition(".")[2] for name in calibration.second} == {"qk", "pv"}
    x, _ = split.tensors()
    with torch.no_grad():
        plain = model(x)
        with quantized(model, registry, 16, 16, calibration) as close:
            assert torch.allclose(close(x), plain, atol=2e-3)
        errors = []
        for layer in everything(registry):  # every one of them makes a difference
            with quantized(model, registry, None, {layer: 2}, calibration) as rough:
                errors.append(float((rough(x) - plain).abs().max()))
        assert min(errors) > 1e-4
        assert torch.equal(model(x), plain)


class Looped(nn.Module):
    """Calls one layer twice, with other values each time."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.fc(x)))


def test_calls_of_one_module_are_told_apart() -> None:
    model = Looped().eval()
    registry = register(model, torch.zeros(1, 4))
    x = torch.randn(3, 4)
    span = ActivationRange(-1.0, 1.0)
    quantizer = ActivationQuantizer({("fc#2", "Inputs"): (2, span)})
    with torch.no_grad(), attached(model, registry, quantizer, quantizer.layers):
        expected = F.linear(
            quantize_activation(torch.relu(F.linear(x, model.fc.weight, model.fc.bias)), 2, span), *model.parameters()
        )
        assert torch.allclose(model(x), expected)


def test_recurrent_layers_are_followed_step_by_step() -> None:
    model = nn.LSTM(5, 7).eval()
    x = torch.randn(3, 2, 5)
    registry = register(model, x)
    assert {entry.key: len(entry.layers) for entry in registry.entries} == {"weight_ih_l0": 1, "weight_hh_l0": 3}
    seen: list[str] = []
    with torch.no_grad(), attached(model, registry, lambda layer, operand, values: seen.append(layer), everything(registry)):
        model(x)
    assert seen == everything(registry)


class Fickle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(4))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(len(x)):
            x = x @ self.weight
        return x


@pytest.mark.parametrize("rows", [1, 3])
def test_another_number_of_operations_than_traced_is_an_error(rows: int) -> None:
    model = Fickle()
    registry = register(model, torch.zeros(2, 4))
    with attached(model, registry, lambda *_: None, everything(registry)):
        model(torch.zeros(2, 4))
        with pytest.raises(DataError, match=r"Fickle: ran \d of the 2 multiply-accumulate operations it was traced with"):
            model(torch.zeros(rows, 4))
        model(torch.zeros(2, 4))


def test_an_error_inside_the_model_leaves_nothing_behind() -> None:
    model = Functional().eval()
    registry = register(model, images()[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with attached(model, registry, lambda *_: None, everything(registry)), pytest.raises(RuntimeError, match="channels"):
            model(torch.zeros(1, 4, 8, 8))
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None


def test_a_model_with_quantised_activations_is_pickled_with_them() -> None:
    torch.manual_seed(0)
    model, x = Functional().eval(), images()
    registry = register(model, x[:1])
    span = ActivationRange(-1.0, 1.0)
    attach(
        model,
        registry,
        ActivationQuantizer({(layer, "Inputs"): (2, span) for layer in everything(registry)}),
        everything(registry),
    )
    again = pickle.loads(pickle.dumps(model))
    with torch.no_grad():
        assert torch.equal(again(x), model(x))
    assert list(model.state_dict()) == ["kernel", "out", "fc.weight", "fc.bias"]


def test_operands_of_attention_products_have_bits_of_their_own() -> None:
    torch.manual_seed(0)
    model = torchvision.models.VisionTransformer(8, 4, 1, 2, 16, 32, num_classes=5).eval()
    registry = register(model, torch.zeros(1, 3, 8, 8))
    pixels = torch.randint(0, 256, (8, 3, 8, 8), dtype=torch.uint8)
    calibration = calibrate(model, registry, ImageSplit(pixels, torch.zeros(8, dtype=torch.int64), (0.5,) * 3, (0.25,) * 3))
    layer = next(layer.name for layer in registry.workload.layers if layer.kind == "matmul")
    assert activation_quantizer(registry, None, None).layers == ()
    both = activation_quantizer(registry, {layer: 5}, calibration)
    assert {key: bits for key, (bits, _) in both.spans.items()} == {(layer, "Inputs"): 5, (layer, "Weights"): 5}
    other = activation_quantizer(registry, {layer: 5}, calibration, {layer: 3})
    assert other.spans[layer, "Weights"][0] == 3
    assert activation_quantizer(registry, None, calibration, {layer: 3}).layers == (layer,)
    with pytest.raises(SpecError, match=r"second_bits\.conv_proj: expected a layer of the model"):
        activation_quantizer(registry, None, calibration, {"conv_proj": 3})
