"""Reads the expanded tree form (`subtree`/`local`) of an architecture, the one the Timeloop binaries read."""

from __future__ import annotations

import re
from typing import Any

from hwloop.spec.attributes import Attributes
from hwloop.spec.constraints import Constraints, load_constraints
from hwloop.spec.document import Fields
from hwloop.spec.levels import Architecture, Level, chain, is_network, is_spatial
from hwloop.spec.nodes import COMPUTE_CLASSES, INHERITED, apply_sparse

_NAME = re.compile(r"([^\[\]]+?)\s*(?:\[\s*(\d+)\s*\.\.\s*(\d+)\s*\])?")


def read_tree(document: Fields, architecture: Fields, name: str) -> Architecture:
    """Reads `architecture.subtree`, with the top-level `sparse_optimizations` and constraints beside it.

    Raises:
        SpecError: with the file and the dotted field, e.g. `architecture.subtree[0].local[2].attributes.depth`.
    """
    levels: list[Level] = []
    top: list[tuple[str, Attributes]] = []
    _read_branch(architecture, Attributes(), 1, levels, top)
    levels = apply_sparse(document, levels)
    constraints = Constraints()
    for key in ("architecture_constraints", "mapspace_constraints"):
        if key in document:
            constraints = constraints.merged_with(load_constraints({key: document.raw(key)}))
    tree_name, attributes = top[0] if top else (name, Attributes())
    return chain(tree_name, levels, attributes, architecture, constraints)


def _split_name(fields: Fields, written: str) -> tuple[str, int]:
    match = _NAME.fullmatch(written)
    if match is None:
        raise fields.error("name", "a name, or name[1..count]", written)
    count = int(match[3]) - int(match[2]) + 1 if match[2] else 1
    return match[1], count


def _read_branch(fields: Fields, scope: Attributes, count: int, levels: list[Level], top: list[tuple[str, Attributes]]) -> None:
    fields.raw("version")
    for i, raw in enumerate(fields.raw("local") or []):
        _read_local(Fields(raw, fields.source, fields.where(f"local[{i}]")), scope, count, levels)
    for i, raw in enumerate(fields.raw("subtree") or []):
        branch = Fields(raw, fields.source, fields.where(f"subtree[{i}]"))
        name, branch_count = _split_name(branch, branch.take("name", str))
        inner = scope.read(branch.sub("attributes"))
        top.append((name, inner))
        _read_branch(branch, inner, count * branch_count, levels, top)
    fields.finish()


def _read_local(fields: Fields, scope: Attributes, count: int, levels: list[Level]) -> None:
    name, own_count = _split_name(fields, fields.take("name", str))
    class_name, subclass = str(fields.raw("class", "") or ""), str(fields.raw("subclass", "") or "")
    for passed in ("required_actions", "area_scale", "energy_scale", "enabled", "constraints"):
        fields.raw(passed)
    own: dict[str, Any] = dict(scope.read(fields.sub("attributes")).pairs())
    fields.finish()
    if is_network(class_name):
        return
    outer = dict(scope.pairs())
    attributes = tuple((k, v) for k, v in own.items() if k in INHERITED or k not in outer or outer[k] != v)
    instances = count * own_count
    mesh_x = int(own["meshX"]) if own.get("meshX") is not None else instances
    mesh_y = int(own["meshY"]) if own.get("meshY") is not None else max(instances // mesh_x, 1)
    if mesh_x * mesh_y != instances:
        raise fields.error(
            "attributes.meshX", f"meshX x meshY to be the {instances} instances of the name", f"{mesh_x} x {mesh_y}"
        )
    kind = "spatial" if is_spatial(class_name) else ("compute" if class_name.lower() in COMPUTE_CLASSES else "storage")
    attributes = tuple((k, v) for k, v in attributes if k not in ("meshX", "meshY"))
    levels.append(Level(name, kind, class_name, subclass, instances, mesh_x, mesh_y, () if kind == "spatial" else attributes))
