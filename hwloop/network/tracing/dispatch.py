"""Where every multiply-accumulate of a running model passes by, whoever calls it.

`nn.Conv2d`, `F.conv2d`, `@`, `einsum`, attention and recurrent layers all arrive here as a handful of aten operations, in the
same order whenever the model runs the same way: the tracer gives them names, and whoever watches or changes their operands
later counts along.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

# operand positions (first, second) of the aten operations that multiply matrices
PRODUCTS = {
    "mm": (0, 1),
    "_int_mm": (0, 1),
    "bmm": (0, 1),
    "mv": (0, 1),
    "dot": (0, 1),
    "vdot": (0, 1),
    "addmm": (1, 2),
    "_addmm_activation": (1, 2),
    "baddbmm": (1, 2),
    "addbmm": (1, 2),
    "addmv": (1, 2),
}
CONVOLUTION = "convolution"


class MultiplyDispatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Takes composite operations apart until only multiply-accumulates and simple operations are left.

    A subclass says in `multiply` what becomes of the first, and may override `other`.
    """

    def multiply(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs one convolution or matrix product, `func`, called `name`."""
        raise NotImplementedError

    def other(self, func: Any, namespace: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs any other operation."""
        return func(*args, **kwargs)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__ if isinstance(func, torch._ops.OpOverload) else str(func)
        namespace = getattr(func, "namespace", "higher_order")
        if namespace == "aten":
            if name == CONVOLUTION or name in PRODUCTS:
                return self.multiply(func, name, args, kwargs)
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        return self.other(func, namespace, name, args, kwargs)


def has_recurrent(model: nn.Module) -> bool:
    """Whether one of torch's recurrent layers is in `model`."""
    return any(isinstance(module, nn.RNNBase) for module in model.modules())


@contextmanager
def unfused(model: nn.Module) -> Iterator[None]:
    """Attention and recurrent layers of `model` run as the products they are made of, not as one kernel."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast_path)
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if has_recurrent(model):
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", message="TF32 acceleration on top of oneDNN")  # what setting these flags says
            stack.enter_context(torch.backends.mkldnn.flags(enabled=False))  # type: ignore[no-untyped-call]
        yield
