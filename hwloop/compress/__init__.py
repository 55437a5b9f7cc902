"""The torch side: tracing a model to a workload, pruning, quantising, coding, retraining, and measuring accuracy.

`hwloop.compress` is this package and, because the public API says so, also the function that runs the whole search:
calling the package calls `hwloop.run.compress`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from inspect import signature
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """A package that can be called; Python binds the name `hwloop.compress` to the package whatever the API wants."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return import_module("hwloop.run").compress(*args, **kwargs)

    @property
    def __signature__(self) -> Any:
        return signature(import_module("hwloop.run").compress)


sys.modules[__name__].__class__ = _CallablePackage
