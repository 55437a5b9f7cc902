"""One run of a model on an example input, under fake tensors, watched by the recorder.

Every model that torch.fx or torch.export captures can be run this way, and so can those whose control flow depends on Python
values. One that depends on the values in its tensors is run for real.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves, tree_map

from hwloop.errors import DataError
from hwloop.network.dispatch import has_recurrent, unfused
from hwloop.network.recorder import Observer, Recorder


def unwrapped(model: nn.Module) -> nn.Module:
    """The model that torch.compile wraps, or the model itself."""
    inner = getattr(model, "_orig_mod", model)
    assert isinstance(inner, nn.Module)
    return inner


def arguments(example_input: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments from a tensor, a tuple of the first or a dict of the second."""
    if isinstance(example_input, Mapping):
        return (), dict(example_input)
    return (tuple(example_input) if isinstance(example_input, (tuple, list)) else (example_input,)), {}


def record(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], title: str) -> Recorder:
    """Runs `model` in evaluation mode, without values if it can be, and leaves it as it was.

    Raises:
        DataError: it cannot run on these arguments.
    """
    with _quiet(model):
        on_meta = _each_tensor(lambda tensor: tensor.to("meta"), args, kwargs)
        if any(tensor.is_meta for tensor in model.parameters()):
            recorder = Recorder(model)
            _run(recorder, *on_meta, title)
            return recorder
        # whatever a model may raise on tensors without values: the last run says whether it is at fault
        with suppress(Exception):
            if has_recurrent(model):
                raise NotImplementedError("torch runs recurrent layers in another order there")
            with without_values(model):
                recorder = Recorder(model)
                recorder.run(*on_meta)
            return recorder
        with suppress(Exception):  # those that make tensors of their own, on the CPU
            fake = FakeTensorMode(allow_non_fake_inputs=True)
            recorder = Recorder(model)
            faked = _each_tensor(fake.from_tensor, args, kwargs)
            with fake:
                recorder.run(*faked)
            return recorder
        recorder = Recorder(model)
        _run(recorder, args, kwargs, title)
        return recorder


def meta_of(model: nn.Module) -> dict[int, Tensor]:
    """A tensor without values for each parameter and buffer of `model`, by the `id` of the one it stands for."""
    out: dict[int, Tensor] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        meta = tensor.detach().to("meta")
        out[id(tensor)] = nn.Parameter(meta, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else meta
    return out


@contextmanager
def without_values(model: nn.Module) -> Iterator[None]:
    """Lends `model` with parameters and buffers that have no values."""
    instead = meta_of(model)
    saved: list[tuple[Any, str, Tensor]] = []
    try:
        for module in model.modules():
            for registered in (module._parameters, module._buffers):
                for name, tensor in registered.items():
                    if tensor is not None:
                        saved.append((registered, name, tensor))
        for registered, name, tensor in saved:
            registered[name] = instead[id(tensor)]
        yield
    finally:
        for registered, name, tensor in saved:
            registered[name] = tensor


def observe(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], title: str, observer: Observer) -> Recorder:
    """Runs `model` in evaluation mode for real, and calls `observer` at each layer.

    Raises:
        DataError: it cannot run on these arguments.
    """
    recorder = Recorder(model, observe=observer)
    with _quiet(model):
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
            f"{title}: cannot run on an input of {describe(args, kwargs)}: in {where}: {type(error).__name__}: {text[0]}"
        ) from error


def describe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Shapes and types of the tensors among the arguments, in words."""
    shapes = [f"{tuple(leaf.shape)} {leaf.dtype}" for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    return "shape " + ", ".join(shapes) if shapes else f"{args or kwargs}"


@contextmanager
def _quiet(model: nn.Module) -> Iterator[None]:
    """Evaluation mode with fused kernels off, so that attention and recurrent layers run as the products they are made of."""
    training = {module: module.training for module in model.modules()}
    torch_log = logging.getLogger("torch")  # an input that does not fit is one error here, not twenty lines of torch's
    level = torch_log.level
    try:
        torch_log.setLevel(logging.CRITICAL)
        for module in training:
            module.training = False
        with unfused(model):
            yield
    finally:
        torch_log.setLevel(level)
        for module, mode in training.items():
            module.training = mode
