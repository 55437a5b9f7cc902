"""From YAML text to plain data, with limits on everything and the line and column in every error.

Only plain data comes out: dicts, lists, text, whole and real numbers, true, false and nothing. There are no dates, no sets and no
objects; a tag such as `!Container` on a mapping or a list is kept as the field `TAG`. Numbers are those of YAML 1.2 and of the
Timeloop programs: 1e-9 is one, 1:1 is text. The events of the YAML library are put together here, without recursion.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from hwloop.errors import SpecError
from hwloop.spec.limits import DEPTH, DIGITS, KEY_CHARACTERS, NODES, TEXT_CHARACTERS

TAG = "__tag__"  # where a YAML tag such as `!Container` is kept in the dict it marks
_PLAIN = "tag:yaml.org,2002:"
_LOCAL = re.compile(r"!([A-Za-z][A-Za-z0-9_.-]{0,63})")
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {
    **dict.fromkeys(("yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")  # control characters and lone surrogates
_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = object()  # the key `<<`
_AGAIN = object()  # a key that stands there already


def read_yaml(text: str, name: str, repeated: set[str] | None = None) -> Any:
    """Plain data from YAML text.

    Args:
        text: the YAML.
        name: the file, for messages.
        repeated: where keys that stand twice are noted, whose first value counts; None refuses them.

    Raises:
        SpecError: it is not YAML, has one key twice, a tag or a scalar that means nothing here, or is beyond a limit of
            `hwloop.spec.limits`; with the line and the column.
    """
    if len(text) > TEXT_CHARACTERS:
        raise SpecError(name, "(file)", f"at most {TEXT_CHARACTERS} characters", f"{len(text)} characters")
    bad = NO_TEXT.search(text)
    if bad is not None:
        line, start = text.count("\n", 0, bad.start()), text.rfind("\n", 0, bad.start()) + 1
        raise SpecError(name, _place(line, bad.start() - start), "text without control characters", bad[0])
    reader = _Reader(name, repeated)
    try:
        for event in yaml.parse(text, Loader=_Parser):
            reader.take(event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        what = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "").strip() or "something else"
        raise SpecError(name, "(file)" if mark is None else _place(mark.line, mark.column), "valid YAML", what) from None
    return reader.document


@dataclass
class _Open:
    """A mapping or list that has not ended.

    Attributes:
        made: what it becomes.
        anchor: its name, None when it has none.
        start: the event that opened it.
        own: the fields of a mapping as written, in order.
        merged: what its `<<` bring in.
        key: the key whose value comes next; `waiting` says whether there is one.
        nodes: of the document before it.
    """

    made: dict[Any, Any] | list[Any]
    anchor: str | None
    start: Any
    own: dict[Any, Any] = field(default_factory=dict)
    merged: list[Any] = field(default_factory=list)
    key: Any = None
    waiting: bool = False
    nodes: int = 0


class _Reader:
    """Takes the events of one document."""

    def __init__(self, name: str, repeated: set[str] | None) -> None:
        self.document: Any = None
        self._name = name
        self._repeated = repeated
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int, int]] = {}  # the data, how many nodes it stands for, how deep it is
        self._deepest: list[int] = []
        self._nodes = 0
        self._documents = 0

    def take(self, event: Any) -> None:
        """Takes the next event."""
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._error(event, "one document", "a second one, after ---")
        elif isinstance(event, yaml.ScalarEvent):
            self._count(event, 1)
            value = self._scalar(event)
            if event.anchor is not None:
                self._anchors[event.anchor] = (value, 1, 0)
            self._put(value, event, 0)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise self._error(event, "an alias of an anchor that is complete", f"*{event.anchor}")
            value, nodes, depth = self._anchors[event.anchor]
            self._count(event, nodes)
            if len(self._open) + depth > DEPTH:
                raise self._error(event, f"at most {DEPTH} mappings and lists inside one another", "more")
            self._put(value, event, depth)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._count(event, 1)
            if len(self._open) >= DEPTH:
                raise self._error(event, f"at most {DEPTH} mappings and lists inside one another", "more")
            made: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            self._open.append(_Open(made, event.anchor, event, nodes=self._nodes - 1))
            self._deepest.append(0)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._close(event)

    def _close(self, event: Any) -> None:
        done = self._open.pop()
        depth = self._deepest.pop() + 1
        value: Any = done.made
        tag = self._collection_tag(done)
        if isinstance(value, dict):
            if tag:
                value[TAG] = tag
            for more in done.merged:  # the first counts most
                value |= {key: item for key, item in more.items() if key not in value and key != TAG}
            value |= done.own
        elif tag:
            value = {TAG: tag, "nodes": value}
        if done.anchor is not None:
            self._anchors[done.anchor] = (value, self._nodes - done.nodes, depth)
        self._put(value, done.start, depth)

    def _put(self, value: Any, event: Any, depth: int) -> None:
        if not self._open:
            self.document = value
            return
        self._deepest[-1] = max(self._deepest[-1], depth)
        parent = self._open[-1]
        if isinstance(parent.made, list):
            parent.made.append(value)
        elif parent.waiting:
            parent.waiting = False
            if parent.key is _MERGE:
                self._merge(parent, value, event)
            elif parent.key is not _AGAIN:
                parent.own[parent.key] = value
        else:
            parent.key, parent.waiting = self._key(parent, value, event), True

    def _key(self, parent: _Open, value: Any, event: Any) -> Any:
        if isinstance(value, (dict, list)):
            raise self._error(event, "a key that is a plain word", value)
        if value is None or value == "":
            raise self._error(event, "a key", "an empty one")
        if isinstance(value, str) and len(value) > KEY_CHARACTERS:
            raise self._error(event, f"a key of at most {KEY_CHARACTERS} characters", value)
        if value == TAG:
            raise self._error(event, f"another key: {TAG} is hwloop's own", value)
        if value == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
            return _MERGE
        if value in parent.own and self._repeated is not None:
            self._repeated.add(str(value))
            return _AGAIN
        if value in parent.own:
            raise self._error(event, "each key once", f"duplicate key {value!r}")
        return value

    def _merge(self, parent: _Open, value: Any, event: Any) -> None:
        parts = value if isinstance(value, list) else [value]
        for part in parts:
            if not isinstance(part, dict):
                raise self._error(event, "a mapping, or a list of mappings, to merge with <<", value)
            self._count(event, len(part))
            parent.merged.append(part)

    def _collection_tag(self, done: _Open) -> str:
        written = done.start.tag
        own = f"{_PLAIN}{'map' if isinstance(done.made, dict) else 'seq'}"
        return "" if written in (None, "!", own) else self._local_tag(done.start, written)

    def _local_tag(self, event: Any, written: str) -> str:
        match = _LOCAL.fullmatch(written)
        if match is None:
            raise self._error(event, "a tag such as !Container, or none", written)
        return match[1]

    def _scalar(self, event: Any) -> Any:
        text, tag = event.value, event.tag
        bad = NO_TEXT.search(text)
        if bad is not None:
            raise self._error(event, "text without control characters", text)
        if tag is None or tag == "!":
            return self._resolved(event, text) if tag is None and event.implicit[0] else text
        if not tag.startswith(_PLAIN):
            found = self._local_tag(event, tag)
            if text not in _NULL:
                raise self._error(event, f"a mapping or a list under !{found}", text)
            return {TAG: found}
        kind = tag.removeprefix(_PLAIN)
        value = self._resolved(event, text)
        if kind == "str":
            return text
        if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        wanted: dict[str, Any] = {"int": int, "float": float, "bool": bool, "null": type(None)}
        if kind not in wanted:
            raise self._error(event, "no tag, or one of !!str !!int !!float !!bool !!null", f"!!{kind}")
        if type(value) is not wanted[kind]:
            raise self._error(event, f"what !!{kind} says", text)
        return value

    def _resolved(self, event: Any, text: str) -> Any:
        if text in _NULL:
            return None
        if text in _BOOL:
            return _BOOL[text]
        if text[0] not in "+-.0123456789":
            return text
        if _INT.fullmatch(text):
            if len(text) > DIGITS:
                raise self._error(event, f"a number of at most {DIGITS} digits", text)
            plain = text.replace("_", "")
            return int(plain, 16) if "x" in plain else int(plain)
        if _FLOAT.fullmatch(text):
            if len(text) > DIGITS:
                raise self._error(event, f"a number of at most {DIGITS} digits", text)
            value = float(text.replace("_", ""))
            if math.isinf(value):
                raise self._error(event, "a number that a computer can hold (below 1.8e308)", text)
            return value
        if _NOT_FINITE.fullmatch(text):
            raise self._error(event, "a finite number", text)
        return text

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > NODES:
            raise self._error(event, f"at most {NODES} values, aliases counted as what they stand for", "more")

    def _error(self, event: Any, expected: str, found: object) -> SpecError:
        return SpecError(self._name, _place(event.start_mark.line, event.start_mark.column), expected, found)


def _place(line: int, column: int) -> str:
    return f"line {line + 1}, column {column + 1}"
