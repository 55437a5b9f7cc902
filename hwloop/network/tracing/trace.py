"""From a torch model to a workload.

Every model that torch.fx or torch.export captures can be traced, and so can those whose control flow depends on Python
values. One that depends on the values in its tensors is run for real.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hwloop.network.tracing.recording import arguments, observe, unwrapped
from hwloop.network.tracing.registry import register
from hwloop.spec.workload import Workload


def trace(model: nn.Module, example_input: Any, name: str | None = None, allow_unmapped: bool = False) -> Workload:
    """Finds every layer of a model with its sizes, its weights and what feeds it.

    Convolutions (1-D and 2-D, transposed or not, with stride, padding, dilation, groups), linear layers and matrix products
    count, called as modules or as functions; a scaled dot-product attention is two products, and the queries, keys and values
    of an `nn.MultiheadAttention` are a layer each. What is computed from weights alone is no layer. Element-wise, pooling and
    normalisation operations are listed in `free_operations`. The model is traced in eval mode and left as it was.

    Args:
        model: any torch model; nothing is computed if it can be helped, so it may live on the `meta` device.
        example_input: a tensor (batch first; its batch is N), a tuple of positional or a dict of keyword arguments.
        name: the workload's name; the model's class name if not given.
        allow_unmapped: put operations that cannot be mapped into `Workload.unmapped` rather than raise.

    Raises:
        DataError: the model cannot run on `example_input`, or it holds operations that cannot be mapped (3-D convolutions,
            custom operations), each named with its module path.

    Example:
        >>> workload = trace(torchvision.models.resnet18(), torch.zeros(1, 3, 224, 224))
        >>> workload.computes
        1814073344
    """
    return register(model, example_input, name, allow_unmapped).workload


def input_densities(model: nn.Module, batch: Any) -> dict[str, float]:
    """Measures the fraction of nonzero input activations of every layer by running `model` on `batch` for real.

    Returns:
        density (0-1) by layer name, as `trace` names layers on an input of the same kind.

    Raises:
        DataError: the model cannot run on `batch`.
    """
    densities: list[float] = []

    def see(position: int, inputs: Tensor, weights: Tensor) -> None:
        densities.append(float(torch.count_nonzero(inputs)) / inputs.numel())

    model = unwrapped(model)
    recorder = observe(model, *arguments(batch), type(model).__name__, see)
    return dict(zip(recorder.names, densities, strict=True))
