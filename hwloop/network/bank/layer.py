"""One layer pruned and rounded: which method its size allows, and how far its outputs are off."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from hwloop.errors import SpecError
from hwloop.network.bank.columns import Grid, prune_blocks, prune_columns, round_columns
from hwloop.network.bank.factor import (
    DAMPING,
    ORDERS,
    Factored,
    output_error,
    reorder_columns,
    reorder_hessian,
    restore_columns,
)
from hwloop.network.bank.rows import prune_row_blocks, prune_rows, refit, round_rows, supports
from hwloop.network.transforms.prune import magnitude_mask
from hwloop.network.transforms.quantize import weight_step
from hwloop.spec.pruning import BlockPattern

METHODS = ("auto", "rows", "columns", "plain")
# rows * K^3 of a layer. Up to the first, weights go one by one (ExactOBS, OBQ); up to the second, each row is fitted and rounded
# with the Hessian of its own weights; above, all rows share one factor (SparseGPT, GPTQ).
WORK_ONE_BY_ONE, WORK_BY_ROW = 4e8, 2e10
SCALES = (1.0, 0.85, 0.92, 1.08, 1.16)


@dataclass(frozen=True)
class Settings:
    """How single layers are compressed.

    Attributes:
        granularity, clipping: of the steps, see `quantize.weight_step`.
        method: `rows`: weights one by one (ExactOBS, OBQ); `columns`: column by column (SparseGPT, GPTQ); `plain`: by magnitude,
            to the nearest level; `auto`: `rows` where the layer's size allows.
        order: of the columns in GPTQ, `activations` (those with the largest inputs first) or `given`.
        damping: see `factor.damped`.
        scales: multiples of the steps that are tried; each row takes the one that changes its outputs least.

    Raises:
        SpecError: an unknown method or order, or a damping or scale that is not above 0.
    """

    granularity: str = "channel"
    clipping: str = "mse"
    method: str = "auto"
    order: str = "activations"
    damping: float = DAMPING
    scales: tuple[float, ...] = SCALES

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SpecError("<arguments>", "bank.method", " or ".join(METHODS), self.method)
        if self.order not in ORDERS:
            raise SpecError("<arguments>", "bank.order", " or ".join(ORDERS), self.order)
        if not self.damping > 0:
            raise SpecError("<arguments>", "bank.damping", "a number above 0", self.damping)
        if not self.scales or not all(scale > 0 for scale in self.scales):
            raise SpecError("<arguments>", "bank.scales", "numbers above 0", self.scales)


@dataclass(frozen=True, eq=False)
class Compressed:
    """A layer's new weights.

    Attributes:
        levels: `(M, C / groups, kH, kW)`: whole numbers of steps, or the weights themselves where nothing was rounded.
        step: `(M or 1, 1, 1, 1)` float32; None where nothing was rounded.
        method: what made them: `rows`, `columns` or `plain`.
        error: mean squared change of the outputs on the calibration examples, summed over output channels; NaN without a Hessian.
        plain_error: the same of the weights by magnitude and to the nearest level.
        shift: `(M,)`: what the means of the outputs lost: added to a bias it gives them back. None where it is not known.
    """

    levels: Tensor
    step: Tensor | None
    method: str
    error: float
    plain_error: float
    shift: Tensor | None = None

    @property
    def weight(self) -> Tensor:
        """`(M, C / groups, kH, kW)` float32."""
        return self.levels if self.step is None else self.levels * self.step

    def with_shift(self, weight: Tensor, mean: Tensor) -> Compressed:
        """The same with `shift`, from the weights it was made of and the mean of what they multiply, `(G, K)`.

        Bias correction, as in Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019,
        section 4.2, with means measured on data.
        """
        change = (weight - self.weight).double().reshape(*mean.shape[:1], -1, mean.shape[1])
        return replace(self, shift=(change @ mean.double()[..., None]).flatten().float())


def compress_layer(
    weight: Tensor,
    hessian: Tensor | Factored | None,
    sparsity: float | BlockPattern = 1.0,
    bits: int = 0,
    settings: Settings | None = None,
) -> Compressed:
    """Prunes a layer's weights to a density or pattern and rounds them to bits, so that its outputs change little.

    Weights that are zero already stay zero and count as removed. `round((1 - sparsity) * weights)` are zero, exactly.

    Args:
        weight: `(M, C / groups, kH, kW)` float32.
        hessian: `(G, K, K)` of its inputs, see `hessian.Seen`; or what was factored for another entry of the layer, with the
            damping of the settings; None where it would be too large: then by magnitude, to the nearest level.
        sparsity: fraction of the weights that stay, or N:M pattern; 1.0 prunes nothing.
        bits: 2 to 23; 0 rounds nothing.
        settings: `Settings()` when None.

    Raises:
        SpecError: bits or an option out of range.
    """
    settings = settings or Settings()
    pattern = sparsity if isinstance(sparsity, BlockPattern) else None
    fraction = 0.0 if isinstance(sparsity, BlockPattern) else 1 - sparsity
    plain = weight * magnitude_mask(weight, fraction, pattern) if sparsity != 1.0 else weight
    plain_step = weight_step(plain, bits, settings.granularity, settings.clipping) if bits else None
    plain_levels = plain if plain_step is None else _levels(plain, plain_step, bits)
    if hessian is None:
        return Compressed(plain_levels, plain_step, "plain", float("nan"), float("nan"))
    task = _Task(weight, hessian if isinstance(hessian, Factored) else Factored(hessian, settings.damping), settings)
    plain_error = task.error(plain_levels if plain_step is None else plain_levels * plain_step)
    if settings.method == "plain":
        return Compressed(plain_levels, plain_step, "plain", plain_error, plain_error)
    method = settings.method if settings.method != "auto" else ("rows" if task.work <= WORK_ONE_BY_ONE else "columns")
    kept = task.start != 0
    fitted = task.start
    if sparsity != 1.0:
        remove = round(fraction * weight.numel())
        kept = task.choose(kept, method, pattern, remove)
    if not bool(kept.all()):
        fitted = task.fitted(kept)
    new, step = task.back(fitted).float(), None
    if bits:
        step = weight_step(new, bits, settings.granularity, settings.clipping)
        steps = torch.stack([(step * scale).flatten().expand(len(weight)) for scale in settings.scales])
        tried, errors = task.rounded(fitted, kept, steps.double(), 2 ** (bits - 1) - 1, method)
        best = task.best(errors)
        every = torch.arange(len(weight), device=weight.device)
        step = steps[best, every][: step.numel()].view(step.shape)
        new = (task.back(tried.flatten(1, 2)[best, every]) / step.double()).round().float()
    error = task.error(new if step is None else new * step)
    if error > plain_error:
        return Compressed(plain_levels, plain_step, "plain", plain_error, plain_error)
    return Compressed(new, step, method, error, plain_error)


def _levels(weight: Tensor, step: Tensor, bits: int) -> Tensor:
    most = 2 ** (bits - 1) - 1
    return (weight / step).round().clamp(-most, most)


class _Task:
    """A layer's weights by group, and its damped Hessian."""

    def __init__(self, weight: Tensor, factored: Factored, settings: Settings) -> None:
        self.shape, self.settings, self.factored = weight.shape, settings, factored
        self.hessian, self.exact = factored.damped, factored.exact
        self.groups, self.columns = len(self.hessian), prod(weight.shape[1:])
        self.start = self.split(weight)
        self.work = weight.shape[0] * self.columns**3

    def split(self, weight: Tensor) -> Tensor:
        """`(G, m, K)` float64."""
        return weight.double().reshape(self.groups, -1, self.columns)

    def back(self, weight: Tensor) -> Tensor:
        """`(M, C / groups, kH, kW)` of the same."""
        return weight.reshape(self.shape)

    def error(self, weight: Tensor) -> float:
        """Of the outputs, see `output_error`, with the Hessian as it was seen."""
        return output_error(self.split(weight) - self.start, self.exact)

    def by_row(self) -> tuple[Tensor, Tensor]:
        """Weights `(M, K)` and the Hessians: what the functions of `rows` take."""
        return self.start.reshape(-1, self.columns), self.hessian

    def choose(self, kept: Tensor, method: str, pattern: BlockPattern | None, remove: int) -> Tensor:
        """Which weights stay, `(G, m, K)`; those that are not `kept` now go first."""
        if pattern is not None:
            return self._choose_blocks(kept, method, pattern)
        if method == "rows":
            weight, hessian = self.by_row()
            return prune_rows(weight, hessian, remove).view_as(kept) & kept
        return prune_columns(self.start, self.factored, remove, kept)

    def _choose_blocks(self, kept: Tensor, method: str, pattern: BlockPattern) -> Tensor:
        channels, pixels = self.shape[1], self.shape[2] * self.shape[3]
        column = torch.arange(self.columns, device=self.start.device)
        channel, pixel = column // pixels, column % pixels
        if method == "rows":
            weight, hessian = self.by_row()
            blocks = pixel * -(-channels // pattern.block) + channel // pattern.block
            return prune_row_blocks(weight, hessian, blocks, pattern.keep).view_as(kept) & kept
        at = (pixel * channels + channel).argsort().expand(self.groups, -1)
        weight, there = reorder_columns(self.start, at), reorder_columns(kept, at)
        stay = prune_blocks(weight, Factored(reorder_hessian(self.hessian, at)), pattern.keep, pattern.block, channels, there)
        return restore_columns(stay, at)

    def fitted(self, kept: Tensor) -> Tensor:
        """The weights that stay, adjusted for those that went."""
        if self.work > WORK_BY_ROW:
            return round_columns(self.start, self.factored, None, kept, self.settings.order)[0]
        weight, hessian = self.by_row()
        return refit(weight, hessian, kept.reshape(weight.shape)).view_as(kept)

    def rounded(self, fitted: Tensor, kept: Tensor, steps: Tensor, levels: int, method: str) -> tuple[Tensor, Tensor]:
        """The weights on several grids, `(T, G, m, K)`, those not kept zero, and the errors of their outputs, `(T, M)`.

        Args:
            fitted: the weights that stay, see `fitted`.
            kept: which these are.
            steps: `(T, M)`; rows know nothing of each other, so that those of all grids go at once.
            levels: above zero.
            method: `rows` or `columns`.
        """
        tries, (groups, rows, columns) = len(steps), fitted.shape
        shared = method == "columns" and (self.work > WORK_BY_ROW or bool(kept.all()))
        if method == "columns" and not shared:
            weight, out = fitted.reshape(-1, columns), torch.zeros(tries, groups * rows, columns, dtype=fitted.dtype)
            out = out.to(fitted.device)
            for part in supports(self.hessian, kept.reshape(weight.shape)):
                own = Grid(steps[:, part.rows].T, levels)
                taken = part.take(weight)[:, None].expand(-1, tries, -1)
                rounded, _ = round_columns(taken, Factored(part.hessian), own, None, self.settings.order)
                for at in range(tries):
                    part.put_(out[at], rounded[:, at])
            return self._with_errors(out.view(tries, groups, rows, columns))
        start = (self.start if shared else fitted).repeat(1, tries, 1)
        stay, step = kept.repeat(1, tries, 1), steps.view(tries, groups, rows).transpose(0, 1).reshape(groups, -1)
        if shared:
            rounded, errors = round_columns(start, self.factored, Grid(step, levels), stay, self.settings.order)
            return rounded.view(groups, tries, rows, columns).transpose(0, 1), errors.view(groups, tries, rows).transpose(
                0, 1
            ).flatten(1)
        flat = Grid(step.reshape(-1, 1), levels)
        rounded = round_rows(start.view(-1, columns), self.hessian, flat, stay.view(-1, columns)).view_as(start)
        return self._with_errors(rounded.view(groups, tries, rows, columns).transpose(0, 1))

    def _with_errors(self, tried: Tensor) -> tuple[Tensor, Tensor]:
        change = tried - self.start
        return tried, ((change @ self.exact) * change).sum(dim=-1).flatten(1)

    def best(self, errors: Tensor) -> Tensor:
        """Which of several weights changes the outputs least, `(T, M)` to `(M,)`: row by row, or for all rows with one step."""
        if self.settings.granularity == "tensor":
            return errors.sum(dim=1).argmin().expand(errors.shape[1])
        return errors.argmin(dim=0)
