"""Accelerator and network searched together: the fields of a spec beside the plan, area as one more objective or a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwloop.backend.codesign import design_target
from hwloop.backend.pool import Workers
from hwloop.backend.target import ArchitectureLike, DataflowLike
from hwloop.report.progress import Progress
from hwloop.run.compression import compress
from hwloop.run.outputs import CompressResult
from hwloop.run.settings import Settings
from hwloop.run.sweeps.sweep import FieldsLike, axes_of

OBJECTIVES = ("accuracy", "energy", "area")


def codesign(
    model: Any = "lenet5",
    data: Any = "digits",
    arch: ArchitectureLike = "flexible",
    fields: FieldsLike = None,
    dataflows: DataflowLike | Sequence[DataflowLike] = None,
    settings: Settings | None = None,
    *,
    points: Sequence[dict[str, Any]] | None = None,
    library_dir: str | Path | None = None,
    evaluate: Callable[[Any], float] | Sequence[Callable[[Any], float]] | None = None,
    data_root: str | Path | None = None,
    weights: str | Path | None = None,
    normalisation: str | None = None,
    image_size: int | None = None,
    run_dir: str | Path | None = None,
    memo: str | Path | None = None,
    resume: bool = False,
    workers: Workers = None,
    progress: Progress | None = None,
) -> CompressResult:
    """Searches an accelerator and what is done to a network together; else as `hwloop.compress`.

    A candidate is a plan with the fields of its accelerator (`plan.accelerator`); energy and area are estimated for each
    accelerator, once. The reference is the network that is not compressed on the accelerator as given.

    Args:
        model, data: as in `compress`.
        arch: the accelerator to vary.
        fields, points: what is searched of it, as in `hwloop.sweep`.
        dataflows: constraints, each a search of its own.
        settings: as in `compress`; `Settings(objectives=("accuracy", "energy", "area"))` when None. Area may be a budget, too
            (`area<=2mm2`).
        library_dir, evaluate, data_root, weights, normalisation, image_size, run_dir, memo, resume, workers, progress: as in
            `compress`.

    Raises:
        SpecError: fields that the accelerator does not have, values that do not load, and what `compress` refuses.
        DataError, EnergyTableError, InfeasibleMappingError, MemoError, SimulatorError: as in `compress` and `sweep`.

    Example:
        >>> found = hwloop.codesign("lenet5", "digits", "flexible", {"PE.spatial.meshY": [4, 8, 16]}, library_dir="library")
        >>> [(member.plan.accelerator, member.metrics) for member in found.fronts[0].members]
    """
    settings = settings or Settings(objectives=OBJECTIVES)
    flows: list[Any] = list(dataflows) if isinstance(dataflows, (list, tuple)) else [dataflows]
    axes = axes_of(fields, points)
    targets = [design_target(arch, axes, flow, settings.energy, settings.activations) for flow in flows]
    found = compress(
        model, data, targets, None, settings, library_dir=library_dir, evaluate=evaluate, data_root=data_root, weights=weights,
        normalisation=normalisation, image_size=image_size, run_dir=run_dir, memo=memo, resume=resume, workers=workers,
        progress=progress,
    )  # fmt: skip
    return replace(found, space=f"codesign of {found.space}")
