"""The small language of loop factors, permutations and splits that constraints and mappings share."""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from hwloop.spec.document import Fields
from hwloop.spec.limits import COMPUTES, DIMENSIONS, FACTOR_CHARACTERS

D = TypeVar("D", bound=Hashable)
REUSE_FLAGS = ("no_reuse", "no_link_transfer", "rmw_first_update")  # of a target with loops: lists of data spaces
_FACTOR = re.compile(r"([A-Za-z][A-Za-z_]*)\s*(<=|>=|=)?\s*([0-9]+)(?:\s*,\s*([0-9]+)(?![A-Za-z]))?")
_ONE = re.compile(rf"\s*{_FACTOR.pattern}\s*")


def read_factors(fields: Fields, name: str, relations: bool) -> tuple[tuple[str, str, int, int], ...]:
    """Reads `factors`: a dict, a list of `"C=4"` or a text such as `"C4 M8"`, `"C=4,M=8"` or, with a remainder, `"P4,3"`.

    Args:
        fields: the block that holds the field.
        name: the field, `factors`.
        relations: whether `<=` and `>=` may stand in place of `=` (in constraints).

    Returns:
        (dimension, relation, bound, remainder) in the order written; the remainder is the bound unless given.

    Raises:
        SpecError: anything else, or a dimension given twice with the same relation.
    """
    raw = fields.raw(name)
    out: list[tuple[str, str, int, int]] = []
    if raw is None:
        return ()
    if isinstance(raw, (str, Mapping, list)) and len(raw) > FACTOR_CHARACTERS:
        raise fields.error(name, f"factors in at most {FACTOR_CHARACTERS} characters", raw)
    if isinstance(raw, Mapping):
        for key, value in raw.items():
            pair = value if isinstance(value, (list, tuple)) else (value, value)
            if len(pair) != 2 or any(isinstance(v, bool) or not isinstance(v, int) or not 0 <= v <= COMPUTES for v in pair):
                raise fields.error(f"{name}.{key}", f"a whole number up to {COMPUTES:.0e}, or [bound, remainder]", value)
            out.append((str(key), "=", pair[0], pair[1]))
    else:
        for part in _split_factors(fields, name, raw):
            match = _ONE.fullmatch(part)
            if match is None or (match[2] in ("<=", ">=") and not relations):
                raise fields.error(name, "factors such as C=4, C4 M8 or {C: 4}" + (", C<=4" if relations else ""), raw)
            bounds = match[3], match[4] or match[3]
            if any(len(b) > len(str(COMPUTES)) or int(b) > COMPUTES for b in bounds):
                raise fields.error(name, f"whole numbers up to {COMPUTES:.0e}", part)
            out.append((match[1], match[2] or "=", int(bounds[0]), int(bounds[1])))
    if len({(d, r) for d, r, _, _ in out}) != len(out):
        raise fields.error(name, "each dimension once", raw)
    return tuple(out)


def _split_factors(fields: Fields, name: str, raw: Any) -> list[str]:
    if isinstance(raw, str):
        rest = _FACTOR.sub("", raw.split("#")[0])
        if rest.strip(" ,\t\n"):
            raise fields.error(name, "factors such as C=4 or C4 M8", raw, f"cannot read {rest.strip()!r}")
        return [m[0] for m in _FACTOR.finditer(raw.split("#")[0])]
    if isinstance(raw, list) and all(isinstance(part, str) and len(part) <= FACTOR_CHARACTERS for part in raw):
        return raw
    raise fields.error(name, "factors as a dict, a list or text", raw)


def read_permutation(fields: Fields, name: str) -> tuple[str, ...] | None:
    """Reads a permutation, innermost loop first: a list, `"C,M"`, or text that is read letter by letter, blanks aside.

    A `*` or `_` stands where the dimensions that are not named go (Timeloop's constraint syntax). None when there is none.
    """
    raw = fields.raw(name)
    if isinstance(raw, str):
        text = raw[: FACTOR_CHARACTERS + 1].split("#")[0]
        raw = [p for p in (part.strip() for part in text.split(",")) if p] if "," in text else list("".join(text.split()))
    if raw is None or raw == []:
        return None
    if not isinstance(raw, list) or not all(isinstance(d, str) for d in raw) or len(raw) > 2 * DIMENSIONS:
        raise fields.error(name, "dimension names, innermost loop first", raw, "quote a name that YAML reads as true or false")
    permutation = tuple("*" if d in ("*", "_") else d for d in raw)
    if len(set(permutation)) != len(permutation):
        raise fields.error(name, "each dimension once", raw)
    return permutation


def written_permutation(permutation: Sequence[str]) -> str | list[str]:
    """A permutation as it stands in a spec: text where it can be, which the Timeloop programs read letter by letter."""
    if all(len(d) == 1 for d in permutation):
        return "".join(permutation).replace("*", "_")
    return list(permutation)


def complete_permutation(permutation: Sequence[str] | None, dimensions: Iterable[str]) -> tuple[str, ...]:
    """The whole order of a mapping's loops, innermost first: missing dimensions go where `*` stands, else behind (outermost).

    That is what the Timeloop programs do with a mapping. The v0.4 front end completes *constraints* before the programs see
    them, another way: see `constraint_order`.
    """
    given = tuple(permutation or ())
    missing = tuple(d for d in dimensions if d not in given)
    at = given.index("*") if "*" in given else len(given)
    return given[:at] + missing + given[at + 1 :]


def spatial_sequence(order: Sequence[D], split: int, running: Collection[D]) -> tuple[tuple[D, ...], int]:
    """The order of a level's spatial loops, innermost first, those on X before those on Y; and how many lie on X.

    A loop of one pass counts as on X wherever it stands, as in the Timeloop programs: the last loop in space names the dimension
    along which a vector lies, which sparse accelerators depend on.

    Args:
        order: every dimension.
        split: how many of them stand before the split.
        running: dimensions whose loop has more than one pass.
    """
    on_y = tuple(d for d in order[max(split, 0) :] if d in running)
    return (*(d for d in order if d not in on_y), *on_y), len(order) - len(on_y)


def read_names(fields: Fields, name: str) -> tuple[str, ...] | None:
    """Reads a list of names; None when the field is absent."""
    raw = fields.raw(name)
    if raw is None:
        return None
    if isinstance(raw, str):
        raw = re.split(r"[\s,]+", raw.strip()) if raw.strip() else []
    if not isinstance(raw, list) or not all(isinstance(d, str) for d in raw):
        raise fields.error(name, "a list of names", raw)
    return tuple(raw)


def constraint_order(permutation: Sequence[str], ones: Container[str], dimensions: Iterable[str]) -> tuple[str, ...]:
    """A constraint's order, innermost first, as upstream's front end hands it on, with `*` for the dimensions it leaves free.

    Args:
        permutation: as written, may be incomplete.
        ones: dimensions that have one pass here: the constraint says so, or the problem's bound is 1. Those that the
            permutation does not name go in front, where they count towards `split`; the other missing ones stay free.
        dimensions: the problem's.
    """
    given = tuple(permutation)
    whole = (*(d for d in dimensions if d in ones and d not in given), *given)
    return whole if "*" in whole else (*whole, "*")
