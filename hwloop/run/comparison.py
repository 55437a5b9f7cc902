"""Networks on accelerators under dataflows at bits and densities, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwloop.backend.pool import Workers
from hwloop.backend.target import ArchitectureLike, DataflowLike, Target, make_targets
from hwloop.backend.whole_network import map_network as map_on
from hwloop.energy import area_mm2, estimate_energy_table
from hwloop.energy.estimate import ESTIMATORS, PROGRAMS, WIRES
from hwloop.errors import HwloopError, InfeasibleMappingError, SpecError
from hwloop.memo import Memo
from hwloop.report.bars import plot_cases
from hwloop.report.breakdown import Row, rows_of
from hwloop.report.case import Asked, Case, dataflow_name
from hwloop.report.comparison import comparison_document, comparison_text
from hwloop.report.frames import frame
from hwloop.report.progress import Progress, Silent
from hwloop.run.equal_area import scale_to_area
from hwloop.run.networks import open_backend
from hwloop.spec.architecture import Architecture
from hwloop.spec.constraints import Constraints
from hwloop.spec.resources import open_architecture, open_mapping
from hwloop.spec.workload import Workload, load_workload

if TYPE_CHECKING:
    import pandas

DATAFLOWS = ("row_stationary", "weight_stationary", "output_stationary")
Pair = tuple[Any, Any]


@dataclass(frozen=True)
class Comparison:
    """Mapped networks side by side. Prints as tables.

    Attributes:
        cases: in the order asked: by network, accelerator, dataflow, bits, density.
        left_out: by name, why a case is not there: no mapping fits a layer, or the accelerator cannot run the dataflow.
    """

    cases: tuple[Case, ...]
    left_out: dict[str, HwloopError]

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __len__(self) -> int:
        return len(self.cases)

    def rows(self, kind: str = "total") -> list[Row]:
        """Plain rows: `total` (one a case), `layers` (one a layer) or `parts` (one a layer, component and data space)."""
        return rows_of(self.cases, kind)

    def frame(self, kind: str = "total") -> pandas.DataFrame:
        """`rows` as a pandas frame."""
        return frame(self.rows(kind))

    def plot(self, path: str | Path, kind: str = "total") -> Path:
        """Draws stacked bars by level and data space, `total` or `layers`, as PNG, SVG or PDF."""
        return plot_cases(self.cases, path, kind)

    def document(self) -> dict[str, Any]:
        """Everything as plain data."""
        return comparison_document(self.cases, self.left_out)

    def text(self, width: int | None = None) -> str:
        """The tables, no wider than `width` where their columns allow it; 80 when None."""
        return comparison_text(self.cases, self.left_out, width)

    def __str__(self) -> str:
        return self.text()


def compare(
    workloads: Workload | Sequence[Workload | str | Path],
    archs: ArchitectureLike | Sequence[ArchitectureLike],
    dataflows: DataflowLike | Sequence[DataflowLike] = None,
    *,
    bits: Sequence[Pair | int | None] = (None,),
    densities: Sequence[Pair | float] = (1.0,),
    equal_area: float | bool = False,
    energy: Any = "shipped",
    activations: str = "streamed",
    objective: Any = "edp",
    effort: str = "normal",
    seed: int = 0,
    simulator: str = "embedded",
    memo: Memo | None = None,
    workers: Workers = None,
    progress: Progress | None = None,
) -> Comparison:
    """Maps every network on every accelerator under every dataflow, at all bits and densities.

    Args:
        workloads: networks, e.g. from `hwloop.trace`, or workload files.
        archs: accelerators by name, file or object.
        dataflows: constraints by name, file or object. None: an accelerator's own; for one that has none, as `flexible`,
            row, weight and output stationary where they fit its levels, else whatever its capacities allow.
        bits: of weights and activations: a number for both, a pair, or None for the accelerator's own.
        densities: fractions of weights and inputs that are not zero: a pair, or a number for weights alone.
        equal_area: True brings every accelerator to the area of the first by the size of its global buffer, a number to that area
            [mm^2]; dataflows on one accelerator have equal area anyway.
        energy, activations, objective, effort, seed, simulator, memo, workers, progress: as in `map_network`.

    Raises:
        InfeasibleMappingError: no case fits; says why the first does not.
        SpecError: nothing to compare, or a word or number that makes no sense.
    """
    networks = [load_workload(w) for w in _several(workloads)]
    if not networks:
        raise SpecError("<arguments>", "workloads", "at least one network", None)
    word = energy if isinstance(energy, str) else "a table of one's own"
    asked = [
        Asked(*_pair(width, width), *_pair(density, 1.0), word, activations, objective, effort, seed, simulator)
        for width in bits for density in densities
    ]  # fmt: skip
    left_out: dict[str, HwloopError] = {}
    targets = list(_targets(_several(archs), dataflows, energy, activations, equal_area, left_out))
    backend, cases = open_backend(simulator, workers, memo), []
    for workload in networks:
        for target, scaled in targets:
            for one in asked:
                title = f"map {workload.name} on {target.name}"
                try:
                    with (progress or Silent()).task(title, len(workload.layers)) as task:
                        cost = map_on(
                            workload, target, backend, one.plan(workload), one.settings,
                            lambda _at, request, _outcome, task=task: task.advance(request.layer),  # type: ignore[misc]
                        )  # fmt: skip
                except InfeasibleMappingError as refusal:
                    which = f", {one.bits_text(target.arch)}, {one.density_text()}" if len(asked) > 1 else ""
                    left_out[f"{workload.name} on {target.arch.name}, {dataflow_name(target)}{which}"] = refusal
                    continue
                cases.append(Case(workload, target, one, cost, scaled))
    if not cases:
        raise next(iter(left_out.values()))
    return Comparison(tuple(cases), left_out)


def _targets(
    archs: Sequence[ArchitectureLike], dataflows: Any, energy: Any, activations: str, equal_area: float | bool,
    left_out: dict[str, HwloopError],
) -> Iterator[tuple[Target, str]]:  # fmt: skip
    """Every accelerator under every dataflow that it can run, and what was changed of it for its area."""
    opened = [_named(arch) for arch in archs]
    if len({arch.name for arch in opened}) < len(opened):
        raise SpecError("<arguments>", "arch", "each accelerator once", [arch.name for arch in opened])
    wanted = _wanted(opened, energy, equal_area)
    asked_for = None
    if dataflows is not None:
        asked_for = [flow if isinstance(flow, Constraints) else open_mapping(flow) for flow in _several(dataflows)]
    for like, arch in zip(archs, opened, strict=True):
        scaled = ""
        if wanted is not None:
            arch, scaled = scale_to_area(arch, wanted, energy)
        flows = default_dataflows(arch) if asked_for is None else asked_for
        for flow in flows:
            source = like if energy == "table" and not isinstance(like, Architecture) else arch
            try:
                [target] = make_targets(source, flow, energy, activations)
            except SpecError as refusal:
                if flow is None or len(archs) * len(flows) == 1:
                    raise
                left_out[f"{arch.name}, {flow.name or 'dataflow'}"] = refusal
                continue
            yield replace(target, name=dataflow_name(target) if len(archs) == 1 and flow is not None else target.name), scaled


def default_dataflows(arch: Architecture) -> list[Constraints | None]:
    """None for the accelerator's own; row, weight and output stationary where it has none and they fit its levels."""
    if arch.constraints.loops:
        return [None]
    fitting: list[Constraints | None] = []
    for flow in map(open_mapping, DATAFLOWS):
        with suppress(SpecError):
            arch.with_constraints(flow)
            fitting.append(flow)
    return fitting or [None]


def _named(arch: ArchitectureLike) -> Architecture:
    if isinstance(arch, Architecture):
        return arch
    return replace(open_architecture(arch), name=Path(arch).stem)


def _wanted(archs: Sequence[Architecture], energy: Any, equal_area: float | bool) -> float | None:
    if equal_area is False:
        return None
    if not isinstance(energy, str) or energy.removesuffix(WIRES) not in (*ESTIMATORS, *PROGRAMS):
        raise SpecError("<arguments>", "equal area", "an energy source that follows sizes, such as shipped", energy)
    if equal_area is True:
        return area_mm2(archs[0], estimate_energy_table(archs[0], energy))
    return float(equal_area)


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _pair(value: Any, second: Any) -> tuple[Any, Any]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value, second)
