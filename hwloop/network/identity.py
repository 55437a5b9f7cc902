"""What tells a network from another: its weights, what it computes, and the code of its classes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import nn

import hwloop
from hwloop.network.code import code_of
from hwloop.network.layers import device_of
from hwloop.network.library.library import versions
from hwloop.network.weights_file import weights_digest
from hwloop.spec.workload import Workload

_LIBRARIES = ("torch", "torchvision")


def model_identity(model: nn.Module, workload: Workload) -> dict[str, str]:
    """Digests that change when a network's answers could.

    Args:
        model: the network.
        workload: what it was traced to.

    Returns:
        `class`: its name; `weights`, `workload`: SHA-256 of each; `code`: see `code_digest`.
    """
    kind = type(model)
    return {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "weights": weights_digest(model.state_dict()),
        "workload": workload_digest(workload),
        "code": code_digest(model),
    }


def software_identity(model: nn.Module) -> dict[str, str | int]:
    """What the last bits of a score depend on besides the numbers that go in.

    Sums are added up in another order by another version, on another device, or by another number of threads, which `use_threads`
    sets by the network, unless OMP_NUM_THREADS does.
    """
    device, threads = device_of(model).type, torch.get_num_threads()
    return {"hwloop": hwloop.__version__, **versions(), "device": device, "torch_threads": threads}


def code_digest(model: nn.Module) -> str:
    """SHA-256 over the code, as far as Python finds it, of the classes a network is made of.

    Those of torch and torchvision are left out. Comments do not count, and what the classes call in turn is not looked at.
    """
    kinds = {type(module) for module in model.modules()}
    return digest_of(sorted(code_of(kind) for kind in kinds if kind.__module__.partition(".")[0] not in _LIBRARIES))


def workload_digest(workload: Workload) -> str:
    """SHA-256 over the layers and operations of a workload, whatever its name."""
    return digest_of({**workload.to_dict(), "name": ""})


def digest_of(plain: Any) -> str:
    """SHA-256 over plain data."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
