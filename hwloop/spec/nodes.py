"""Reads the v0.4 `nodes` form of an architecture into a chain of levels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hwloop.spec.attributes import SPATIAL_CLASS, Attributes
from hwloop.spec.constraints import (
    Constraints,
    DataSpaceConstraint,
    LoopConstraint,
    load_constraints,
    read_data_space_constraint,
    read_loop_constraint,
)  # fmt: skip
from hwloop.spec.document import Fields
from hwloop.spec.levels import Architecture, Level, chain
from hwloop.spec.sparsity import SparseOptimizations, read_sparse_optimizations

COMPUTE_CLASSES = frozenset({"mac", "intmac", "fpmac", "compute", "intmultiplier", "fpmultiplier"})
INHERITED = ("technology", "global_cycle_seconds")  # what a container hands down to the components inside it
_TAGS = ("Container", "Component", "Parallel", "Hierarchical", "Nothing")


@dataclass
class _Builder:
    """What has been read so far, from the outside in."""

    levels: list[Level] = field(default_factory=list)
    loops: list[LoopConstraint] = field(default_factory=list)
    data_spaces: list[DataSpaceConstraint] = field(default_factory=list)
    mesh_x: int = 1
    mesh_y: int = 1
    top: Attributes | None = None
    name: str = ""


def read_nodes(document: Fields, architecture: Fields, name: str) -> Architecture:
    """Reads `architecture.nodes`, with `variables` and the top-level `sparse_optimizations` and constraints beside it.

    Raises:
        SpecError: with the file and the dotted field, e.g. `architecture.nodes[3].attributes.depth`.
    """
    architecture.raw("version")
    variables = Attributes().read(_plain(document.sub("variables")))
    builder = _Builder()
    _read_list(architecture.raw("nodes"), architecture, "nodes", variables, builder)
    architecture.finish()
    levels = apply_sparse(document, builder.levels)
    constraints = Constraints(tuple(builder.loops), tuple(builder.data_spaces))
    for key in ("architecture_constraints", "mapspace_constraints", "constraints"):
        if key in document:
            constraints = constraints.merged_with(load_constraints({key: document.raw(key)}))
    return chain(builder.name or name, levels, builder.top or Attributes(), architecture, constraints)


def _plain(fields: Fields | None) -> Fields | None:
    if fields is not None:
        fields.raw("version")
    return fields


def apply_sparse(document: Fields, levels: list[Level]) -> list[Level]:
    """Puts the top-level `sparse_optimizations.targets` onto the levels they name."""
    block = document.sub("sparse_optimizations")
    if block is None:
        return levels
    block.raw("version")
    by_name = {level.name: i for i, level in enumerate(levels)}
    for i, raw in enumerate(block.raw("targets") or []):
        entry = Fields(raw, document.source, block.where(f"targets[{i}]"))
        name = entry.take("name", str)
        if name not in by_name:
            raise entry.error("name", f"a level among {sorted(by_name)}", name)
        at = by_name[name]
        old = levels[at]
        levels[at] = Level(
            old.name, old.kind, old.class_name, old.subclass, old.instances, old.mesh_x, old.mesh_y, old.attributes,
            read_sparse_optimizations(entry),
        )  # fmt: skip
    block.finish()
    return levels


def _read_list(raw: Any, parent: Fields, key: str, scope: Attributes, builder: _Builder) -> None:
    if not isinstance(raw, list) or not raw:
        raise parent.error(key, "a list of nodes", raw)
    for i, node in enumerate(raw):
        fields = Fields(node, parent.source, parent.where(f"{key}[{i}]"))
        tag = fields.tag or _guess_tag(fields)
        if tag not in _TAGS:
            raise fields.error("(tag)", f"one of {['!' + t for t in _TAGS]}", f"!{tag}")
        if tag == "Nothing":
            continue
        if tag in ("Hierarchical", "Parallel"):
            _read_list(fields.raw("nodes"), fields, "nodes", scope, builder)
            fields.finish()
        elif tag == "Container":
            scope = _read_container(fields, scope, builder)
        else:
            _read_component(fields, scope, builder)


def _guess_tag(fields: Fields) -> str:
    if "nodes" in fields:
        return "Hierarchical"
    return "Component" if "class" in fields else "Container"


def _spatial_level(fields: Fields, name: str, scope: Attributes, builder: _Builder) -> None:
    block = fields.sub("spatial")
    mesh_x, mesh_y = 1, 1
    if block is not None:
        own = scope.read(block)
        mesh_x, mesh_y = int(own.get("meshX") or 1), int(own.get("meshY") or 1)
    constraints = fields.sub("constraints")
    if mesh_x * mesh_y > 1:
        target = f"inter_{name}_spatial"
        level = Level(target, "spatial", SPATIAL_CLASS, "", builder.mesh_x * builder.mesh_y, builder.mesh_x, builder.mesh_y)
        builder.levels.append(level)
        builder.mesh_x *= mesh_x
        builder.mesh_y *= mesh_y
    else:
        target = ""
    if constraints is not None:
        _read_constraints(constraints, name, target, builder)


def _read_constraints(fields: Fields, name: str, spatial_target: str, builder: _Builder) -> None:
    spatial, temporal, space = fields.sub("spatial"), fields.sub("temporal"), fields.sub("dataspace")
    if space is None:
        space = fields.sub("data_space")
    if spatial is not None:
        read = read_loop_constraint(spatial, spatial_target or name, "spatial")
        if spatial_target:
            builder.loops.append(read)
    if temporal is not None:
        builder.loops.append(read_loop_constraint(temporal, name, "temporal"))
    if space is not None:
        builder.data_spaces.append(read_data_space_constraint(space, name))
    fields.finish()


def _read_container(fields: Fields, scope: Attributes, builder: _Builder) -> Attributes:
    name = fields.take("name", str)
    inner = scope.read(fields.sub("attributes"))
    if builder.top is None:
        builder.top, builder.name = inner, name
    _spatial_level(fields, name, inner, builder)
    fields.finish()
    return inner


def _read_component(fields: Fields, scope: Attributes, builder: _Builder) -> None:
    name = fields.take("name", str)
    class_name = fields.take("class", str)
    subclass = str(fields.raw("subclass", "") or "")
    for passed in ("required_actions", "area_scale", "energy_scale"):
        fields.raw(passed)
    enabled = fields.raw("enabled", True)
    own = scope.read(fields.sub("attributes")).pairs()
    written = {k for k, v in own if dict(scope.pairs()).get(k) != v}
    attributes = tuple((k, v) for k, v in own if k in written or k in INHERITED)
    sparse_fields = fields.sub("sparse_optimizations")
    sparse = read_sparse_optimizations(sparse_fields) if sparse_fields is not None else SparseOptimizations()
    if not enabled:
        return
    _spatial_level(fields, name, scope, builder)
    fields.finish()
    kind = "compute" if class_name.lower() in COMPUTE_CLASSES else "storage"
    count = builder.mesh_x * builder.mesh_y
    builder.levels.append(Level(name, kind, class_name, subclass, count, builder.mesh_x, builder.mesh_y, attributes, sparse))
