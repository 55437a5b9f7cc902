"""The numerics of single layers: closed forms, brute force, and what must hold whatever the weights are."""

from __future__ import annotations

from itertools import combinations, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hwloop.errors import DataError, SpecError
from hwloop.network.bank.columns import Grid, prune_columns, round_columns
from hwloop.network.bank.factor import Factored, damped, inverse_factor, output_error
from hwloop.network.bank.layer import Compressed, Settings, compress_layer
from hwloop.network.bank.rows import prune_rows, refit, removal_order, round_rows
from hwloop.network.transforms.prune import magnitude_mask
from hwloop.network.transforms.quantize import quantize_weight, weight_step
from hwloop.spec.pruning import BlockPattern


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weights(seed: int = 0, shape: tuple[int, ...] = (6, 4, 3, 3)) -> Tensor:
    return torch.randn(shape, generator=drawn(seed)) * (1 + torch.arange(shape[0]).view(-1, *(1,) * (len(shape) - 1)))


def correlated(columns: int, groups: int = 1, seed: int = 0) -> Tensor:
    """`2 X X^T / n` of inputs that go together, as neighbouring pixels do."""
    draw = drawn(seed)
    inputs = torch.randn(groups, columns, 4 * columns, generator=draw) + torch.randn(groups, 1, 4 * columns, generator=draw)
    return 2 * inputs @ inputs.mT / (4 * columns)


def error(weight: Tensor, new: Tensor, hessian: Tensor) -> float:
    change = (new.double() - weight.double()).reshape(len(hessian), -1, hessian.shape[-1])
    return output_error(change, hessian.double())


def test_the_factor_is_upper_triangular_and_gives_the_inverse():
    hessian = damped(correlated(20, 2).double())
    upper = inverse_factor(hessian)
    assert torch.equal(upper, upper.triu())
    assert torch.allclose(upper.mT @ upper @ hessian, torch.eye(20, dtype=torch.float64).expand(2, 20, 20), atol=1e-9)


def test_the_error_is_that_of_the_outputs():
    inputs = torch.randn(5, 100, generator=drawn(1), dtype=torch.float64)
    change = torch.randn(1, 3, 5, generator=drawn(2), dtype=torch.float64)
    wanted = float((change[0] @ inputs).square().sum() / 100)
    assert output_error(change, (2 * inputs @ inputs.T / 100)[None]) == pytest.approx(wanted)


def test_what_is_not_finite_is_an_error_and_all_zero_inputs_are_not():
    with pytest.raises(DataError, match="not finite numbers"):
        compress_layer(weights(), torch.full((1, 36, 36), float("nan")), bits=4)
    made = compress_layer(weights(), torch.zeros(1, 36, 36), bits=4)
    assert torch.equal(made.weight, quantize_weight(weights(), 4, clipping="mse"))


@pytest.mark.parametrize("method", ["rows", "columns"])
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("groups", [1, 3])
def test_where_inputs_do_not_go_together_rounding_is_to_the_nearest_level(method: str, granularity: str, groups: int):
    hessian = torch.diag_embed(torch.rand(groups, 36, generator=drawn(3)) + 0.1)
    made = compress_layer(weights(), hessian, bits=3, settings=Settings(granularity=granularity, method=method, scales=(1.0,)))
    assert torch.equal(made.weight, quantize_weight(weights(), 3, granularity, "mse"))


@pytest.mark.parametrize("method", ["rows", "columns"])
@pytest.mark.parametrize("sparsity", [0.9, 0.5, 0.03, BlockPattern(2, 4), BlockPattern(1, 3)])
def test_where_inputs_are_alike_and_do_not_go_together_the_smallest_weights_go(method: str, sparsity: float | BlockPattern):
    pattern = sparsity if isinstance(sparsity, BlockPattern) else None
    wanted = weights() * magnitude_mask(weights(), 0.0 if pattern else 1 - sparsity, pattern)
    made = compress_layer(weights(), torch.eye(36)[None] * 3, sparsity, settings=Settings(method=method))
    assert torch.allclose(made.weight, wanted, rtol=1e-6)
    assert torch.equal(made.weight == 0, wanted == 0)


def test_two_weights_in_closed_form():
    hessian = Factored(torch.tensor([[[2.0, 1.0], [1.0, 4.0]]]))
    grid = Grid(torch.tensor([[1.0]], dtype=torch.float64), 3)

    def rounded(first: float, order: str) -> list[float]:
        weight = torch.tensor([[[first, 1.45]]], dtype=torch.float64)
        found, error = round_columns(weight, hessian, grid, None, order)
        assert float(error) == pytest.approx(output_error(found - weight, hessian.damped))
        return found.flatten().tolist()

    assert rounded(0.6, "given") == [1.0, 1.0]  # 1.45 + (0.6 - 1) * 1 / 4 = 1.35
    assert rounded(0.4, "given") == [0.0, 2.0]  # 1.45 + 0.4 * 1 / 4 = 1.55
    assert rounded(0.4, "activations") == [1.0, 1.0]  # 1.45 goes down, 0.4 + 0.45 * 1 / 2 = 0.625 up


def test_a_factored_hessian_serves_every_entry_of_its_layer():
    shared = Factored(correlated(36), Settings().damping)
    for sparsity, bits in ((0.4, 3), (1.0, 4), (0.2, 0), (BlockPattern(2, 4), 3)):
        for method in ("columns", "rows"):
            settings = Settings(method=method)
            again = compress_layer(weights(), shared, sparsity, bits, settings)
            alone = compress_layer(weights(), correlated(36), sparsity, bits, settings)
            assert torch.equal(again.weight, alone.weight)
            assert again.error == alone.error


@pytest.mark.parametrize("seed", range(8))
def test_one_weight_of_each_few_goes_as_brute_force_says(seed: int):
    hessian = damped(correlated(5, 1, seed).double())
    weight = torch.randn(1, 5, generator=drawn(seed), dtype=torch.float64)
    kept = prune_rows(weight, hessian, 1)
    new = refit(weight, hessian, kept)
    tried = []
    for gone in range(5):
        stay = [at for at in range(5) if at != gone]
        part = torch.zeros(1, 5, dtype=torch.float64)
        part[0, stay] = torch.linalg.solve(hessian[0][stay][:, stay], (hessian[0] @ weight[0])[stay])
        tried.append((error(weight, part, hessian), part))
    least, best = min(tried, key=lambda each: each[0])
    assert torch.allclose(new, best)
    assert float(removal_order(weight, hessian)[1][0, 0]) == pytest.approx(least)


@pytest.mark.parametrize("seed", range(8))
def test_greedy_choices_lie_between_the_best_and_the_plain(seed: int):
    hessian = damped(correlated(6, 1, seed).double())
    weight = torch.randn(1, 6, generator=drawn(seed), dtype=torch.float64)
    supports = [torch.tensor([[at not in gone for at in range(6)]]) for gone in combinations(range(6), 3)]
    best = min(error(weight, refit(weight, hessian, kept), hessian) for kept in supports)
    plain = error(weight, weight * magnitude_mask(weight, 0.5), hessian)
    for kept in (prune_rows(weight, hessian, 3), prune_columns(weight[None], Factored(hessian), 3, weight[None] != 0)[0]):
        assert int(kept.sum()) == 3
        assert best <= error(weight, refit(weight, hessian, kept), hessian) + 1e-12
        assert error(weight, refit(weight, hessian, kept), hessian) < plain


def test_rounding_comes_close_to_brute_force():
    errors = []
    for seed in range(20):
        hessian = damped(correlated(4, 1, seed).double())
        weight = torch.randn(1, 4, generator=drawn(seed), dtype=torch.float64)
        grid = Grid(torch.tensor([[0.8]], dtype=torch.float64), 3)
        best = min(
            error(weight, torch.tensor([levels], dtype=torch.float64) * 0.8, hessian)
            for levels in product(range(-3, 4), repeat=4)
        )
        nearest = error(weight, grid.nearest(weight[None])[0], hessian)
        by_row = error(weight, round_rows(weight, hessian, grid, weight != 0), hessian)
        assert best <= by_row + 1e-12
        errors.append((best, by_row, nearest))
    best, by_row, nearest = (sum(each) for each in zip(*errors, strict=True))
    assert by_row - best < (nearest - best) / 2


@pytest.mark.parametrize("method", ["rows", "columns"])
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("sparsity, bits", [(1.0, 3), (0.5, 0), (0.5, 4), (BlockPattern(2, 4), 0), (BlockPattern(1, 4), 3)])
def test_outputs_are_off_by_much_less_than_plainly(method: str, groups: int, sparsity: float | BlockPattern, bits: int):
    weight, hessian = weights(), correlated(36, groups)
    made = compress_layer(weight, hessian, sparsity, bits, Settings(method=method))
    plain = compress_layer(weight, hessian, sparsity, bits, Settings(method="plain"))
    assert made.method == method
    assert made.error == pytest.approx(error(weight, made.weight, hessian), rel=1e-5)
    assert made.plain_error == pytest.approx(error(weight, plain.weight, hessian), rel=1e-5)
    assert made.error < 0.9 * made.plain_error


@settings(max_examples=30, deadline=None)
@given(
    removed=st.integers(0, 215), bits=st.sampled_from([0, 2, 5, 8]), method=st.sampled_from(["rows", "columns"]),
    groups=st.sampled_from([1, 3]), seed=st.integers(0, 5), zeros=st.sampled_from([0.0, 0.3]),
)  # fmt: skip
def test_the_number_that_goes_is_exact_and_zeros_stay(removed: int, bits: int, method: str, groups: int, seed: int, zeros: float):
    weight = weights(seed)
    weight = weight * magnitude_mask(weight, zeros)
    made = compress_layer(weight, correlated(36, groups, seed), 1 - removed / 216, 0, Settings(method=method))
    assert int((made.weight == 0).sum()) == max(removed, round(zeros * 216))
    assert bool((made.weight[weight == 0] == 0).all())
    if bits:
        rounded = compress_layer(weight, correlated(36, groups, seed), 1 - removed / 216, bits, Settings(method=method))
        assert int((rounded.weight == 0).sum()) >= max(removed, round(zeros * 216))
        assert bool((rounded.weight[weight == 0] == 0).all())


@pytest.mark.parametrize("method", ["rows", "columns"])
@pytest.mark.parametrize("pattern", [BlockPattern(2, 4), BlockPattern(1, 3), BlockPattern(3, 8)])
@pytest.mark.parametrize("bits", [0, 4])
def test_patterns_hold_exactly(method: str, pattern: BlockPattern, bits: int):
    weight = weights(1, (5, 10, 3, 2))  # 10 input channels: the last block is short
    made = compress_layer(weight, correlated(60), pattern, bits, Settings(method=method)).weight
    for first in range(0, 10, pattern.block):
        part = made[:, first : first + pattern.block]
        kept = (part != 0).sum(dim=1)
        assert int(kept.max()) <= pattern.keep
        if not bits:
            assert bool((kept == min(pattern.keep, part.shape[1])).all())


@pytest.mark.parametrize("method", ["rows", "columns", "plain"])
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("sparsity", [1.0, 0.4])
def test_every_value_is_on_the_grid(method: str, granularity: str, sparsity: float):
    made = compress_layer(weights(), correlated(36), sparsity, 4, Settings(granularity=granularity, method=method, scales=(1.0,)))
    assert made.step is not None
    assert made.step.numel() == (6 if granularity == "channel" else 1)
    assert torch.equal(made.levels, made.levels.round())
    assert float(made.levels.abs().max()) <= 7
    assert torch.equal((made.weight / made.step).round() * made.step, made.weight)
    if sparsity == 1.0:  # the project's own steps
        assert torch.equal(made.step, weight_step(weights(), 4, granularity, "mse"))


@pytest.mark.parametrize("method", ["rows", "columns"])
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("groups, sparsity", [(1, 1.0), (3, 1.0), (3, 0.5)])
def test_steps_that_are_tried_take_each_row_where_it_is_best(method: str, granularity: str, groups: int, sparsity: float):
    weight, hessian, scales = weights(), correlated(36, groups), (0.9, 1.0, 1.1)
    several, *each = (
        compress_layer(weight, hessian, sparsity, 3, Settings(granularity=granularity, method=method, scales=some))
        for some in (scales, *((scale,) for scale in scales))
    )
    assert {made.method for made in each} == {method}
    assert torch.equal((several.weight / several.step).round() * several.step, several.weight)
    rows = [[error(weight[at::6], made.weight[at::6], hessian[at * groups // 6][None]) for at in range(6)] for made in each]
    wanted = sum(map(min, *rows)) if granularity == "channel" else min(map(sum, rows))
    assert several.error == pytest.approx(wanted, rel=1e-4)


def test_a_layer_too_large_for_a_hessian_is_treated_plainly():
    made = compress_layer(weights(), None, 0.5, 4)
    assert made.method == "plain"
    assert torch.equal(made.weight, quantize_weight(weights() * magnitude_mask(weights(), 0.5), 4, clipping="mse"))


def test_a_shift_gives_the_means_back():
    weight, mean = weights(), torch.rand(2, 36, generator=drawn(5))
    made = compress_layer(weight, correlated(36, 2), bits=2).with_shift(weight, mean)
    assert made.shift is not None
    change = (weight - made.weight).reshape(2, 3, 36)
    assert torch.allclose(made.shift, torch.einsum("gmk,gk->gm", change, mean).flatten(), atol=1e-5)
    assert isinstance(made, Compressed)


def test_unknown_options_are_named():
    for option in ({"method": "best"}, {"order": "random"}, {"damping": 0.0}, {"scales": (1.0, 0.0)}):
        with pytest.raises(SpecError, match=f"bank.{next(iter(option))}: expected"):
            Settings(**option)
    with pytest.raises(SpecError, match="bits: expected"):
        compress_layer(weights(), correlated(36), bits=1)
    with pytest.raises(SpecError, match="granularity: expected"):
        compress_layer(weights(), correlated(36), bits=4, settings=Settings(granularity="row"))
