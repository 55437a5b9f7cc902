"""Weights that stay on their levels while they are trained, and the gradients that move those behind them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hwloop.network.data.load import load_data
from hwloop.network.tracing.registry import register
from hwloop.network.training.finetune import finetune_
from hwloop.network.training.rounding import grid_step, rounding_of
from hwloop.network.training.settings import TrainConfig
from hwloop.network.training.trainer import train
from hwloop.network.transforms.calibrate import ActivationRange
from hwloop.network.transforms.quantize import ActivationQuantizer, quantize_activation, quantize_weight


@pytest.mark.parametrize("bits", [2, 3, 5, 8, 12])
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_the_levels_of_rounded_weights_are_found(bits: int, granularity: str) -> None:
    weight = torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(bits))
    weight[2] = 0
    rounded = quantize_weight(weight, bits, granularity, "mse")
    step, levels = grid_step(rounded, bits, granularity), 2 ** (bits - 1) - 1
    assert step.shape == ((6 if granularity == "channel" else 1), 1, 1, 1)
    again = (rounded / step).round().clamp(-levels, levels) * step
    assert torch.allclose(again, rounded, atol=1e-6 if bits <= 8 else float(step.max()) / 2)


def test_steps_of_which_the_last_levels_are_not_used() -> None:
    weight = torch.tensor([[3.0, -2.0, 0.0], [2.0, 2.0, -2.0]]) * 0.25
    assert grid_step(weight, 4).flatten().tolist() == [0.25, 0.5]


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(216, 10)).eval()


def test_weights_are_rounded_while_it_runs_and_come_back() -> None:
    model = net()
    registry = register(model, torch.zeros(1, 1, 8, 8))
    for entry in registry.entries:
        entry.write_(model, quantize_weight(entry.read(model), 3))
    rounding = rounding_of(model, registry, {"4": 3})
    with torch.no_grad():
        model[4].weight.add_(0.01)
    before = [tensor.clone() for tensor in (model[0].weight, model[4].weight)]
    rounding.put_(model)
    assert torch.equal(model[0].weight, before[0]), "what is not named stays"
    assert all(len(torch.unique(row)) <= 7 for row in model[4].weight)
    rounding.back_(model)
    limit = rounding.grids["4"][0].flatten()[:, None] * 3
    assert torch.allclose(model[4].weight, before[1].clamp(-limit, limit))


def test_activations_let_gradients_through_inside_their_range_alone() -> None:
    span = ActivationRange(-1.0, 2.0)
    values = torch.linspace(-3.1, 4, 29, requires_grad=True)
    quantizer = ActivationQuantizer({("layer", "Inputs"): (4, span)})
    out = quantizer("layer", "Inputs", values)
    assert out is not None
    assert torch.allclose(out, quantize_activation(values.detach(), 4, span))
    out.sum().backward()
    step, zero = span.levels(4)
    inside = (values >= -zero * step) & (values <= (15 - zero) * step)
    assert torch.equal(values.grad, inside.float())


def test_fine_tuning_gains_and_keeps_zeros_and_levels() -> None:
    splits = load_data("digits", image_size=8)
    model = net()
    registry = register(model, splits.example_input)

    train(model, splits, TrainConfig(epochs=3))
    pruned, network = net(), net()
    for made in (pruned, network):
        made.load_state_dict(model.state_dict())
        for entry in registry.entries:
            weight = entry.read(made)
            weight = torch.where(weight.abs() < weight.abs().median(), 0.0, weight)
            entry.write_(made, weight if made is pruned else quantize_weight(weight, 2))
    images, labels = splits.validation.tensors()

    def accuracy() -> float:
        with torch.no_grad():
            return float((network(images).argmax(1) == labels).float().mean())

    before = accuracy()
    zero = {entry.name: entry.read(pruned) == 0 for entry in registry.entries}
    events = []
    finetune_(network, pruned, registry, {"0": 2, "4": 2}, splits, TrainConfig(epochs=3, learning_rate=0.01, averaging=0.0,
              label_smoothing=0.0, distillation=0.5), model, on_epoch=events.append)  # fmt: skip
    for entry in registry.entries:
        weight = entry.read(network)
        assert not bool(weight[zero[entry.name]].any())
        assert all(len(torch.unique(row)) <= 3 for row in weight)
    assert accuracy() == pytest.approx(events[-1].validation_accuracy), "what was scored is what is left"
    assert accuracy() > before + 0.1
