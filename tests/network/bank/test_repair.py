from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hwloop.network.bank.hessian import see_inputs
from hwloop.network.bank.layer import compress_layer
from hwloop.network.bank.repair import augmented, shift_places
from hwloop.network.data.load import load_data
from hwloop.network.data.samples import TensorSplit
from hwloop.network.tracing.registry import register
from hwloop.network.transforms.quantize import recalibrate_batchnorm_


class Blocks(nn.Module):
    """A convolution before BatchNorm, one with a bias, one whose result is added to another first, and scores."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.third, self.last = nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.scores = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = self.last(self.third(x) + self.second(x))
        return self.scores(x.mean(dim=(2, 3)))


def test_a_shift_goes_into_the_bias_or_the_norm_behind():
    torch.manual_seed(0)
    model = Blocks().eval()
    registry = register(model, torch.randn(1, 2, 6, 6))
    places = shift_places(model, registry)
    assert {name: (place.key, place.sign) for name, place in places.items()} == {
        "first": ("norm.running_mean", -1),
        "second": ("second.bias", 1),
        "scores": ("scores.bias", 1),
    }
    assert not model.first._forward_hooks
    before = model.norm.running_mean.clone()
    places["first"].shift_(model, torch.ones(4))
    assert torch.equal(model.norm.running_mean, before - 1)


@pytest.mark.parametrize("layer", ["first", "second"])
def test_shifted_outputs_have_the_means_of_before(layer: str):
    torch.manual_seed(0)
    model, inputs = Blocks().eval(), torch.randn(9, 2, 6, 6) + 1
    registry = register(model, inputs[:1])
    entry = registry.by_name[layer]
    seen = see_inputs(model, registry, TensorSplit(inputs, None), [entry])[layer]
    outputs: list[Tensor] = []
    behind = model.norm if layer == "first" else model.second
    behind.register_forward_hook(lambda module, given, output: outputs.append(output.detach().mean(dim=(0, 2, 3))))
    with torch.no_grad():
        model(inputs)
        weight = entry.read(model).clone()
        made = compress_layer(weight, None, bits=2).with_shift(weight, seen.mean)
        entry.write_(model, made.weight)
        model(inputs)
        assert made.shift is not None
        shift_places(model, registry)[layer].shift_(model, made.shift)
        outputs = outputs[:2]
        model(inputs)
    assert not torch.allclose(outputs[0], outputs[1], atol=1e-2)
    assert torch.allclose(outputs[0], outputs[2], atol=1e-5)


def test_augmented_examples_are_the_same_every_time_and_repair_statistics():
    splits = load_data("digits", image_size=8, limit=300)
    assert splits.augmentation is not None
    one, other = (augmented(splits.train, splits.augmentation, 100, seed=3) for _ in range(2))
    plain = augmented(splits.train, None, 100, seed=3)
    images = [torch.cat([inputs for inputs, _ in split.batches(64)]) for split in (one, other, plain)]
    assert torch.equal(images[0], images[1])
    assert images[0].shape == images[2].shape
    assert not torch.equal(images[0], images[2])
    assert one.labels is not None
    assert plain.labels is not None
    assert torch.equal(one.labels.bincount(), plain.labels.bincount())
    norm = nn.BatchNorm2d(1)
    recalibrate_batchnorm_(norm, one.batches(100))
    assert norm.running_mean is not None
    assert float(norm.running_mean) == pytest.approx(float(images[0].mean()), abs=1e-5)
