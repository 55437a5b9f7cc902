"""Reads constraints: the sets that stand in a file, beside an architecture or inside one of its nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hwloop.spec.constraints import EVERY, Constraints, DataSpaceConstraint, LoopConstraint
from hwloop.spec.document import Fields
from hwloop.spec.limits import TARGETS
from hwloop.spec.loops import read_factors, read_names, read_permutation
from hwloop.spec.shipped import MAPPINGS, shipped_file
from hwloop.spec.source import read_spec

SETS = ("architecture_constraints", "arch_constraints", "mapspace_constraints", "mapspace", "constraints")
_MACROS = ("no_iteration_over_dataspaces", "must_iterate_over_dataspaces")
_SPACES = ("bypass", "bypassing", "datatype", "dataspace")


def load_constraints(source: Any, variables: Mapping[str, Any] | None = None, include: Iterable[str | Path] = ()) -> Constraints:
    """Reads constraints: a shipped dataflow by name, a file, text, a list of targets, or a dict with `targets`, under
    `mapspace_constraints`, `architecture_constraints`, `constraints` or at the top.

    `variables` and `include` are those of `hwloop.spec.source.read_spec`.

    Raises:
        SpecError: with the file and the field.
    """
    if isinstance(source, Constraints):
        return source
    document, name = read_spec(shipped_file(source, MAPPINGS) or source, variables, include)
    path = ""
    if isinstance(document, Mapping):
        for key in ("mapspace_constraints", "mapspace", "architecture_constraints", "constraints"):
            if isinstance(document.get(key), (Mapping, list)):
                document, path = document[key], key
                break
    if isinstance(document, list):
        document = {"targets": document}
    return read_constraints(Fields(document, name, path))


def read_constraint_sets(document: Fields, front_end: bool) -> Constraints:
    """All sets of an open document together: what stands under `architecture_constraints`, `mapspace_constraints`, ...

    The front end takes every field with `constraints` in its name.

    Raises:
        SpecError: two of them say one thing of one target; see `Constraints.merged_with`.
    """
    found = Constraints(source=document.source)
    for key in document.names():
        if key in SETS or (front_end and "constraints" in key):
            raw = document.raw(key)
            block = {"targets": raw} if isinstance(raw, list) else raw
            if isinstance(block, Mapping):
                found = found.merged_with(read_constraints(Fields(block, document.source, document.where(key))), front_end)
    return found


def read_constraints(fields: Fields) -> Constraints:
    """Reads a dict with `targets` from an open document."""
    for passed in ("version", "template"):
        fields.raw(passed)
    name, description = fields.text("name"), fields.text("description")
    min_utilization = fields.take("min_utilization", float, 0.0)
    if not 0 <= min_utilization <= 1:
        raise fields.error("min_utilization", "a fraction between 0 and 1", min_utilization)
    found = Constraints(name=name, description=description, source=fields.source)
    key = "constraints" if "constraints" in fields else "targets"
    if isinstance(written := fields.peek(key), str):  # the name of one of several sets beside it
        fields.raw(key)
        key = f"constraints_{written}"
        if key not in fields:
            raise fields.error(key, "the set of constraints that is named", None)
        for other in [n for n in fields.names() if n.startswith("constraints_") and n != key]:
            fields.raw(other)
    for entry in fields.each(key, TARGETS):
        name_of_target = entry.text("name")
        target = entry.text("target", name_of_target)
        parts = [entry]
        if "constraints" in entry:  # an old form: one target with a list of its own
            parts = list(entry.each("constraints", TARGETS))
            entry.finish()
        for part in parts:
            single = _read_target(part, target)
            min_utilization = max(min_utilization, single.min_utilization)
            found = found.merged_with(single, repeats=False)
    fields.finish()
    return Constraints(found.loops, found.data_spaces, min_utilization, name, description, fields.source)


def _read_target(entry: Fields, target: str) -> Constraints:
    kind = entry.take("type", str)
    if "attributes" in entry:
        attributes = dict(inner.items()) if (inner := entry.sub("attributes")) is not None else {}
        entry = Fields({**dict(entry.items()), **attributes}, entry.source, entry.path)
    if kind in ("utilization", "parallelism"):
        return Constraints(min_utilization=entry.take("min", float))
    if not target:
        raise entry.error("target", "a field of type str", None)
    if kind in _SPACES:
        return Constraints(data_spaces=(read_data_space_constraint(entry, target),), source=entry.source)
    if kind in ("temporal", "spatial"):
        return Constraints(loops=(read_loop_constraint(entry, target, kind),), source=entry.source)
    if kind == "max_overbooked_proportion":
        entry.warn("type", "no effect: hwloop overbooks no level")
        return Constraints()
    raise entry.error("type", "temporal, spatial, dataspace or utilization", kind)


def read_loop_constraint(entry: Fields, target: str, kind: str) -> LoopConstraint:
    """Reads one temporal or spatial constraint; the fields `target` and `type` are already taken."""
    written = list(read_factors(entry, "factors", relations=True))
    macros: list[tuple[str, tuple[str, ...]]] = []
    if "factors_only" in entry:
        written += read_factors(entry, "factors_only", relations=True)
        macros.append(("factors_only", ()))
    factors = tuple((d, relation, bound) for d, relation, bound, _ in written)
    for word in _MACROS:
        names = read_names(entry, word)
        macros += [] if names is None else [(word, names)]
    for word in ("default_max_factor", "default_min_factor"):
        value = entry.take(word, int, None)
        macros += [] if value is None else [(word, (str(value),))]
    if entry.raw("maximize_dims") not in (None, []):
        raise entry.error(
            "maximize_dims", "factors", "a macro", "hwloop does not search at reading; write the factors it stands for"
        )
    permutation = read_permutation(entry, "permutation")
    split: int | None = entry.take("split", int, None)
    no_reuse = read_names(entry, "no_reuse")
    if kind == "spatial":
        other_word, link, update = read_names(entry, "no_multicast_no_reduction"), read_names(entry, "no_link_transfer"), None
    else:
        other_word, link, update = read_names(entry, "no_temporal_reuse"), None, read_names(entry, "rmw_first_update")
        if split is not None:
            entry.warn("split", "no effect on a temporal target, as in the real program")
            split = None
    remainders = entry.take("remainders", int, None)
    entry.raw("type")
    entry.finish()
    reuse = (other_word or ()) if no_reuse is None else no_reuse
    return LoopConstraint(
        target,
        kind,
        tuple(dict.fromkeys(factors)),
        permutation,
        split,
        reuse,
        link or (),
        update or (),
        remainders,
        tuple(macros),
    )


def read_data_space_constraint(entry: Fields, target: str) -> DataSpaceConstraint:
    """Reads one keep/bypass constraint; the fields `target` and `type` are already taken."""
    keep, bypass = read_names(entry, "keep") or (), read_names(entry, "bypass") or ()
    keep_only, bypass_only = read_names(entry, "keep_only"), read_names(entry, "bypass_only")
    if keep_only is not None:
        keep, bypass = (*keep, *keep_only), (*bypass, EVERY)
    if bypass_only is not None:
        keep, bypass = (*keep, EVERY), (*bypass, *bypass_only)
    both = (set(keep) & set(bypass)) - {EVERY}
    if both:
        raise entry.error("keep", "no data space that is also in bypass", sorted(both))
    no_coalesce, only = read_names(entry, "no_coalesce") or (), read_names(entry, "only")
    entry.raw("type")
    entry.finish()
    return DataSpaceConstraint(target, tuple(dict.fromkeys(keep)), tuple(dict.fromkeys(bypass)), no_coalesce, only)
