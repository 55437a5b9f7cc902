from pathlib import Path

import pytest
import torch
from torch import nn

from hwloop.errors import DataError
from hwloop.network.code import code_of
from hwloop.network.data.own_data import make_splits
from hwloop.network.identity import model_identity
from hwloop.network.tracing.registry import register
from hwloop.network.training.prepare import trained_model
from hwloop.network.training.settings import TrainConfig
from hwloop.network.weights_file import read_weights


class Scaled(nn.Module):
    """A class of our own around one of torch's."""

    def __init__(self, factor: float = 2.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.factor = nn.Linear(4, 3), factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(x)) * self.factor


class Shifted(Scaled):
    """Has the same weights and layers, and other code."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(x)) * self.factor - 1.0


def splits():
    generator = torch.Generator().manual_seed(0)
    return make_splits((torch.randn(30, 4, generator=generator), torch.arange(30) % 3))


def identity(model: nn.Module) -> dict[str, str]:
    return model_identity(model, register(model, splits().example_input).workload)


def test_an_identity_follows_weights_code_and_workload():
    first = identity(Scaled())
    assert first == identity(Scaled())
    changed = Scaled()
    changed.layer.weight.data[0, 0] += 1
    differ = {
        "weights": identity(changed),
        "code": identity(Shifted()),
        "workload": identity(nn.Sequential(Scaled(), nn.Softmax(1))),
    }
    for name, other in differ.items():
        assert other[name] != first[name]
    assert identity(changed)["code"] == first["code"]
    assert first["class"].endswith("test_prepare.Scaled")


def test_the_name_of_a_workload_is_no_part_of_an_identity():
    model = Scaled()
    assert identity(model) == model_identity(model, register(model, splits().example_input, "another name").workload)


def test_a_checkpoint_with_nan_is_refused_with_the_layers_name(tmp_path: Path):
    model = Scaled()
    model.layer.weight.data[1] = torch.nan
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in model.state_dict().items()}}, tmp_path / "a.pt")
    with pytest.raises(DataError, match=r"a.pt: layer.weight holds 4 of 12 values that are NaN or infinite"):
        read_weights(tmp_path / "a.pt")


def test_a_model_by_name_needs_images():
    with pytest.raises(DataError, match="own data: its examples are not images"):
        trained_model("lenet5", splits(), None, TrainConfig(epochs=0))


def test_comments_and_docstrings_are_no_part_of_the_code():
    def one(x: int) -> int:
        """Says this."""
        return x + 1  # and that

    first = code_of(one)

    def one(x: int) -> int:
        """Says another thing."""

        return x + 1

    assert code_of(one) == first

    def one(x: int) -> int:
        return x + 2

    assert code_of(one) != first
    assert code_of(len) == "builtins.len"
    assert "x: x * 3" in code_of(lambda x: x * 3)


def test_a_network_without_source_has_an_identity_too():
    space: dict = {"nn": nn}
    exec("class Typed(nn.Linear):\n    pass\n", space)
    assert len(identity(space["Typed"](4, 3))["code"]) == 64
