"""Accelerators as variants of one: a spec with other values in some of its fields, tried before anything is mapped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from hwloop.backend.target import ArchitectureLike, DataflowLike, Target, make_targets
from hwloop.energy import area_um2, follows_sizes
from hwloop.errors import EnergyTableError, HwloopError, SpecError
from hwloop.spec.architecture import Architecture, load_architecture
from hwloop.spec.axes import Axis, Fields, cross
from hwloop.spec.levels import Level
from hwloop.spec.paths import set_fields
from hwloop.spec.resources import open_table
from hwloop.spec.shipped import find_architecture
from hwloop.spec.source import read_spec

T = TypeVar("T")
_LOOKED_AT = 64  # values of an axis that are looked at to see whether it changes anything
# Attributes that change no energy and no area of one instance: what a fixed energy table need not follow.
_FREE = frozenset({
    "read_bandwidth", "write_bandwidth", "shared_bandwidth", "bandwidth", "multiple_buffering", "min_utilization", "meshX",
    "meshY", "instances", "network_word_bits",
})  # fmt: skip


@dataclass(frozen=True, eq=False)
class Base:
    """An accelerator that is varied.

    Attributes:
        name: for tables.
        document: its spec as plain data.
        source: the file, for messages.
        energy: where its energies come from, as `estimate_energy_table` takes it.
    """

    name: str
    document: Any
    source: str
    energy: Any = "shipped"

    @classmethod
    def open(
        cls, arch: ArchitectureLike, energy: Any = "shipped", variables: Mapping[str, Any] | None = None,
        include: Iterable[str | Path] = (),
    ) -> Base:  # fmt: skip
        """Reads a spec by name, file or object; `table` as energy is the table beside it.

        Raises:
            SpecError: it cannot be read.
            EnergyTableError: there is no table beside it.
        """
        if energy == "table":
            energy = None if isinstance(arch, Architecture) else open_table(arch)
            if energy is None:
                raise EnergyTableError(f"accelerator {arch}: there is no energy table beside it; give another energy source")
        if isinstance(arch, Architecture):
            return cls(arch.name, arch.to_dict(), arch.name, energy)
        document, source = read_spec(find_architecture(arch), variables, include)
        return cls(Path(arch).stem, document, source, energy)

    def architecture(self, fields: Fields) -> Architecture:
        """The accelerator with these values in its fields.

        Raises:
            SpecError: a field it does not have, or values with which it does not load; names them.
        """
        changed = set_fields(self.document, dict(fields), self.name)
        found = at_point(self.name, fields, partial(load_architecture, changed))
        return replace(found, name=self.name, source=self.source)


@dataclass(frozen=True)
class Design:
    """One accelerator of a sweep.

    Attributes:
        number: from 1.
        base: what is varied.
        fields: (path, value) of what is changed.
    """

    number: int
    base: Base
    fields: Fields

    def targets(self, dataflows: Sequence[DataflowLike], activations: str) -> tuple[Target, ...]:
        """It under every dataflow, with energies estimated for it.

        Raises:
            SpecError, EnergyTableError: names the point.
        """
        arch = self.base.architecture(self.fields)
        return at_point(self.base.name, self.fields, lambda: make_targets(arch, list(dataflows), self.base.energy, activations))


def make_designs(bases: Sequence[Base], axes: Sequence[Axis]) -> Iterator[Design]:
    """Every accelerator with every combination of values."""
    number = 0
    for base in bases:
        for fields in cross(axes):
            number += 1
            yield Design(number, base, fields)


def check_axes_of(base: Base, axes: Sequence[Axis]) -> None:
    """Refuses fields that the accelerator does not have, axes that change nothing, and energies that would not follow.

    Raises:
        SpecError: with the path and the nearest that there are.
        EnergyTableError: the energies are a fixed table, and a swept field would change them.
    """
    first = tuple(pair for axis in axes for pair in axis.points[0])
    for axis in axes:
        seen: dict[Architecture, Fields] = {}
        for point in axis.points[:_LOOKED_AT]:
            arch = base.architecture(tuple((dict(first) | dict(point)).items()))
            if arch in seen:
                expected = f"values that change the accelerator {base.name}"
                found = f"{fields_text(seen[arch])} and {fields_text(point)} are the same to it"
                raise SpecError("<arguments>", "+".join(axis.paths), expected, found)
            if seen and not follows_sizes(base.energy):
                _check_followed(next(iter(seen)), arch, axis, base.energy)
            seen[arch] = point


def fields_text(fields: Fields) -> str:
    """`shared_glb.attributes.depth=4096, PE.spatial.meshX=8`."""
    return ", ".join(f"{path}={value}" for path, value in fields)


def _check_followed(one: Architecture, other: Architecture, axis: Axis, energy: Any) -> None:
    source = energy if isinstance(energy, str) else "table"
    for a, b in zip(one.levels, other.levels, strict=False):
        if _priced(a) != _priced(b) or len(one.levels) != len(other.levels):
            raise EnergyTableError(
                f"energy source {source!r} is a fixed table: it does not follow {'+'.join(axis.paths)}, which changes what "
                f"{a.name} costs; take a source that is estimated for every point (shipped, hwcomponents, accelergy), or sweep "
                "meshes and bandwidths alone"
            )


def _priced(level: Level) -> tuple[Any, ...]:
    """All that an estimator may price a component by."""
    attributes = tuple(pair for pair in level.attributes if pair[0] not in _FREE)
    return (level.name, level.class_name, level.subclass, level.energy_scale, level.area_scale, attributes)


def area_of(target: Target) -> float | None:
    """Area of all components [um^2], None where the energy table has none."""
    try:
        return area_um2(target.arch, target.table())
    except EnergyTableError:
        return None


def at_point(name: str, fields: Fields, work: Callable[[], T]) -> T:
    """Does some work; its errors name the accelerator and the point."""
    point = f"{name} with {fields_text(fields)}" if fields else name
    try:
        return work()
    except SpecError as error:
        raise SpecError(point, error.field, error.expected, error.found, error.hint) from None
    except EnergyTableError as error:
        raise EnergyTableError(f"{point}: {error}") from None
    except HwloopError as error:
        raise type(error)(f"{point}: {error}") from None
