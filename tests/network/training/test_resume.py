"""Training stopped after any epoch and resumed."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hwloop.errors import DataError
from hwloop.network.data.load import DataSplits, load_data
from hwloop.network.tracing.registry import register
from hwloop.network.training.checkpoint import Checkpoint, read_checkpoint
from hwloop.network.training.settings import TrainConfig
from hwloop.network.training.trainer import EpochEvent, train
from hwloop.network.transforms.prune import magnitude_masks

CONFIG = TrainConfig(epochs=4, batch_size=32, sizes=(8, 12), cutout=3)


@pytest.fixture(scope="module")
def splits() -> DataSplits:
    return load_data("digits", image_size=12, limit=400)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(32, 10),
    )  # fmt: skip


def trained(
    splits: DataSplits, config: TrainConfig, file: Path, stop: int = 0, masked: bool = False
) -> tuple[dict[str, Tensor], tuple[EpochEvent, ...]]:
    """Weights and events of a training that is stopped after epoch `stop`, and then by a new process's objects gone on with."""
    model = net()
    masks = magnitude_masks(model, register(model, splits.example_input), 0.5) if masked else None

    def on_event(event: EpochEvent) -> None:
        if event.epoch == stop:
            raise KeyboardInterrupt

    try:
        events = train(model, splits, config, masks, on_event, checkpoint=Checkpoint(file, {"recipe": "a"}))
    except KeyboardInterrupt:
        torch.rand(5)  # what else is drawn in between must not matter
        return trained(splits, config, file, 0, masked)
    return model.state_dict(), events


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "change",
    [{}, {"optimizer": "adam", "learning_rate": 1e-3}, {"averaging": 0.0, "sizes": ()}, {"precision": "bfloat16"}],
    ids=["sgd", "adam", "plain", "bfloat16"],
)
def test_a_training_that_was_stopped_ends_the_same(splits: DataSplits, tmp_path: Path, change: dict, stop: int):
    config = replace(CONFIG, **change)
    whole, events = trained(splits, config, tmp_path / "a")
    resumed, again = trained(splits, config, tmp_path / "b", stop)
    assert whole.keys() == resumed.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name
    assert [replace(event, seconds=0.0) for event in events] == [replace(event, seconds=0.0) for event in again]


def test_masks_hold_over_a_stop_and_in_the_average(splits: DataSplits, tmp_path: Path):
    whole, _ = trained(splits, CONFIG, tmp_path / "a", masked=True)
    resumed, _ = trained(splits, CONFIG, tmp_path / "b", 2, masked=True)
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    assert int((whole["6.weight"] == 0).sum()) == whole["6.weight"].numel() // 2


def test_a_finished_training_is_not_trained_again(splits: DataSplits, tmp_path: Path):
    first, _ = trained(splits, CONFIG, tmp_path / "a")
    began = (tmp_path / "a").stat().st_mtime_ns
    again, events = trained(splits, CONFIG, tmp_path / "a")
    assert (tmp_path / "a").stat().st_mtime_ns == began
    assert len(events) == 4
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())


def test_a_checkpoint_of_another_training_is_refused(splits: DataSplits, tmp_path: Path):
    train(net(), splits, CONFIG, checkpoint=Checkpoint(tmp_path / "a", {"training": {"rate": 0.1, "seed": 1}}))
    other = Checkpoint(tmp_path / "a", {"training": {"rate": 0.2, "seed": 1}})
    with pytest.raises(DataError, match=r"is of another training: its training\.rate is 0\.1, asked for is 0\.2; resume with"):
        train(net(), splits, CONFIG, checkpoint=other)


def test_a_flipped_bit_changes_no_weight(splits: DataSplits, tmp_path: Path):
    file = tmp_path / "a"
    train(net(), splits, replace(CONFIG, epochs=1), checkpoint=Checkpoint(file, {}))
    whole, harmless = file.read_bytes(), 0
    content = read_checkpoint(file)
    assert content is not None
    assert content["epoch"] == 1
    for at in torch.linspace(0, len(whole) - 1, 60).int().tolist():
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with suppress(DataError):  # a bit that no one reads may do no harm
            found = read_checkpoint(file)
            assert found is not None
            assert all(torch.equal(found["model"][name], tensor) for name, tensor in content["model"].items())
            harmless += 1
    assert harmless < 20
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"is damaged, or no checkpoint of a training .* remove it to start the training anew"):
        read_checkpoint(file)
    torch.save({"format": 99}, file)
    with pytest.raises(DataError, match="no checkpoint of a training of this version"):
        read_checkpoint(file)
