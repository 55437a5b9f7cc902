"""What tells a network from another: its weights, what it computes, and the code of its classes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from torch import nn

from hwloop.network.parts import source_of
from hwloop.network.weights_file import weights_digest
from hwloop.spec.workload import Workload

_LIBRARIES = ("torch", "torchvision")


def model_identity(model: nn.Module, workload: Workload) -> dict[str, str]:
    """Digests that change when a network's answers could.

    Args:
        model: the network.
        workload: what it was traced to.

    Returns:
        `class`: its name; `weights`, `workload`: SHA-256 of each; `source`: SHA-256 over the source text, as far as Python finds
        it, of the classes it is made of but for those of torch and torchvision. What these call in turn is not looked at.
    """
    kinds = {type(module) for module in model.modules()}
    own = sorted(source_of(kind) for kind in kinds if kind.__module__.partition(".")[0] not in _LIBRARIES)
    kind = type(model)
    return {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "weights": weights_digest(model.state_dict()),
        "workload": workload_digest(workload),
        "source": digest_of(own),
    }


def workload_digest(workload: Workload) -> str:
    """SHA-256 over the layers and operations of a workload, whatever its name."""
    return digest_of({**workload.to_dict(), "name": ""})


def digest_of(plain: Any) -> str:
    """SHA-256 over plain data."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
