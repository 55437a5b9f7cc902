"""Reads an accelerator: Timeloop v0.4 `nodes`, or the expanded tree.

Three forms are read. Users write Timeloop v0.4 `nodes` (`!Container`, `!Component`, `!Parallel`, `!Hierarchical`), where a
node with a fan-out becomes a level `inter_<node>_spatial` that stores nothing. The Timeloop binaries read the expanded tree
(`subtree`/`local`, names like `psum_spad[1..168]`), and still read the oldest form (`arithmetic`/`storage`). All give the same
`Architecture`, which is written as the tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hwloop.spec.document import Fields
from hwloop.spec.flat import read_flat
from hwloop.spec.levels import Architecture, Level
from hwloop.spec.nodes import read_nodes
from hwloop.spec.shipped import ARCHITECTURES, shipped_file
from hwloop.spec.source import read_spec
from hwloop.spec.tree import read_tree

__all__ = ["Architecture", "Level", "load_architecture"]


def load_architecture(
    source: Any, variables: Mapping[str, Any] | None = None, include: Iterable[str | Path] = ()
) -> Architecture:
    """Reads an accelerator by the name of a shipped one, from a file, several files (a list of paths), YAML text or a dict.

    Args:
        source: a shipped name such as `eyeriss_168`; else see `hwloop.spec.source.read_spec`.
        variables: values for a Jinja2 template.
        include: folders besides the file's own that a template may take files from.

    Raises:
        SpecError: with the file and the dotted field.
    """
    if isinstance(source, Architecture):
        return source
    document, name = read_spec(shipped_file(source, ARCHITECTURES) or source, variables, include)
    top = Fields(document, name, "")
    fields = top.sub("arch") if "arch" in top else top.sub("architecture", required=True)
    assert fields is not None
    default_name = Path(name).stem if not name.startswith("<") else "system"
    if "nodes" in fields:
        return read_nodes(top, fields, default_name)
    if "subtree" in fields or "local" in fields:
        return read_tree(top, fields, default_name)
    if "storage" in fields:
        return read_flat(top, fields, default_name)
    raise fields.error("nodes", "`nodes` (Timeloop v0.4) or `subtree` (the expanded tree)", None)
