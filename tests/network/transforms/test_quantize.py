import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hwloop.errors import SpecError
from hwloop.network.data.samples import ImageSplit
from hwloop.network.tracing.registry import Registry, register
from hwloop.network.transforms.calibrate import ActivationRange, Calibration, LayerInputs, calibrate
from hwloop.network.transforms.prune import densities, magnitude_masks
from hwloop.network.transforms.quantize import (
    quantize_activation,
    quantize_weight,
    quantized,
    recalibrate_batchnorm_,
    weight_step,
)


def weights(seed: int = 0) -> Tensor:
    return torch.randn(6, 3, 3, 3, generator=torch.Generator().manual_seed(seed)) * torch.arange(1, 7).view(-1, 1, 1, 1)


def small_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()


def images(count: int = 64) -> ImageSplit:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return ImageSplit(pixels, torch.randint(0, 5, (count,), generator=generator), (0.5,), (0.25,))


def registered(model: nn.Module) -> Registry:
    return register(model, torch.zeros(1, 1, 8, 8))


@settings(max_examples=40, deadline=None)
@given(bits=st.integers(2, 23), granularity=st.sampled_from(["channel", "tensor"]), seed=st.integers(0, 9))
def test_the_error_is_at_most_half_a_step_and_the_levels_are_whole(bits: int, granularity: str, seed: int):
    weight = weights(seed)
    step = weight_step(weight, bits, granularity)
    new = quantize_weight(weight, bits, granularity)
    assert bool(((new - weight).abs() <= step * 0.5 + weight.abs() * 1e-6).all())  # 1e-6: the rounding of float32 itself
    level = new / step
    assert torch.allclose(level, level.round(), atol=1e-2 if bits > 16 else 1e-4)
    assert level.abs().max() <= 2 ** (bits - 1) - 1 + 0.5


def test_steps_in_closed_form():
    weight = torch.tensor([[1.0, -7.0], [0.5, 0.7]])
    assert weight_step(weight, 4, "tensor").tolist() == [[1.0]]
    assert weight_step(weight, 4, "channel").flatten().tolist() == pytest.approx([1.0, 0.1])
    assert quantize_weight(weight, 2, "channel").tolist() == [[0.0, -7.0], [pytest.approx(0.7), pytest.approx(0.7)]]


def test_zeros_stay_zero_and_all_zero_rows_are_no_trouble():
    weight = weights()
    weight[weight.abs() < 1] = 0
    weight[2] = 0
    for clipping in ("max", "mse"):
        new = quantize_weight(weight, 5, clipping=clipping)
        assert bool((new[weight == 0] == 0).all())
        assert bool(torch.isfinite(new).all())


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("bits", [2, 3, 5])
def test_mse_clipping_is_never_worse(bits: int, granularity: str):
    weight = weights()
    plain = (quantize_weight(weight, bits, granularity, "max") - weight).square().sum()
    clipped = (quantize_weight(weight, bits, granularity, "mse") - weight).square().sum()
    assert clipped <= plain * 1.000001


def test_finer_steps_and_more_bits_err_less():
    weight = weights()
    errors = [float((quantize_weight(weight, bits) - weight).square().sum()) for bits in range(2, 12)]
    assert errors == sorted(errors, reverse=True)
    by_tensor = (quantize_weight(weight, 4, "tensor") - weight).square().sum()
    assert (quantize_weight(weight, 4, "channel") - weight).square().sum() < by_tensor


@pytest.mark.parametrize(
    "bits, granularity, clipping, message",
    [(1, "channel", "max", "from 2 to 23, found 1"), (24, "channel", "max", "found 24"), (4, "row", "max", "channel or tensor"),
     (4, "channel", "min", "max or mse")],
)  # fmt: skip
def test_options_that_do_not_exist(bits: int, granularity: str, clipping: str, message: str):
    with pytest.raises(SpecError, match=message):
        quantize_weight(weights(), bits, granularity, clipping)


def test_activation_levels_by_hand():
    # -1..2 in 2 bits: a step of 1, zero is level 1
    span = ActivationRange(-1.0, 2.0)
    assert span.levels(2) == (1.0, 1)
    values = torch.tensor([-3.0, -0.6, -0.4, 0.0, 0.4, 1.6, 9.0])
    assert quantize_activation(values, 2, span).tolist() == [-1, -1, 0, 0, 0, 2, 2]
    assert quantize_activation(values, 4, ActivationRange(0.0, 0.0)) is values


@settings(max_examples=40, deadline=None)
@given(bits=st.integers(2, 16), low=st.floats(-5, 0), high=st.floats(0.01, 5))
def test_activations_err_at_most_half_a_step_inside_the_range_and_keep_zero(bits: int, low: float, high: float):
    span = ActivationRange(low, high)
    step, zero_point = span.levels(bits)
    values = torch.linspace(-zero_point * step, (2**bits - 1 - zero_point) * step, 301)
    new = quantize_activation(values, bits, span)
    assert float((new - values).abs().max()) <= step * 0.5 + 2e-6 * max(high, -low)
    assert float(quantize_activation(torch.zeros(3), bits, span).abs().max()) == 0


def test_inside_the_block_the_model_is_quantised_and_afterwards_as_before():
    model, x = small_net(), images().tensors()[0]
    magnitude_masks(model, registered(model), 0.5).apply_(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        plain = model(x)
        with quantized(model, registered(model), {"0": 3}, {"4": 3}, calibrate(model, registered(model), images())) as smaller:
            assert torch.equal(smaller[0].weight, quantize_weight(before["0.weight"], 3))
            assert torch.equal(smaller[4].weight, before["4.weight"])
            assert all(
                kept <= density
                for kept, density in zip(densities(smaller, registered(smaller)).values(), (0.5, 0.5), strict=True)
            )
            seen: list[Tensor] = []
            hook = smaller[4].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
            assert not torch.allclose(smaller(x), plain)
            hook.remove()
            assert seen[0].unique().numel() <= 8
        assert torch.equal(model(x), plain)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_model_comes_back_after_an_error_inside():
    model = small_net()
    before = model[0].weight.clone()
    with pytest.raises(KeyboardInterrupt, match="now"), quantized(model, registered(model), 2):
        raise KeyboardInterrupt("now")
    assert torch.equal(model[0].weight, before)


def test_many_bits_change_almost_nothing():
    model, split = small_net(), images()
    x = split.tensors()[0]
    with torch.no_grad():
        plain = model(x)
        with quantized(model, registered(model), 23, 16, calibrate(model, registered(model), split, "minmax")) as smaller:
            assert torch.allclose(smaller(x), plain, atol=1e-3)


def test_quantising_refuses_what_it_cannot_do():
    model = small_net()
    with pytest.raises(SpecError, match=r"weight_bits.conv1: expected a layer of the model \(0, 4\)"):
        quantized(model, registered(model), {"conv1": 4}).__enter__()
    with pytest.raises(SpecError, match=r"calibration: expected a Calibration"):
        quantized(model, registered(model), 4, 8).__enter__()
    with pytest.raises(SpecError, match=r"activation_bits.0: expected a layer that ran"):
        quantized(model, registered(model), 4, {"0": 8}, Calibration({})).__enter__()


def known(method: str, **options: float) -> Calibration:
    """1000 values: 990 evenly over 0..1 and 10 outliers at 100."""
    values = torch.cat([torch.linspace(0, 1, 990), torch.full((10,), 100.0)])
    seen = LayerInputs(0.0, 100.0, 1.0, torch.histc(values, 2048, 0, 100).double())
    return Calibration({"x": seen}, method, **options)


def test_calibration_methods_on_a_known_distribution():
    assert known("minmax").range("x", 8) == ActivationRange(0.0, 100.0)
    assert known("percentile", percentile=98.0).range("x", 8).high == pytest.approx(1.0, abs=0.1)
    assert known("percentile", percentile=100.0).range("x", 8).high == pytest.approx(100.0)


def test_mse_calibration_clips_a_lone_outlier_at_few_bits_and_keeps_it_at_many():
    values = torch.cat([torch.rand(20_000, generator=torch.Generator().manual_seed(0)), torch.tensor([8.0])])
    seen = LayerInputs(0.0, 8.0, 1.0, torch.histc(values, 2048, 0, 8).double())
    calibration = Calibration({"x": seen}, "mse")
    few, many = calibration.range("x", 4), calibration.range("x", 16)
    assert few.high < 2
    assert many.high > 6

    def error(high: float) -> float:
        return float((quantize_activation(values, 4, ActivationRange(0.0, high)) - values).square().sum())

    assert error(few.high) < error(8.0)


def test_symmetric_calibration_reaches_equally_far():
    seen = LayerInputs(-1.0, 3.0, 1.0, torch.ones(2048, dtype=torch.float64))
    assert Calibration({"x": seen}, "minmax", symmetric=True).range("x", 8) == ActivationRange(-3.0, 3.0)
    assert Calibration({"x": seen}, "minmax").range("x", 8) == ActivationRange(-1.0, 3.0)
    halves = Calibration({"x": seen}, "percentile", symmetric=True, percentile=90.0).range("x", 8)
    assert halves.low == -halves.high
    assert halves.high == pytest.approx(2.8, abs=0.01)  # 5% at each end of -1..3


def test_calibration_measures_ranges_and_densities():
    model, split = small_net(), images()
    calibration = calibrate(model, registered(model), split, "minmax", batch_size=10)
    x, _ = split.tensors()
    with torch.no_grad():
        hidden = model[:3](x)
    assert calibration.layers["0"].low == pytest.approx(float(x.min()))
    assert calibration.range("4", 8) == ActivationRange(0.0, pytest.approx(float(hidden.max())))
    assert calibration.densities()["4"] == pytest.approx(float((hidden != 0).float().mean()), abs=1e-6)
    assert float(calibration.layers["4"].counts.sum()) == hidden.numel()


@pytest.mark.parametrize(
    "options, message", [({"method": "max"}, "minmax or percentile or mse"), ({"percentile": 20.0}, "a number above 50")]
)
def test_calibration_options_that_do_not_exist(options: dict, message: str):
    with pytest.raises(SpecError, match=message):
        calibrate(small_net(), registered(small_net()), images(), **options)


def test_batchnorm_is_measured_anew_exactly_and_nothing_else_moves():
    model, split = small_net(), images()
    model[0].train()
    model[1].momentum = 0.3
    weights_before = model[4].weight.clone()
    recalibrate_batchnorm_(model, split.batches(64))
    with torch.no_grad():
        first = model[0](split.tensors()[0])
    assert torch.allclose(model[1].running_mean, first.mean(dim=(0, 2, 3)), atol=1e-5)
    assert torch.allclose(model[1].running_var, first.var(dim=(0, 2, 3)), rtol=1e-4)
    assert (model[0].training, model[1].training, model[1].momentum) == (True, False, 0.3)
    assert torch.equal(model[4].weight, weights_before)


def test_calibrating_and_quantising_leave_batchnorm_alone():
    model, split = small_net().train(), images()
    before = model[1].running_mean.clone()
    calibration = calibrate(model, registered(model), split)
    with torch.no_grad(), quantized(model.eval(), registered(model), 4, 4, calibration) as smaller:
        smaller(split.tensors()[0])
    assert torch.equal(model[1].running_mean, before)
