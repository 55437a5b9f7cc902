"""Where to train, and in what precision."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from hwloop.errors import SpecError
from hwloop.network.layers import device_of
from hwloop.network.training.settings import TrainConfig

_FAST_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")  # what processors call their instructions for it
_SMALL = 100_000  # parameters


def find_device(name: str = "auto") -> torch.device:
    """The device of that name; `auto` is the GPU when there is one, else the CPU.

    Raises:
        SpecError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    there = ["cpu", *(f"cuda:{at}" for at in range(torch.cuda.device_count()))]
    there += ["mps"] if torch.backends.mps.is_available() else []
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or not any(name in (other, other.partition(":")[0]) for other in there):
        raise SpecError("<arguments>", "--device", f"auto or one of those here: {', '.join(there)}", name)
    return device


def precision_of(config: TrainConfig, model: nn.Module) -> str:
    """The precision to train `model` in, on the device it is on.

    `auto` is bfloat16 on a GPU that has it, else float16. On a CPU it is bfloat16 where the processor has instructions for it,
    the network has at least 100,000 parameters and no convolution works in groups, else float32: with one thread
    `tools/bench_training.py` finds bfloat16 1.6 to 2.6 times as fast for ResNet-20 and VGG-16, but MobileNets, whose depthwise
    convolutions torch differentiates slowly in it, at 0.5 to 0.6 times the speed.
    """
    if config.precision != "auto":
        return config.precision
    device = device_of(model)
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    if device.type != "cpu" or not _cpu_has_bfloat16():
        return "float32"
    large = sum(parameter.numel() for parameter in model.parameters()) >= _SMALL
    grouped = any(isinstance(groups := getattr(module, "groups", 1), int) and groups > 1 for module in model.modules())
    return "bfloat16" if large and not grouped else "float32"


def resolved(config: TrainConfig, model: nn.Module) -> TrainConfig:
    """The same with the precision that `auto` stands for, so that what is kept on disk says how it was made."""
    return replace(config, precision=precision_of(config, model))


def _cpu_has_bfloat16() -> bool:
    found = torch.cpu.get_capabilities()
    return any(bool(found.get(name)) for name in _FAST_BFLOAT16)
