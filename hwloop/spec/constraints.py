"""Constraints: what a mapping may do. They stand inside architecture nodes or in a file of their own (`mappings/`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hwloop.spec.document import Fields, read_document, to_yaml
from hwloop.spec.loops import read_factors, read_names, read_permutation, written_permutation


@dataclass(frozen=True)
class LoopConstraint:
    """What the temporal or spatial loops of one level may be.

    Attributes:
        target: the level's name.
        kind: `temporal` or `spatial`.
        factors: (dimension, relation, bound) with the relation `=`, `<=` or `>=`; a bound of 0 with `=` means the whole
            dimension.
        permutation: innermost loop first, None when free; `*` marks the place of dimensions not named.
        split: how many loops of the permutation lie on X, None when free. Spatial only.
        no_reuse: data spaces that get no multicast or reduction (spatial), or no reuse over time (temporal).
    """

    target: str
    kind: str
    factors: tuple[tuple[str, str, int], ...] = ()
    permutation: tuple[str, ...] | None = None
    split: int | None = None
    no_reuse: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataSpaceConstraint:
    """What one level keeps and what it bypasses; a data space in neither is free."""

    target: str
    keep: tuple[str, ...] = ()
    bypass: tuple[str, ...] = ()


@dataclass(frozen=True)
class Constraints:
    """All constraints on a mapping.

    Attributes:
        loops: at most one for each (target, kind).
        data_spaces: at most one for each target.
        min_utilization: least fraction of the compute units that must be used, 0-1.
        name: e.g. `row_stationary`, for people.
        description: one sentence, for people.
    """

    loops: tuple[LoopConstraint, ...] = ()
    data_spaces: tuple[DataSpaceConstraint, ...] = ()
    min_utilization: float = 0.0
    name: str = field(default="", compare=False)
    description: str = field(default="", compare=False)

    def loop(self, target: str, kind: str) -> LoopConstraint | None:
        """The loop constraint on (target, kind), None when there is none."""
        return next((c for c in self.loops if c.target == target and c.kind == kind), None)

    def data_space(self, target: str) -> DataSpaceConstraint | None:
        """The data-space constraint on a level, None when there is none."""
        return next((c for c in self.data_spaces if c.target == target), None)

    def merged_with(self, other: Constraints) -> Constraints:
        """These constraints with `other` in place of those on the same (target, kind)."""
        loops = {(c.target, c.kind): c for c in (*self.loops, *other.loops)}
        spaces = {c.target: c for c in (*self.data_spaces, *other.data_spaces)}
        return Constraints(
            tuple(loops.values()),
            tuple(spaces.values()),
            max(self.min_utilization, other.min_utilization),
            other.name or self.name,
            other.description or self.description,
        )

    def for_dimensions(self, dimensions: Iterable[str]) -> Constraints:
        """These constraints without what they say of other dimensions, so that one file fits every layer.

        A depthwise layer has no M, most layers have no G: factors and permutations drop them, and a split goes on dividing the
        dimensions that are left where it divided them before.
        """
        known = {*dimensions, "*"}
        loops = []
        for loop in self.loops:
            permutation, split = loop.permutation, loop.split
            if permutation is not None:
                if split is not None:
                    split -= sum(d not in known for d in permutation[:split])
                permutation = tuple(d for d in permutation if d in known)
            factors = tuple(f for f in loop.factors if f[0] in known)
            loops.append(replace(loop, factors=factors, permutation=permutation, split=split))
        return replace(self, loops=tuple(loops))

    def to_dict(self) -> dict[str, Any]:
        """Timeloop's list of targets, with hwloop's name, description and minimum utilisation beside it."""
        targets: list[dict[str, Any]] = []
        for c in self.data_spaces:
            targets.append({"target": c.target, "type": "dataspace", "keep": list(c.keep), "bypass": list(c.bypass)})
        for loop in self.loops:
            entry: dict[str, Any] = {"target": loop.target, "type": loop.kind}
            if loop.factors:
                entry["factors"] = " ".join(f"{d}{relation}{bound}" for d, relation, bound in loop.factors)
            if loop.permutation is not None:
                entry["permutation"] = written_permutation(loop.permutation)
            if loop.split is not None:
                entry["split"] = loop.split
            if loop.no_reuse:
                entry["no_reuse"] = list(loop.no_reuse)
            targets.append(entry)
        out: dict[str, Any] = {"version": 0.4}
        for key in ("name", "description", "min_utilization"):
            if getattr(self, key):
                out[key] = getattr(self, key)
        return {**out, "targets": targets}

    def to_yaml(self) -> str:
        """A file that `load_constraints` reads; its `targets` are Timeloop's."""
        return to_yaml({"mapspace_constraints": self.to_dict()})


def load_constraints(source: Any) -> Constraints:
    """Reads constraints: a file, text, a list of targets, or a dict with `targets`, under `mapspace_constraints`,
    `architecture_constraints`, `constraints` or at the top.

    Raises:
        SpecError: with the file and the field.
    """
    if isinstance(source, Constraints):
        return source
    document, name = read_document(source)
    path = ""
    if isinstance(document, Mapping):
        for key in ("mapspace_constraints", "mapspace", "architecture_constraints", "constraints"):
            if isinstance(document.get(key), (Mapping, list)):
                document, path = document[key], key
                break
    if isinstance(document, list):
        document = {"targets": document}
    fields = Fields(document, name, path)
    return read_constraints(fields)


def read_constraints(fields: Fields) -> Constraints:
    """Reads a dict with `targets` from an open document."""
    fields.raw("version")
    fields.raw("template")
    name, description = str(fields.raw("name", "") or ""), str(fields.raw("description", "") or "")
    min_utilization = fields.take("min_utilization", float, 0.0)
    if not 0 <= min_utilization <= 1:
        raise fields.error("min_utilization", "a fraction between 0 and 1", min_utilization)
    loops: list[LoopConstraint] = []
    spaces: list[DataSpaceConstraint] = []
    for i, raw in enumerate(fields.raw("targets") or []):
        entry = Fields(raw, fields.source, fields.where(f"targets[{i}]"))
        kind = entry.take("type", str)
        if kind == "utilization":
            attributes = entry.sub("attributes") or entry
            min_utilization = attributes.take("min", float)
            entry.raw("target")
            continue
        target = entry.take("target", str) if "target" in entry else entry.take("name", str)
        if kind in ("bypass", "datatype", "dataspace"):
            spaces.append(read_data_space_constraint(entry, target))
        elif kind in ("temporal", "spatial"):
            loops.append(read_loop_constraint(entry, target, kind))
        else:
            raise entry.error("type", "temporal, spatial, dataspace or utilization", kind)
    fields.finish()
    constraints = Constraints(tuple(loops), tuple(spaces), min_utilization, name, description)
    if len({(c.target, c.kind) for c in loops}) != len(loops) or len({c.target for c in spaces}) != len(spaces):
        raise fields.error("targets", "each (target, type) once", [(c.target, c.kind) for c in loops])
    return constraints


def read_loop_constraint(entry: Fields, target: str, kind: str) -> LoopConstraint:
    """Reads one temporal or spatial constraint; the fields `target` and `type` are already taken."""
    factors = tuple((d, relation, bound) for d, relation, bound, _ in read_factors(entry, "factors", relations=True))
    permutation = read_permutation(entry, "permutation")
    split = entry.take("split", int, None) if kind == "spatial" else None
    no_reuse = (
        read_names(entry, "no_reuse") or read_names(entry, "no_multicast_no_reduction") or read_names(entry, "no_temporal_reuse")
    )
    for ignored in ("rmw_first_update", "no_link_transfer", "remainders"):
        if entry.raw(ignored) not in (None, [], ()):
            raise entry.error(ignored, "not to be there", "a value", "hwloop does not model it")
    entry.finish()
    return LoopConstraint(target, kind, factors, permutation, split, no_reuse or ())


def read_data_space_constraint(entry: Fields, target: str) -> DataSpaceConstraint:
    """Reads one keep/bypass constraint; the fields `target` and `type` are already taken."""
    keep, bypass = read_names(entry, "keep") or (), read_names(entry, "bypass") or ()
    both = set(keep) & set(bypass)
    if both:
        raise entry.error("keep", "no data space that is also in bypass", sorted(both))
    if entry.raw("no_coalesce") not in (None, [], ()):
        raise entry.error("no_coalesce", "not to be there", "a value", "hwloop does not model it")
    entry.finish()
    return DataSpaceConstraint(target, keep, bypass)
