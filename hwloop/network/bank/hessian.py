"""What a layer multiplies, seen on calibration examples: the Hessian of its output error, and the mean of its inputs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import _disable_current_modes

from hwloop.errors import DataError
from hwloop.network.data.batches import run_model, to_device
from hwloop.network.data.samples import Split
from hwloop.network.layers import device_of
from hwloop.network.tracing.dispatch import CONVOLUTION, MultiplyDispatch, unfused
from hwloop.network.tracing.entries import Registry, WeightEntry
from hwloop.network.tracing.operands import attached

MOST_BYTES = 2**30  # of Hessians that are collected in one pass over the examples; a larger one is not made
UNFOLDED_BYTES = 2**26  # of the columns that are multiplied at once


@dataclass(frozen=True, eq=False)
class Seen:
    """The inputs of a weight tensor on the calibration examples.

    Attributes:
        hessian: `2 X X^T / n` with n the positions times examples, `(G, K, K)` float32.
        mean: of the inputs, `(G, K)` float32.
    """

    hessian: Tensor
    mean: Tensor

    @property
    def nbytes(self) -> int:
        """What it takes in memory."""
        return self.hessian.nbytes + self.mean.nbytes


@dataclass(frozen=True)
class _Window:
    """How a convolution slides over its inputs: two numbers each, (vertical, horizontal)."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    extra: tuple[int, ...]  # output padding of a transposed one
    behind: tuple[int, ...] = ()  # zeros that `padding="same"` adds on one side alone, in the order of `functional.pad`


def hessian_bytes(entry: WeightEntry) -> int:
    """Of the float32 Hessian of a weight tensor."""
    return 4 * entry.groups * prod(entry.shape[1:]) ** 2


def see_inputs(
    model: nn.Module, registry: Registry, split: Split, entries: Iterable[WeightEntry], batch_size: int = 64
) -> dict[str, Seen]:
    """Runs `split` through `model` and adds up what the layers of `entries` multiply.

    A tensor that several layers read (tied weights, a module called again) gets the sum over all of them. Besides the Hessians
    themselves it takes 64 MiB, and what the model takes for a batch.

    Args:
        model: not changed; in evaluation mode meanwhile.
        registry: of the model.
        split: calibration examples; a few hundred are enough.
        entries: weight tensors of the registry. The caller bounds the sum of their `hessian_bytes`.
        batch_size: examples at a time.

    Raises:
        DataError: a layer's inputs are not finite numbers.
    """
    recorded = _record(model, registry)
    wanted = {layer: entry for entry in entries for layer in entry.layers}
    hooked = dict(registry.hooked)
    sums: dict[str, Tensor] = {}
    totals: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def _rows_last(values: Tensor, layer: str, entry: WeightEntry) -> Tensor:
        """Inputs of a product of matrices as `(..., C)`, whichever side the weights stand on; of one in groups `(..., G, C)`."""
        if layer in recorded.windows or layer in hooked:
            return values
        channels = entry.shape[1]
        if values.dim() > 1 and (values.shape[-1] != channels or (layer in recorded.swapped and values.shape[-2] == channels)):
            values = values.mT
        return values.transpose(0, 1) if entry.groups > 1 and values.dim() == 3 else values

    def see(layer: str, operand: str, values: Tensor) -> None:
        with _disable_current_modes():  # what is multiplied here is no operation of the network, which are counted
            add(layer, values)

    def add(layer: str, values: Tensor) -> None:
        entry = wanted[layer]
        for columns in _columns(_rows_last(values.detach().float(), layer, entry), entry, recorded.windows.get(layer)):
            product = columns @ columns.mT
            total = columns.sum(dim=-1)
            name = entry.name
            sums[name] = sums[name].add_(product) if name in sums else product
            totals[name] = totals[name].add_(total) if name in totals else total
            counts[name] = counts.get(name, 0) + columns.shape[-1]

    device = device_of(model)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with attached(model, registry, see, wanted), torch.no_grad():
            for inputs, _ in split.batches(batch_size):
                run_model(model, to_device(inputs, device))
    finally:
        for module, mode in modes.items():
            module.training = mode
    bad = next((name for name, total in sums.items() if not bool(torch.isfinite(total).all())), None)
    if bad is not None:
        raise DataError(f"{registry.workload.name}: the inputs of {bad} are not finite numbers on the calibration examples")
    return {name: Seen(sums[name] * (2 / counts[name]), totals[name] / counts[name]) for name in sums}


def _columns(values: Tensor, entry: WeightEntry, window: _Window | None) -> Iterable[Tensor]:
    """What each output multiplies, `(G, K, positions)`, some examples at a time."""
    groups, (_, channels, height, width) = entry.groups, entry.shape
    if window is None:
        rows = values.reshape(-1, groups, channels)
        each = max(1, UNFOLDED_BYTES // (4 * groups * channels))
        for part in torch.split(rows, each):
            yield part.permute(1, 2, 0)
        return
    images = values if values.dim() == 2 + len(window.stride) else values[None]
    images = functional.pad(images, window.behind) if any(window.behind) else images
    if len(window.stride) == 1:  # a row of pixels, one pixel high
        images = images[:, :, None]
    stride, padding, dilation, extra = (
        (fill, *given) if len(given) == 1 else given
        for fill, given in ((1, window.stride), (0, window.padding), (1, window.dilation), (0, window.extra))
    )
    kernel = (height, width)
    if window.transposed:
        images = _spread(images, stride, [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)], extra)
        stride, padding = (1, 1), (0, 0)
    one = images.shape[1] * height * width * prod(images.shape[2:]) * 4
    for part in torch.split(images, max(1, UNFOLDED_BYTES // one)):
        unfolded = functional.unfold(part, kernel, dilation=dilation, padding=padding, stride=stride)
        columns = unfolded.view(len(part), groups, channels * height * width, -1)
        if window.transposed:  # the kernel is laid over the inputs the other way round
            columns = columns.view(len(part), groups, channels, height * width, -1).flip(3).flatten(2, 3)
        yield columns.permute(1, 2, 0, 3).flatten(2)


def _spread(images: Tensor, stride: Iterable[int], border: list[int], extra: Iterable[int]) -> Tensor:
    """The inputs of a transposed convolution as those of a plain one: zeros between them, and a border."""
    (down, right), (below, beside) = tuple(stride), tuple(extra)
    examples, channels, height, width = images.shape
    wide = images.new_zeros(examples, channels, (height - 1) * down + 1, (width - 1) * right + 1)
    wide[:, :, ::down, ::right] = images
    return functional.pad(wide, (border[1], border[1] + beside, border[0], border[0] + below))


def _record(model: nn.Module, registry: Registry) -> _Recorder:
    """How the operations of a network read their inputs: seen while it runs on the input that it was traced with."""
    recorder = _Recorder(registry)
    device = device_of(model)
    args, kwargs = registry.example
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with unfused(model), torch.no_grad(), recorder:
            run_model(model, to_device(args or kwargs, device))
    finally:
        for module, mode in modes.items():
            module.training = mode
    for layer, path in registry.hooked:
        module = model.get_submodule(path)
        if getattr(module, "padding", None) == "same" and layer in recorder.windows:
            odd = [d * (k - 1) % 2 for d, k in zip(module.dilation, module.kernel_size, strict=True)]  # type: ignore[arg-type]
            behind = tuple(side for more in reversed(odd) for side in (0, more))
            recorder.windows[layer] = replace(recorder.windows[layer], behind=behind)
    return recorder


class _Recorder(MultiplyDispatch):
    """Counts the operations along and writes down the arguments of convolutions, and which products have the weights first."""

    def __init__(self, registry: Registry) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.windows: dict[str, _Window] = {}
        self.swapped: set[str] = set()
        self._calls, self._layers = iter(registry.calls), registry.workload.layers

    def multiply(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = next(self._calls, None)
        if call is not None and call.swapped:
            self.swapped |= {self._layers[at].name for at in call.layers}
        if call is not None and name == CONVOLUTION:
            stride, padding, dilation, transposed, extra = args[3:8]
            window = _Window(tuple(stride), tuple(padding), tuple(dilation), bool(transposed), tuple(extra))
            self.windows |= {self._layers[at].name: window for at in call.layers}
        return func(*args, **kwargs)


def in_passes(entries: Iterable[WeightEntry], most: int = MOST_BYTES) -> list[list[WeightEntry]]:
    """Weight tensors in as few passes as their Hessians fit `most` bytes together; those that are larger alone are left out."""
    passes: list[list[WeightEntry]] = []
    held = most + 1
    for entry in entries:
        size = hessian_bytes(entry)
        if size > most:
            continue
        if held + size > most:
            passes.append([])
            held = 0
        passes[-1].append(entry)
        held += size
    return passes
