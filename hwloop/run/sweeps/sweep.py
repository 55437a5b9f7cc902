"""`hwloop.sweep`: the call, from what a caller gives to the result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import hwloop
from hwloop.backend.designs import Base, check_axes_of
from hwloop.backend.embedded import EMBEDDED
from hwloop.backend.find import find_backend
from hwloop.backend.pool import Workers
from hwloop.backend.request import MapperSettings
from hwloop.backend.target import ACTIVATIONS, ArchitectureLike, DataflowLike
from hwloop.energy import follows_sizes
from hwloop.energy.shipped import interpolation_error
from hwloop.errors import SpecError
from hwloop.mapper.objective import Objective
from hwloop.mapper.search import EFFORTS
from hwloop.memo import Memo
from hwloop.report.progress import Progress, Silent
from hwloop.report.sweeps import SweepResult
from hwloop.run.sweeps.kept import ROWS, KeptRows
from hwloop.run.sweeps.running import Grid, Treatment, batch_size, check_designs, run_grid
from hwloop.search.run_folder import RunFolder
from hwloop.spec.axes import Axis, check_axes, read_axes, read_points
from hwloop.spec.bits import MAX_BITS, MIN_BITS, check_bits
from hwloop.spec.constraints import Constraints
from hwloop.spec.resources import open_mapping
from hwloop.spec.workload import Workload, load_workload

T = TypeVar("T")
MOST_ROWS = 1_000_000
FieldsLike = Mapping[str, Any] | Sequence[str | Axis] | None


def sweep(
    networks: Workload | Sequence[Workload] | str | Path,
    arch: ArchitectureLike | Sequence[ArchitectureLike] = "eyeriss_168",
    fields: FieldsLike = None,
    dataflows: DataflowLike | Sequence[DataflowLike] = None,
    *,
    points: Sequence[Mapping[str, Any]] | None = None,
    weight_bits: int | Sequence[int | None] | None = None,
    activation_bits: int | Sequence[int | None] | None = None,
    density: float | Sequence[float] = 1.0,
    input_density: float | Sequence[float] = 1.0,
    energy: Any = "shipped",
    activations: str = "streamed",
    objective: Objective = "edp",
    effort: str = "normal",
    seed: int = 0,
    simulator: str = EMBEDDED,
    memo: Memo | None = None,
    workers: Workers = None,
    out: str | Path | None = None,
    variables: Mapping[str, Any] | None = None,
    include: Iterable[str | Path] = (),
    progress: Progress | None = None,
) -> SweepResult:
    """Evaluates many accelerators: every combination of values of fields of a spec, with energy and area estimated for each.

    A row's numbers are those of `map_network` for the same accelerator, dataflow and network.

    Args:
        networks: workloads (e.g. from `hwloop.trace`), or a workload file.
        arch: accelerators to vary: names, files, `Architecture`s.
        fields: values by the path of a field, e.g. `{"shared_glb.attributes.depth": [4096, 8192], "PE.spatial.meshX": "8..32:8"}`
            or texts such as `"PE.spatial.meshX=8..32:8"`; every combination is a point. A name with `+` sets several fields
            alike.
        dataflows: constraints by name, file or object; None is what an accelerator itself allows.
        points: points written out, crossed with `fields`.
        weight_bits, activation_bits: of the networks; None for the accelerator's own; a list sweeps over them.
        density, input_density: fractions of weights and inputs kept; a list sweeps over them.
        energy: as in `estimate_energy_table`, asked anew for every point; a fixed table is refused where a field would change
            what it says.
        activations, objective, effort, seed, simulator: as in `map_network`.
        memo: a table of mappings, read and written.
        workers: processes, one a core when None; or the address of a Dask scheduler.
        out: folder where every row is kept as soon as it is known; a sweep that was stopped goes on from there, and one with more
            values asks for the new ones alone.
        variables, include: of specs that are templates.
        progress: where to show how far it is.

    Raises:
        SpecError: an unknown field (with the nearest names), no values, a value of the wrong kind, a point that does not load:
            all before anything is mapped.
        EnergyTableError: energies that cannot be estimated for a point, or would not follow a field.
        DataError: the folder cannot be used.
        SimulatorError: an outside program or the scheduler failed.

    Example:
        >>> found = hwloop.sweep(net, "flexible", {"shared_glb.attributes.depth": "4096..65536:*2"}, "row_stationary")
        >>> found.frame().sort_values("edp").head()
        >>> [row.fields for row in found.front]      # accelerators that no other beats in energy, delay and area
    """
    progress = progress or Silent()
    _check_words(activations, objective, effort)
    axes = axes_of(fields, points)
    bases = tuple(Base.open(each, energy, variables, include) for each in _several(arch))
    flows = tuple(each if isinstance(each, Constraints) or each is None else open_mapping(each) for each in _several(dataflows))
    backend = find_backend(simulator, workers)
    treatments = _treatments(networks, weight_bits, activation_bits, density, input_density)
    grid = Grid(bases, axes, flows or (None,), treatments, MapperSettings(objective, effort, seed), activations, backend.identity)
    _check_size(grid)
    for base in bases:
        check_axes_of(base, axes)
    folder = None if out is None else RunFolder(out, {"kind": "sweep"}, {"hwloop": hwloop.__version__}, resume=True)
    rows = None
    try:
        rows = KeptRows(None if folder is None else folder.path / ROWS)
        layers = check_designs(grid, rows, progress)
        known = sum(row.place in rows for design in grid.designs for row, _, _ in grid.rows_of(design))
        if known:
            progress.say(f"{known} of {grid.row_count} rows are taken from {folder.path if folder else 'memory'}")
        if layers:
            asked = backend if memo is None else memo.remember(backend)
            run_grid(grid, rows, asked, layers, batch_size(workers), progress)
        found = tuple(rows[row.place] for design in grid.designs for row, _, _ in grid.rows_of(design))
        return SweepResult(found, _notes(grid), tuple(path for axis in axes for path in axis.paths), known=known)
    finally:
        if rows is not None:
            rows.close()
        if folder is not None:
            folder.close()


def axes_of(fields: FieldsLike, points: Sequence[Mapping[str, Any]] | None = None) -> tuple[Axis, ...]:
    """The axes of fields with their values, and of points written out.

    Raises:
        SpecError: no values, a form that is not known, a field on two axes.
    """
    return check_axes([*read_axes(fields), *([read_points(points)] if points is not None else [])])


def _check_words(activations: str, objective: Objective, effort: str) -> None:
    if activations not in ACTIVATIONS:
        raise SpecError("<arguments>", "activations", " or ".join(ACTIVATIONS), activations)
    if not isinstance(objective, str):
        raise SpecError(
            "<arguments>", "objective", "edp, energy or cycles", objective, "a function has no name to keep rows under"
        )
    if effort not in EFFORTS:
        raise SpecError("<arguments>", "effort", " or ".join(EFFORTS), effort)


def _check_size(grid: Grid) -> None:
    for what, several in (("arch", grid.bases), ("networks", grid.treatments)):
        if not several:
            raise SpecError("<arguments>", what, "at least one", [])
    names = [base.name for base in grid.bases]
    if len(set(names)) < len(names):
        raise SpecError("<arguments>", "arch", "accelerators of different names", names)
    if grid.row_count > MOST_ROWS:
        raise SpecError("<arguments>", "sweep", f"at most {MOST_ROWS:,} rows", f"{grid.row_count:,}", "take fewer values")


def _treatments(
    networks: Workload | Sequence[Workload] | str | Path, weight_bits: Any, activation_bits: Any, density: Any, input_density: Any
) -> tuple[Treatment, ...]:  # fmt: skip
    loaded = [each if isinstance(each, Workload) else load_workload(each) for each in _several(networks)]
    names = [network.name for network in loaded]
    if len(set(names)) < len(names):
        raise SpecError("<arguments>", "networks", "networks of different names", names)
    axes = {"weight_bits": weight_bits, "activation_bits": activation_bits, "density": density, "input_density": input_density}
    lists = {name: _distinct(name, [None] if given is None else _several(given)) for name, given in axes.items()}
    for name in ("weight_bits", "activation_bits"):
        for bits in lists[name]:
            if bits is not None:
                check_bits(bits, name, MIN_BITS, MAX_BITS)
    return tuple(Treatment(network, *chosen) for network in loaded for chosen in product(*lists.values()))


def _distinct(name: str, values: list[T]) -> list[T]:
    if not values or len(set(values)) < len(values):
        raise SpecError("<arguments>", name, "values, each once", values)
    return values


def _notes(grid: Grid) -> tuple[str, ...]:
    """What the numbers hold for."""
    settings, energy = grid.settings, grid.bases[0].energy
    notes = [f"mapper: {settings.objective}, effort {settings.effort}, seed {settings.seed}; feature maps {grid.activations}"]
    if follows_sizes(energy):
        text = f"energy and area: {energy}, estimated anew for every accelerator"
        if str(energy).startswith("shipped"):
            off = interpolation_error()["read"]
            text += (
                "; SRAMs of sizes that CACTI was not run for are interpolated, their energy of a read off by "
                f"{off['median']:.0%} in the median and {off['max']:.0%} at worst"
            )
        notes.append(text)
    else:
        notes.append("energy and area: a fixed table, which the swept fields do not change")
    notes.append("area: the components alone, without wires, control and pads; delay: cycles at the accelerator's own clock")
    return tuple(notes)


def _several(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]
