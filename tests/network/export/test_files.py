from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hwloop.errors import DataError
from hwloop.network.accuracy.candidates import CompressedNetwork
from hwloop.network.data.own_data import make_splits
from hwloop.network.data.splits import DataSplits
from hwloop.network.export.files import NETWORK, STATE, WEIGHTS, load_export, write_network
from hwloop.network.zoo.models import make_model
from hwloop.spec.plan import Plan, make_plan

from ..models import Dense, Functional

DATA = {"name": "noise", "classes": [str(i) for i in range(10)]}


def noise(channels: int, pixels: int, classes: int) -> DataSplits:
    torch.manual_seed(1)
    return make_splits((torch.randn(64, channels, pixels, pixels), torch.randint(classes, (64,))))


def scorer_of(model: nn.Module, splits: DataSplits, **options) -> CompressedNetwork:
    return CompressedNetwork(model.eval(), None, splits, **options)


def lenet() -> tuple[nn.Module, DataSplits, dict[str, object]]:
    torch.manual_seed(0)
    how = {"name": "lenet5", "in_channels": 1, "image_size": 28, "classes": 10}
    return make_model("lenet5", 1, 28, 10), noise(1, 28, 10), how


def exported(folder: Path, scorer: CompressedNetwork, plan: Plan, how, example: Tensor) -> nn.Module:
    """Writes the network of a plan and gives the one that it was written from."""
    write_network(folder, scorer.pieces(plan), plan, how, {**DATA, "input": list(example.shape[1:])})
    return scorer.materialise(plan)


def same(first: nn.Module, second: nn.Module, images: Tensor) -> bool:
    with torch.inference_mode():
        return torch.equal(first(images), second(images))


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("bits", [{"conv1": 2, "conv2": 3, "fc1": 5, "fc2": 11, "fc3": 23}, {"conv2": 8}, {}])
def test_what_is_loaded_back_is_the_same_to_the_bit(tmp_path: Path, bits, granularity: str) -> None:
    model, splits, how = lenet()
    scorer = scorer_of(model, splits, granularity=granularity)
    plan = make_plan(scorer.workload, weight_density=0.4, weight_bits=bits, activation_bits=7 if bits else None)
    network = exported(tmp_path, scorer, plan, how, splits.example_input)
    again = load_export(tmp_path)
    assert same(network, again, images(splits))
    plain = torch.load(tmp_path / STATE, weights_only=True)
    for key, value in again.state_dict().items():
        assert torch.equal(plain[key], value)


def images(splits: DataSplits) -> Tensor:
    return next(iter(splits.train.batches(32)))[0]


def test_weights_take_their_bits_and_no_more(tmp_path: Path) -> None:
    model, splits, how = lenet()
    scorer = scorer_of(model, splits)
    plan = make_plan(scorer.workload, weight_bits=3)
    exported(tmp_path, scorer, plan, how, splits.example_input)
    steps = 32 * sum(entry.shape[0] for entry in scorer.registry.entries)
    size = (tmp_path / WEIGHTS).stat().st_size * 8
    head = 8 * (8 + int.from_bytes((tmp_path / WEIGHTS).read_bytes()[:8], "little"))
    assert size - head <= scorer.size_bits(plan) + steps + 8 * len(scorer.registry.entries)


def test_a_network_with_fewer_channels(tmp_path: Path) -> None:
    model, splits, how = lenet()
    scorer = scorer_of(model, splits)
    plan = make_plan(
        scorer.workload, weight_bits=4, activation_bits=8, channels={"conv1": (0, 2, 5), "fc1": 50}, rank={"fc2": 20}
    )
    network = exported(tmp_path, scorer, plan, how, splits.example_input)
    again = load_export(tmp_path)
    assert again.get_parameter("conv1.weight").shape[0] == 3
    assert same(network, again, images(splits))


@pytest.mark.parametrize("kind", [Dense, Functional])
def test_networks_of_one_s_own_are_given_to_be_loaded(tmp_path: Path, kind) -> None:
    torch.manual_seed(0)
    model, splits = kind(), noise(3, 8, 5)
    scorer = scorer_of(model, splits)
    plan = make_plan(scorer.workload, weight_bits=5, activation_bits=6)
    network = exported(tmp_path, scorer, plan, None, splits.example_input)
    with pytest.raises(DataError, match=r"a network of your own; give its module: load_export\(folder, model\)"):
        load_export(tmp_path)
    assert same(network, load_export(tmp_path, kind()), images(splits))


def test_a_file_does_not_say_which_function_is_called(tmp_path: Path) -> None:
    model, splits, how = lenet()
    scorer = scorer_of(model, splits)
    exported(tmp_path, scorer, make_plan(scorer.workload), {**how, "name": "os:abort"}, splits.example_input)
    with pytest.raises(DataError, match="this is a network of os:abort; give its module"):
        load_export(tmp_path)
    document = json.loads((tmp_path / NETWORK).read_text())
    (tmp_path / NETWORK).write_text(json.dumps({**document, "model": how, "plan": "/etc/hostname"}))
    with pytest.raises(DataError, match="plan: expected what is done to each layer"):
        load_export(tmp_path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    model, splits, how = lenet()
    scorer = scorer_of(model, splits)
    exported(tmp_path, scorer, make_plan(scorer.workload, weight_bits=4), how, splits.example_input)
    whole, weights = (tmp_path / NETWORK).read_text(), (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(weights[:100])
    with pytest.raises(DataError, match=r"weights\.safetensors: "):
        load_export(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(DataError, match=r"weights\.safetensors: .*No such file"):
        load_export(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(weights)
    document = json.loads(whole)
    document["weights"][0]["bits"] = 9
    (tmp_path / NETWORK).write_text(json.dumps(document))
    with pytest.raises(DataError, match="values of 9 bits take"):
        load_export(tmp_path)
    del document["weights"][0]
    (tmp_path / NETWORK).write_text(json.dumps(document))
    with pytest.raises(DataError, match="does not fit the network"):
        load_export(tmp_path)
    (tmp_path / NETWORK).write_text('{"format": 2}')
    with pytest.raises(DataError, match="is not of format 1"):
        load_export(tmp_path)
    with pytest.raises(DataError, match="give a folder that `hwloop export` wrote"):
        load_export(tmp_path / "nowhere")
