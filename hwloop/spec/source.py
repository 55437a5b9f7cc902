"""From what a caller gives (a file, several, text or data) to one plain document, as upstream's front end does.

Templates are rendered (`hwloop.spec.template`), `<<<` merges dicts at every depth, fields with `ignore` in the name are left out,
hyphenated keywords are read with underscores, and several files become one document.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from hwloop.errors import SpecError, SpecWarning
from hwloop.spec.document import TAG, check_plain, is_path, parse_yaml, read_file
from hwloop.spec.template import is_template, render

_HYPHENATED = frozenset({
    "action-optimization", "addr-gen-energy", "adder-energy", "block-size", "cluster-area", "cluster-size", "cnn-layer",
    "compression-rate", "compute-optimization", "condition-on", "data-spaces", "energy-per-hop", "fixed-structured",
    "flattened-rankIDs", "gate-on-zero-operand", "gemm-ABZ", "inner-to-outer", "metadata-word-bits", "min-utilization",
    "multiple-buffering", "network-type", "num-banks", "num-ports",
    "optimization-metric", "optimization-metrics", "outer-to-inner", "rank-application-order", "read-write",
    "representation-format",
    "router-energy", "search-size", "skipping-spatial", "spatial-skip", "tile-width", "vector-access-energy", "victory-condition",
    "wire-energy", "word-bits",
})  # fmt: skip

# Hyphenated keywords that the real program's own renaming misses: it takes the `word-bits` in them first.
_MISSED = frozenset({"network-word-bits", "payload-word-bits"})


def read_spec(source: Any, variables: Mapping[str, Any] | None = None, include: Iterable[str | Path] = ()) -> tuple[Any, str]:
    """Reads a spec into plain data.

    Args:
        source: a path, a list of paths (read together), YAML text, or plain data.
        variables: values for a template.
        include: folders besides the file's own (and those below it) that a template may take files from.

    Returns:
        The data, and the name to use for it in errors.

    Raises:
        SpecError: a file that cannot be read, is not YAML, or is a template that cannot be rendered; files that contradict.
    """
    reader = _Reader(variables or {}, tuple(Path(folder).resolve() for folder in include))
    if isinstance(source, (list, tuple)) and source and all(isinstance(s, (str, Path)) and is_path(s) for s in source):
        document: dict[str, Any] = {}
        for file in source:
            more = reader.file(Path(file))
            if not isinstance(more, dict):
                raise SpecError(str(file), "(top)", "a mapping of fields", more)
            document = _combined(document, more, str(file), "")
        return document, " + ".join(str(s) for s in source)
    if isinstance(source, (str, Path)) and is_path(source):
        return reader.file(Path(source)), str(source)
    if isinstance(source, str):
        return reader.text(source, "<text>", None), "<text>"
    check_plain(source, "<dict>")
    return reader.plain(source, "<dict>"), "<dict>"


class _Reader:
    """Reads files that may take in one another."""

    def __init__(self, variables: Mapping[str, Any], include: tuple[Path, ...]) -> None:
        self._variables = variables
        self._include = include
        self._allowed: tuple[Path, ...] = include
        self._open: list[Path] = []
        self._paths: list[Path] = []

    def file(self, path: Path) -> Any:
        """The data of a file; the first one opened says which folder it and its includes may read."""
        text = read_file(path)
        real = path.resolve()
        if not self._open:
            self._allowed = (real.parent, *self._include)
            self._paths = list(self._include)
        if real in self._open or len(self._open) > 20:
            raise SpecError(str(path), "(template)", "files that do not take in one another in a circle", str(path))
        self._open.append(real)
        try:
            return self.text(text, str(path), real.parent)
        finally:
            self._open.pop()

    def text(self, text: str, name: str, folder: Path | None) -> Any:
        """The data of a text."""
        return self.plain(parse_yaml(self._rendered(text, name, folder), name, lenient=True), name)

    def plain(self, document: Any, name: str) -> Any:
        """Data with merges done, `ignore` fields left out and hyphenated keywords replaced."""
        found: set[str] = set()
        out = _plain(document, {}, found)
        missed = ", ".join(sorted(found & _MISSED))
        if missed:
            what = "no effect with hyphens, as in the real program; write underscores"
            warnings.warn(f"{name}: {missed}: {what}", SpecWarning, stacklevel=4)
        if found - _MISSED:
            words = ", ".join(sorted(found - _MISSED))
            warnings.warn(
                f"{name}: hyphenated keywords are deprecated, read with underscores: {words}", SpecWarning, stacklevel=4
            )
        return out

    def _rendered(self, text: str, name: str, folder: Path | None) -> str:
        if not is_template(text, name):
            return text

        def find(pattern: str, folders: bool = False) -> list[Path]:
            return self._find(str(pattern), folder, name, folders)

        def include(pattern: str, keys: str = "") -> str:
            files = find(pattern)
            if len(files) != 1:
                raise SpecError(name, "(template)", f"one file {pattern!r}", [str(f) for f in files])
            return _written(_pick(self.file(files[0]), keys, name))

        def include_all(pattern: str, keys: str = "") -> str:
            return _written([_pick(self.file(f), keys, name) for f in find(pattern)])

        def include_text(pattern: str) -> str:
            return "\n".join(self._rendered(read_file(f), str(f), f.parent) for f in find(pattern))

        def add_to_path(place: str) -> str:
            if folder is not None:
                self._paths.append((folder / place).resolve())
            return ""

        def path_exists(place: str) -> bool:
            try:
                return bool(find(place, True))
            except SpecError:
                return False

        functions: dict[str, Callable[..., Any]] = {
            "include": include, "include_all": include_all, "include_text": include_text, "add_to_path": add_to_path,
            "path_exists": path_exists, "cwd": lambda: str(folder or "."), "find_path": lambda p: str(find(p, True)[0]),
            "find_paths": lambda p: [str(f) for f in find(p, True)], "setenv": lambda key, value: "",
        }  # fmt: skip
        return render(text, name, self._variables, functions)

    def _find(self, pattern: str, folder: Path | None, name: str, folders: bool = False) -> list[Path]:
        """The files that a template means: beside it or in the folders added to the path, and nowhere that is not allowed."""
        if folder is None:
            raise SpecError(name, "(template)", "a file", pattern, "a template that is given as text takes in no files")
        bases = [Path("/")] if pattern.startswith("/") else [folder, *self._paths]
        outside = ""
        found: dict[Path, None] = {}
        for base in bases:
            place = (base / pattern).resolve()
            where = [place] if not set("*?[") & set(place.name) else sorted(place.parent.glob(place.name))
            for file in where:
                if not (file.is_file() or (folders and file.is_dir())):
                    continue
                if not any(file.resolve().is_relative_to(allowed) for allowed in self._allowed):
                    outside = str(file)
                    continue
                found[file] = None
        if not found:
            hint = f"{outside} lies in another folder; allow it with --include FOLDER, or include=[...]" if outside else ""
            raise SpecError(name, "(template)", "a file in the folder of the spec", pattern, hint)
        return list(found)


def _pick(document: Any, keys: str, name: str) -> Any:
    for key in [k for k in keys.split(".") if k]:
        if not isinstance(document, Mapping) or key not in document:
            raise SpecError(name, "(template)", f"{keys!r} in the included file", key)
        document = document[key]
    return document


def _written(document: Any) -> str:
    """Data as YAML on one line, as it goes into the text that takes it in; tags stand before what they mark."""
    if isinstance(document, Mapping):
        pairs = ", ".join(f"{json.dumps(str(k))}: {_written(v)}" for k, v in document.items() if k != TAG)
        return f"!{document[TAG]} {{{pairs}}}" if TAG in document else f"{{{pairs}}}"
    if isinstance(document, (list, tuple)):
        return f"[{', '.join(_written(item) for item in document)}]"
    return json.dumps(document)


def _plain(node: Any, seen: dict[int, Any], hyphens: set[str]) -> Any:
    if isinstance(node, str):
        if node in _HYPHENATED:
            hyphens.add(node)
            return node.replace("-", "_")
        return node
    if id(node) in seen:
        return seen[id(node)]
    if isinstance(node, Mapping):
        out: dict[Any, Any] = {}
        merges = []
        for key, value in node.items():
            if key in ("<<<", "<<"):
                merges.append((_plain(value, seen, hyphens), key == "<<<"))
            elif key in _MISSED:
                hyphens.add(key)
            elif not (isinstance(key, str) and "ignore" in key):
                out[_plain(key, seen, hyphens)] = _plain(value, seen, hyphens)
        for value, deep in merges:
            out = _merged(out, value, deep)
        seen[id(node)] = out
        return out
    if isinstance(node, (list, tuple)):
        seen[id(node)] = made = [_plain(item, seen, hyphens) for item in node]
        return made
    return node


def _merged(into: Any, more: Any, deep: bool) -> Any:
    """A dict with what another has and it lacks; lists follow one another, dicts merge in turn where `deep`."""
    if isinstance(more, list):
        whole: Any = {}
        for part in more:
            whole = _merged(whole, part, deep)
        more = whole
    if not isinstance(more, Mapping):
        return into
    if into.get(TAG) == "nomerge":
        return into
    out = dict(into)
    for key, value in more.items():
        if key not in out:
            out[key] = value
        elif deep and isinstance(out[key], Mapping) and isinstance(value, Mapping):
            out[key] = _merged(out[key], value, deep)
        elif deep and isinstance(out[key], list) and isinstance(value, list):
            out[key] = out[key] + value
    return out


def _combined(first: Mapping[str, Any], second: Mapping[str, Any], source: str, where: str) -> dict[str, Any]:
    """Two files' documents as one."""
    out = dict(first)
    for key, value in second.items():
        at = f"{where}.{key}" if where else str(key)
        if out.get(key) in (None, value):
            out[key] = value
        elif isinstance(out[key], Mapping) and isinstance(value, Mapping):
            out[key] = _combined(out[key], value, source, at)
        elif isinstance(out[key], list) and isinstance(value, list):
            out[key] = [*out[key], *value]
        elif key != "version":
            raise SpecError(source, at, "what the other files do not say another way", value)
    return out
