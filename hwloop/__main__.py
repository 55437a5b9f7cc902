"""`python -m hwloop`: the same as the `hwloop` program."""

import signal
import sys
from importlib import import_module

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules load just ends it: nothing has begun
    sys.exit(import_module("hwloop.cli.main").main())
