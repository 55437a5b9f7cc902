"""Reads the oldest form of an architecture: `arithmetic` and a list `storage`, the innermost storage first."""

from __future__ import annotations

from hwloop.spec.attributes import Attributes, read_variables
from hwloop.spec.document import Fields
from hwloop.spec.levels import Architecture, apply_sparse, chain
from hwloop.spec.tree import make_level

COMPUTE_NAME = "__ARITH__"  # what the program calls arithmetic units without a name


def read_flat(document: Fields, architecture: Fields, name: str) -> Architecture:
    """Reads `architecture.arithmetic` and `architecture.storage`, with what stands beside them.

    Raises:
        SpecError: with the file and the dotted field, e.g. `arch.storage[2].entries`.
    """
    scope = Attributes(variables=read_variables(document.sub("variables")))
    compute = architecture.sub("arithmetic", required=True)
    assert compute is not None
    rows = [(Fields(raw, compute.source, architecture.where(f"storage[{i}]")), "storage", "")
            for i, raw in enumerate(architecture.raw("storage") or [])]  # fmt: skip
    levels = []
    for fields, kind, default in [*reversed(rows), (compute, "compute", COMPUTE_NAME)]:
        level_name = str(fields.raw("name", default) or default) if default else fields.take("name", str)
        class_name = str(fields.raw("class", kind) or kind)
        inner = fields.sub("attributes")
        own = scope.read(fields if inner is None else inner)
        if own.own.get("instances") is None:
            raise fields.error("instances", "how many there are", None)
        levels.append(make_level(fields, level_name, kind, class_name, own, 1))
    scope.unknown.report(architecture, "storage")
    apply_sparse(document, levels)
    found = chain(name, levels, (), document, architecture, [], False)
    for passed in ("version", "name"):
        architecture.raw(passed)
    architecture.finish()
    return found
