"""The `hwloop` program, and `python -m hwloop`. It loads nothing before Ctrl-C is told what to do."""

import signal
import sys
from importlib import import_module


def program() -> int:
    """Runs the command line; Ctrl-C while modules load, and after all is done, just ends it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return int(import_module("hwloop.cli.main").main())


if __name__ == "__main__":
    sys.exit(program())
