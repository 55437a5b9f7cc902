"""Runs an external program with a time-out and turns what goes wrong into one clear `SimulatorError`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from hwloop.errors import SimulatorError

_TAIL_LINES = 15


def find_program(name: str) -> str | None:
    """Absolute path of a program on PATH, None when it is not there."""
    return shutil.which(name)


def tail(log: str) -> str:
    """The last lines of a log that hold text."""
    return "\n".join([line for line in log.splitlines() if line.strip()][-_TAIL_LINES:])


def run_program(command: Sequence[str], folder: Path, timeout_s: float) -> tuple[int, str]:
    """Runs `command` in `folder`.

    Args:
        command: program and arguments.
        folder: working directory; the whole output is kept there as `<program>.log`.
        timeout_s: the program and all it started are killed after this long [s].

    Returns:
        The exit status and everything it printed. A crash (killed by a signal) is not returned but raised.

    Raises:
        SimulatorError: the program cannot be started, crashed or timed out; with the command and the tail of its log.
    """
    log_file = folder / f"{Path(command[0]).name}.log"
    try:
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                status = process.wait(timeout=timeout_s)
            except BaseException:  # a time-out or Ctrl-C: leave no process behind
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise
    except subprocess.TimeoutExpired:
        text = log_file.read_text(errors="replace")
        raise SimulatorError(f"{command[0]} took over {timeout_s:g} s and was stopped", command, None, tail(text)) from None
    except OSError as error:
        raise SimulatorError(f"{command[0]} cannot be started: {error}", command) from None
    text = log_file.read_text(errors="replace")
    if status < 0:
        name = signal.Signals(-status).name
        raise SimulatorError(f"{command[0]} crashed ({name})", command, status, tail(text))
    return status, text
