"""What the shell offers behind the Tab key: commands, options, names of what ships. Needs argcomplete."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from hwloop.spec.shipped import architecture_names, mapping_names

_NAMES: dict[str, Callable[[], tuple[str, ...]]] = {"arch": architecture_names, "dataflow": mapping_names}


def chosen_command() -> str:
    """The command on the line that is being completed; empty while it is typed."""
    line = os.environ.get("COMP_LINE", "")[: int(os.environ.get("COMP_POINT", "0") or 0)]
    words = line.split()[1:]
    whole = words if line.endswith(" ") else words[:-1]
    return next((word for word in whole if not word.startswith("-")), "")


def complete(parser: argparse.ArgumentParser) -> None:
    """Prints what fits to where the shell reads it, and ends the program; nothing without argcomplete."""
    try:
        import argcomplete
    except ImportError:
        return
    for action in _actions(parser):
        if action.dest in _NAMES and not action.choices:
            action.completer = lambda _names=_NAMES[action.dest], **_: _names()  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser)


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    found = []
    for action in parser._actions:  # argparse has no public name for them
        found.append(action)
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                found += _actions(command)
    return found
