from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from hwloop.errors import SpecError
from hwloop.network.registry import Registry, register
from hwloop.network.transforms.apply import apply_plan, reshaped
from hwloop.spec.channels import ChannelGroup
from hwloop.spec.plan import make_plan
from tests.network.models import MODELS, settled


def made(name: str) -> tuple[nn.Module, Registry, Tensor]:
    torch.manual_seed(0)
    build, shape = MODELS[name]
    model = settled(build())
    registry = register(model, torch.randn(shape))
    return model, registry, torch.randn(3, *shape[1:])


def free(registry: Registry) -> list[ChannelGroup]:
    return [group for group in registry.workload.channels if not group.fixed and group.size > group.multiple]


def silence(model: nn.Module, registry: Registry, group: ChannelGroup, gone: list[int]) -> None:
    """Sets all weights that read these channels to zero."""
    for layer, first, repeat in group.inputs:
        entry = registry.entry(layer)
        weight = entry.read(model).clone()
        per_group = weight.shape[1]
        for c in gone:
            for place in range(first + c * repeat, first + (c + 1) * repeat):
                if entry.kind == "depthwise":
                    continue  # it makes the channel too
                block = weight.shape[0] // entry.groups
                g = place // per_group
                weight[g * block : (g + 1) * block, place - g * per_group] = 0
        entry.write_(model, weight)


def dropped(group: ChannelGroup) -> list[int]:
    """Half of the channels, as many in each block, not in a row."""
    block = group.size // group.multiple
    return [start + c for start in range(0, group.size, block) for c in range(0, block - 1, 2)]


@pytest.mark.parametrize("name", MODELS)
def test_channels_that_nobody_reads_are_removed_without_a_trace(name: str) -> None:
    model, registry, x = made(name)
    groups = free(registry)
    assert groups or name == "encoder"
    channels = {}
    for group in groups:
        gone = dropped(group)
        silence(model, registry, group, gone)
        channels[group.name] = tuple(c for c in range(group.size) if c not in gone)
    plan = make_plan(registry.workload, channels=channels)
    smaller, again = reshaped(model, registry, plan)
    with torch.no_grad():
        expected = model(x)
        assert torch.allclose(smaller(x), expected, atol=1e-4 * float(expected.abs().max()))
    planned = plan.apply(registry.workload)
    assert [(p.name, p.problem.shape, p.problem.bounds) for p in planned] == [
        (layer.name, layer.problem.shape, layer.problem.bounds) for layer in again.workload.layers
    ]
    before = sum(parameter.numel() for parameter in model.parameters())
    after = sum(parameter.numel() for parameter in smaller.parameters())
    assert after < before
    assert list(smaller.state_dict()) == list(model.state_dict())


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2", "dense", "sequence", "functional", "decoder"])
def test_how_many_channels_is_enough_to_say_and_the_unread_go_first(name: str) -> None:
    model, registry, x = made(name)
    plans = {}
    for group in free(registry):
        gone = dropped(group)
        silence(model, registry, group, gone)
        if not all(registry.entry(layer).kind == "depthwise" for layer, _, _ in group.inputs):
            plans[group.name] = group.size - len(gone)
    smaller = apply_plan(model, registry, make_plan(registry.workload, channels=plans))
    with torch.no_grad():
        expected = model(x)
        assert torch.allclose(smaller(x), expected, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", MODELS)
def test_each_group_alone(name: str) -> None:
    """A group that is not fixed can be shrunk whatever the others do, and nothing but its own layers becomes smaller."""
    model, registry, x = made(name)
    groups = free(registry)
    for group in groups[:: max(1, len(groups) // 6)]:
        plan = make_plan(registry.workload, channels={group.name: group.multiple})
        smaller, again = reshaped(model, registry, plan)
        with torch.no_grad():
            assert smaller(x).shape == model(x).shape
        changed = {
            old.name
            for old, new in zip(registry.workload.layers, again.workload.layers, strict=True)
            if old.problem != new.problem
        }
        assert changed == {*group.outputs, *(layer for layer, _, _ in group.inputs)}


def test_what_may_not_be_removed_says_why() -> None:
    reasons = {}
    for name in ("resnet20", "vit", "encoder", "decoder", "shuffle"):
        _, registry, _ = made(name)
        reasons[name] = {group.name: group.fixed for group in registry.workload.channels}
    assert reasons["resnet20"]["linear"] == "they are the network's output"
    assert "layer2.0.conv2" in reasons["resnet20"]["conv1"]
    assert "padding" in reasons["resnet20"]["layer3.0.conv2"]
    attention = "encoder.layers.encoder_layer_0.self_attention"
    assert reasons["vit"][f"{attention}.q"].startswith("they are split (into heads or groups) by a reshape in")
    assert reasons["vit"]["encoder.layers.encoder_layer_0.mlp.0"] == ""
    assert "native_layer_norm" in reasons["vit"]["conv_proj"]
    assert reasons["encoder"]["layers.0.linear1"] == ""
    assert reasons["decoder"]["last"] == "they are the network's output"
    model, registry, _ = made("resnet20")
    plan = make_plan(registry.workload, channels={"linear": 4})
    with pytest.raises(SpecError, match=r"layers\.linear\.channels: expected all 10 channels, found 4"):
        apply_plan(model, registry, plan)


class HardCoded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc, self.out = nn.Conv2d(3, 8, 3), nn.Linear(8 * 36, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.fc(torch.relu(self.conv(x)).view(-1, 8 * 36))))


def test_sizes_written_into_the_code_keep_the_channels_they_stand_for() -> None:
    torch.manual_seed(0)
    registry = register(HardCoded(), torch.randn(1, 3, 8, 8))
    fixed = {group.name: group.fixed for group in registry.workload.channels}
    assert fixed["conv"].startswith("the model's code needs all of them")
    assert fixed["fc"] == ""


def test_tied_modules_shrink_together() -> None:
    first, shared, last = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)
    model = nn.Sequential(first, nn.ReLU(), shared, nn.ReLU(), shared, nn.ReLU(), last).eval()
    registry = register(model, torch.randn(1, 4))
    (group,) = [group for group in registry.workload.channels if not group.fixed]
    assert (group.outputs, group.inputs) == (
        ("0", "2", "2#2"),
        (("2", 0, 1), ("2#2", 0, 1), ("6", 0, 1)),
    )
    smaller = apply_plan(model, registry, make_plan(registry.workload, channels={"0": (0, 2, 5)}))
    stay = [0, 2, 5]
    expected = copy.deepcopy(model)
    with torch.no_grad():
        gone = [1, 3, 4]
        expected[2].weight[:, gone] = 0
        expected[6].weight[:, gone] = 0
        x = torch.randn(5, 4)
        assert torch.allclose(smaller(x), expected(x), atol=1e-6)
    assert smaller[2] is smaller[4]
    assert torch.equal(smaller[2].weight, model[2].weight[stay][:, stay])
    assert (smaller[0].out_features, smaller[2].in_features, smaller[6].in_features) == (3, 3, 3)
