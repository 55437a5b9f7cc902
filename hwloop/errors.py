"""Every error that hwloop raises on purpose. All descend from `HwloopError`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

# What a terminal acts on, or what turns the direction of a line: shown as escapes in every message.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST = 1000  # characters of one part of a message


class HwloopError(Exception):
    """Base class: catch this to catch everything hwloop raises on purpose. No message holds control characters."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(printable(part) if isinstance(part, str) else part for part in args))


class SpecError(HwloopError, ValueError):
    """A specification (YAML file, text or dict) that hwloop cannot read.

    Attributes:
        source: the file, or what stands for it (`<text>`, `<dict>`).
        field: dotted path of the field, e.g. `architecture.nodes[3].attributes.depth`.
        expected: what the field should hold.
        found: what it holds.
        hint: what to do about it, may be empty.
    """

    def __init__(self, source: str, field: str, expected: str, found: object, hint: str = "") -> None:
        self.source, self.field, self.expected, self.found, self.hint = source, field, expected, found, hint
        source, field, expected, hint = (_line(part) for part in (source, field, expected, hint))
        text = f"{source}: {field}: expected {expected}, found {shorten(found)}"
        super().__init__(f"{text}; {hint}" if hint else text)

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.source, self.field, self.expected, self.found, self.hint))


class SpecWarning(UserWarning):
    """One line on a field that is read and has no effect on the simulator, or is read in an old spelling."""


class InfeasibleMappingError(HwloopError):
    """A mapping (or every mapping of a mapspace) that the accelerator cannot run.

    Attributes:
        reason: one sentence with the level, the data space, the need and the room.
        level: the architecture level that refuses, empty when no single one does.
        data_space: the data space that does not fit, empty when it is not about one.
    """

    def __init__(self, reason: str, level: str = "", data_space: str = "") -> None:
        self.reason, self.level, self.data_space = reason, level, data_space
        super().__init__(reason)

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.reason, self.level, self.data_space))


class EnergyTableError(HwloopError, ValueError):
    """An energy that no source can give. hwloop never puts a dummy number in its place."""


class SimulatorError(HwloopError):
    """An external simulator or estimator that is missing, crashed or timed out.

    Attributes:
        command: the command line that was run.
        returncode: its exit status, None when it did not start or timed out.
        log_tail: the last lines it printed.
    """

    def __init__(self, message: str, command: Sequence[str] = (), returncode: int | None = None, log_tail: str = "") -> None:
        self.message, self.command, self.returncode, self.log_tail = message, tuple(command), returncode, log_tail
        parts = [message]
        if command:
            parts.append(f"command: {' '.join(command)}")
        if returncode is not None:
            parts.append(f"exit status: {returncode}")
        if log_tail:
            parts.append(f"its last lines:\n{log_tail}")
        super().__init__("\n".join(parts))

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.message, self.command, self.returncode, self.log_tail))


class MemoError(HwloopError):
    """A memo table that cannot be opened, read, written or trusted."""


class DataError(HwloopError):
    """A data set, checkpoint or model that is missing, broken or does not fit."""


def printable(text: str) -> str:
    """The text with control characters (line breaks and tabs apart), lone surrogates and marks of direction as escapes."""
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def shorten(value: object, limit: int = 160) -> str:
    """What a value is, in one line of at most `limit` characters; looks at no more of it than is shown."""
    if value is None:
        return "nothing"
    out = ""
    for piece in _pieces(value, limit, 0):
        out += piece
        if len(out) > limit:
            return out[: limit - 3] + "..."
    return out


def _pieces(value: object, limit: int, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield repr(value[: limit + 1])
    elif isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 4 * limit:
        yield f"a whole number of {value.bit_length()} bits"
    elif isinstance(value, (Mapping, list, tuple, set, frozenset)) and depth > 8:
        yield "..."
    elif isinstance(value, Mapping):
        yield "{"
        for i, (key, item) in enumerate(value.items()):
            yield ", " if i else ""
            yield from _pieces(key, limit, depth + 1)
            yield ": "
            yield from _pieces(item, limit, depth + 1)
        yield "}"
    elif type(value) in (list, tuple, set, frozenset):
        assert isinstance(value, Iterable)
        start, end = {list: ("[", "]"), tuple: ("(", ")")}.get(type(value), ("{", "}"))
        yield start
        for i, item in enumerate(value):
            yield ", " if i else ""
            yield from _pieces(item, limit, depth + 1)
        yield f",{end}" if type(value) is tuple and len(value) == 1 else end
    else:
        yield printable(repr(value)).replace("\n", " ")


def _line(text: object) -> str:
    written = str(text)
    written = written if len(written) <= _LONGEST else written[: _LONGEST - 3] + "..."
    return written.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
