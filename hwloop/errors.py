"""Every error that hwloop raises on purpose. All descend from `HwloopError`."""

from __future__ import annotations

from collections.abc import Sequence


class HwloopError(Exception):
    """Base class: catch this to catch everything hwloop raises on purpose."""


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
        text = f"{source}: {field}: expected {expected}, found {_shorten(found)}"
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


def _shorten(value: object, limit: int = 160) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
