import tarfile
from pathlib import Path

import pytest
import torch
from torch import nn

from hwloop.errors import DataError, SpecError
from hwloop.network.accuracy import Evaluator
from hwloop.network.build import LibraryConfig, build_library
from hwloop.network.calibrate import calibrate, input_densities
from hwloop.network.coding import model_size
from hwloop.network.data import DataSplits, load_data
from hwloop.network.finetune import TrainConfig, train
from hwloop.network.library import Library
from hwloop.network.quantize import quantized, recalibrate_batchnorm_
from hwloop.network.registry import Registry, register
from hwloop.network.scoring import accuracy
from hwloop.network.zoo import load_weights, make_model


@pytest.fixture(scope="module")
def splits() -> DataSplits:
    return load_data("digits", image_size=12)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(200, 10))


@pytest.fixture(scope="module")
def library(splits: DataSplits, tmp_path_factory: pytest.TempPathFactory) -> Library:
    model = net()
    train(model, splits, TrainConfig(epochs=4, learning_rate=0.1))
    config = LibraryConfig(fractions=(0.5, 0.9), training=TrainConfig(epochs=1))
    return build_library(model, splits, tmp_path_factory.mktemp("library"), config)


def registered(model: nn.Module, splits: DataSplits) -> Registry:
    return register(model, next(splits.train.batches(1))[0])


def member(library: Library, p: float) -> nn.Sequential:
    model = net().eval()
    library.member(p).load_into(model)
    return model


def test_accuracy_by_hand(splits: DataSplits):
    class Always(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.eye(10)[3].expand(len(x), 10)

    model = Always().train()
    threes = int((splits.validation.labels == 3).sum())
    assert accuracy(model, splits.validation) == threes / len(splits.validation)
    assert model.training


def test_in_floating_point_it_is_the_librarys_accuracy(library: Library, splits: DataSplits):
    evaluator = Evaluator(net(), library, splits)
    for info in library.infos:
        assert evaluator.evaluate(info.p) == info.validation_accuracy


@pytest.mark.parametrize("p", [0.0, 0.9])
@pytest.mark.parametrize("weight_bits, activation_bits", [({"0": 2, "4": 3}, None), (4, {"4": 2}), (3, 3)])
def test_it_is_what_the_quantised_model_scores(library, splits, p, weight_bits, activation_bits):
    evaluator = Evaluator(net(), library, splits)
    for other in (0.5, p):  # what ran before must not matter
        found = evaluator.evaluate(other, weight_bits, activation_bits)
    model = member(library, p)
    calibration = calibrate(model, registered(model, splits), splits.train.subset(256), "mse")
    with quantized(model, registered(model, splits), weight_bits, activation_bits, calibration, clipping="mse") as smaller:
        assert found == accuracy(smaller, splits.validation)


def test_order_and_repetition_do_not_change_answers(library: Library, splits: DataSplits):
    candidates = [(p, bits, inputs) for p in library.fractions for bits in (2, 5) for inputs in (None, 3)]
    forward, backward = Evaluator(net(), library, splits), Evaluator(net(), library, splits)
    first = [forward.evaluate(*candidate) for candidate in candidates]
    second = [backward.evaluate(*candidate) for candidate in reversed(candidates)]
    assert first == second[::-1]
    assert [forward.evaluate(*candidate) for candidate in candidates] == first
    assert (forward.evaluated, forward.hits) == (len(candidates), len(candidates))


def test_few_weights_fit_the_cache_and_answers_stay(library: Library, splits: DataSplits, monkeypatch: pytest.MonkeyPatch):
    whole = [Evaluator(net(), library, splits).evaluate(0.5, bits) for bits in (2, 3, 2)]
    monkeypatch.setattr("hwloop.network.accuracy._WEIGHT_CACHE_BYTES", 100)
    evaluator = Evaluator(net(), library, splits)
    assert [evaluator.evaluate(0.5, bits) for bits in (2, 3, 2)] == whole
    assert len(evaluator._weights) == 1


def test_fewer_bits_lose_accuracy_in_the_end(library: Library, splits: DataSplits):
    evaluator = Evaluator(net(), library, splits, granularity="tensor", clipping="max")
    assert evaluator.evaluate(0.0, 16, 16) == evaluator.evaluate(0.0)
    assert evaluator.evaluate(0.9, 2, 2) < evaluator.evaluate(0.9, 8, 8)


def test_densities_and_sizes_are_the_members(library: Library, splits: DataSplits):
    evaluator = Evaluator(net(), library, splits)
    evaluator.evaluate(0.9, 4, 4)
    assert evaluator.weight_densities(0.9) == library.info(0.9).densities
    model = member(library, 0.9)
    assert evaluator.input_densities(0.9) == input_densities(model, registered(model, splits), splits.train.subset(256))
    count = evaluator.counts(0.9)
    assert count.layers["4"].nonzeros == 200
    assert model_size(count, 4).compression < model_size(count, 4, "csr").compression


def test_input_densities_by_hand():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
    model[1].weight.data = torch.tensor([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]])
    digits = load_data("digits", image_size=2, normalisation=((0.0,), (1.0,))).validation
    densities = input_densities(model, register(model, digits.tensors()[0][:1]), digits, batch_size=7)
    x = digits.tensors()[0].flatten(1)
    assert densities["1"] == pytest.approx(float((x != 0).float().mean()))
    assert densities["3"] == pytest.approx(float((x[:, 0] != 0).float().mean()) / 2)


def test_batchnorm_measured_anew_for_each_candidate(library: Library, splits: DataSplits):
    evaluator = Evaluator(net(), library, splits, batchnorm_images=200)
    model = member(library, 0.9)
    with quantized(model, registered(model, splits), 2, clipping="mse") as smaller:
        recalibrate_batchnorm_(smaller, splits.train.subset(200).batches(64))
        expected = accuracy(smaller, splits.validation)
    evaluator.evaluate(0.9, 3)
    assert evaluator.evaluate(0.9, 2) == expected


def test_a_subset_of_the_images(library: Library, splits: DataSplits):
    some = Evaluator(net(), library, splits, images=50, seed=1)
    subset = splits.validation.subset(50, 1)
    assert len(subset) == 50
    assert some.evaluate(0.5) == accuracy(member(library, 0.5), subset)


def test_candidates_that_cannot_be(library: Library, splits: DataSplits):
    evaluator = Evaluator(net(), library, splits)
    with pytest.raises(DataError, match=r"no model pruned by 70%; there are: 0%, 50%, 90%"):
        evaluator.evaluate(0.7, 4)
    with pytest.raises(SpecError, match=r"weight_bits.0: expected a whole number from 2 to 23, found 1"):
        evaluator.evaluate(0.5, {"0": 1})
    with pytest.raises(SpecError, match=r"activation_bits.fc: expected a layer of the model"):
        evaluator.evaluate(0.5, 4, {"fc": 4})
    wrong = Evaluator(nn.Sequential(nn.Flatten(), nn.Linear(144, 10)), library, splits)
    with pytest.raises(DataError, match="does not fit the model"):
        wrong.evaluate(0.5)


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
