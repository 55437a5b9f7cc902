"""What the fork server of the pool loads, and nobody else: the mapper, so that workers start at once.

When it runs out of files or its parent dies, the process that asked is told by the end of a pipe, and says so in a line; the
server's and a starting worker's own tracebacks of that are not shown.
"""

from __future__ import annotations

import sys
from types import TracebackType

import hwloop.backend.embedded  # noqa: F401


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not isinstance(error, (OSError, EOFError)):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _show
