"""Networks that are not stacks of convolutions go from data to a scored plan, and every weight is in it or named as left out."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

import hwloop
from hwloop import Settings
from hwloop.network.accuracy.candidates import CompressedNetwork
from hwloop.network.data.own_data import make_splits
from hwloop.network.data.splits import DataSplits
from hwloop.network.library.build import LibraryConfig, build_library
from hwloop.network.tracing.registry import register
from hwloop.network.training.settings import TrainConfig
from hwloop.spec.plan import make_plan

CLASSES = 3


class Tokens(nn.Module):
    """A small transformer encoder over token sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.encoder(self.embedding(tokens)).mean(dim=1))


class Functional(nn.Module):
    """Weights of its own, called as functions; one matrix is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(0.2 * torch.randn(6, 3, 3, 3))
        self.mixing = nn.Parameter(0.2 * torch.randn(12, 12))
        self.scale = nn.Parameter(torch.ones(6, 1, 1))
        self.out = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(functional.conv2d(x, self.kernel, stride=2) * self.scale)
        x = functional.adaptive_avg_pool2d(x, (1, 2)).flatten(1)
        x = torch.relu(functional.linear(x, self.mixing))
        return self.out(torch.relu(x @ self.mixing.t()))


def tokens() -> DataSplits:
    """The class is the token that comes most often."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(96) % CLASSES
    noise = torch.randint(0, 11, (96, 8), generator=generator)
    return make_splits((torch.where(torch.rand(96, 8, generator=generator) < 0.5, labels[:, None], noise), labels))


def pictures() -> DataSplits:
    """The class is the brightest channel."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % CLASSES
    return make_splits((torch.randn(60, 3, 32, 32, generator=generator) + functional.one_hot(labels)[:, :, None, None], labels))


def vit() -> nn.Module:
    return torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=CLASSES
    )


# the weights that no layer multiplies: a table of rows that are looked up, what is added, what scales
CASES = {
    "tokens": (Tokens, tokens, {"embedding.weight"}),
    "vit": (vit, pictures, {"class_token", "encoder.pos_embedding"}),
    "functional": (Functional, pictures, {"scale"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_network_goes_from_data_to_scored_plans(case: str, tmp_path: Path):
    make, data, left_out = CASES[case]
    torch.manual_seed(0)
    splits, model = data(), make()
    registry = register(model, splits.example_input, case)
    assert {name for name, _ in registry.left_out} == left_out
    held = {entry.key for entry in registry.entries} | left_out
    assert {name for name, parameter in model.named_parameters() if parameter.dim() > 1} == held

    config = LibraryConfig(
        fractions=(0.5, 0.8), training=TrainConfig(epochs=6, batch_size=16, optimizer="adam", learning_rate=0.01)
    )
    library = build_library(model, splits, tmp_path, config, name=case, registry=registry)
    assert set(library.info(0.8).densities) == set(registry.by_name)
    assert all(abs(kept - 0.2) < 0.01 for kept in library.info(0.8).densities.values())
    assert library.info(0.5).validation_accuracy > 0.6

    network = CompressedNetwork(model, library, splits, registry, reference_bits=16)
    assert network.accuracy(make_plan(network.workload, base="p=0.5")) == library.info(0.5).validation_accuracy
    plan = make_plan(network.workload, weight_bits=6, activation_bits=8, base="p=0.8")
    full = network.complete(plan)
    assert all(full.of(name).weight_density == round(library.info(0.8).densities[name], 4) for name in network.layers)
    assert all(0 < share.input_density <= 1 for _, share in full.layers)
    assert {layer.name for layer in full.apply(network.workload)} == {layer.name for layer in network.workload.layers}

    made = network.materialise(plan)
    assert network.accuracy(plan, made) == network.accuracy(plan)
    for entry in registry.entries:
        weights = entry.read(made)
        assert max(len(row.unique()) for row in weights) <= 2**6 - 1
        assert int(weights.count_nonzero()) <= round(library.info(0.8).densities[entry.name] * weights.numel())
    values, compressed = sum(p.numel() for p in model.parameters()), sum(entry.read(model).numel() for entry in registry.entries)
    assert network.size_bits(plan) == 6 * compressed + 32 * (values - compressed)
    assert network.macs(plan) < network.macs(make_plan(network.workload))
    few, more = (network.accuracy(make_plan(network.workload, weight_bits=b, activation_bits=b, base="p=0.5")) for b in (2, 12))
    assert few <= more == library.info(0.5).validation_accuracy


class Similar(nn.Module):
    """How alike two sides of a picture are: both operands of the product have zeros of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(96, 8), nn.Linear(96, 8), nn.Linear(256, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        left, right = x[..., :16].reshape(-1, 16, 96), x[..., 16:].reshape(-1, 16, 96)
        alike = torch.relu(self.first(left) + 0.3) @ torch.relu(self.second(right) - 0.3).transpose(1, 2)
        return self.out(alike.flatten(1))


def test_both_operands_of_a_product_of_activations_are_measured_and_quantised():
    torch.manual_seed(0)
    splits, model = pictures(), Similar().eval()
    network = CompressedNetwork(model, None, splits, reference_bits=16)
    [product] = [layer.name for layer in network.workload.layers if layer.kind == "matmul"]
    full = network.complete(make_plan(network.workload, 0.5, activation_bits=4))
    share = full.of(product)
    seen = torch.cat([inputs for inputs, _ in splits.train.batches(256)])
    kept = []
    for layer, side, shift in ((model.first, slice(16), 0.3), (model.second, slice(16, 32), -0.3)):
        values = layer(seen[..., side].reshape(-1, 16, 96)) + shift
        kept.append(float((values > 0).float().mean()))
    found = (float(share.input_density), float(share.weight_density))
    planned = {layer.name: layer for layer in full.apply(network.workload)}
    assert found == (planned["first"].output_density.density, planned["second"].output_density.density)
    assert planned[product].bits == {"Weights": 4, "Inputs": 4}
    assert (planned["first"].output_bits, planned["second"].output_bits) == (4, 4)
    assert found[1] < found[0] < 1
    dense = network.complete(make_plan(network.workload)).of(product)
    assert (dense.input_density, dense.weight_density) == pytest.approx(tuple(kept), abs=1e-4), "all of it calibrates"


@pytest.mark.parametrize("case", CASES)
def test_compress_takes_it_end_to_end(case: str, tmp_path: Path):
    make, data, left_out = CASES[case]
    torch.manual_seed(0)
    model = make()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    settings = Settings(method="random", evaluations=3, pruning=(0.5,), library_epochs=1, mapper_effort="quick", one_shot=(0.8,))
    result = hwloop.compress(model, data(), "eyeriss_168", settings=settings, library_dir=tmp_path, workers=1)
    registry = register(model, data().example_input, case)
    assert {note.partition(" ")[0] for note in result.notes if "is not compressed:" in note} == left_out
    for member in result.fronts[0].members:
        shares = {name: share for name, share in member.plan.layers if name in registry.by_layer}
        assert set(shares) == set(registry.by_layer)
        assert all(share.weight_bits is not None and share.activation_bits is not None for share in shares.values())
        assert member.metrics["energy_pj"] > 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("case", ["tokens", "vit"])
def test_half_of_all_channels_that_may_go(case: str):
    make, data, _ = CASES[case]
    torch.manual_seed(0)
    splits, model = data(), make()
    network = CompressedNetwork(model, None, splits)
    half = {group.outputs[0]: group.size // 2 for group in network.workload.channels if not group.fixed}
    assert half
    plan = make_plan(network.workload, channels=half, weight_density=0.5, weight_bits=6, activation_bits=8)
    made = network.materialise(plan)
    assert network.accuracy(plan, made) == network.accuracy(plan)
    values = sum(parameter.numel() for parameter in made.parameters())
    assert values < sum(parameter.numel() for parameter in model.parameters())
    planned = plan.apply(network.workload)
    assert network.macs(plan) == pytest.approx(
        sum(layer.problem.computes * (0.5 if layer.layer.parameter else 1.0) for layer in planned), rel=0.02
    )
    kept = {name: share.channels for name, share in network.complete(plan).layers if share.channels is not None}
    assert all(kept[name] == count for name, count in half.items())
