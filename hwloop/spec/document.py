"""The door for text and data: files, YAML text and dicts are read here, each field by name and kind; writing YAML back."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml

from hwloop.errors import DataError, SpecError, SpecWarning, printable
from hwloop.reading import is_file, read_text
from hwloop.spec.limits import DEPTH, DIGITS, FILE_BYTES, NODES, WHOLE
from hwloop.spec.yaml_reader import NO_TEXT, TAG, read_yaml

__all__ = ["TAG", "Fields", "check_plain", "is_path", "nearest", "parse_yaml", "read_document", "read_file", "to_yaml"]

T = TypeVar("T")


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
        source: a path (see `is_path`) of a YAML or JSON file, YAML text, or plain data, which is returned as it is.

    Returns:
        The data, and the name to use for it in errors: the path, `<text>` or `<dict>`.

    Raises:
        SpecError: the file does not exist or cannot be read, it is not YAML, or the data is not plain.
    """
    if isinstance(source, (str, Path)):
        if is_path(source):
            return parse_yaml(read_file(source), str(source)), str(source)
        return parse_yaml(source, "<text>"), "<text>"  # type: ignore[arg-type]
    check_plain(source, "<dict>")
    return source, "<dict>"


def is_path(source: str | Path) -> bool:
    """Whether a source is the path of a file rather than text: a `Path` always is, a str when there is such a file, or when it
    has neither a line break nor a `{` in it and does not begin with `[`."""
    if isinstance(source, Path) or is_file(source):
        return True
    return not ("\n" in source or "{" in source or source.lstrip().startswith("["))


def read_file(path: str | Path) -> str:
    """The text of a spec file.

    Raises:
        SpecError: it is not there, no regular file, too large, or not UTF-8.
    """
    try:
        return read_text(path, FILE_BYTES)
    except DataError as error:
        raise SpecError(str(path), "(file)", "a readable YAML file", str(error), "check the path") from None


def parse_yaml(text: str, name: str, lenient: bool = False) -> Any:
    """Plain data from YAML text; see `hwloop.spec.yaml_reader.read_yaml`.

    Args:
        text: the YAML.
        name: the file, for messages.
        lenient: as the Timeloop programs, take the first value of a key that stands twice, with a `SpecWarning`.

    Raises:
        SpecError: it is not YAML, or beyond a limit, with the line and the column.
    """
    repeated: set[str] | None = set() if lenient else None
    found = read_yaml(text, name, repeated)
    if repeated:
        words = ", ".join(sorted(repeated))
        message = f"{name}: stands twice, the first counts, as in the real program: {words}"
        warnings.warn(printable(message), SpecWarning, stacklevel=4)
    return found


def check_plain(document: Any, name: str) -> None:
    """Holds data that a caller gives to what YAML text can hold.

    Raises:
        SpecError: something that is no dict, list, text, finite number, true, false or None; text with control characters; data
            beyond the limits of depth and size.
    """
    left: list[tuple[Any, str, int]] = [(document, "", 0)]
    seen = 0
    while left:
        value, path, depth = left.pop()
        seen += 1
        expected = ""
        if seen > NODES:
            expected, value = f"at most {NODES} values", "more"
        elif depth > DEPTH:
            expected, value = f"at most {DEPTH} mappings and lists inside one another", "more"
        elif isinstance(value, str):
            expected = "text without control characters" if NO_TEXT.search(value) else ""
        elif isinstance(value, (bool, type(None))):
            continue
        elif isinstance(value, int):
            expected = f"a number of at most {DIGITS} digits" if value.bit_length() > 3 * DIGITS else ""
        elif isinstance(value, float):
            expected = "" if math.isfinite(value) else "a finite number"
        elif isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, (str, int, float, bool)) or (isinstance(key, str) and NO_TEXT.search(key)):
                    raise SpecError(name, path or "(top)", "keys that are plain words", key)
            left += [(item, f"{path}.{key}" if path else str(key), depth + 1) for key, item in value.items()]
        elif isinstance(value, (list, tuple)):
            left += [(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
        else:
            expected = "plain data: a dict, list, text, number, true, false or None"
        if expected:
            raise SpecError(name, path or "(top)", expected, value)


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
        if not isinstance(value.get(TAG, ""), str):
            raise SpecError(source, path or "(top)", f"another key: {TAG} is hwloop's own", value)
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
        warnings.warn(printable(f"{self.source}: {self.where(name)}: {message}"), SpecWarning, stacklevel=2)

    @property
    def empty(self) -> bool:
        """Whether nothing is left to be taken."""
        return not self._left

    def names(self) -> list[str]:
        """The fields that are left to be taken."""
        return list(self._left)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def peek(self, name: str) -> Any:
        """What a field holds, which is still to be taken; None when it is absent."""
        return self._left.get(name)

    def raw(self, name: str, default: Any = None) -> Any:
        """Takes a field as it stands."""
        self._known.append(name)
        return self._left.pop(name, default)

    def take(self, name: str, kind: Callable[..., T], default: Any = ...) -> T:
        """Takes a field that must be of the type `kind` (int accepts no bool; float accepts int), finite and in range.

        Raises:
            SpecError: missing with no default, of another type, or a number out of range.
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
        if isinstance(value, int) and abs(value) > WHOLE:
            raise self.error(name, f"a whole number of at most {WHOLE}", value)
        if isinstance(value, float) and not math.isfinite(value):
            raise self.error(name, "a finite number", value)
        return float(value) if kind is float else value  # type: ignore[return-value,arg-type]

    def items_of(self, name: str, most: int = NODES, required: bool = False) -> list[Any]:
        """Takes a field that holds a list; an absent one is empty.

        Raises:
            SpecError: something else, more than `most` entries, or nothing where one is required.
        """
        value = self.raw(name)
        if value is None and not required:
            return []
        if not isinstance(value, (list, tuple)) or (required and not value):
            raise self.error(name, "a list", value)
        if len(value) > most:
            raise self.error(name, f"at most {most} entries", f"{len(value)} entries")
        return list(value)

    def each(self, name: str, most: int = NODES) -> Iterator[Fields]:
        """Takes a field that holds a list of mappings, as `Fields` of their own."""
        for i, raw in enumerate(self.items_of(name, most)):
            yield Fields(raw, self.source, self.where(f"{name}[{i}]"))

    def text(self, name: str, default: str = "") -> str:
        """Takes a field that holds one word or number, as text; the default when it is absent or null."""
        value = self.raw(name)
        if value is None:
            return default
        if isinstance(value, (Mapping, list, tuple)):
            raise self.error(name, "a word", value)
        return str(value)

    def sub(self, name: str, required: bool = False) -> Fields | None:
        """Takes a field that holds a mapping, as `Fields` of its own; None when absent and not required."""
        self._known.append(name)
        value = self._left.pop(name, None)
        if isinstance(value, list) and value and all(isinstance(part, Mapping) for part in value):
            value = self._together(name, value)  # the front end takes a list of dicts for a dict
        if value is None and not required:
            return None
        if value is None:
            raise self.error(name, "a mapping of fields", None)
        return Fields(value, self.source, self.where(name))

    def _together(self, name: str, parts: list[Mapping[str, Any]]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for part in parts:
            for key, value in part.items():
                if out.setdefault(key, value) != value:
                    raise self.error(f"{name}.{key}", "one value in all parts of the list", value)
        return out

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
