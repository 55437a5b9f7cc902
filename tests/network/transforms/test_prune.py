import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hwloop.errors import SpecError
from hwloop.network.tracing.registry import Registry, register
from hwloop.network.transforms.prune import Masks, densities, magnitude_masks, nonzero_masks, schedule
from hwloop.spec.pruning import BlockPattern


def small_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))


def registered(model: nn.Module) -> Registry:
    first = next(model.parameters())
    return register(model, torch.zeros(1, first.shape[1], *(8,) * (first.dim() - 2)))


def test_the_smallest_weights_go():
    layer = nn.Linear(4, 2, bias=False)
    layer.weight.data = torch.tensor([[0.1, -4.0, 0.3, 2.0], [-0.2, 1.0, -3.0, 0.4]])
    mask = magnitude_masks(nn.Sequential(layer), registered(nn.Sequential(layer)), 0.5).kept["0"]
    assert mask[:, :, 0, 0].tolist() == [[False, True, False, True], [False, True, True, False]]


@settings(max_examples=25, deadline=None)
@given(fraction=st.floats(0, 0.999), seed=st.integers(0, 5))
def test_the_number_removed_is_exact_in_every_layer(fraction: float, seed: int):
    model = small_net(seed)
    masks = magnitude_masks(model, registered(model), fraction)
    assert set(masks.kept) == {"0", "4"}
    for mask in masks.kept.values():
        assert mask.numel() - int(mask.sum()) == round(fraction * mask.numel())


def test_equal_magnitudes_do_not_overshoot():
    model = nn.Sequential(nn.Linear(10, 10, bias=False))
    nn.init.constant_(model[0].weight, 0.5)
    assert magnitude_masks(model, registered(model), 0.37).densities() == {"0": 0.63}


def test_what_was_pruned_stays_pruned_as_the_amount_grows():
    model = small_net()
    previous = None
    for amount in (0.2, 0.5, 0.9):
        masks = magnitude_masks(model, registered(model), amount)
        masks.apply_(model)
        if previous is not None:
            assert all(not bool((masks.kept[name] & ~previous.kept[name]).any()) for name in masks.kept)
        previous = masks
        for parameter in model.parameters():  # retraining moves what is left
            parameter.data += (parameter.data != 0) * 0.01
        masks.apply_(model)
    assert densities(model, registered(model)) == pytest.approx({"0": 0.1, "4": 0.1}, abs=0.003)


@pytest.mark.parametrize("momentum, optimiser", [(0.9, torch.optim.SGD), (None, torch.optim.AdamW)])
def test_pruned_weights_stay_zero_through_optimiser_steps(momentum: float | None, optimiser: type):
    model = small_net()
    options = {"weight_decay": 0.1} | ({"momentum": momentum} if momentum else {})
    stepper = optimiser(model.parameters(), lr=0.1, **options)
    images, labels = torch.randn(16, 3, 8, 8), torch.randint(0, 10, (16,))

    def step(masks: Masks | None) -> None:
        stepper.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        if masks is not None:
            masks.mask_gradients_(model)
        stepper.step()
        if masks is not None:
            masks.apply_(model)

    step(None)  # so that the momentum of the weights to be pruned is not zero
    masks = magnitude_masks(model, registered(model), 0.7)
    masks.apply_(model)
    before = model[4].weight.detach().clone()
    for _ in range(3):
        step(masks)
    assert densities(model, registered(model)) == masks.densities()
    assert not torch.equal(before, model[4].weight)
    registry = registered(model)
    assert all(bool((registry.entry(name).read(model)[~mask] == 0).all()) for name, mask in masks.kept.items())


def test_layers_left_out_stay_dense():
    model = small_net()
    assert set(magnitude_masks(model, registered(model), 0.5, exclude=["0"]).kept) == {"4"}
    with pytest.raises(SpecError, match=r"exclude: expected a layer of the model \(0, 4\), found 'conv9'"):
        magnitude_masks(model, registered(model), 0.5, exclude=["conv9"])


def test_two_to_four_keeps_the_two_largest_of_four_input_channels():
    layer = nn.Linear(8, 1, bias=False)
    layer.weight.data = torch.tensor([[1.0, -4.0, 3.0, 2.0, 0.0, 0.1, -0.2, 0.3]])
    mask = magnitude_masks(nn.Sequential(layer), registered(nn.Sequential(layer)), 0.0, pattern=BlockPattern(2, 4)).kept["0"]
    assert mask[:, :, 0, 0].tolist() == [[False, True, True, False, False, False, True, True]]


def test_block_pattern_runs_along_input_channels_of_a_convolution():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(6, 5, 3))
    mask = magnitude_masks(model, registered(model), 0.0, pattern=BlockPattern(1, 4)).kept["0"]
    assert mask[:, :4].sum(dim=1).eq(1).all()
    assert mask[:, 4:].sum(dim=1).eq(1).all()  # the short block at the end
    assert mask.shape == model[0].weight.shape


@pytest.mark.parametrize("keep, block", [(0, 4), (5, 4)])
def test_impossible_patterns(keep: int, block: int):
    with pytest.raises(SpecError, match="keep:block with 0 < keep <= block"):
        BlockPattern(keep, block)


def test_schedules_in_closed_form():
    assert schedule(0.8, 4, "linear") == pytest.approx((0.2, 0.4, 0.6, 0.8))
    assert schedule(0.8, 2, "cubic") == pytest.approx((0.8 * (1 - 0.125), 0.8))
    assert schedule(0.9, 3, "cubic", start=0.5) == pytest.approx((0.9 - 0.4 * 8 / 27, 0.9 - 0.4 / 27, 0.9))
    assert schedule(0.9, 1) == (0.9,)


@pytest.mark.parametrize(
    "target, steps, kind, message",
    [(1.0, 3, "cubic", "target"), (0.5, 0, "cubic", "at least 1"), (0.5, 3, "square", "linear or cubic")],
)
def test_impossible_schedules(target: float, steps: int, kind: str, message: str):
    with pytest.raises(SpecError, match=message):
        schedule(target, steps, kind)


def test_impossible_fraction():
    with pytest.raises(SpecError, match=r"fraction: expected a fraction from 0 to below 1, found 1\.5"):
        magnitude_masks(small_net(), registered(small_net()), 1.5)


def test_masks_that_do_not_fit_are_named():
    model = small_net()
    with pytest.raises(SpecError, match=r"masks.9: expected a layer of the model \(0, 4\)"):
        Masks(registered(model), {"9": torch.ones(1, dtype=torch.bool)}).apply_(model)
    with pytest.raises(SpecError, match=r"masks.0: expected a mask of shape \(8, 3, 3, 3\), found \(1,\)"):
        Masks(registered(model), {"0": torch.ones(1, dtype=torch.bool)}).apply_(model)


def test_nonzero_masks_find_the_zeros_again():
    model = small_net()
    masks = magnitude_masks(model, registered(model), 0.6)
    masks.apply_(model)
    found = nonzero_masks(model, registered(model))
    assert all(torch.equal(found.kept[name], mask) for name, mask in masks.kept.items())
