"""Finds sets of Timeloop specs among files that people wrote: an accelerator with the problem, mapping, ... nearest to it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from random import Random
from typing import Any

KEYS = frozenset({
    "architecture", "arch", "problem", "mapping", "mapspace", "mapspace_constraints", "architecture_constraints",
    "arch_constraints", "constraints", "sparse_optimizations", "variables", "ERT", "ART", "mapper",
})  # fmt: skip
_TOP = re.compile(r"^([A-Za-z_]+)\s*:", re.MULTILINE)
_NODES = re.compile(r"^\s*-?\s*(nodes:|- *!(Component|Container|Hierarchical|Parallel))", re.MULTILINE)
_MADE = re.compile(r"output|out_dir|ref")  # folders of results, whose parts go with what lies beside them alone
_LARGEST = 600_000  # bytes of a file that is looked at


@dataclass(frozen=True)
class SpecFile:
    """One file and the top-level fields it has."""

    path: Path
    keys: frozenset[str]
    text: str

    @property
    def is_accelerator(self) -> bool:
        """Whether it describes an accelerator."""
        return bool(self.keys & {"architecture", "arch"}) and bool(re.search(r"subtree:|nodes:|!Component|storage:", self.text))


@dataclass(frozen=True)
class SpecSet:
    """Files that belong together, the accelerator's first; `variables` are of a template."""

    files: tuple[SpecFile, ...]
    variables: Mapping[str, Any] = field(default_factory=dict)

    @property
    def keys(self) -> frozenset[str]:
        """The top-level fields of all files."""
        return frozenset().union(*(f.keys for f in self.files))

    @property
    def form(self) -> str:
        """`nodes`, `tree` or `flat` (arithmetic and storage)."""
        first = self.files[0].text
        if self.variables or "{{" in first or _NODES.search(first):
            return "nodes"
        return "tree" if "subtree" in first else "flat"


def scan(root: Path) -> list[SpecFile]:
    """The YAML files of a folder that hold parts of specs."""
    found = []
    for place, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f != ".git")
        for name in sorted(names):
            path = Path(place) / name
            if path.suffix not in (".yaml", ".yml") or path.stat().st_size > _LARGEST:
                continue
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue
            keys = frozenset(_TOP.findall(text)) & KEYS
            if keys and "{{" not in text:
                found.append(SpecFile(path, keys, text))
    return found


def spec_sets(root: Path, most: int, seed: int = 0) -> Iterator[SpecSet]:
    """At most so many sets of a folder: its templates under their designs, then accelerators that differ, chosen by the seed."""
    files = scan(root)
    sets = [SpecSet((SpecFile(top, frozenset({"architecture", "problem"}), top.read_text()),), {"architecture": design})
            for top in sorted(root.rglob("top.yaml.jinja2"))
            for design in sorted(str(a.parent.relative_to(top.parent)) for a in top.parent.rglob("arch.yaml"))]  # fmt: skip
    distinct: dict[str, SpecFile] = {}
    for file in files:
        if file.is_accelerator:
            distinct.setdefault(hashlib.md5(re.sub(r"\s+|#.*", "", file.text).encode()).hexdigest(), file)
    sets += [_gather(file, files) for file in distinct.values()]
    yield from sets if len(sets) <= most else sorted(Random(seed).sample(sets, most), key=sets.index)


def _gather(first: SpecFile, files: list[SpecFile]) -> SpecSet:
    chosen = [first]

    def add(key: str, reach: int, unless: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        have = SpecSet(tuple(chosen)).keys
        near = None if key in have or have & unless else _nearest(first, files, key, reach)
        if near is not None:
            chosen.append(near)

    add("problem", 6)
    add("mapping", 2)
    add("sparse_optimizations", 2)
    if SpecSet((first,)).form == "nodes":
        add("variables", 2)
    else:
        add("ERT", 0)
    for key in ("architecture_constraints", "arch_constraints", "mapspace_constraints", "constraints"):
        add(key, 2, {"mapping"})
    return SpecSet(tuple(chosen))


def _nearest(to: SpecFile, files: list[SpecFile], key: str, reach: int) -> SpecFile | None:
    near = []
    for file in files:
        if key not in file.keys or file == to or file.keys & {"architecture", "arch"}:
            continue
        steps, up = _distance(to.path.parent, file.path.parent)
        if steps <= reach and not (steps and _MADE.search(str(file.path.parent))):
            alike = to.path.stem in file.path.stem or file.path.stem in to.path.stem
            near.append((steps, up, not alike, str(file.path), file))
    return min(near, key=lambda row: row[:4])[4] if near else None


def _distance(a: Path, b: Path) -> tuple[int, int]:
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a.parts, b.parts, strict=False)))
    return len(a.parts) + len(b.parts) - 2 * same, len(a.parts) - same
