"""Reads the v0.4 `nodes` form of an architecture into a chain of levels, as upstream's front end expands it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from hwloop.spec.attributes import (
    SPATIAL_ATTRIBUTES,
    SPATIAL_CLASS,
    Attributes,
    canonical,
    check_rows,
    read_scale,
    read_variables,
    refuse_slips,
)
from hwloop.spec.constraint_sets import read_data_space_constraint, read_loop_constraint
from hwloop.spec.constraints import Constraints, DataSpaceConstraint, LoopConstraint
from hwloop.spec.document import Fields
from hwloop.spec.levels import Architecture, Level, apply_sparse, chain, component_kind
from hwloop.spec.limits import INSTANCES, LEVELS
from hwloop.spec.network import Network, network_kind, network_of
from hwloop.spec.sparsity import SparseOptimizations, read_sparse_optimizations

_BRANCHES = ("Hierarchical", "Parallel", "Pipelined")
_TAGS = ("Container", "Component", *_BRANCHES, "Nothing")
# What the front end gives a storage before it copies the containers' attributes, which therefore do not reach it.
_STORAGE_DEFAULTS = frozenset({
    "n_banks", "cluster_size", "reduction_supported", "multiple_buffering", "min_utilization", "allow_overbooking",
    "has_power_gating",
})  # fmt: skip
_OF_THE_MESH = ("meshX", "meshY", "instances", "has_power_gating")


@dataclass
class _Builder:
    """What has been read so far, from the outside in."""

    levels: list[Level] = field(default_factory=list)
    networks: list[Network] = field(default_factory=list)
    loops: list[LoopConstraint] = field(default_factory=list)
    spaces: list[DataSpaceConstraint] = field(default_factory=list)
    mesh: tuple[int, int] = (1, 1)
    top: Attributes | None = None
    name: str = ""
    gate: str | None = None
    gate_next: bool = False

    def place(self, level: Level, gated: bool) -> None:
        """Appends a level; the level after one with `has_power_gating` switches those below it.

        Not so after a container: the front end copies an empty `power_gated_at` from it to every component.
        """
        if self.gate_next:
            self.gate = level.name
        self.gate_next = gated
        free = self.top is None and level.kind == "storage" and level.values.get("power_gated_at") is None
        if free and self.gate not in (None, level.name):
            level = replace(level, attributes=(*level.attributes, ("power_gated_at", self.gate)))
        self.levels.append(level)


def read_nodes(document: Fields, architecture: Fields, name: str) -> Architecture:
    """Reads `architecture.nodes`, with `variables`, `sparse_optimizations` and the constraints beside it.

    Raises:
        SpecError: with the file and the dotted field, e.g. `architecture.nodes[3].attributes.depth`.
    """
    architecture.raw("version")
    builder = _Builder()
    scope = Attributes(variables=read_variables(document.sub("variables")))
    _read_list(architecture.raw("nodes"), architecture, scope, builder)
    scope.unknown.report(architecture, "nodes")
    apply_sparse(document, builder.levels)
    own = Constraints(tuple(builder.loops), tuple(builder.spaces), source=document.source)
    top = builder.top or scope
    found = chain(builder.name or name, builder.levels, top.pairs(), document, architecture, builder.networks, True, own)
    architecture.finish()
    return found


def _read_list(raw: Any, parent: Fields, scope: Attributes, builder: _Builder, parallel: bool = False) -> Attributes:
    """Reads a list of nodes; the attributes of its containers stay in force for all nodes that follow, as in the front end."""
    if not isinstance(raw, list) or not raw or len(raw) > LEVELS:
        raise parent.error("nodes", f"a list of at most {LEVELS} nodes", raw)
    branches: list[list[str]] = []
    first = len(builder.spaces)
    for i, node in enumerate(raw):
        if node is None:
            continue
        fields = Fields(node, parent.source, parent.where(f"nodes[{i}]"))
        tag = fields.tag or _guess_tag(fields)
        before = len(builder.levels)
        if tag not in _TAGS:
            raise fields.error("(tag)", f"one of {['!' + t for t in _TAGS]}", f"!{tag}")
        if tag in _BRANCHES:
            scope = _read_list(fields.raw("nodes"), fields, scope, builder, tag == "Parallel")
            fields.finish()
        elif tag == "Container":
            scope = _read_container(fields, scope, builder)
        elif tag == "Component":
            _read_component(fields, scope, builder)
        branches.append([level.name for level in builder.levels[before:] if level.kind == "storage"])
    if parallel:
        _shut_out(parent, branches, builder, first)
    return scope


def _shut_out(parent: Fields, branches: list[list[str]], builder: _Builder, first: int) -> None:
    """Every branch of `!Parallel` stores only what one of its nodes keeps; without a word on what is kept, all may store all."""
    stated = {c.target: c for c in builder.spaces[first:]}
    kept = [{n for level in branch if level in stated for n in stated[level].keep} for branch in branches]
    if not any(kept):
        return
    for i, mine in enumerate(kept):
        for other in kept[i + 1 :]:
            if mine & other:
                raise parent.error("nodes", "each data space kept in one branch of !Parallel", sorted(mine & other))
    for branch, names in zip(branches, kept, strict=True):
        for level in branch:
            entry = stated.get(level, DataSpaceConstraint(level))
            if entry in builder.spaces:
                builder.spaces.remove(entry)
            allowed = names if entry.only is None else names & set(entry.only)
            builder.spaces.append(replace(entry, only=tuple(sorted(allowed))))


def _guess_tag(fields: Fields) -> str:
    if "nodes" in fields:
        return "Hierarchical"
    return "Component" if "class" in fields else "Container"


def _spread(fields: Fields, name: str, scope: Attributes, builder: _Builder, gated: bool) -> str:
    """Reads `spatial`: a fan-out becomes a level that stores nothing. Its name, empty when there is none."""
    block = fields.sub("spatial")
    own = scope.read(block).own if block is not None else {}
    mesh_x, mesh_y = (int(v) if isinstance(v := own.get(k), (int, float)) else 1 for k in ("meshX", "meshY"))
    if mesh_x * mesh_y == 1:
        return ""
    x, y = builder.mesh
    if x * y * mesh_x * mesh_y > INSTANCES:
        raise fields.error("spatial", f"at most {INSTANCES} instances in all", x * y * mesh_x * mesh_y)
    inherited = {k: v for k, v in scope.values.items() if k not in SPATIAL_ATTRIBUTES and k not in _STORAGE_DEFAULTS}
    attributes = canonical({**SPATIAL_ATTRIBUTES, **inherited})
    level = Level(f"inter_{name}_spatial", "spatial", SPATIAL_CLASS, "", x * y, x, y, attributes, bandwidth_scale=scope.scale)
    builder.place(level, gated)
    builder.mesh = (x * mesh_x, y * mesh_y)
    return level.name


def _read_node_constraints(fields: Fields, name: str, spread: str, stores: bool, builder: _Builder) -> None:
    """Reads a node's `constraints`: spatial ones go to its fan-out, the others to itself."""
    block = fields.sub("constraints")
    if block is None:
        return
    for key, kind in (
        ("spatial", "spatial"),
        ("temporal", "temporal"),
        ("dataspace", ""),
        ("data_space", ""),
        ("dataspaces", ""),
    ):
        entry = block.sub(key)
        if entry is None or entry.empty:
            continue
        if not (spread if kind == "spatial" else stores):
            what = "no fan-out" if kind == "spatial" else "no storage"
            block.warn(key, f"no effect: {name} has {what}, as in the front end")
            continue
        for passed in ("type", "target"):
            entry.raw(passed)
        if kind:
            builder.loops.append(read_loop_constraint(entry, spread if kind == "spatial" else name, kind))
        else:
            builder.spaces.append(read_data_space_constraint(entry, name))
    if block.raw("max_overbooked_proportion") is not None:
        block.warn("max_overbooked_proportion", "no effect: hwloop overbooks no level")
    block.finish()


def _read_container(fields: Fields, scope: Attributes, builder: _Builder) -> Attributes:
    name = fields.take("name", str)
    inner = scope.read(fields.sub("attributes"))
    if builder.top is None:
        builder.top, builder.name = inner, name
    for passed in ("networks", "sparse_optimizations"):
        if fields.raw(passed):
            fields.warn(passed, "no effect at a container, as in the front end")
    spread = _spread(fields, name, inner, builder, bool(inner.own.get("has_power_gating")))
    _read_node_constraints(fields, name, spread, False, builder)
    fields.finish()
    return inner


def _read_component(fields: Fields, scope: Attributes, builder: _Builder) -> None:
    name = fields.take("name", str)
    class_name = fields.take("class", str)
    subclass = fields.text("subclass")
    fields.raw("required_actions")
    energy_scale, area_scale = read_scale(fields, "energy_scale"), read_scale(fields, "area_scale")
    enabled = fields.raw("enabled", True)
    own = scope.read(fields.sub("attributes"))
    sparse_fields = fields.sub("sparse_optimizations")
    sparse = read_sparse_optimizations(sparse_fields) if sparse_fields is not None else SparseOptimizations()
    if enabled in (False, "False", "false"):
        return
    kind = component_kind(class_name) or ("compute" if "multiplier" in class_name.lower() else "")
    gated = bool(own.own.get("has_power_gating"))
    if gated and builder.top is not None:
        fields.warn("attributes.has_power_gating", "no effect after a container, as in the front end; give `power_gated_at`")
    spread = _spread(fields, name, scope, builder, gated)
    _read_node_constraints(fields, name, spread, kind == "storage", builder)
    fields.finish()
    taken = _STORAGE_DEFAULTS if kind == "storage" else frozenset({"has_power_gating"})
    inherited = {k: v for k, v in scope.values.items() if k not in taken or k in own.own}
    attributes = tuple((k, v) for k, v in canonical({**inherited, **own.own}) if k not in _OF_THE_MESH)
    if kind == "network":
        builder.networks.append(network_of(dict(attributes), name, network_kind(class_name) or ""))
        return
    if class_name == "nothing":
        return
    if not kind:
        fields.warn("class", f"{class_name!r} is no class that upstream's front end knows; taken as a storage")
        kind = "storage"
    own.note_unknown(name)
    if kind == "storage":
        refuse_slips(fields, own.own, dict(attributes))
        if dict(attributes).get("datawidth") is None:
            raise fields.error("attributes.datawidth", "the bits of a word", None, "every number depends on it")
        check_rows(fields, dict(attributes), front_end=True)
    level = Level(
        name, kind, class_name, subclass, builder.mesh[0] * builder.mesh[1], *builder.mesh, attributes, sparse,
        energy_scale, area_scale, own.scale,
    )  # fmt: skip
    builder.place(level, gated)
