"""Packages that are called like functions: the public API names `hwloop.simulate(...)` and `hwloop.compress(...)`, and the
house has a package of each of these names, which Python binds in the function's place."""

from __future__ import annotations

import sys
from importlib import import_module
from inspect import Signature, signature
from types import ModuleType
from typing import Any


def make_callable(package: str, home: str, function: str) -> None:
    """Makes calling the package `package` call `function` of the module `home`, which is imported at the first call."""

    class CallablePackage(ModuleType):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return getattr(import_module(home), function)(*args, **kwargs)

        @property
        def __signature__(self) -> Signature:
            return signature(getattr(import_module(home), function))

    sys.modules[package].__class__ = CallablePackage
