"""Any field of an accelerator's spec by path: `shared_glb.attributes.depth`, `PE.spatial.meshX`, `architecture.nodes[1].class`.

A path begins with the name of a component or a container (wherever it stands in the spec), or with a field of the document
itself; what follows are names of fields, of entries of a list that have a name, and places in lists, as in `nodes[3]`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from difflib import SequenceMatcher, get_close_matches
from functools import partial
from typing import Any

from hwloop.errors import SpecError
from hwloop.spec.attributes import WHOLE, attribute_names
from hwloop.spec.document import TAG
from hwloop.spec.expressions import ExpressionError, evaluate

_PART = re.compile(r"\[(\d+)\]|([^.\[\]]+)|(\.)")
_COUNTED = re.compile(r"^(.*?)\[\d+\.\.\d+\]$")  # `psum_spad[1..168]`, as the expanded tree writes it
_NEW = {
    "spatial": ("meshX", "meshY"),
    "": ("class", "subclass", "energy_scale", "area_scale"),
}  # fields that need not stand there
_TOPS = ("architecture", "arch")
_CLOSE = 3
Step = str | int
MakeError = Callable[..., SpecError]


def set_fields(document: Any, values: Mapping[str, Any], name: str) -> Any:
    """A copy of a spec's document with other values in some of its fields.

    Args:
        document: plain data, as `hwloop.spec.source.read_spec` gives it.
        values: by path.
        name: what the spec is called, for messages.

    Raises:
        SpecError: a path that the spec does not have, with the nearest that it has, or a value of another kind than the spec's.
    """
    out = deepcopy(document)
    for path, value in values.items():
        holder, last = _place(out, path, name)
        old = holder[last] if isinstance(last, int) else holder.get(last)
        _check_kind(
            old, value, last, out.get("variables") if isinstance(out, dict) else None, partial(SpecError, "<arguments>", path)
        )
        holder[last] = deepcopy(value)
    return out


def _place(document: Any, path: str, spec: str) -> tuple[Any, Step]:
    """What holds the field of a path, and its name or place in there; what holds it is made where it may be left out."""
    steps, error = _steps(path), partial(SpecError, "<arguments>", path)
    found = _named(document, str(steps[0]))
    if len(found) > 1:
        raise error("a name that stands once", steps[0], f"{len(found)} components are called so; write architecture.nodes[...]")
    if found:
        at, steps, node = found[0], steps[1:], True
    else:
        at, node = document, False
    if not steps:
        raise error("a field of the component", path, f"such as {path}.attributes.depth")
    for number, step in enumerate(steps[:-1]):
        inner = _inside(at, step)
        if inner is None and node and number == 0 and isinstance(at, dict) and step in ("attributes", "spatial"):
            inner = at[step] = {}
        if inner is None:
            raise _unknown(document, path, spec, error)
        at = inner
    last, within = steps[-1], str(steps[-2]) if len(steps) > 1 else ""
    if isinstance(last, int):
        if not isinstance(at, list) or last >= len(at):
            raise _unknown(document, path, spec, error)
        return at, last
    if isinstance(at, list):
        raise error("a field, not a whole component", path, "go on with a dot and the name of a field")
    if not isinstance(at, dict) or not (last in at or _may_be_new(document, last, within if node or len(steps) > 2 else None)):
        raise _unknown(document, path, spec, error)
    return at, last


def _may_be_new(document: Any, name: str, within: str | None) -> bool:
    """Whether a field that is not there may be set: known attributes of a component, its mesh, its class and scales."""
    if within is None:
        return False
    if within == "attributes":
        return name in attribute_names() or any(name in (node.get("attributes") or {}) for _, node in _nodes(document))
    return name in _NEW.get(within, ())


def _steps(path: str) -> list[Step]:
    out: list[Step] = []
    at = 0
    for found in _PART.finditer(path):
        if found.start() != at:
            break
        at = found.end()
        if found[1] is not None:
            out.append(int(found[1]))
        elif found[2] is not None:
            out.append(found[2].strip())
    if at != len(path) or not out or isinstance(out[0], int) or path.endswith(".") or ".." in path or "" in out:
        raise SpecError("<arguments>", "sweep", "a path such as shared_glb.attributes.depth or PE.spatial.meshX", path)
    return out


def _inside(at: Any, step: Step) -> Any:
    """A field of a dict, a place or a named entry of a list; None where there is none."""
    if isinstance(step, int):
        return at[step] if isinstance(at, list) and step < len(at) else None
    if isinstance(at, list):
        return next((entry for entry in at if isinstance(entry, dict) and step in _names(entry)), None)
    return at.get(step) if isinstance(at, dict) else None


def _names(node: Mapping[str, Any]) -> tuple[str, ...]:
    """What a node may be called: its name, without the count that the tree form writes behind it."""
    name = node.get("name", node.get("target"))
    if not isinstance(name, str):
        return ()
    counted = _COUNTED.match(name)
    return (name, counted[1]) if counted else (name,)


def _nodes(document: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Components and containers with their names, wherever they stand in the architecture."""
    left: list[Any] = [document.get(top) for top in _TOPS] if isinstance(document, Mapping) else []
    while left:
        at = left.pop(0)
        if isinstance(at, dict):
            for name in _names(at):
                yield name, at
            left += [at[key] for key in ("nodes", "subtree", "local", "storage", "arithmetic") if key in at]
        elif isinstance(at, list):
            left += at


def _named(document: Any, name: str) -> list[dict[str, Any]]:
    return [node for known, node in _nodes(document) if known == name]


def known_paths(document: Any) -> list[str]:
    """The paths of all fields that components and containers of a spec have, and of the `variables`."""
    out: list[str] = []
    for name, node in _nodes(document):
        if _COUNTED.match(name):
            continue
        out += [
            f"{name}.{field}"
            for field, value in node.items()
            if not isinstance(value, (dict, list)) and field not in ("name", TAG)
        ]
        for part in ("attributes", "spatial"):
            out += [f"{name}.{part}.{field}" for field in node.get(part) or {}]
        if node.get(TAG) in ("Container", "Component"):
            out += [f"{name}.spatial.{field}" for field in _NEW["spatial"] if field not in (node.get("spatial") or {})]
    variables = document.get("variables") if isinstance(document, Mapping) else None
    out += [f"variables.{field}" for field in variables or {} if field != "version"]
    return list(dict.fromkeys(out))


def _unknown(document: Any, path: str, spec: str, error: MakeError) -> SpecError:
    """Of a known component the fields like the last name; else the same field of components of a like name."""
    known = known_paths(document)
    components = list(dict.fromkeys(p.partition(".")[0] for p in known))
    first, _, rest = path.partition(".")
    if first in components:
        inside = [p.partition(".")[2] for p in known if p.partition(".")[0] == first]
        inside += [f"attributes.{name}" for name in sorted(WHOLE) if f"attributes.{name}" not in inside]
        near = [f"{first}.{end}" for end in _near(rest, inside) or [e for e in inside if e.split(".")[-1] == rest]]
    else:
        near = [f"{name}.{rest}" if f"{name}.{rest}" in known else name for name in _near(first, components)]
        near = near or [p for p in known if p.split(".")[-1] == path.split(".")[-1]][:_CLOSE]
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(components)}"
    return error(f"a field of {spec}", path, hint)


def _near(word: str, known: Sequence[str]) -> list[str]:
    folded = {p.casefold(): p for p in known}
    near = get_close_matches(word.casefold(), folded, n=_CLOSE, cutoff=0.7)
    best = [p for p in near if SequenceMatcher(None, word.casefold(), p).ratio() > 0.9]
    return [folded[p] for p in (best or near)]


def _check_kind(old: Any, new: Any, last: Step, variables: Any, error: MakeError) -> None:
    """Refuses a value of another kind than the one that stands there."""
    was, given = _kind(old, variables), _kind(new, variables)
    if last in WHOLE and isinstance(new, float) and not new.is_integer():
        raise error("a whole number", new)
    if was and given and was != given:
        raise error(f"{was}, as in the spec ({old!r})", new)


def _kind(value: Any, variables: Any) -> str:
    """What a value is; empty for nothing, and for an expression of variables, which the reader of the spec computes."""
    if isinstance(value, str):
        try:
            value = evaluate(value, {})
        except ExpressionError as problem:
            of_names = "unknown name" in str(problem) and not (value.isidentifier() and value not in (variables or {}))
            return "" if of_names else "text"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else ""
