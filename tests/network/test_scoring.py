import pytest
import torch
from torch import nn

from hwloop.errors import DataError
from hwloop.network.data.load import load_data
from hwloop.network.data.own_data import make_splits
from hwloop.network.scoring import accuracy
from hwloop.network.tracing.registry import register
from hwloop.network.transforms.calibrate import input_densities


class Always(nn.Module):
    """Says 3, whatever it sees."""

    def __init__(self, shape: tuple[int, ...] = (10,)) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.eye(10)[3].expand(len(x), *self.shape)


def test_accuracy_by_hand():
    validation = load_data("digits", image_size=12).validation
    model = Always().train()
    threes = int((validation.labels == 3).sum())
    assert accuracy(model, validation) == threes / len(validation)
    assert model.training


def test_what_cannot_be_scored_is_said():
    validation = load_data("digits", image_size=12).validation
    with pytest.raises(DataError, match=r"scores of shape \(64, 2, 10\); it should give \(examples, classes\)"):
        accuracy(Always((2, 10)), validation)

    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, x

    with pytest.raises(DataError, match=r"gives a tuple of 2: Tensor, Tensor, not a tensor of class scores; .* with evaluate="):
        accuracy(Pair(), validation)
    bare = make_splits(torch.zeros(4, 2), evaluate=len).train
    with pytest.raises(DataError, match="there are no labels to hold the network's scores against"):
        accuracy(Always(), bare)


def test_input_densities_by_hand():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
    model[1].weight.data = torch.tensor([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]])
    splits = load_data("digits", image_size=2, normalisation=((0.0,), (1.0,)))
    densities = input_densities(model, register(model, splits.example_input), splits.validation, batch_size=7)
    x = splits.validation.tensors()[0].flatten(1)
    assert densities["1"] == pytest.approx(float((x != 0).float().mean()))
    assert densities["3"] == pytest.approx(float((x[:, 0] != 0).float().mean()) / 2)
