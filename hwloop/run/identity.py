"""What the costs in a run depend on, as digests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwloop.backend.codesign import DesignTarget
from hwloop.backend.target import Target
from hwloop.memo.key import digest_of_architecture, digest_of_energy_table, form_of
from hwloop.spec.plan import Plan
from hwloop.spec.workload import Workload


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
        "dataflow": form_of(target.constraints),
        "energy_tables": tables,
        "resident": target.resident,
    } | ({"searched": target.identity} if isinstance(target, DesignTarget) else {})
