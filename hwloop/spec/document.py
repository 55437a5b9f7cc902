"""Reading YAML and dicts with errors that name the file and the dotted field; writing YAML back."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml

from hwloop.errors import SpecError, SpecWarning

T = TypeVar("T")
TAG = "__tag__"  # where a YAML tag such as `!Container` is kept in the dict it marks


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """SafeLoader that keeps `!Tag {...}` as a dict with the tag under `TAG`, and refuses duplicate keys."""

    repeated: set[str] | None = None  # where keys that stand twice are kept; None refuses them


def _construct_mapping(loader: Any, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    pairs, node.value = node.value, []
    for key_node, value_node in pairs:
        node.value.append((key_node, value_node))
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, (dict, list)):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a plain word", key_node.start_mark)
        if key in seen and loader.repeated is not None:
            loader.repeated.add(str(key))
            node.value.pop()
        elif key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
        seen.add(key)
    loader.flatten_mapping(node)
    return {loader.construct_object(k, deep=True): loader.construct_object(v, deep=True) for k, v in node.value}


def _construct_tagged(loader: Any, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {TAG: suffix, **_construct_mapping(loader, node)}
    if isinstance(node, yaml.SequenceNode):
        return {TAG: suffix, "nodes": loader.construct_sequence(node, deep=True)}
    return {TAG: suffix}


# Numbers as YAML 1.2 and the Timeloop programs have them: 1e-9 is one, 1:1 is text.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag not in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")]
    for first, pairs in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?((\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|\.(inf|Inf|INF))$|\.(nan|NaN|NAN)$"),
    list("-+0123456789."),
)
_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
_Loader.add_multi_constructor("!", _construct_tagged)


class _AnchorsAgain(yaml.SafeLoader):
    """The same, where an anchor may be used again."""

    repeated: set[str] | None = None
    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers
    yaml_constructors = _Loader.yaml_constructors
    yaml_multi_constructors = _Loader.yaml_multi_constructors

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if not isinstance(event, yaml.AliasEvent):
            self.anchors.pop(getattr(event, "anchor", None), None)
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """SafeDumper that writes short sequences and tuples on one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_sequence(dumper: yaml.SafeDumper, data: Iterable[Any]) -> yaml.Node:
    items = list(data)
    flat = all(not isinstance(item, (dict, list, tuple)) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flat)


_Dumper.add_representer(list, _represent_sequence)
_Dumper.add_representer(tuple, _represent_sequence)


def to_yaml(document: Any) -> str:
    """Writes plain data (dicts, lists, numbers, strings) as YAML, keys in the order given."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=120)


def read_document(source: Any) -> tuple[Any, str]:
    """Reads `source` into plain data.

    Args:
        source: a path (str or Path) of a YAML or JSON file, YAML text (a str holding a line break or a `{`), or plain data,
            which is returned as it is.

    Returns:
        The data, and the name to use for it in errors: the path, `<text>` or `<dict>`.

    Raises:
        SpecError: the file does not exist, cannot be read, or is not YAML.
    """
    if not isinstance(source, (str, Path)):
        return source, "<dict>"
    if isinstance(source, str) and ("\n" in source or "{" in source or source.strip().startswith("[")):
        text, name = source, "<text>"
    else:
        name = str(source)
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(name, "(file)", "a readable YAML file", str(error), "check the path") from None
    return parse_yaml(text, name), name


def parse_yaml(text: str, name: str, lenient: bool = False) -> Any:
    """Plain data from YAML text.

    Args:
        text: the YAML.
        name: the file, for messages.
        lenient: as the Timeloop programs, take the first value of a key that stands twice (with a `SpecWarning`), and let an
            anchor be used again.

    Raises:
        SpecError: it is not YAML, or has one key twice.
    """
    try:
        return _load(text, name, _Loader, lenient)
    except (yaml.YAMLError, ValueError) as error:
        if lenient and "duplicate anchor" in str(error):
            return _load(text, name, _AnchorsAgain, lenient)
        raise SpecError(name, "(file)", "valid YAML", str(error).replace("\n", " "), "check the line it names") from None


def _load(text: str, name: str, kind: type[Any], lenient: bool) -> Any:
    loader = kind(text)
    loader.repeated = set() if lenient else None
    try:
        found = loader.get_single_data()
    finally:
        loader.dispose()
    if loader.repeated:
        words = ", ".join(sorted(loader.repeated))
        warnings.warn(f"{name}: stands twice, the first counts, as in the real program: {words}", SpecWarning, stacklevel=4)
    return found


def nearest(word: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """The known word that `word` is most likely a slip for, upper and lower case alike; empty when there is none."""
    folded = {other.casefold(): other for other in known}
    near = get_close_matches(word.casefold(), list(folded), n=1, cutoff=likeness)
    return folded[near[0]] if near else ""


class Fields:
    """A dict being read: each field is taken by name and kind, and what is left over at the end is refused.

    Example:
        >>> fields = Fields({"depth": 12}, "eyeriss.yaml", "nodes[2].attributes")
        >>> fields.take("depth", int)
        12
        >>> fields.finish()
    """

    def __init__(self, value: Any, source: str, path: str) -> None:
        if not isinstance(value, Mapping):
            raise SpecError(source, path or "(top)", "a mapping of fields", value)
        for key in value:
            if not isinstance(key, str):
                raise SpecError(
                    source, path or "(top)", "field names that are words", key, "quote it if YAML reads it as something else"
                )
        self._left = dict(value)
        self._known: list[str] = []
        self.tag: str | None = self._left.pop(TAG, None)
        self.source, self.path = source, path

    def where(self, name: str) -> str:
        """Dotted path of the field `name`."""
        return f"{self.path}.{name}" if self.path else name

    def error(self, name: str, expected: str, found: object, hint: str = "") -> SpecError:
        """The `SpecError` for the field `name`; the caller raises it. Of a missing field the hint is what stands misspelt."""
        hint = (self._near(name) if found is None else "") or hint
        return SpecError(self.source, self.where(name), expected, found, hint)

    def warn(self, name: str, message: str) -> None:
        """Says in one line (`SpecWarning`) what becomes of the field `name`."""
        warnings.warn(f"{self.source}: {self.where(name)}: {message}", SpecWarning, stacklevel=2)

    @property
    def empty(self) -> bool:
        """Whether nothing is left to be taken."""
        return not self._left

    def names(self) -> list[str]:
        """The fields that are left to be taken."""
        return list(self._left)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def raw(self, name: str, default: Any = None) -> Any:
        """Takes a field as it stands."""
        self._known.append(name)
        return self._left.pop(name, default)

    def take(self, name: str, kind: Callable[..., T], default: Any = ...) -> T:
        """Takes a field that must be of the type `kind` (int accepts no bool; float accepts int).

        Raises:
            SpecError: missing with no default, or of another type.
        """
        self._known.append(name)
        if name not in self._left or (self._left[name] is None and default is not ...):
            if default is ...:
                raise self.error(name, f"a field of type {getattr(kind, '__name__', kind)}", None)
            self._left.pop(name, None)
            return default  # type: ignore[no-any-return]
        value = self._left.pop(name)
        wanted: Any = (int, float) if kind is float else kind
        if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
            raise self.error(name, f"a value of type {getattr(kind, '__name__', kind)}", value)
        return float(value) if kind is float else value  # type: ignore[return-value,arg-type]

    def sub(self, name: str, required: bool = False) -> Fields | None:
        """Takes a field that holds a mapping, as `Fields` of its own; None when absent and not required."""
        self._known.append(name)
        value = self._left.pop(name, None)
        if value is None and not required:
            return None
        if value is None:
            raise self.error(name, "a mapping of fields", None)
        return Fields(value, self.source, self.where(name))

    def items(self) -> Iterator[tuple[str, Any]]:
        """Takes everything that is left."""
        left, self._left = self._left, {}
        yield from left.items()

    def _near(self, name: str) -> str:
        near = nearest(name, list(self._left))
        return f"did you mean {name!r} where it says {near!r}?" if near else ""

    def finish(self, strict: bool = True) -> None:
        """Refuses what was not taken; unless `strict`, only what looks like a misspelt known name, and warns of the rest.

        Raises:
            SpecError: a field nobody asked for, with the nearest known name as the hint.
        """
        for name, value in self._left.items():
            near = nearest(name, self._known)
            known = ", ".join(sorted(set(self._known)))
            if not (strict or near):
                self.warn(name, "no effect: no field that the real program reads")
                continue
            hint = f"did you mean {near!r}?" if near else f"known here: {known}"
            raise SpecError(self.source, self.where(name), "a known field", value, hint)
