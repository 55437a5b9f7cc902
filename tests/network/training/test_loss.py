import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from hwloop.errors import SpecError
from hwloop.network.data.load import DataSplits, load_data
from hwloop.network.training.loss import Loss
from hwloop.network.training.settings import TrainConfig
from hwloop.network.training.trainer import train

PLAIN = TrainConfig(label_smoothing=0.0)


class Scores(nn.Module):
    """Gives its inputs as scores."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs


def test_without_distillation_it_is_the_cross_entropy():
    loss = Loss(PLAIN, None)
    scores = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]])
    assert loss.targets(scores) is None
    assert float(loss(scores, torch.tensor([0, 0]), None)) == pytest.approx((math.log(2) - math.log(0.75)) / 2)


def test_the_distance_is_that_of_softened_scores():
    loss = Loss(replace(PLAIN, distillation=1.0, temperature=2.0), Scores())
    scores, taught = torch.zeros(3, 2), torch.tensor([[2 * math.log(3.0), 0.0]]).repeat(3, 1)
    targets = loss.targets(taught)
    assert targets is not None
    # teacher (3/4, 1/4), model (1/2, 1/2), times T^2
    expected = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert float(loss(scores, torch.tensor([0, 1, 0]), targets)) == pytest.approx(expected, rel=1e-5)
    assert float(loss(taught, torch.tensor([0, 1, 0]), targets)) == pytest.approx(0.0, abs=1e-6)


def test_a_share_lies_between_the_two():
    scores, labels, taught = torch.tensor([[1.0, -1.0, 0.3]]), torch.tensor([1]), torch.tensor([[0.1, 2.0, 0.0]])

    def value(share: float) -> float:
        loss = Loss(replace(PLAIN, distillation=share), Scores())
        return float(loss(scores, labels, loss.targets(taught)))

    assert value(0.3) == pytest.approx(0.7 * value(0.0) + 0.3 * value(1.0), rel=1e-5)


def test_a_teacher_is_needed_and_has_the_same_classes():
    distilled = replace(PLAIN, distillation=0.5)
    with pytest.raises(SpecError, match=r"training\.distillation: expected 0 where there is no teacher, found 0\.5"):
        Loss(distilled, None)
    with pytest.raises(SpecError, match=r"a teacher of the same classes.*3 classes, while the model gives 2"):
        Loss(distilled, Scores())(torch.zeros(1, 2), torch.tensor([0]), torch.zeros(1, 3))


@pytest.fixture(scope="module")
def splits() -> DataSplits:
    return load_data("digits", image_size=8)


def linear(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def test_a_model_learns_what_its_teacher_says_and_not_the_labels(splits: DataSplits):
    teacher = linear(1)
    train(teacher, splits, TrainConfig(epochs=2, batch_size=32, averaging=0.0))
    with torch.no_grad():  # a teacher that takes every digit for the next one
        teacher[1].weight.copy_(teacher[1].weight.roll(1, 0))
        teacher[1].bias.copy_(teacher[1].bias.roll(1, 0))
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    student = linear(2)
    train(student, splits, TrainConfig(epochs=4, batch_size=32, distillation=1.0, averaging=0.0), teacher=teacher)
    [(images, _)] = splits.validation.batches(len(splits.validation))
    with torch.no_grad():
        same = (student(images).argmax(1) == teacher(images).argmax(1)).float().mean()
    assert float(same) > 0.8
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())
