"""From a torch model to a workload: one run on an example input, under fake tensors, watched by the recorder.

Every model that torch.fx or torch.export captures can be run this way, and so can those whose control flow depends on Python
values. One that depends on the values in its tensors is run for real.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves, tree_map

from hwloop.errors import DataError
from hwloop.network.recorder import Recorder
from hwloop.spec.workload import Workload

_SHOWN = 5  # how many unmapped operations an error names


def trace(model: nn.Module, example_input: Any, name: str | None = None, allow_unmapped: bool = False) -> Workload:
    """Finds every layer of a model with its sizes, its weights and what feeds it.

    Convolutions (1-D and 2-D, with stride, padding, dilation, groups), linear layers and matrix products count, called as
    modules or as functions; a scaled dot-product attention is two products. What is computed from weights alone is no layer.
    Element-wise, pooling and normalisation operations are listed in `free_operations`. The model is traced in eval mode
    and left as it was.

    Args:
        model: any torch model; nothing is computed if it can be helped, so it may live on the `meta` device.
        example_input: a tensor (batch first; its batch is N), a tuple of positional or a dict of keyword arguments.
        name: the workload's name; the model's class name if not given.
        allow_unmapped: put operations that cannot be mapped into `Workload.unmapped` rather than raise.

    Raises:
        DataError: the model cannot run on `example_input`, or it holds operations that cannot be mapped (3-D and transposed
            convolutions, custom operations), each named with its module path.

    Example:
        >>> workload = trace(torchvision.models.resnet18(), torch.zeros(1, 3, 224, 224))
        >>> workload.computes
        1814073344
    """
    model = getattr(model, "_orig_mod", model)  # what torch.compile wraps
    title = name or type(model).__name__
    args, kwargs = _arguments(example_input)
    recorder = _record(model, args, kwargs, title)
    if recorder.unmapped and not allow_unmapped:
        lines = list(dict.fromkeys(f"{u.module or '(model)'}: {u.operation}: {u.reason}" for u in recorder.unmapped))
        more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
        raise DataError(
            f"{title}: {len(lines)} operation(s) cannot be mapped: {'; '.join(lines[:_SHOWN])}{more}; "
            "allow_unmapped=True leaves them out of the workload"
        )
    layers = recorder.layers
    if not layers:
        raise DataError(f"{title}: no convolution, linear layer or matrix product ran on an input of {_describe(args, kwargs)}")
    free = tuple(sorted(recorder.free_operations.items()))
    return Workload(title, layers, tuple(recorder.parameter_shapes.items()), tuple(recorder.unmapped), free)


def input_densities(model: nn.Module, batch: Any) -> dict[str, float]:
    """Measures the fraction of nonzero input activations of every layer by running `model` on `batch` for real.

    Returns:
        density (0-1) by layer name, as `trace` names layers on an input of the same kind.

    Raises:
        DataError: the model cannot run on `batch`.
    """
    densities: list[float] = []

    def observe(position: int, inputs: Tensor, weights: Tensor) -> None:
        densities.append(float(torch.count_nonzero(inputs)) / inputs.numel())

    args, kwargs = _arguments(batch)
    model = getattr(model, "_orig_mod", model)
    recorder = Recorder(model, observe)
    with _quiet(model):
        _run(recorder, args, kwargs, type(model).__name__)
    return {layer.name: density for layer, density in zip(recorder.layers, densities, strict=True)}


def _arguments(example_input: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example_input, Mapping):
        return (), dict(example_input)
    return (tuple(example_input) if isinstance(example_input, (tuple, list)) else (example_input,)), {}


def _record(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], title: str) -> Recorder:
    with _quiet(model):
        recorder = Recorder(model)
        if any(tensor.is_meta for tensor in model.parameters()):
            _run(recorder, *_each_tensor(lambda tensor: tensor.to("meta"), args, kwargs), title)
            return recorder
        fake = FakeTensorMode(allow_non_fake_inputs=True)
        try:
            faked_args, faked_kwargs = _each_tensor(fake.from_tensor, args, kwargs)
            with fake:
                recorder.run(faked_args, faked_kwargs)
        except Exception:  # whatever a model may raise on tensors without values; the run below says whether it is at fault
            recorder = Recorder(model)
            _run(recorder, args, kwargs, title)
        return recorder


def _each_tensor(
    convert: Callable[[Tensor], Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return tree_map(lambda leaf: convert(leaf) if isinstance(leaf, Tensor) else leaf, (args, kwargs))  # type: ignore[no-any-return]


def _run(recorder: Recorder, args: tuple[Any, ...], kwargs: dict[str, Any], title: str) -> None:
    try:
        recorder.run(args, kwargs)
    except Exception as error:  # a model's forward may raise anything
        text = str(error).strip().splitlines() or [""]
        where = recorder.path or "(model)"
        raise DataError(
            f"{title}: cannot run on an input of {_describe(args, kwargs)}: in {where}: {type(error).__name__}: {text[0]}"
        ) from error


def _describe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    shapes = [f"{tuple(leaf.shape)} {leaf.dtype}" for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    return "shape " + ", ".join(shapes) if shapes else f"{args or kwargs}"


@contextmanager
def _quiet(model: nn.Module) -> Iterator[None]:
    """Eval mode with every fused kernel off, so that attention and recurrent layers run as the products they are made of."""
    training = {module: module.training for module in model.modules()}
    fast_path = torch.backends.mha.get_fastpath_enabled()
    try:
        for module in training:
            module.training = False
        torch.backends.mha.set_fastpath_enabled(False)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="TF32 acceleration on top of oneDNN")  # what setting these flags says
            with sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False):  # type: ignore[no-untyped-call]
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for module, mode in training.items():
            module.training = mode
