"""Specs looked at without running anything: what each file is, what is wrong with it, and whether the files fit together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hwloop.backend.target import Target
from hwloop.energy import check_covers, estimate_energy_table
from hwloop.errors import HwloopError, SpecError, SpecWarning
from hwloop.report.case import accelerator_text, area_of, subject_text
from hwloop.run.simulation import simulate_layer
from hwloop.spec.architecture import Architecture, load_architecture
from hwloop.spec.constraint_sets import load_constraints
from hwloop.spec.constraints import Constraints
from hwloop.spec.energy_table import EnergyTable, load_energy_table
from hwloop.spec.mapping import Mapping as LoopMapping
from hwloop.spec.mapping import load_mapping
from hwloop.spec.plan import Plan, load_plan
from hwloop.spec.problem import Problem, conv2d_shape, load_problem
from hwloop.spec.resources import open_architecture, open_mapping
from hwloop.spec.source import read_spec
from hwloop.spec.workload import Workload, load_workload

_BANDWIDTHS = ("read_bandwidth", "write_bandwidth", "bandwidth", "shared_bandwidth")
ERROR, WARNING, OK = "error", "warning", "ok"
_KINDS: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {  # what a file may hold: the field that says so, and its reader
    "accelerator": (("architecture", "arch"), load_architecture),
    "layer": (("problem",), load_problem),
    "mapping": (("mapping",), load_mapping),
    "dataflow": (("mapspace_constraints", "architecture_constraints", "constraints", "mapspace"), load_constraints),
    "energy table": (("ERT", "tables"), load_energy_table),
    "network": (("workload", "layers"), load_workload),
    "plan": (("plan",), load_plan),
}


@dataclass(frozen=True)
class Finding:
    """One thing to know.

    Attributes:
        file: that it is about.
        kind: `error`: nothing runs with it; `warning`: it runs and is perhaps not what was meant; `ok`: what was read.
        text: one sentence.
    """

    file: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}: {self.kind}: {self.text.removeprefix(f'{self.file}: ')}"


def check_specs(
    files: Sequence[str | Path],
    arch: str | Path | None = None,
    dataflow: str | Path | None = None,
    energy: Any = None,
    variables: Mapping[str, Any] | None = None,
    include: Iterable[str | Path] = (),
) -> list[Finding]:
    """Reads every file and says what it is; then holds those that belong together against each other.

    Args:
        files: accelerators, layers, mappings, dataflows, energy tables, networks, plans, in any order; one may hold several.
        arch: an accelerator by name, for files that need one.
        dataflow: constraints by name.
        energy: an energy source; when None an energy table among the files, else `shipped`.
        variables, include: of files that are templates.
    """
    found: list[Finding] = []
    held: dict[str, list[tuple[str, Any]]] = {kind: [] for kind in _KINDS}
    for file in files:
        for kind, thing in _read(str(file), variables, include, found):
            held[kind].append((str(file), thing))
    for name, kind, load in ((arch, "accelerator", open_architecture), (dataflow, "dataflow", open_mapping)):
        if name is not None:
            held[kind].append((str(name), load(name)))
    for file, accelerator in held["accelerator"]:
        found += _accelerator(file, accelerator, held, energy)
    found += [Finding(file, OK, _words(kind, thing)) for kind in _KINDS for file, thing in held[kind] if kind != "accelerator"]
    if held["mapping"] and not (held["accelerator"] and held["layer"]):
        text = "alone only its form is checked; give its layer and accelerator too"
        found += [Finding(file, WARNING, text) for file, _ in held["mapping"]]
    return sorted(found, key=lambda finding: [ERROR, WARNING, OK].index(finding.kind))


def _read(file: str, variables: Any, include: Any, found: list[Finding]) -> Iterator[tuple[str, Any]]:
    """What a file holds, as far as it can be read."""
    try:
        document, _ = read_spec(file, variables, include)
        if isinstance(document, list):
            kinds = ["mapping"]
        elif isinstance(document, Mapping):
            kinds = [kind for kind, (fields, _) in _KINDS.items() if any(field in document for field in fields)]
        else:
            kinds = []
        if not kinds:
            names = [fields[0] for fields, _ in _KINDS.values()]
            raise SpecError(file, "(top)", f"one of the fields {', '.join(names)}", document)
    except HwloopError as error:
        found.append(Finding(file, ERROR, str(error)))
        return
    for kind in kinds:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", SpecWarning)
            try:
                load = _KINDS[kind][1]
                thing = load(file) if kind in ("network", "plan") else load(file, variables, include)
                yield kind, thing
            except HwloopError as error:
                found.append(Finding(file, ERROR, str(error)))
        found += [Finding(file, WARNING, str(one.message)) for one in said if issubclass(one.category, SpecWarning)]


def _words(kind: str, thing: Any) -> str:
    if isinstance(thing, (Problem, Workload)):
        return subject_text(thing)
    if isinstance(thing, LoopMapping):
        return f"mapping of {len({loops.target for loops in thing.loops})} levels"
    if isinstance(thing, Constraints):
        targets = {loop.target for loop in thing.loops} | {kept.target for kept in thing.data_spaces}
        return f"dataflow {thing.name or '(no name)'}: constraints on {len(targets)} levels"
    if isinstance(thing, EnergyTable):
        return f"energy table of {', '.join(c.name for c in thing.components)}"
    return f"plan of {len(thing.layers)} layers" if isinstance(thing, Plan) else kind


def _accelerator(file: str, arch: Architecture, held: Mapping[str, list[tuple[str, Any]]], energy: Any) -> Iterator[Finding]:
    """An accelerator, and whether everything else fits it."""
    table = None
    try:
        tables = [given for _, given in held["energy table"]]
        table = check_covers(tables[0], arch) if tables and energy is None else estimate_energy_table(arch, energy or "shipped")
    except HwloopError as error:
        yield Finding(held["energy table"][0][0] if held["energy table"] else file, ERROR, str(error))
    target = None if table is None else Target(arch.name, arch, None, lambda _bits: table)
    yield Finding(file, OK, f"accelerator {accelerator_text(arch, None if target is None else area_of(target))}")
    problems = [problem for _, problem in held["layer"]]
    yield from (Finding(file, WARNING, text) for text in _doubts(arch))
    yield from (Finding(file, WARNING, text) for text in _splits(arch.constraints, problems))
    for name, dataflow in held["dataflow"]:
        yield from _refused(name, partial(arch.with_constraints, dataflow))
        if arch.front_end:
            yield from (Finding(name, WARNING, text) for text in _splits(dataflow, problems))
    for name, problem in held["layer"]:
        yield from _refused(name, partial(arch.for_problem, problem))
        if target is not None:
            for own, mapping in held["mapping"]:
                yield from _refused(own, partial(simulate_layer, problem, target, mapping))


def _refused(file: str, fits: Callable[[], object]) -> Iterator[Finding]:
    try:
        fits()
    except HwloopError as error:
        yield Finding(file, ERROR, str(error))


def _doubts(arch: Architecture) -> Iterator[str]:
    """What an accelerator can be and is seldom meant to be."""
    for i, level in enumerate(arch.storage):
        if level.kind == "spatial":
            continue
        if level.width is not None and level.width % level.word_bits:
            values = max(level.width // level.word_bits, 1)
            yield (
                f"{level.name}: a row of {level.width} bits holds {values} values of {level.word_bits} bits, and "
                f"{level.width - values * level.word_bits} bits of every row are never used; `width` is meant to be a multiple "
                "of `datawidth`"
            )
        if i and level.entries is None:
            yield f"{level.name}: it holds any amount of data; give `depth` [rows]"
        if all(level.values.get(name) is None for name in _BANDWIDTHS):
            yield f"{level.name}: it moves any number of values in a cycle; give `read_bandwidth` and `write_bandwidth` [values]"


def _splits(constraints: Constraints, problems: Sequence[Problem]) -> Iterator[str]:
    """Spatial permutations that leave dimensions out, which then lie in front and count towards `split`."""
    dimensions = problems[0].shape.dimensions if problems else conv2d_shape().dimensions
    for loops in constraints.loops:
        if loops.kind == "spatial" and loops.split is not None and loops.permutation and "*" not in loops.permutation:
            ones = {name for name, _, bound in loops.factors if bound == 1}
            missing = [name for name in dimensions if name not in loops.permutation and name not in ones]
            if missing:
                yield (
                    f"{loops.target}: its permutation leaves out {', '.join(missing)}, which go in front and count towards "
                    f"`split: {loops.split}`; name every dimension"
                )
