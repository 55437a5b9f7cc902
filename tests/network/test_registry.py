from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from hwloop.errors import SpecError
from hwloop.network.registry import Registry, WeightEntry, register
from hwloop.network.zoo import make_model


def by_definition(entry: WeightEntry, model: nn.Module) -> Tensor:
    """The canonical weights written out index by index from what each module of torch documents."""
    parameter = entry.of(model).detach()
    M, C, kH, kW = entry.shape
    out = torch.empty(entry.shape)
    groups = entry.groups
    module = model.get_submodule(entry.key.rpartition(".")[0])
    for m in range(M):
        for c in range(C):
            if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d)):  # (C, M / groups, ...)
                group, inside = divmod(m, M // groups)
                out[m, c] = parameter[group * C + c, inside].reshape(kH, kW)
            else:  # (M, C / groups, ...)
                out[m, c] = parameter[m, c].reshape(kH, kW)
    return out


@pytest.mark.parametrize(
    "layer, shape",
    [
        (nn.Conv2d(4, 6, (3, 2)), (2, 4, 5, 5)),
        (nn.Conv2d(4, 6, 3, groups=2), (2, 4, 5, 5)),
        (nn.Conv2d(4, 4, 3, groups=4), (2, 4, 5, 5)),
        (nn.Conv1d(4, 6, 3), (2, 4, 5)),
        (nn.ConvTranspose2d(4, 6, (3, 2), stride=2), (2, 4, 5, 5)),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), (2, 4, 5, 5)),
        (nn.ConvTranspose1d(4, 6, 3), (2, 4, 5)),
        (nn.Linear(5, 7), (2, 4, 5)),
    ],
)
def test_weights_of_any_layer_in_canonical_form(layer: nn.Module, shape: tuple[int, ...]) -> None:
    model = nn.Sequential(layer)
    registry = register(model, torch.zeros(shape))
    (entry,) = registry.entries
    assert (entry.name, entry.key, registry.left_out) == ("0", "0.weight", ())
    weights = entry.read(model)
    assert torch.equal(weights, by_definition(entry, model))
    before = layer.weight.detach().clone()
    entry.write_(model, weights * 2)
    assert torch.equal(layer.weight, before * 2)
    with pytest.raises(SpecError, match=r"0: expected weights of shape"):
        entry.write_(model, weights[1:])
    assert dict(registry.hooked) == {"0": "0"}


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(6, 3, 3, 3))
        self.left = nn.Parameter(torch.randn(9, 6))
        self.right = nn.Parameter(torch.randn(9, 4))
        self.heads = nn.Parameter(torch.randn(2, 2, 5))
        self.vector = nn.Parameter(torch.randn(10))

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.kernel, stride=2).flatten(2)  # (2, 6, 16)
        x = (self.left @ x).transpose(1, 2) @ self.right  # (2, 16, 4)
        return torch.einsum("bnhd,hde->bnhe", x.reshape(2, 16, 2, 2), self.heads).flatten(2) @ self.vector


def test_functional_weights_are_entries() -> None:
    model = Functional()
    registry = register(model, torch.zeros(2, 3, 9, 9))
    assert registry.left_out == ()
    assert {entry.name: entry.shape for entry in registry.entries} == {
        "kernel": (6, 3, 3, 3),
        "left": (9, 6, 1, 1),
        "right": (4, 9, 1, 1),
        "heads": (10, 2, 1, 1),
        "vector": (1, 10, 1, 1),
    }
    assert torch.equal(registry.entry("left").read(model)[:, :, 0, 0], model.left)
    assert torch.equal(registry.entry("right").read(model)[:, :, 0, 0], model.right.T)
    assert torch.equal(registry.entry("heads").read(model)[5:, :, 0, 0], model.heads[1].T)
    assert registry.hooked == ()
    for entry in registry.entries:
        entry.write_(model, torch.full(entry.shape, 3.0))
    assert all(torch.equal(p, torch.full_like(p, 3.0)) for p in model.parameters())


def test_attention_has_an_entry_each_for_queries_keys_and_values() -> None:
    model = nn.MultiheadAttention(8, 2, batch_first=True)
    tokens = torch.zeros(3, 5, 8)
    registry = register(model, (tokens, tokens, tokens))
    assert [entry.parameter for entry in registry.entries] == [
        "in_proj_weight[0:8]",
        "in_proj_weight[8:16]",
        "in_proj_weight[16:24]",
        "out_proj.weight",
    ]
    assert torch.equal(registry.entry("k").read(model)[:, :, 0, 0], model.in_proj_weight[8:16])
    before = model.in_proj_weight.detach().clone()
    registry.entry("k").write_(model, torch.zeros(8, 8, 1, 1))
    assert torch.equal(model.in_proj_weight[:8], before[:8])
    assert not model.in_proj_weight[8:16].any()
    assert registry.left_out == ()


@pytest.mark.parametrize("memory", [5, 7])
def test_attention_to_another_sequence_has_the_same_entries(memory: int) -> None:
    model = nn.MultiheadAttention(8, 2, batch_first=True)
    keys = torch.zeros(3, memory, 8)
    registry = register(model, (torch.zeros(3, 5, 8), keys, keys.clone()))
    assert [entry.name for entry in registry.entries] == ["q", "k", "v", "out_proj"]
    assert [entry.parameter for entry in registry.entries][1:3] == ["in_proj_weight[8:16]", "in_proj_weight[16:24]"]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.body, self.scores = nn.Embedding(11, 6), nn.Linear(6, 6), nn.Linear(6, 11, bias=False)
        self.scores.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.scores(self.body(torch.relu(self.body(self.embedding(tokens)))))


def test_tied_weights_are_one_entry() -> None:
    registry = register(Tied(), torch.zeros(2, 3, dtype=torch.long))
    assert [(entry.name, entry.key, entry.layers) for entry in registry.entries] == [
        ("body", "body.weight", ("body", "body#2")),
        ("embedding", "embedding.weight", ("embedding",)),
    ]
    assert registry.left_out == ()


class Odd(nn.Module):
    """Weights that cannot be compressed as they lie, each in its own way."""

    def __init__(self) -> None:
        super().__init__()
        self.normed = parametrizations.weight_norm(nn.Linear(4, 4))
        self.masked = prune.l1_unstructured(nn.Linear(4, 4), "weight", 0.5)
        self.columns = nn.Parameter(torch.randn(4, 8))
        self.position = nn.Parameter(torch.zeros(1, 4))
        self.spare = nn.Linear(4, 4)
        self.both = nn.Parameter(torch.randn(4, 4))
        self.register_buffer("fixed", torch.randn(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.masked(self.normed(x)) + self.position
        x = F.linear(x, self.columns[:, :4])
        return (x @ self.both @ self.both.T) @ self.fixed


def test_what_is_left_out_is_named_with_the_reason() -> None:
    registry = register(Odd(), torch.zeros(2, 4))
    assert registry.entries == ()
    reasons = dict(registry.left_out)
    assert set(reasons) == {
        "normed.parametrizations.weight.original1",
        "normed.parametrizations.weight.original0",
        "masked.weight_orig",
        "columns",
        "position",
        "spare.weight",
        "both",
        "fixed",
    }
    assert "computed from masked.weight_mask, masked.weight_orig" in reasons["masked.weight_orig"]
    assert "a copy or a part of columns" in reasons["columns"]
    assert reasons["position"] == "no convolution or matrix product reads it, only 'add'"
    assert reasons["spare.weight"] == "nothing reads it when the model runs"
    assert "in another order" in reasons["both"]
    assert [layer.parameter for layer in registry.workload.layers] == [""] * 6


def registries() -> dict[str, Registry]:
    with torch.device("meta"):
        names = (
            "resnet18",
            "mobilenet_v2",
            "densenet121",
            "efficientnet_b0",
            "vit_b_16",
            "convnext_tiny",
            "swin_t",
        )
        return {name: register(torchvision.models.get_model(name), torch.zeros(1, 3, 224, 224)) for name in names}


def test_every_weight_of_torchvision_is_an_entry_or_left_out_by_name() -> None:
    for name, registry in registries().items():
        model = torchvision.models.get_model(name).to("meta")
        keys = {entry.key for entry in registry.entries} | dict(registry.left_out).keys()
        assert keys >= {key for key, p in model.named_parameters() if p.dim() > 1}, name
        for key, _ in registry.left_out:  # nothing that is multiplied is left out
            assert not any(layer.name == key.removesuffix(".weight") for layer in registry.workload.layers), (name, key)
        assert sum(entry.shape[0] * entry.shape[1] * entry.shape[2] * entry.shape[3] for entry in registry.entries) == (
            registry.workload.weight_values
        )


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_cifar10", "lenet5"])
def test_entries_of_plain_networks_are_their_modules_in_order_and_hooked(name: str) -> None:
    model = make_model(name)
    registry = register(model, torch.zeros(1, 3, 32, 32))
    modules = [path for path, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    assert [entry.name for entry in registry.entries] == modules
    assert dict(registry.hooked) == {path: path for path in modules}
    assert [call.layers for call in registry.calls] == [(at,) for at in range(len(modules))]


def test_a_model_in_another_memory_format_registers_the_same() -> None:
    model = make_model("resnet20")
    plain = register(model, torch.zeros(1, 3, 32, 32))
    model.to(memory_format=torch.channels_last)
    assert register(model, torch.zeros(1, 3, 32, 32)) == plain
    entry = plain.entries[1]
    assert torch.equal(entry.read(model), model.get_parameter(entry.key))
    entry.write_(model, torch.ones(entry.shape))
    assert bool((model.get_parameter(entry.key) == 1).all())


def test_select_leaves_out_by_pattern() -> None:
    registry = register(make_model("resnet20"), torch.zeros(1, 3, 32, 32))
    assert [entry.name for entry in registry.select(["layer*"])] == ["conv1", "linear"]
    with pytest.raises(SpecError, match=r"exclude: expected a layer of the model \(conv1, layer1"):
        registry.select(["head"])
    with pytest.raises(SpecError, match=r"head: expected a layer of the model with weights to compress"):
        registry.entry("head")
