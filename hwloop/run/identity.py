"""What the evaluations of a run stand on, as digests: when one of them differs, the run cannot be gone on with."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from typing import Any

from hwloop.backend.target import Target
from hwloop.memo.key import digest, digest_of_architecture, digest_of_energy_table
from hwloop.spec.plan import Plan
from hwloop.spec.workload import Workload

_PINNED_BY_VERSION = ("torch", "torchvision", "hwloop")  # packages whose code their version tells


def model_identity(model: Any, workload: Workload) -> dict[str, Any]:
    """What a network computes beside its weights: its layers and operations, and the source of the user's own classes.

    Args:
        model: a torch module.
        workload: as traced.
    """
    own = {type(module) for module in model.modules() if type(module).__module__.partition(".")[0] not in _PINNED_BY_VERSION}
    code = {f"{kind.__module__}.{kind.__qualname__}": _source_digest(kind) for kind in own}
    return {"workload": digest(workload.to_dict()), "code": dict(sorted(code.items()))}


def target_identity(target: Target, workload: Workload, plans: Sequence[Plan]) -> dict[str, Any]:
    """Accelerator, dataflow, and the energy tables at the bits of some plans.

    Args:
        target: on which candidates are costed.
        workload: the network.
        plans: the reference and the corners of the space, so that tables at few and at many bits are among them.
    """
    bits = {tuple(sorted(layer.bits.items())) for plan in plans for layer in plan.apply(workload)}
    tables = {
        " ".join(f"{name} {width}" for name, width in key) or "own widths": digest_of_energy_table(target.table(dict(key)))
        for key in sorted(bits)
    }
    return {
        "accelerator": digest_of_architecture(target.arch),
        "dataflow": None if target.constraints is None else target.constraints.to_dict()["targets"],
        "energy_tables": tables,
    }


def _source_digest(kind: type) -> str:
    try:
        text = inspect.getsource(kind)
    except (OSError, TypeError):  # defined in a shell, or built in C
        return "unknown"
    return hashlib.sha256(text.encode()).hexdigest()
