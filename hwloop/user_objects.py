"""Objects that a user names as `package.module:object`: a model, a search method, a space."""

from __future__ import annotations

import importlib
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hwloop.errors import DataError


def import_object(name: str, what: str) -> Any:
    """The object called `name`; its module is looked for in the current folder too.

    Args:
        name: `package.module:object`.
        what: what it is, for errors, e.g. `model`.

    Raises:
        DataError: the module cannot be imported, or has no such object.
    """
    module_name, _, object_name = name.partition(":")
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the user's module may raise anything
        raise DataError(f"{what} {name!r}: cannot import {module_name!r}: {type(error).__name__}: {error}") from error
    finally:
        if added:
            sys.path.remove(here)
    found = getattr(module, object_name, None)
    if not callable(found):
        near = get_close_matches(object_name, dir(module), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise DataError(f"{what} {name!r}: {module_name} has no class or function {object_name!r}{hint}")
    return found
