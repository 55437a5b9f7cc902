"""Constraints: what a mapping may do. They stand inside architecture nodes or in a file of their own (`mappings/`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hwloop.errors import SpecError
from hwloop.spec.document import to_yaml
from hwloop.spec.loops import REUSE_FLAGS, constraint_order, written_permutation

EVERY = "*"  # in a list of data spaces: all of the problem's


@dataclass(frozen=True)
class LoopConstraint:
    """What the temporal or spatial loops of one level may be.

    Attributes:
        target: the level's name.
        kind: `temporal` or `spatial`.
        factors: (dimension, relation, bound) with the relation `=`, `<=` or `>=`; a bound of 0 with `=` means the whole
            dimension.
        permutation: innermost loop first, None when free; `*` marks the place of dimensions not named.
        split: how many loops of the permutation lie on X, None when free. Spatial only.
        no_reuse: data spaces that get no multicast or reduction (spatial), or no reuse over time (temporal).
        no_link_transfer: data spaces that do not pass from neighbour to neighbour (spatial).
        rmw_first_update: data spaces whose first update reads what it adds to, as the later ones do (temporal).
        remainders: how many imperfect factors the mapper may use here, None when the spec does not say.
        macros: (word, names) pairs that `Constraints.for_problem` turns into factors: `factors_only`,
            `no_iteration_over_dataspaces`, `must_iterate_over_dataspaces`, `default_max_factor`, `default_min_factor`.
    """

    target: str
    kind: str
    factors: tuple[tuple[str, str, int], ...] = ()
    permutation: tuple[str, ...] | None = None
    split: int | None = None
    no_reuse: tuple[str, ...] = ()
    no_link_transfer: tuple[str, ...] = ()
    rmw_first_update: tuple[str, ...] = ()
    remainders: int | None = None
    macros: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def order(self, sizes: Mapping[str, int], front_end: bool) -> tuple[str, ...]:
        """The permutation as the mapper program sees it, `*` where the free dimensions stand; empty when there is none.

        Args:
            sizes: the problem's dimensions.
            front_end: whether upstream's front end stands before the program (`Architecture.front_end`): it inserts the missing
                dimensions of one pass in front, where they count towards `split`.
        """
        if self.permutation is None:
            return ()
        ones = {name for name, _, bound in self.factors if bound == 1} | {d for d, n in sizes.items() if n == 1}
        return constraint_order(self.permutation, ones if front_end else (), sizes)

    def to_dict(self) -> dict[str, Any]:
        """One target of Timeloop's list."""
        entry: dict[str, Any] = {"target": self.target, "type": self.kind}
        if self.factors:
            entry["factors"] = " ".join(f"{d}{relation}{bound}" for d, relation, bound in self.factors)
        if self.permutation is not None:
            entry["permutation"] = written_permutation(self.permutation)
        for name in ("split", "remainders"):
            if getattr(self, name) is not None:
                entry[name] = getattr(self, name)
        for word, names in self.macros:
            entry[word] = int(names[0]) if word.startswith("default_") else list(names)
        return entry | {name: list(getattr(self, name)) for name in REUSE_FLAGS if getattr(self, name)}


@dataclass(frozen=True)
class DataSpaceConstraint:
    """What one level keeps and what it bypasses; a data space in neither is free.

    Attributes:
        target: the level's name.
        keep: data spaces it stores; `*` is all of them.
        bypass: data spaces that pass it; `*` is all of them that are not kept.
        no_coalesce: as in `Bypass`.
        only: the only data spaces that may be stored here (a branch of `!Parallel`), None when any may.
    """

    target: str
    keep: tuple[str, ...] = ()
    bypass: tuple[str, ...] = ()
    no_coalesce: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """One target of Timeloop's list."""
        entry: dict[str, Any] = {"target": self.target, "type": "dataspace", "keep": list(self.keep), "bypass": list(self.bypass)}
        if self.no_coalesce:
            entry["no_coalesce"] = list(self.no_coalesce)
        return entry if self.only is None else entry | {"only": list(self.only)}


@dataclass(frozen=True)
class Constraints:
    """All constraints on a mapping.

    Attributes:
        loops: at most one for each (target, kind).
        data_spaces: at most one for each target.
        min_utilization: least fraction of the compute units that must be used, 0-1.
        name: e.g. `row_stationary`, for people.
        description: one sentence, for people.
        source: the file, for messages.
    """

    loops: tuple[LoopConstraint, ...] = ()
    data_spaces: tuple[DataSpaceConstraint, ...] = ()
    min_utilization: float = 0.0
    name: str = field(default="", compare=False)
    description: str = field(default="", compare=False)
    source: str = field(default="constraints", compare=False)

    def loop(self, target: str, kind: str) -> LoopConstraint | None:
        """The loop constraint on (target, kind), None when there is none."""
        return next((c for c in self.loops if c.target == target and c.kind == kind), None)

    def data_space(self, target: str) -> DataSpaceConstraint | None:
        """The data-space constraint on a level, None when there is none."""
        return next((c for c in self.data_spaces if c.target == target), None)

    def merged_with(self, other: Constraints, repeats: bool = True) -> Constraints:
        """These constraints and `other` together: on one target they add up, dimension by dimension.

        Args:
            other: the further constraints.
            repeats: whether both may say the same thing, as the front end allows and the programs do not.

        Raises:
            SpecError: both say something of one dimension, permutation, split, data space or flag.
        """
        loops = {(c.target, c.kind): c for c in self.loops}
        for c in other.loops:
            mine = loops.get((c.target, c.kind))
            loops[c.target, c.kind] = c if mine is None else _merge_loops(mine, c, other.source, repeats)
        spaces = {c.target: c for c in self.data_spaces}
        for s in other.data_spaces:
            held = spaces.get(s.target)
            spaces[s.target] = s if held is None else _merge_spaces(held, s, other.source, repeats)
        return Constraints(
            tuple(loops.values()),
            tuple(spaces.values()),
            max(self.min_utilization, other.min_utilization),
            other.name or self.name,
            other.description or self.description,
            other.source,
        )

    def for_dimensions(self, dimensions: Iterable[str]) -> Constraints:
        """These constraints without what they say of other dimensions, so that one file fits every layer.

        A depthwise layer has no M, most layers have no G: factors and permutations drop them, and a split goes on dividing the
        dimensions that are left where it divided them before.
        """
        known = {*dimensions, "*"}
        loops = []
        for loop in self.loops:
            permutation, split = loop.permutation, loop.split
            if permutation is not None:
                if split is not None:
                    split -= sum(d not in known for d in permutation[:split])
                permutation = tuple(d for d in permutation if d in known)
            factors = tuple(f for f in loop.factors if f[0] in known)
            loops.append(replace(loop, factors=factors, permutation=permutation, split=split))
        return replace(self, loops=tuple(loops))

    def to_dict(self) -> dict[str, Any]:
        """Timeloop's list of targets, with hwloop's name, description and minimum utilisation beside it."""
        out: dict[str, Any] = {"version": 0.4}
        for key in ("name", "description", "min_utilization"):
            if getattr(self, key):
                out[key] = getattr(self, key)
        return {**out, "targets": [*(s.to_dict() for s in self.data_spaces), *(c.to_dict() for c in self.loops)]}

    def to_yaml(self) -> str:
        """A file that `load_constraints` reads; its `targets` are Timeloop's."""
        return to_yaml({"mapspace_constraints": self.to_dict()})


def _again(source: str, target: str, what: str, first: object, second: object) -> SpecError:
    return SpecError(
        source, f"{target}.{what}", "each thing to be said once for one target", f"{first} and {second}",
        "the constraint sets of an architecture and a mapspace add up; take it out of one of them",
    )  # fmt: skip


def _one(mine: Any, other: Any, source: str, target: str, what: str, repeats: bool) -> Any:
    """Whichever of two values is given."""
    if mine is None or mine == ():
        return other
    if other is not None and other != () and not (repeats and mine == other):
        raise _again(source, target, what, mine, other)
    return mine


def _check_factors(factors: Iterable[tuple[str, str, int]], source: str, where: str) -> None:
    """Refuses two factors of one dimension that no loop can keep to, or that are two of one relation."""
    seen: dict[str, list[tuple[str, int]]] = {}
    for dimension, relation, bound in factors:
        for have in seen.setdefault(dimension, []):
            if have != (relation, bound) and not _agree({have[0]: have[1], relation: bound}):
                raise _again(source, where, f"factors.{dimension}", "".join(map(str, have)), f"{relation}{bound}")
        seen[dimension].append((relation, bound))


def _agree(bounds: dict[str, int]) -> bool:
    if len(bounds) == 1:  # two of one relation
        return False
    exact = bounds.get("=") or None  # =0 is what is left, whatever that is
    return exact is None or bounds.get(">=", exact) <= exact <= bounds.get("<=", exact)


def _merge_loops(mine: LoopConstraint, other: LoopConstraint, source: str, repeats: bool) -> LoopConstraint:
    where = f"{mine.target} ({mine.kind})"
    given = {(d, r): bound for d, r, bound in mine.factors}
    for d, relation, bound in other.factors:
        have = given.get((d, relation))
        if have is not None and not (repeats and have == bound):
            raise _again(source, where, f"factors.{d}", f"{relation}{have}", f"{relation}{bound}")
    factors = tuple(dict.fromkeys((*mine.factors, *other.factors)))
    _check_factors(factors, source, where)
    rest = {
        name: _one(getattr(mine, name), getattr(other, name), source, where, name, repeats)
        for name in ("permutation", "split", "remainders", *REUSE_FLAGS)
    }
    return replace(mine, factors=factors, macros=tuple(dict.fromkeys((*mine.macros, *other.macros))), **rest)


def _merge_spaces(mine: DataSpaceConstraint, other: DataSpaceConstraint, source: str, repeats: bool) -> DataSpaceConstraint:
    for a, b, says in ((mine.keep, other.bypass, "keep and bypass"), (mine.bypass, other.keep, "bypass and keep")):
        both = (set(a) & set(b)) - {EVERY}
        if both:
            raise _again(source, mine.target, "dataspace", f"{says} of {sorted(both)}", "in two sets")
    twice = (set(mine.keep) & set(other.keep)) | (set(mine.bypass) & set(other.bypass))
    if twice and not repeats:
        raise _again(source, mine.target, "dataspace", sorted(twice), sorted(twice))
    return DataSpaceConstraint(
        mine.target,
        tuple(dict.fromkeys((*mine.keep, *other.keep))),
        tuple(dict.fromkeys((*mine.bypass, *other.bypass))),
        _one(mine.no_coalesce, other.no_coalesce, source, mine.target, "no_coalesce", repeats),
        other.only if mine.only is None else mine.only,
    )
