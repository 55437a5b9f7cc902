from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hwloop.errors import DataError
from hwloop.network.accuracy.candidates import CompressedNetwork
from hwloop.network.accuracy.sensitivity import LARGEST, Divergence
from hwloop.network.data.own_data import make_splits
from hwloop.spec.plan import LayerPlan, Plan, make_plan


class Net(nn.Module):
    """Two layers with ReLU between; scores, or a pair of outputs that are none."""

    def __init__(self, pair: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.pair = nn.Linear(6, 16), nn.Linear(16, 3), pair

    def forward(self, x: Tensor) -> object:
        y = self.two(self.one(x).relu())
        return (y[:, :1], y[:, 1:]) if self.pair else y


def network(pair: bool = False, **arguments: object) -> CompressedNetwork:
    torch.manual_seed(1)
    x, y = torch.randn(90, 6), torch.arange(90) % 3
    splits = make_splits(x, evaluate=lambda _model: 0.5) if pair else make_splits((x, y))
    return CompressedNetwork(Net(pair).eval(), None, splits, **arguments)


@pytest.mark.parametrize("pair", [False, True])
def test_a_network_is_not_apart_from_itself_and_more_compression_is_further_away(pair: bool) -> None:
    tested = network(pair)
    assert tested.divergence(Plan(), Plan(), 60) == 0.0
    found = [tested.divergence(Plan((("one", LayerPlan(weight_bits=bits)),)), Plan(), 60) for bits in (12, 6, 4, 2)]
    assert found == sorted(found)
    assert 0 < found[0] < 1e-4 < found[-1]
    pruned = [tested.divergence(make_plan(tested.workload, density), Plan(), 60) for density in (0.8, 0.4, 0.1)]
    assert pruned == sorted(pruned)
    assert tested.divergence(make_plan(tested.workload, activation_bits=3), Plan(), 60) > 0
    again = network(pair)
    assert again.divergence(make_plan(again.workload, 0.4), Plan(), 60) == pruned[1], "whatever was asked before"
    assert tested.divergence(make_plan(tested.workload, 0.1), make_plan(tested.workload, 0.1), 60) == 0.0
    assert tested.accuracy(Plan()) == network(pair).accuracy(Plan())


def test_it_is_the_mean_divergence_of_the_class_probabilities() -> None:
    tested, plan = network(), Plan((("two", LayerPlan(0.5)),))
    images = tested._splits.train.subset(60, 0)
    [(x, _)] = list(images.batches(60))
    model, changed = Net().eval(), tested.materialise(plan)
    with torch.inference_mode():
        p, q = model(x).log_softmax(1), changed(x).log_softmax(1)
        expected = nn.functional.kl_div(q, p, log_target=True, reduction="batchmean")
    assert tested.divergence(plan, Plan(), 60) == pytest.approx(float(expected), rel=1e-5)


def test_what_is_no_number_counts_as_the_largest() -> None:
    divergence = Divergence([(torch.ones(2, 6), torch.zeros(2, dtype=torch.int64))])
    base = divergence.reference("base", lambda outputs: outputs(Net()))
    assert divergence.reference("base", lambda outputs: pytest.fail("it is known")) is base
    broken = Net()
    nn.init.constant_(broken.two.weight, float("nan"))
    assert divergence.of(broken, base) == LARGEST

    class Words(nn.Module):
        def forward(self, x: Tensor) -> str:
            return "no number"

    with pytest.raises(DataError, match="no floating-point outputs to compare"):
        divergence.of(Words(), base)
