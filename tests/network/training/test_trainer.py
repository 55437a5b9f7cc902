import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from hwloop.errors import DataError, SpecError
from hwloop.network.data.load import DataSplits, load_data
from hwloop.network.scoring import accuracy
from hwloop.network.tracing.registry import Registry, register
from hwloop.network.training.settings import TrainConfig
from hwloop.network.training.trainer import EpochEvent, train
from hwloop.network.transforms.prune import densities, magnitude_masks


@pytest.fixture(scope="module")
def splits() -> DataSplits:
    return load_data("digits", image_size=12)


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1), nn.Linear(200, 10)
    )


def test_a_small_network_learns_the_digits(splits: DataSplits):
    model = net()
    events = train(model, splits, TrainConfig(epochs=6, batch_size=16, learning_rate=0.1))
    assert [event.epoch for event in events] == [1, 2, 3, 4, 5, 6]
    assert events[-1].validation_accuracy > 0.9
    assert events[-1].loss < events[0].loss
    assert events[-1].validation_accuracy == accuracy(model, splits.validation)
    assert not model.training


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_same_seed_gives_the_same_weights(splits: DataSplits, optimizer: str):
    def weights(seed: int, noise: int) -> list[torch.Tensor]:
        model = net()
        torch.manual_seed(noise)  # what the caller drew before must not matter
        train(model, splits, TrainConfig(epochs=1, learning_rate=0.01, optimizer=optimizer, seed=seed))
        return list(model.state_dict().values())

    one, same, other = weights(0, 5), weights(0, 6), weights(1, 5)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[0], other[0])


def test_the_callers_random_state_is_left_alone(splits: DataSplits):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    train(net_without_draws(), splits, TrainConfig(epochs=1))
    assert torch.equal(torch.rand(2), expected)


def net_without_draws() -> nn.Module:
    with torch.random.fork_rng():
        return net()


def registered(model: nn.Module, splits: DataSplits) -> Registry:
    return register(model, next(splits.train.batches(1))[0])


def test_masks_are_held_while_the_rest_learns(splits: DataSplits):
    model = net()
    masks = magnitude_masks(model, registered(model, splits), 0.8)
    before = model[5].weight.detach().clone()
    train(model, splits, TrainConfig(epochs=1), masks)
    assert densities(model, registered(model, splits)) == masks.densities()
    kept = masks.kept["5"][:, :, 0, 0]
    assert not torch.equal(before[kept], model[5].weight[kept])


def test_what_the_callback_raises_ends_the_training(splits: DataSplits):
    seen: list[EpochEvent] = []

    def stop(event: EpochEvent) -> None:
        seen.append(event)
        if event.epoch == 2:
            raise KeyboardInterrupt("enough")

    with pytest.raises(KeyboardInterrupt, match="enough"):
        train(net(), splits, TrainConfig(epochs=9), on_event=stop)
    assert len(seen) == 2


def test_no_epochs_change_nothing(splits: DataSplits):
    model = net()
    before = model[0].weight.detach().clone()
    assert train(model, splits, TrainConfig(epochs=0)) == ()
    assert torch.equal(before, model[0].weight)


def test_biases_have_no_weight_decay(splits: DataSplits):
    # with every image black and a single label there is a gradient for the last bias alone: weight decay shows in the rest
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 4), nn.Linear(4, 10))
    for parameter in model.parameters():
        nn.init.ones_(parameter)
        parameter.requires_grad_(True)
    pixels, labels = torch.zeros(8, 1, 12, 12, dtype=torch.uint8), torch.zeros(8, dtype=torch.long)
    black = replace(splits.train, images=pixels, labels=labels, mean=(0.0,))
    config = TrainConfig(
        epochs=1, learning_rate=0.1, momentum=0.0, weight_decay=0.5, schedule="constant", warmup=0.0, averaging=0.0, augment=False
    )
    train(model, replace(splits, train=black), config)
    assert torch.allclose(model[1].weight, torch.full((4, 144), 1 - 0.1 * 0.5))
    assert torch.allclose(model[1].bias, torch.ones(4), atol=1e-6)


def test_divergence_says_what_to_do(splits: DataSplits):
    with pytest.raises(DataError, match=r"training diverged in epoch 1 .*; lower the learning rate, now 1e"):
        train(net(), splits, TrainConfig(epochs=1, learning_rate=1e30))


def test_a_model_of_too_few_classes_is_refused(splits: DataSplits):
    with pytest.raises(DataError, match=r"scores of shape \(64, 7\) for 64 images of 10 classes"):
        train(nn.Sequential(nn.Flatten(), nn.Linear(144, 7)), splits, TrainConfig(epochs=1))


def test_a_model_with_nothing_to_train(splits: DataSplits):
    with pytest.raises(DataError, match="no parameters to train"):
        train(nn.Flatten(), splits, TrainConfig(epochs=1))


@pytest.mark.parametrize(
    "field, value",
    [
        ("epochs", -1),
        ("hours", 0.0),
        ("hours", float("nan")),
        ("batch_size", 0),
        ("batch_size", True),
        ("learning_rate", 0.0),
        ("optimizer", "lamb"),
        ("schedule", "step"),
        ("warmup", 1.0),
        ("momentum", 1.0),
        ("weight_decay", -1e-4),
        ("label_smoothing", 1.0),
        ("averaging", -1.0),
        ("cutout", -1),
        ("sizes", (24, 0)),
        ("precision", "int8"),
    ],
)
def test_settings_out_of_range(field: str, value: object):
    with pytest.raises(SpecError, match=rf"training.{field}: expected"):
        TrainConfig(**{field: value})


def test_scores_that_are_not_numbers_are_wrong(splits: DataSplits):
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.full((len(x), 10), math.nan)

    assert accuracy(Broken(), splits.validation) == 0.0
