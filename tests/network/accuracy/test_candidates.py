import tarfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hwloop.errors import DataError, SpecError
from hwloop.network.accuracy.candidates import CompressedNetwork
from hwloop.network.accuracy.coding import count_model, model_size
from hwloop.network.data.load import DataSplits, load_data
from hwloop.network.data.own_data import make_splits
from hwloop.network.library.build import LibraryConfig, build_library
from hwloop.network.library.library import Library
from hwloop.network.scoring import accuracy
from hwloop.network.tracing.entries import Registry
from hwloop.network.tracing.registry import register
from hwloop.network.training.settings import TrainConfig
from hwloop.network.training.trainer import train
from hwloop.network.transforms.apply import reshaped
from hwloop.network.transforms.calibrate import calibrate, input_densities
from hwloop.network.transforms.prune import magnitude_mask
from hwloop.network.transforms.quantize import quantized, recalibrate_batchnorm_
from hwloop.network.zoo.models import load_weights, make_model
from hwloop.spec.density import Density
from hwloop.spec.plan import LayerPlan, Plan, make_plan
from hwloop.spec.pruning import BlockPattern, base_name


@pytest.fixture(scope="module")
def splits() -> DataSplits:
    return load_data("digits", image_size=12)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(200, 10))


@pytest.fixture(scope="module")
def trained(splits: DataSplits) -> nn.Sequential:
    model = net()
    train(model, splits, TrainConfig(epochs=4, learning_rate=0.1))
    return model


@pytest.fixture(scope="module")
def library(trained: nn.Module, splits: DataSplits, tmp_path_factory: pytest.TempPathFactory) -> Library:
    config = LibraryConfig(fractions=(0.5, 0.9), training=TrainConfig(epochs=1))
    return build_library(trained, splits, tmp_path_factory.mktemp("library"), config)


def registered(model: nn.Module, splits: DataSplits) -> Registry:
    return register(model, splits.example_input)


def member(library: Library, p: float) -> nn.Sequential:
    model = net().eval()
    library.member(p).load_into(model)
    return model


def plan(p: float = 0.0, weight_bits=None, activation_bits=None, **options) -> Plan:
    model = net()
    workload = register(model, torch.zeros(1, 1, 12, 12)).workload
    return make_plan(workload, weight_bits=weight_bits, activation_bits=activation_bits, base=base_name(p), **options)


def test_in_floating_point_it_is_the_librarys_accuracy(library: Library, splits: DataSplits):
    network = CompressedNetwork(net(), library, splits)
    assert network.layers == ("0", "4")
    for info in library.infos:
        assert network.accuracy(plan(info.p)) == info.validation_accuracy


@pytest.mark.parametrize("p", [0.0, 0.9])
@pytest.mark.parametrize("weight_bits, activation_bits", [({"0": 2, "4": 3}, None), (4, {"4": 2}), (3, 3)])
def test_it_is_what_the_quantised_model_scores(library, splits, p, weight_bits, activation_bits):
    network = CompressedNetwork(net(), library, splits)
    for other in (0.5, p):  # what ran before must not matter
        found = network.accuracy(plan(other, weight_bits, activation_bits))
    model = member(library, p)
    registry = registered(model, splits)
    calibration = calibrate(model, registry, splits.train.subset(256), "mse")
    with quantized(model, registry, weight_bits, activation_bits, calibration, clipping="mse") as smaller:
        assert found == accuracy(smaller, splits.validation)
    made = network.materialise(plan(p, weight_bits, activation_bits))
    assert accuracy(made, splits.validation) == found == network.accuracy(plan(), made)


def test_order_and_repetition_do_not_change_answers(library: Library, splits: DataSplits):
    candidates = [plan(p, bits, inputs) for p in library.fractions for bits in (2, 5) for inputs in (None, 3)]
    candidates += [plan(0.5, 5, weight_density=0.2), plan(0.5, 5, weight_density={"4": BlockPattern(1, 4)})]
    forward, backward = CompressedNetwork(net(), library, splits), CompressedNetwork(net(), library, splits)
    first = [forward.accuracy(candidate) for candidate in candidates]
    second = [backward.accuracy(candidate) for candidate in reversed(candidates)]
    assert first == second[::-1]
    assert [forward.accuracy(candidate) for candidate in candidates] == first
    assert (forward.evaluated, forward.hits) == (len(candidates), len(candidates))
    assert [forward.accuracy(forward.complete(candidate)) for candidate in candidates] == first
    assert forward.evaluated == len(candidates)


def test_few_weights_fit_the_cache_and_answers_stay(library: Library, splits: DataSplits, monkeypatch: pytest.MonkeyPatch):
    whole = [CompressedNetwork(net(), library, splits).accuracy(plan(0.5, bits)) for bits in (2, 3, 2)]
    monkeypatch.setattr("hwloop.network.accuracy.candidates.WEIGHT_CACHE_BYTES", 100)
    network = CompressedNetwork(net(), library, splits)
    assert [network.accuracy(plan(0.5, bits)) for bits in (2, 3, 2)] == whole
    assert len(network._weights) == 1


def test_batches_too_large_to_keep_are_read_again(library: Library, splits: DataSplits, monkeypatch: pytest.MonkeyPatch):
    whole = CompressedNetwork(net(), library, splits).accuracy(plan(0.5, 3, 3))
    monkeypatch.setattr("hwloop.network.scoring.BATCH_CACHE_BYTES", 100)
    network = CompressedNetwork(net(), library, splits)
    assert network.accuracy(plan(0.5, 3, 3)) == whole
    assert network._validation._held is None


def test_fewer_bits_lose_accuracy_in_the_end(library: Library, splits: DataSplits):
    network = CompressedNetwork(net(), library, splits, granularity="tensor", clipping="max")
    assert network.accuracy(plan(0.0, 16, 16)) == network.accuracy(plan(0.0))
    assert network.accuracy(plan(0.0, 64, 32)) == network.accuracy(plan(0.0))  # more than a float32 holds
    assert network.accuracy(plan(0.9, 2, 2)) < network.accuracy(plan(0.9, 8, 8))


def test_a_plan_is_completed_with_what_the_network_really_has(library: Library, splits: DataSplits):
    network = CompressedNetwork(net(), library, splits, reference_bits=16)
    network.accuracy(plan(0.9, 4, 4))
    model = member(library, 0.9)
    inputs = input_densities(model, registered(model, splits), splits.train.subset(256))
    full = network.complete(plan(0.9, {"4": 4}, {"0": 6}))
    assert full.base == "p=0.9"
    for name, bits in (("0", (16, 6)), ("4", (4, 16))):
        share = full.of(name)
        assert share.weight_density == round(library.info(0.9).densities[name], 4)
        assert share.input_density == round(inputs[name], 4)
        assert (share.weight_bits, share.activation_bits) == bits
    assert CompressedNetwork(net(), library, splits).complete(plan(0.9)).of("4").weight_bits is None


def test_sizes_are_those_of_the_counted_model(library: Library, splits: DataSplits):
    network = CompressedNetwork(net(), library, splits, coding="csr")
    model = member(library, 0.9)
    count = count_model(model, registered(model, splits))
    assert network.size_bits(plan(0.9, {"0": 4, "4": 3})) == model_size(count, {"0": 4, "4": 3}, "csr").size_bits
    assert network.size_bits(plan(0.9)) == model_size(count, 32, "csr").size_bits
    values = sum(parameter.numel() for parameter in model.parameters()) + 2 * 8  # BatchNorm's running statistics
    assert network.size_bits(Plan()) == 32 * values


def test_macs_count_weights_that_are_not_zero(library: Library, splits: DataSplits):
    network = CompressedNetwork(net(), library, splits)
    dense = 8 * 9 * 25 + 200 * 10
    assert network.workload.computes == dense
    assert network.macs(Plan()) == dense
    state = library.member(0.9).state
    kept = {name: int(state[f"{name}.weight"].count_nonzero()) for name in ("0", "4")}
    assert network.macs(plan(0.9)) == pytest.approx(kept["0"] * 25 + kept["4"])
    assert network.macs(plan(0.9, weight_density={"4": 0.05})) == pytest.approx(kept["0"] * 25 + 100)


def test_a_layer_with_more_weights_than_asked_for_is_pruned_further(library: Library, splits: DataSplits):
    network = CompressedNetwork(net(), library, splits)
    asked = plan(0.5, {"4": 6}, weight_density={"0": 0.9, "4": 0.2})
    state = dict(library.member(0.5).state)
    weight = state["4.weight"]
    largest = weight.abs().flatten().topk(400).indices
    state["4.weight"] = torch.zeros(2000).scatter(0, largest, weight.flatten()[largest]).view(10, 200)
    model = net().eval()
    model.load_state_dict(state)
    registry = registered(model, splits)
    with quantized(model, registry, {"4": 6}, clipping="mse") as smaller:
        assert network.accuracy(asked) == accuracy(smaller, splits.validation)
    full = network.complete(asked)
    assert full.of("0").weight_density == library.info(0.5).densities["0"] == 0.5
    assert full.of("4").weight_density == 0.2
    assert full.of("4").input_density == round(input_densities(model, registry, splits.train.subset(256))["4"], 4)
    made = network.materialise(asked)
    assert int(made[4].weight.count_nonzero()) <= 400
    assert network.accuracy(asked, made) == network.accuracy(asked)


def test_n_of_m_patterns_hold_in_the_weights_and_are_simulated_where_they_do(library: Library, splits: DataSplits):
    network = CompressedNetwork(net(), library, splits)
    asked = plan(0.0, weight_density={"0": "2:4", "4": "2:4"})
    made = network.materialise(asked)
    assert (made[4].weight.view(10, 50, 4) != 0).sum(dim=2).max() == 2
    assert torch.equal(made[4].weight != 0, magnitude_mask(member(library, 0)[4].weight, 0.0, BlockPattern(2, 4)))
    full = network.complete(asked)
    assert full.of("4").weight_density == BlockPattern(2, 4)
    assert full.of("0").weight_density == 1.0  # a single input channel keeps its weights: no pattern to simulate
    assert network.complete(plan(0.9, weight_density={"4": "2:4"})).of("4").weight_density == BlockPattern(2, 4)


def test_a_structured_library_is_simulated_as_what_it_is(trained: nn.Module, splits: DataSplits, tmp_path: Path):
    config = LibraryConfig(fractions=(0.5,), block=4, training=TrainConfig(epochs=0))
    library = build_library(trained, splits, tmp_path, config)
    full = CompressedNetwork(net(), library, splits).complete(plan(0.5))
    assert full.of("4").weight_density == BlockPattern(2, 4)
    assert full.of("0").weight_density == 1.0


def test_weights_are_trained_under_their_masks_and_then_quantised(library: Library, splits: DataSplits):
    network = CompressedNetwork(net(), library, splits)
    asked = plan(0.5, 4, 4, weight_density={"4": 0.2})
    before, after = network.materialise(asked), network.materialise(asked, TrainConfig(epochs=2, learning_rate=0.02, seed=3))
    assert not torch.equal(before[4].weight, after[4].weight)
    assert not torch.equal(before[4].bias, after[4].bias)
    state = library.member(0.5).state["4.weight"]
    mask = magnitude_mask(state, 0.8)
    assert bool((after[4].weight[~mask] == 0).all())
    assert max(len(row.unique()) for row in after[4].weight) <= 15
    assert network.accuracy(asked, after) > network.accuracy(asked, before) - 0.05
    assert all(parameter.requires_grad for parameter in after.parameters())
    again = network.materialise(asked, TrainConfig(epochs=2, learning_rate=0.02, seed=3))
    assert torch.equal(after[4].weight, again[4].weight)
    assert network.accuracy(asked) == network.accuracy(asked, network.materialise(asked))  # nothing was left changed


def test_without_a_library_plans_start_from_the_model(trained: nn.Module, splits: DataSplits):
    network = CompressedNetwork(trained, None, splits)
    assert network.accuracy(Plan()) == accuracy(trained, splits.validation)
    assert network.complete(plan(weight_density=0.3)).of("4").weight_density == 0.3
    with pytest.raises(DataError, match=r"a plan starts from p=0.5, and there is no library"):
        network.accuracy(plan(0.5))


def test_batchnorm_measured_anew_for_each_candidate(library: Library, splits: DataSplits):
    network = CompressedNetwork(net(), library, splits, batchnorm_images=200)
    model = member(library, 0.9)
    with quantized(model, registered(model, splits), 2, clipping="mse") as smaller:
        recalibrate_batchnorm_(smaller, splits.train.subset(200).batches(64))
        expected = accuracy(smaller, splits.validation)
    network.accuracy(plan(0.9, 3))
    assert network.accuracy(plan(0.9, 2)) == expected
    assert accuracy(network.materialise(plan(0.9, 2)), splits.validation) == expected


def test_a_subset_of_the_images(library: Library, splits: DataSplits):
    some = CompressedNetwork(net(), library, splits, images=50, seed=1)
    assert (some.images, some.train_images) == (50, len(splits.train))
    assert some.accuracy(plan(0.5)) == accuracy(member(library, 0.5), splits.validation.subset(50, 1))


def test_the_test_set_is_read_for_the_test_alone(library: Library, splits: DataSplits):
    network = CompressedNetwork(net(), library, splits, images=50)
    assert network.has_test
    assert network.test_accuracy(plan(0.5)) == accuracy(member(library, 0.5), splits.test)
    assert network.accuracy(plan(0.5)) == accuracy(member(library, 0.5), splits.validation.subset(50))
    own = make_splits((splits.train.tensors()[0], splits.train.labels))
    with pytest.raises(DataError, match="own data: neither a test set nor a second scoring function was given"):
        CompressedNetwork(net(), library, own).test_accuracy(plan(0.5))


def test_the_callers_function_scores_every_candidate(library: Library, splits: DataSplits):
    seen: list[Tensor] = []

    def zeros(model: nn.Module) -> float:
        seen.append(model[4].weight.clone())
        return float((model[4].weight == 0).float().mean())

    own = make_splits(splits.train.tensors()[0], evaluate=(zeros, lambda model: 0.25))
    network = CompressedNetwork(net(), library, own)
    assert network.accuracy(plan(0.9)) == pytest.approx(0.9)
    assert torch.equal(seen[0], library.member(0.9).state["4.weight"])
    assert network.test_accuracy(plan(0.9)) == 0.25
    assert network.accuracy(plan(0.9)) == pytest.approx(0.9)
    assert len(seen) == 1


def test_candidates_that_cannot_be(library: Library, splits: DataSplits):
    network = CompressedNetwork(net(), library, splits)
    with pytest.raises(DataError, match=r"no model pruned by 70%; there are: 0%, 50%, 90%"):
        network.accuracy(plan(0.7, 4))
    with pytest.raises(SpecError, match=r"layers.0.weight_bits: expected a whole number from 2 to 64, found 1"):
        network.accuracy(plan(0.5, {"0": 1}))
    with pytest.raises(SpecError, match=r"layers: expected a layer or parameter of the workload, found 'fc'"):
        network.accuracy(Plan((("fc", LayerPlan(activation_bits=4)),)))
    with pytest.raises(SpecError, match=r"layers.4.weight_density: .* an N:M pattern, .*can be simulated, not pruned to"):
        network.accuracy(Plan((("4", LayerPlan(Density("fixed_structured", 0.5))),)))
    wrong = CompressedNetwork(nn.Sequential(nn.Flatten(), nn.Linear(144, 10)), library, splits)
    with pytest.raises(DataError, match=r"the weights of p=0.5 do not fit the model"):
        wrong.accuracy(Plan(base="p=0.5"))


@pytest.mark.slow
def test_the_public_resnet20_scores_what_it_says(shared: Path, tmp_path: Path):
    packed, weights = shared / "data/cifar-10-batches-py.tar.xz", shared / "data/checkpoints/resnet20-12fca82f.th"
    for path in (packed, weights):
        if not path.is_file():
            pytest.skip(f"{path} is not there")
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path, filter="data")
    model = make_model("resnet20", 3, 32, 10)
    load_weights(model, weights)
    assert round(accuracy(model, load_data("cifar10", tmp_path, normalisation="imagenet").test), 4) == 0.9173


def test_shapes_come_first_then_pruning_then_bits(library: Library, splits: DataSplits):
    network = CompressedNetwork(net(), library, splits, coding="csr")
    asked = plan(0.5, {"0": 6, "4": 5}, 7, channels={"0": 5}, weight_density={"4": 0.2})
    small, again = reshaped(member(library, 0.5), network.registry, asked)
    assert small[4].in_features == 125
    small[4].weight.data *= magnitude_mask(small[4].weight.data, 0.8)
    calibration = calibrate(small, again, splits.train.subset(256), "mse")
    with quantized(small, again, {"0": 6, "4": 5}, 7, calibration, clipping="mse") as smaller:
        expected = accuracy(smaller, splits.validation)
    assert network.accuracy(asked) == expected
    full = network.complete(asked)
    assert (full.of("0").channels, full.of("4").weight_density) == (5, 0.2)
    assert full.of("4").input_density == round(calibration.densities()["4"], 4)
    conv = int(small[0].weight.count_nonzero())
    assert full.of("0").weight_density == round(conv / 45, 4)
    assert network.macs(asked) == pytest.approx(conv * 25 + 250)
    assert [layer.problem.sizes["M"] for layer in full.apply(network.workload)] == [5, 10]
    assert network.size_bits(asked) == model_size(count_model(small, again), {"0": 6, "4": 5}, "csr").size_bits
    made = network.materialise(asked)
    assert made[4].weight.shape == (10, 125)
    assert accuracy(made, splits.validation) == expected == network.accuracy(full)
    trained_further = network.materialise(asked, TrainConfig(epochs=1, learning_rate=0.02))
    assert int(trained_further[4].weight.count_nonzero()) <= 250
    assert network.accuracy(plan(0.5)) == library.info(0.5).validation_accuracy  # and the network itself is as it was


def test_a_factorised_layer_is_scored_as_its_factors(library: Library, splits: DataSplits):
    network = CompressedNetwork(net(), library, splits, reference_bits=16)
    whole = plan(0.0, rank={"4": 10})
    assert network.accuracy(whole) == pytest.approx(network.accuracy(plan()), abs=0.01)  # full rank keeps all
    asked = plan(0.0, {"4": 6}, {"4": 8}, rank={"4": 3}, weight_density={"4": 0.5})
    full = network.complete(asked)
    assert [layer.name for layer in full.apply(network.workload)] == ["0", "4.rank0", "4.rank1"]
    assert full.of("4") == LayerPlan(0.5, full.of("4").input_density, 6, 8, rank=3)
    made = network.materialise(asked)
    factors = [made[4].rank0.weight, made[4].rank1.weight]
    assert [tuple(factor.shape) for factor in factors] == [(3, 200), (10, 3)]
    assert [int(factor.count_nonzero()) <= factor.numel() / 2 for factor in factors] == [True, True]
    assert all(len(row.unique()) <= 63 for row in factors[0])
    assert network.accuracy(asked) == accuracy(made, splits.validation)
    assert network.macs(asked) == pytest.approx(8 * 9 * 25 + 300 + 15)


def test_networks_of_other_shapes_are_forgotten_when_they_take_too_much(
    library: Library, splits: DataSplits, monkeypatch: pytest.MonkeyPatch
):
    plans = [plan(p, 4, channels={"0": count}) for count in (3, 5, 3) for p in (0.5, 0.9)]
    whole = [CompressedNetwork(net(), library, splits).accuracy(each) for each in plans]
    monkeypatch.setattr("hwloop.network.accuracy.candidates.SHAPED_CACHE_BYTES", 100)
    monkeypatch.setattr("hwloop.network.accuracy.candidates._KEPT_ANSWERS", 1)
    network = CompressedNetwork(net(), library, splits)
    assert [network.accuracy(each) for each in plans] == whole
    assert (len(network._shaped), network.evaluated) == (1, len(plans))


def test_batchnorm_of_a_network_of_other_shapes_is_put_back(library: Library, splits: DataSplits):
    plans = [plan(0.9, bits, channels={"0": 5}) for bits in (3, 2)]
    one, other = (CompressedNetwork(net(), library, splits, batchnorm_images=200) for _ in range(2))
    assert [one.accuracy(each) for each in plans] == [other.accuracy(each) for each in reversed(plans)][::-1]


def test_a_layer_called_twice_is_factorised_once():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.fc, self.out = nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.relu(self.fc(torch.relu(self.fc(x)))))

    generator = torch.Generator().manual_seed(0)
    own = make_splits((torch.randn(60, 6, generator=generator), torch.arange(60) % 3))
    network = CompressedNetwork(Twice(), None, own, reference_bits=8)
    asked = make_plan(network.workload, rank={"fc": 2}, weight_bits={"fc": 4}, weight_density={"fc": 0.5})
    assert network.macs(asked) == 2 * (6 + 6) + 18
    full = network.complete(asked)
    assert [full.of(name).rank for name in ("fc", "fc#2")] == [2, 2]
    assert all(full.of(name).weight_bits == 4 and full.of(name).weight_density == 0.5 for name in ("fc", "fc#2"))
    assert network.accuracy(full) == network.accuracy(asked) == network.accuracy(asked, network.materialise(asked))
