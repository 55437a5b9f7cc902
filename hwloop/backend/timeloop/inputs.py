"""Writes what the Timeloop programs read: the expanded tree, problem, mapping or constraints, sparse optimisations, ERT and ART.

The programs read dimension names letter by letter, so a longer name gets a letter of its own on the way in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from string import ascii_letters
from typing import Any

from hwloop.errors import SpecError
from hwloop.spec.attributes import SPATIAL_ATTRIBUTES
from hwloop.spec.constraints import Constraints, LoopConstraint
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.levels import Architecture, Level
from hwloop.spec.loops import REUSE_FLAGS
from hwloop.spec.mapping import Mapping as LoopMapping
from hwloop.spec.network import NETWORK_REAL, NETWORK_TEXT, NETWORK_WHOLE
from hwloop.spec.problem import Problem

_TOP = "system"
_OF_NETWORKS = frozenset(
    {*NETWORK_REAL, *NETWORK_WHOLE, *NETWORK_TEXT, "reduction_supported"}
)  # attributes of a fan-out that networks have


def letters(dimensions: Iterable[str]) -> dict[str, str]:
    """A one-letter name for each dimension: its own when it has one.

    Raises:
        SpecError: more dimensions than letters.
    """
    names = tuple(dimensions)
    free = [c for c in ascii_letters if c not in names]
    if len(names) > len(ascii_letters):
        raise SpecError("<problem>", "shape.dimensions", f"at most {len(ascii_letters)} dimensions for Timeloop", len(names))
    return {d: d if len(d) == 1 else free.pop(0) for d in names}


def model_input(problem: Problem, architecture: Architecture, mapping: LoopMapping, table: EnergyTable) -> dict[str, Any]:
    """Everything `timeloop-model` reads, as one document.

    The mapping must name every level's loops and what it keeps, as `MappingBatch.to_mapping` writes it.
    """
    names = letters(problem.shape.dimensions)
    document = _common(problem, architecture, table, names)
    document["mapping"] = [_mapping_target(entry, names) for entry in mapping.to_list()]
    return document


def mapper_input(
    problem: Problem,
    architecture: Architecture,
    table: EnergyTable,
    constraints: Constraints | None,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything `timeloop-mapper` reads, as one document; `settings` is its `mapper` block."""
    names = letters(problem.shape.dimensions)
    architecture = architecture.with_constraints(constraints).for_problem(problem)
    document = _common(problem, architecture, table, names)
    document["architecture_constraints"] = {"targets": _constraint_targets(architecture, problem, names)}
    document["mapspace"] = {"version": "0.4", "template": "uber"}
    document["mapper"] = {"version": "0.4", **settings}
    return document


def _common(problem: Problem, architecture: Architecture, table: EnergyTable, names: Mapping[str, str]) -> dict[str, Any]:
    top = {k: v for k, v in architecture.attributes if v is not None}
    top.setdefault("global_cycle_seconds", architecture.cycle_s)
    top.setdefault("technology", "45nm")
    tree: dict[str, Any] = {"name": _TOP, "attributes": {"version": "0.4", **top}, "local": []}
    tree["local"] = [*(network.to_dict() for network in architecture.networks), *(_level(level) for level in architecture.levels)]
    document: dict[str, Any] = {
        "architecture": {"version": "0.4", "subtree": [tree]},
        "problem": _problem(problem, names),
        "globals": {"version": "0.4", "environment_variables": {}, "expression_custom_functions": [], "accelergy_plug_ins": []},
    }
    sparse = [
        {"name": level.name, **_rename_ranks(level.sparse.to_dict(), names)} for level in architecture.levels if level.sparse
    ]
    if sparse:
        document["sparse_optimizations"] = {"targets": sparse}
    full = {level.name: f"{_TOP}.{level.name}[1..{level.instances}]" for level in architecture.levels}
    stored = [level.name for level in architecture.levels if level.kind != "spatial"]
    shared = [name for name in ("wire", "Wire", *(network.name for network in architecture.networks)) if name in table]
    tables = [*(_energies(table, n, full[n]) for n in stored), *(_energies(table, n, f"{_TOP}.{n}") for n in shared)]
    document["ERT"] = {"version": "0.4", "tables": tables}
    areas = {name: table.component(name).area_um2 for name in stored}
    document["ART"] = {"version": "0.4", "tables": [{"name": full[n], "area": areas[n] or 0.0} for n in stored]}
    return document


def _level(level: Level) -> dict[str, Any]:
    attributes = {k: v for k, v in level.attributes if v is not None}
    if level.kind == "spatial":
        attributes = SPATIAL_ATTRIBUTES | {k: v for k, v in attributes.items() if k in _OF_NETWORKS}
    attributes |= {"meshX": level.mesh_x, "meshY": level.mesh_y}
    out: dict[str, Any] = {"name": f"{level.name}[1..{level.instances}]", "class": level.class_name, "attributes": attributes}
    if level.subclass:
        out["subclass"] = level.subclass
    return out


def _energies(table: EnergyTable, name: str, full_name: str) -> dict[str, Any]:
    actions = [{"name": action, "arguments": {}, "energy": energy} for action, energy in table.component(name).actions]
    return {"name": full_name, "actions": actions}


def _problem(problem: Problem, names: Mapping[str, str]) -> dict[str, Any]:
    document = problem.to_dict()
    shape, instance = document["shape"], document["instance"]
    shape["dimensions"] = [names[d] for d in shape["dimensions"]]
    for space in shape["data_spaces"]:
        space["projection"] = [[[names[term[0]], *term[1:]] for term in rank] for rank in space["projection"]]
    document["instance"] = {names.get(key, key): value for key, value in instance.items()}
    # a density at one level is about finished values alone; the program would take it for all of the data space, everywhere
    everywhere = {name: given for name, given in document["instance"].pop("densities", {}).items() if "level" not in given}
    if everywhere:
        document["instance"]["densities"] = everywhere
    return document


def _mapping_target(entry: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    if entry["type"] not in ("temporal", "spatial"):
        return entry
    permutation = tuple(names[d] for d in entry["permutation"])  # a text of letters or a list of names
    factors = ",".join(_rename_factor(part, names) for part in entry["factors"].split())
    return {**entry, "factors": factors, "permutation": "".join(permutation)}


def _rename_factor(part: str, names: Mapping[str, str]) -> str:
    dimension, _, bound = part.partition("=")
    return f"{names[dimension]}={bound}"


def _constraint_targets(architecture: Architecture, problem: Problem, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Constraints as the programs read them: factors and permutations as text, only dimensions that the problem has."""
    constraints = architecture.constraints
    targets: list[dict[str, Any]] = []
    spaces = tuple(d.name for d in problem.shape.data_spaces)
    for loop in constraints.loops:
        entry: dict[str, Any] = {"target": loop.target, "type": loop.kind}
        factors = [f"{names[d]}{relation}{bound}" for d, relation, bound in loop.factors if d in names]
        if factors:
            entry["factors"] = " ".join(factors)
        if loop.permutation is not None:
            entry["permutation"], split = _order(loop, architecture, problem, names)
            if split is not None:
                entry["split"] = split
        elif loop.split is not None:
            entry["split"] = loop.split
        targets.append(entry | {flag: list(getattr(loop, flag)) for flag in REUSE_FLAGS if getattr(loop, flag)})
    stated = {c.target: c for c in constraints.data_spaces}
    for level in architecture.storage:
        keep = stated[level.name].keep if level.name in stated else ()
        bypass = stated[level.name].bypass if level.name in stated else ()
        if level.kind == "spatial":
            keep, bypass = (), spaces
        if keep or bypass:
            shown = {"keep": [s for s in keep if s in spaces], "bypass": [s for s in bypass if s in spaces]}
            targets.append({"target": level.name, "type": "dataspace", **shown})
    return targets


def _order(
    loop: LoopConstraint, architecture: Architecture, problem: Problem, names: Mapping[str, str]
) -> tuple[str, int | None]:
    """A constraint's order as the programs read it (`_` where free loops go) and its split, in dimensions the problem has."""
    whole = loop.order(problem.sizes, architecture.front_end)
    free = [d for d in problem.shape.dimensions if d not in whole]
    split = loop.split
    if split is not None:
        at = whole.index("*")
        split = sum(d in names for d in (*whole[:at], *free, *whole[at + 1 :])[:split])
    return "".join("_" if d == "*" else names[d] for d in whole if d in names or d == "*").rstrip("_"), split


def _rename_ranks(document: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    for space in document.get("representation_format", {}).get("data_spaces", []):
        for rank in space["ranks"]:
            if "flattened_rankIDs" in rank:
                rank["flattened_rankIDs"] = [[names[d] for d in group if d in names] for group in rank["flattened_rankIDs"]]
    return document
