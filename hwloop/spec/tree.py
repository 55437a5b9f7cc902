"""Reads the expanded tree form (`subtree`/`local`) of an architecture, the one the Timeloop binaries read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hwloop.spec.attributes import (
    SPATIAL_ATTRIBUTES,
    SPATIAL_CLASS,
    Attributes,
    check_rows,
    read_scale,
    read_variables,
    refuse_slips,
)
from hwloop.spec.document import Fields
from hwloop.spec.levels import Architecture, Level, apply_sparse, chain, component_kind
from hwloop.spec.limits import INSTANCES, LEVELS
from hwloop.spec.network import Network, network_kind, network_of

_NAME = re.compile(r"([^\[\]]+?)\s*(?:\[\s*([0-9]{1,15})\s*\.\.\s*([0-9]{1,15})\s*\])?")
_OF_THE_MESH = ("meshX", "meshY", "instances")


@dataclass
class _Found:
    """What has been read so far, from the outside in."""

    storage: list[Level] = field(default_factory=list)
    compute: list[Level] = field(default_factory=list)
    networks: list[Network] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    top: tuple[str, Attributes] | None = None


def read_tree(document: Fields, architecture: Fields, name: str) -> Architecture:
    """Reads `architecture.subtree`, with the top-level `sparse_optimizations` and constraints beside it.

    As in the program, only what stands at a component itself counts; a component whose class is neither a storage nor a compute
    unit nor a network is left out; the compute component may stand anywhere in `local`.

    Raises:
        SpecError: with the file and the dotted field, e.g. `architecture.subtree[0].local[2].attributes.depth`.
    """
    front_end = bool(architecture.raw("front_end", False))
    scope = Attributes(variables=read_variables(document.sub("variables")))
    found = _Found()
    _read_branch(architecture, scope, 1, found)
    if found.skipped:
        what = "neither a storage nor a compute unit nor a network by its class, left out as in the real program"
        architecture.warn("subtree", f"{', '.join(found.skipped)}: {what}")
    scope.unknown.report(architecture, "subtree")
    if len(found.compute) != 1:
        raise architecture.error("subtree", "one compute component", [level.name for level in found.compute] or None)
    levels = [*found.storage, *found.compute]
    apply_sparse(document, levels)
    top_name, top = found.top or (name, scope)
    return chain(top_name, levels, top.pairs(), document, architecture, found.networks, front_end)


def _split_name(fields: Fields, written: str) -> tuple[str, int]:
    match = _NAME.fullmatch(written)
    if match is None:
        raise fields.error("name", "a name, or name[1..count]", written)
    count = int(match[3]) - int(match[2]) + 1 if match[2] else 1
    if not 1 <= count <= INSTANCES:
        raise fields.error("name", f"a count from 1 to {INSTANCES}", written)
    return match[1], count


def _read_branch(fields: Fields, scope: Attributes, count: int, found: _Found) -> None:
    for passed in ("version", "required_actions", "description"):
        fields.raw(passed)
    for entry in fields.each("local", LEVELS):
        _read_local(entry, scope, count, found)
    branches = fields.items_of("subtree")
    if len(branches) > 1:
        raise fields.error("subtree", "one subtree inside another, as the real program reads", len(branches))
    for i, raw in enumerate(branches):
        branch = Fields(raw, fields.source, fields.where(f"subtree[{i}]"))
        name, branch_count = _split_name(branch, branch.take("name", str))
        inner = scope.read(branch.sub("attributes"))
        if found.top is None:
            found.top = (name, inner)
        _read_branch(branch, inner, count * branch_count, found)
        branch.finish(strict=False)


def _read_local(fields: Fields, scope: Attributes, count: int, found: _Found) -> None:
    name, own_count = _split_name(fields, fields.take("name", str))
    class_name, subclass = fields.text("class"), fields.text("subclass")
    for passed in ("required_actions", "enabled", "actions"):
        fields.raw(passed)
    energy_scale, area_scale = read_scale(fields, "energy_scale"), read_scale(fields, "area_scale")
    own = scope.read(fields.sub("attributes"))
    fields.finish(strict=False)
    kind = component_kind(class_name)
    if class_name == SPATIAL_CLASS and _of_the_front_end(own):
        kind = "spatial"
    if kind == "network":
        found.networks.append(network_of(dict(own.own_pairs(())), name, network_kind(class_name) or ""))
        return
    if not kind:
        found.skipped.append(f"{name} ({class_name})")
        return
    scales = (energy_scale, area_scale)
    level = make_level(fields, name, kind, class_name, own, count * own_count, subclass, scales)
    (found.compute if kind == "compute" else found.storage).append(level)


def _of_the_front_end(own: Attributes) -> bool:
    """Whether a `dummy_storage` is a fan-out that stores nothing, by the mark of the front end or for want of any size."""
    marked = own.own.get("technology") == SPATIAL_ATTRIBUTES["technology"]
    return marked or not any(own.own.get(name) is not None for name in ("width", "datawidth", "depth", "entries"))


def make_level(
    fields: Fields, name: str, kind: str, class_name: str, own: Attributes, counted: int, subclass: str = "",
    scales: tuple[float, float] = (1.0, 1.0),
) -> Level:  # fmt: skip
    """A level from the attributes that stand at its component, as the program reads them.

    Args:
        fields: the component, for messages.
        name: its name, without a range.
        kind: `storage`, `spatial` or `compute`.
        class_name: its class.
        own: its attributes.
        counted: how many there are by its name and the subtrees around it.
        subclass: its finer class.
        scales: `energy_scale` and `area_scale`.

    Raises:
        SpecError: instances and mesh that contradict, or a misspelt width or capacity.
    """
    attributes = tuple((k, v) for k, v in own.own_pairs() if k not in _OF_THE_MESH)
    instances, mesh_x, mesh_y = _mesh(fields, dict(own.own), counted)
    own.note_unknown(name)
    if kind == "storage":
        refuse_slips(fields, own.own, dict(attributes))
        check_rows(fields, dict(attributes), front_end=False)
    if kind == "storage" and dict(attributes).get("datawidth") is None:
        fields.warn("attributes.datawidth", "not given; 16 bits, as the real program takes")
        attributes = (*attributes, ("datawidth", 16))
    return Level(
        name, kind, class_name, subclass, instances, mesh_x, mesh_y, attributes,
        energy_scale=scales[0], area_scale=scales[1], bandwidth_scale=own.scale,
    )  # fmt: skip


def _mesh(fields: Fields, own: dict[str, object], counted: int) -> tuple[int, int, int]:
    """Instances and the mesh they form; what is not given follows from the rest."""
    instances, x, y = (None if own.get(k) is None else int(str(own[k])) for k in ("instances", "meshX", "meshY"))
    if instances is None:
        instances = counted
    if instances > INSTANCES:
        raise fields.error("name", f"at most {INSTANCES} instances", instances)
    if x is None and y is None:
        x, y = instances, 1
    elif x is None:
        x = instances // (y or 1)
    elif y is None:
        y = instances // x
    assert x is not None
    assert y is not None
    if x * y != instances:
        raise fields.error("attributes.meshX", f"meshX x meshY to be the {instances} instances of the name", f"{x} x {y}")
    return instances, x, y
