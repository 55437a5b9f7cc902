"""The `hwloop` program. Only the module of the chosen command is loaded, so that help is quick."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from importlib import import_module
from importlib.util import find_spec
from io import StringIO, TextIOWrapper
from threading import current_thread, main_thread
from typing import Any, NoReturn, TextIO, cast

import hwloop
from hwloop.cli.arguments import check_arguments
from hwloop.errors import HwloopError, SimulatorError, SpecError, SpecWarning, printable

# name: what it does. Each is a module `hwloop.cli.<name>` with `add_parser(subparsers)` and `run(args) -> int`; one that also has
# `interrupted(args) -> str` says what Ctrl-C leaves and how to go on.
COMMANDS = {
    "demo": "compress a LeNet-5 on handwritten digits under three dataflows, from nothing, in minutes",
    "compress": "prune and quantise a network for an accelerator: the two-stage search",
    "compare": "networks, accelerators and dataflows side by side",
    "explain": "what an energy is made of: accesses times energy entries",
    "map": "find the best mapping of a layer or a network",
    "simulate": "what one mapping of one layer costs, as timeloop-model does",
    "check": "validate specs without running anything",
    "list": "networks, accelerators, dataflows and component classes by name",
    "sweep": "evaluate many accelerators: fields of a spec, and which values no others beat",
    "codesign": "search accelerator and network together",
    "ert": "the energy table of an accelerator, with the source of every number",
    "verify": "compare the simulator with the real Timeloop",
    "train": "train a network and save its weights",
    "export": "write a compressed network of a run for torch, ONNX and Timeloop",
    "memo": "show, query and check a memo table",
    "report": "tables of a run, and an interactive HTML page of it",
}
_FAILED, _USAGE = 1, 2
_NO_ROOM = ("failed to map segment", "cannot allocate memory", "Cannot allocate memory")  # what a library that finds none says


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns the exit code: 0 done, 1 failed for a named reason, 2 bad usage."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads of torch that wait leave the core to others
    arguments = list(sys.argv[1:] if argv is None else argv)
    sys.stdout, sys.stderr = sys.stdout or StringIO(), sys.stderr or StringIO()  # None when closed
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name need not be text
    chosen = next((word for word in arguments if not word.startswith("-")), "")
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what fits
        completion = import_module("hwloop.cli.completion")
        completion.complete(make_parser(completion.chosen_command()))
    try:
        with _signals(signal.SIG_DFL):  # Ctrl-C while modules load just ends it: nothing has begun
            args = make_parser(chosen).parse_args(arguments)
            module = import_module(f"hwloop.cli.{args.command}")
        # A scheduler that stops the job with SIGTERM is told what Ctrl-C is told.
        with (
            _signals(signal.default_int_handler, signal.SIGTERM),
            warnings.catch_warnings(),
            redirect_stdout(cast(TextIO, _Plain(sys.stdout))),
        ):
            warnings.showwarning = _show_warning
            check_arguments(args)
            code = int(module.run(args))
            sys.stdout.flush()  # in here, as it may fail
            return code
    except SystemExit as leave:  # argparse printed help or what is wrong
        return leave.code if isinstance(leave.code, int) else _USAGE
    except SimulatorError as error:
        _complain(str(error))  # with the last lines of its log
    except SpecError as error:
        _complain(_one_line(error))
        return _USAGE if error.source == "<arguments>" else _FAILED
    except HwloopError as error:
        _complain(_one_line(error))
    except KeyboardInterrupt:
        kept = module.interrupted(args) if hasattr(module, "interrupted") else "nothing was left half-written"
        _complain(f"interrupted; {kept}")
    except BrokenPipeError:  # the reader of our output has gone
        _silence()
    except OSError as error:  # a full disk, no permission, too many open files, a name that is too long, ...
        _complain(f"{error.filename or 'the system'}: {error.strerror or error}; what was finished before is kept")
    except (MemoryError, ImportError) as error:
        if isinstance(error, ImportError) and not any(words in str(error) for words in _NO_ROOM):
            raise
        _complain("out of memory; what was finished before is kept")
    return _FAILED


class _Plain:
    """A stream without control characters, which may stand in names that others gave."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(printable(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Parser(argparse.ArgumentParser):
    """Its commands' parsers are of this class too."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


@contextmanager
def _signals(handler: Any, *more: signal.Signals) -> Iterator[None]:
    """Has Ctrl-C, and `more` signals, do as `handler` says while it lasts; nothing outside the main thread."""
    mine = (signal.SIGINT, *more) if current_thread() is main_thread() else ()
    before = [(number, signal.signal(number, handler)) for number in mine]
    try:
        yield
    finally:
        for number, old in before:
            signal.signal(number, signal.SIG_DFL if old is None else old)


def make_parser(chosen: str = "") -> argparse.ArgumentParser:
    """The parser, with the arguments of the `chosen` command alone."""
    parser = _Parser(
        prog="hwloop",
        description="Compress deep networks for a given accelerator, with a simulator of that accelerator in the loop.",
        epilog="example: hwloop demo        more: hwloop COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"hwloop {hwloop.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        if find_spec(f"hwloop.cli.{name}") is None:
            continue
        if name == chosen:
            import_module(f"hwloop.cli.{name}").add_parser(commands)
        else:
            commands.add_parser(name, help=summary, add_help=False)
    return parser


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """What a spec says without effect is reported in one line; other warnings look as Python has them."""
    if issubclass(category, SpecWarning):
        _complain(f"warning: {message}")
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))


def _one_line(error: Exception) -> str:
    return str(error).replace("\n", "\\n")  # a name may hold a line break


def _complain(text: str) -> None:
    try:
        sys.stdout.flush()
    except OSError:  # what it was printed to is full or gone
        _silence()
    with suppress(OSError):
        print(f"hwloop: {printable(text)}", file=sys.stderr)


def _silence() -> None:
    """What is still to be printed goes nowhere, so that Python does not fail at it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
