"""Progress of long work: bars on a terminal, plain lines elsewhere, nothing for library calls."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Protocol

from hwloop.errors import printable

_LINE_EVERY_S = 5.0
_QUIETER = 0.1  # the longer a task runs, the rarer its lines: at least this part of the time since it began lies between two


class Task(Protocol):
    """One piece of work under way."""

    def advance(self, note: str = "", steps: int = 1) -> None:
        """Some steps are done; `note` says how it stands."""
        ...


class Progress(Protocol):
    """Where the user sees how far the work is."""

    def say(self, text: str) -> None:
        """A line that stays."""
        ...

    def task(self, title: str, total: int) -> Any:
        """A context manager around one piece of work of `total` steps (0: nobody knows how many); gives its `Task`."""
        ...


class Silent:
    """Shows nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Task]:
        """A task that shows nothing."""
        yield _SilentTask()


class _SilentTask:
    def advance(self, note: str = "", steps: int = 1) -> None:
        """Nothing."""


class Lines:
    """Plain lines: one when a task begins, one every few seconds, one when it ends.

    Args:
        stream: where to, standard error when None.
        every_s: least time between two lines of a task.
    """

    def __init__(self, stream: IO[str] | None = None, every_s: float = _LINE_EVERY_S) -> None:
        self.stream = stream or sys.stderr
        self.every_s = every_s

    def say(self, text: str) -> None:
        """A line."""
        print(printable(text), file=self.stream, flush=True)

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Task]:
        """A task shown as lines."""
        task = _LineTask(self, title, total)
        yield task
        if task.done:  # else there was nothing to do
            self.say(f"{title}: {_of(task.done, total)} done in {time.monotonic() - task.began:.1f} s{_tail(task.note)}")


class _LineTask:
    def __init__(self, lines: Lines, title: str, total: int) -> None:
        self.lines, self.title, self.total = lines, title, total
        self.done, self.note = 0, ""
        self.began = self.shown = time.monotonic()

    def advance(self, note: str = "", steps: int = 1) -> None:
        """Counts, and prints when the last line is old enough."""
        self.done += steps
        self.note = note or self.note
        now = time.monotonic()
        due = max(self.lines.every_s, _QUIETER * (now - self.began))
        if now - self.shown >= due and (self.done < self.total or not self.total):
            self.shown = now
            self.lines.say(f"{self.title}: {_of(self.done, self.total)}{_tail(self.note)}")


class Bars:
    """Bars on a terminal, by rich."""

    def __init__(self) -> None:
        from rich.console import Console  # slow to load, and only a terminal needs it

        self.console = Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        """A line above the bars."""
        self.console.print(printable(text), markup=False)

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Task]:
        """A task shown as a bar; a line stays when it is done."""
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), TextColumn("{task.fields[note]}", markup=False),
        )  # fmt: skip
        began = time.monotonic()
        with RichProgress(*columns, console=self.console, transient=True) as display:
            task = _BarTask(display, display.add_task(printable(title), total=total or None, note=""))
            yield task
        if task.done:  # else there was nothing to do
            self.say(f"{title}: {_of(task.done, total)} done in {time.monotonic() - began:.1f} s{_tail(task.note)}")


class _BarTask:
    def __init__(self, display: Any, identity: Any) -> None:
        self.display, self.identity = display, identity
        self.done, self.note = 0, ""

    def advance(self, note: str = "", steps: int = 1) -> None:
        """Moves the bar."""
        self.done += steps
        self.note = note or self.note
        self.display.update(self.identity, advance=steps, note=printable(self.note))


def make_progress(quiet: bool = False) -> Progress:
    """Bars when standard error is a terminal, lines when it is not, nothing when `quiet`."""
    if quiet:
        return Silent()
    return Bars() if sys.stderr.isatty() else Lines()


def time_text(seconds: float) -> str:
    """A time in words, as exact as an estimate is: `12 s`, `4 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _of(done: int, total: int) -> str:
    return f"{done}/{total}" if total else str(done)


def _tail(note: str) -> str:
    return f" ({note})" if note else ""
