"""Typed options: the fields of a method's or a space's dataclass, given as text or as values, and as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hwloop.errors import SpecError
from hwloop.user_objects import import_object


def find_class(name: str, known: Mapping[str, str], what: str) -> Any:
    """The class called `name`: one of `known`, or `package.module:Class` of the user's own.

    Args:
        name: as a user writes it.
        known: `package.module:Class` by short name.
        what: `method` or `space`, for errors.

    Raises:
        SpecError: there is none of that name.
        DataError: the user's module cannot be imported.
    """
    if name not in known and ":" not in name:
        near = get_close_matches(name, list(known), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "a class of your own is package.module:Class"
        raise SpecError("<arguments>", what, f"one of {', '.join(known)}", name, hint)
    return import_object(known.get(name, name), what)


def split_options(texts: Sequence[str], what: str) -> dict[str, str]:
    """Reads `NAME=VALUE` texts.

    Raises:
        SpecError: no `=`, or a name given twice.
    """
    given: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise SpecError("<arguments>", what, "NAME=VALUE", text)
        if name in given:
            raise SpecError("<arguments>", f"{what} {name}", "each option once", text)
        given[name] = value.strip()
    return given


def read_options(kind: type, given: Mapping[str, Any], what: str, fixed: Iterable[str] = ()) -> dict[str, Any]:
    """`given` checked against the fields of the dataclass `kind` and turned into their types; text is read.

    Args:
        kind: a dataclass.
        given: values or text by name.
        what: `method option` or `space option`, for errors.
        fixed: fields that are no options.

    Raises:
        SpecError: an unknown name, or a value of another type.
    """
    hints = get_type_hints(kind)
    known = {field.name: hints[field.name] for field in option_fields(kind, fixed)}
    for name in given:
        if name not in known:
            near = get_close_matches(name, list(known), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(known) or 'none'}"
            raise SpecError("<arguments>", f"{what} {name}", f"an option of {kind.__name__}", given[name], hint)
    return {name: _read(value, known[name], f"{what} {name}") for name, value in given.items()}


def option_fields(kind: type, fixed: Iterable[str] = ()) -> list[Field[Any]]:
    """The fields of a dataclass that are options."""
    return [field for field in fields(kind) if field.init and field.name not in set(fixed)]


def plain_options(instance: Any, fixed: Iterable[str] = ()) -> dict[str, Any]:
    """The options of an instance as plain data."""
    return {field.name: getattr(instance, field.name) for field in option_fields(type(instance), fixed)}


def default_options(kind: type, fixed: Iterable[str] = ()) -> dict[str, Any]:
    """The options that have a default."""
    return {field.name: field.default for field in option_fields(kind, fixed) if field.default is not MISSING}


def describe_options(kind: type, fixed: Iterable[str] = ()) -> str:
    """`population=40, generations=25, ...`: the options with their defaults."""
    shown = [f"{f.name}={f.default}" if f.default is not MISSING else f.name for f in option_fields(kind, fixed)]
    return ", ".join(shown)


def _read(value: Any, hint: Any, where: str) -> Any:
    for kind in _alternatives(hint):
        found = _as(value, kind)
        if found is not _NO:
            return found
    raise SpecError("<arguments>", where, f"a value of type {_type_text(hint)}", value)


_NO = object()


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _as(value: Any, kind: Any) -> Any:
    """`value` as a `kind`, `_NO` when it is none."""
    text = isinstance(value, str)
    if kind is NoneType:
        return None if value is None or value == "none" else _NO
    if get_origin(kind) is tuple:
        parts = [part for part in value.split(",") if part] if text else value
        if not isinstance(parts, (list, tuple)):
            return _NO
        wanted = get_args(kind)
        wanted = wanted[:1] * len(parts) if wanted[1:] == (...,) else wanted
        found = tuple(_as(part, each) for part, each in zip(parts, wanted, strict=False))
        return found if len(found) == len(parts) == len(wanted) and _NO not in found else _NO
    if kind is bool:
        return {"true": True, "false": False}.get(value, _NO) if text else value if isinstance(value, bool) else _NO
    if kind in (int, float) and not isinstance(value, bool) and (text or isinstance(value, (int, kind))):
        try:
            return kind(value)
        except ValueError:
            return _NO
    return value if isinstance(kind, type) and isinstance(value, kind) and not isinstance(value, bool) else _NO


def _type_text(hint: Any) -> str:
    names = [getattr(kind, "__name__", str(kind)) if get_origin(kind) is None else str(kind) for kind in _alternatives(hint)]
    return " or ".join("none" if name == "NoneType" else name for name in names)
