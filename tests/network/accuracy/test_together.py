"""Many candidates at once against each of them alone, on a network with residual blocks."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from hwloop.network.accuracy.candidates import CompressedNetwork
from hwloop.network.accuracy.race import Race
from hwloop.network.accuracy.together import Together
from hwloop.network.bank.bank import Bank
from hwloop.network.data.load import DataSplits, load_data
from hwloop.network.scoring import HeldBatches, accuracy
from hwloop.network.tracing.registry import register
from hwloop.network.training.settings import TrainConfig
from hwloop.network.training.trainer import train
from hwloop.network.transforms.calibrate import calibrate
from hwloop.network.transforms.quantize import quantized
from hwloop.network.zoo.small_networks import BasicBlock
from hwloop.spec.plan import LayerPlan, Plan, make_plan

LAYERS = ("0", "3.conv1", "3.conv2", "4.conv1", "4.conv2", "6")


@pytest.fixture(scope="module")
def splits() -> DataSplits:
    return load_data("digits", image_size=8)


@pytest.fixture(scope="module")
def model(splits: DataSplits) -> nn.Module:
    torch.manual_seed(0)
    start = (nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
    network = nn.Sequential(*start, BasicBlock(6, 6, 1), BasicBlock(6, 8, 2), nn.Flatten(), nn.Linear(128, 10))
    train(network, splits, TrainConfig(epochs=3, learning_rate=0.1))
    return network.eval()


def plans() -> list[Plan]:
    """Families that share their first layers, and strangers."""
    rng = np.random.default_rng(0)
    base = [(0.6, 5, 6)] * len(LAYERS)
    found = []
    for _ in range(14):
        changed = list(base)
        for at in rng.choice(len(LAYERS), 2, replace=False):
            changed[at] = (float(rng.choice([0.3, 1.0])), int(rng.integers(2, 5)), int(rng.integers(3, 9)))
        found.append(changed)
    return [Plan(tuple((n, LayerPlan(d, 1.0, w, a)) for n, (d, w, a) in zip(LAYERS, e, strict=True))) for e in found]


def alone(model: nn.Module, splits: DataSplits, plan: Plan, network: CompressedNetwork) -> float:
    """By the plain functions: prune, calibrate, quantise, score."""
    dense = network.materialise(Plan(tuple((name, LayerPlan(share.weight_density)) for name, share in plan.layers)))
    registry = register(dense, splits.example_input)
    ranges = calibrate(dense, registry, splits.train.subset(256), "mse")
    bits = [{name: getattr(plan.of(name), what) for name in LAYERS} for what in ("weight_bits", "activation_bits")]
    with quantized(dense, registry, *bits, ranges, clipping="mse") as smaller:
        return accuracy(smaller, splits.validation)


def test_each_gets_the_answer_that_it_gets_alone(model, splits) -> None:
    network = CompressedNetwork(model, None, splits)
    network.prepare(plans())
    found = network.accuracies([*plans(), plans()[0]])
    fresh = CompressedNetwork(model, None, splits)
    assert found == [(alone(model, splits, plan, fresh), True) for plan in (*plans(), plans()[0])]
    assert len({value for value, _ in found}) > 5
    assert network.accuracies(plans()[::-1]) == found[-2::-1]
    assert network.evaluated == len({plan.key for plan in plans()})
    state = network._own.model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items()), "left as it was"


@pytest.mark.parametrize("how", ["batchnorm", "correction"])
def test_with_what_follows_from_the_weights(how: str, model, splits, tmp_path) -> None:
    def make() -> CompressedNetwork:
        bank = Bank(tmp_path, splits.train.subset(64)) if how == "correction" else None
        images = 100 if how == "batchnorm" else 0
        return CompressedNetwork(model, None, splits, batchnorm_images=images, bank=bank, bias_correction=bank is not None)

    some = plans()[:6]
    together = make().accuracies(some)
    one_by_one = make()
    assert together == [(one_by_one.accuracy(plan, one_by_one.materialise(plan)), True) for plan in some]


def test_what_they_share_is_computed_once(model, splits, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []
    inner = Together._run

    def counted(self, at, number, block, given):
        ran.append(number)
        return inner(self, at, number, block, given)

    monkeypatch.setattr(Together, "_run", counted)
    network = CompressedNetwork(model, None, splits)
    same = {name: LayerPlan(0.5, 1.0, 4, 6) for name in LAYERS}
    family = [Plan(tuple((same | {"6": LayerPlan(0.5, 1.0, bits, 6)}).items())) for bits in (2, 3, 4, 5)]
    network.prepare(family)
    assert len(ran) == 4, "one network before it is quantised: its four pieces"
    ran.clear()
    network.accuracies(family)
    blocks = len(list(network._validation.blocks(4)))
    assert len(ran) == blocks * (3 + 4), "of four candidates only the last piece differs"


def test_calibration_is_what_it_is_for_each_network_alone(model, splits) -> None:
    network = CompressedNetwork(model, None, splits)
    for plan in plans():
        treatment = network._treatment(plan)
        found = network._runs.calibration(network._variant(treatment), treatment)
        with network._variant(treatment).lent(treatment, None, quantised=False) as pruned:
            expected = calibrate(pruned, network.registry, splits.train.subset(256), "mse")
        for name, seen in expected.layers.items():
            mine = found.layers[name]
            assert (mine.low, mine.high, mine.density) == (seen.low, seen.high, seen.density)
            assert torch.equal(mine.counts, seen.counts)
            assert found.range(name, 4) == expected.range(name, 4)


class TestRace:
    """Racing stops candidates early, and never says what is not so."""

    def below(self, floor: float):
        return lambda least, most: most < floor

    def test_a_bound_holds_and_is_exact_once_it_is_asked_for(self, model, splits) -> None:
        exact = [value for value, _ in CompressedNetwork(model, None, splits).accuracies(plans())]
        floor = sorted(exact)[-3]
        network = CompressedNetwork(model, None, splits)
        raced = network.accuracies(plans(), self.below(floor))
        for (value, known), true in zip(raced, exact, strict=True):
            assert value == true if known else true <= value < floor
            assert known == (true >= floor) or value == true
        assert sum(known for _, known in raced) < len(raced)
        assert [value for value, _ in network.accuracies(plans())] == exact

    def test_images_seen_before_are_not_run_again(self, model, splits, monkeypatch: pytest.MonkeyPatch) -> None:
        network = CompressedNetwork(model, None, splits)
        poor = make_plan(network.workload, weight_bits=2, activation_bits=2)
        blocks: list[object] = []
        inner = Together.outputs
        monkeypatch.setattr(
            Together, "outputs", lambda self, at, block, images: (blocks.append(block[1]), inner(self, at, block, images))[1]
        )
        [(bound, known)] = network.accuracies([poor], self.below(0.9))
        assert not known
        assert network.accuracy(poor) < bound < 0.9
        assert blocks == list(range(len(blocks))), "each block once"

    def test_the_hardest_come_first_and_none_is_lost(self, model, splits) -> None:
        batches = HeldBatches(splits.validation, 64, torch.device("cpu"))
        before = batches.accuracy(model)
        rest = list(batches)[-1][0]
        batches.hardest_first(model)
        assert batches.accuracy(model) == before
        assert len(rest) < 64
        assert torch.equal(list(batches)[-1][0], rest)
        [(inputs, labels), *_] = list(batches)
        wrong = len(splits.validation) - round(before * len(splits.validation))
        assert wrong > 0
        with torch.inference_mode():
            assert (model(inputs).argmax(1) != labels).sum() >= min(wrong, 64) - 8

    def test_those_in_the_race_race_each_other(self, splits) -> None:
        batches = HeldBatches(splits.validation, 64, torch.device("cpu"))

        class Runner:
            def __init__(self) -> None:
                self.order = [0, 1]

            def outputs(self, at: int, block: tuple[object, int], images: Sequence[torch.Tensor]) -> list[torch.Tensor]:
                start = block[1] * 256
                labels = splits.validation.labels[start : start + sum(map(len, images))]
                scores = nn.functional.one_hot(
                    (labels + (1 - at)) % 10, 10
                ).float()  # the first is always wrong, the second right
                return list(scores.split([len(part) for part in images]))

        race = Race(batches, 2, lambda least, most: most < least.max())
        race.run(Runner(), [0, 1])
        [(poor, known), best] = race.scores()
        assert best == (1.0, True)
        assert not known
        assert 0 < poor < 1
