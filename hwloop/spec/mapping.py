"""The mapping: the chosen loop nest, as Timeloop's list of targets."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwloop.errors import SpecError
from hwloop.spec.document import Fields, to_yaml
from hwloop.spec.limits import TARGETS
from hwloop.spec.loops import REUSE_FLAGS, read_factors, read_names, read_permutation, written_permutation
from hwloop.spec.source import read_spec


@dataclass(frozen=True)
class Loops:
    """The temporal or spatial loops of one level.

    Attributes:
        target: the level's name.
        kind: `temporal` or `spatial`.
        factors: (dimension, bound, remainder): the loop runs `bound` times, `remainder` times in the last pass of the loops
            above it on the same dimension (equal unless the factor is imperfect). Dimensions not named are 1; a bound of 0
            is the whole dimension.
        permutation: innermost loop first; dimensions not named come behind it (outermost).
        split: how many loops of the permutation lie on X (spatial); None puts all on X.
        no_reuse: data spaces without multicast and reduction (spatial), or without reuse over time (temporal).
        no_link_transfer: data spaces that do not pass from neighbour to neighbour (spatial).
        rmw_first_update: data spaces whose first update reads what it adds to, as the later ones do (temporal).
    """

    target: str
    kind: str
    factors: tuple[tuple[str, int, int], ...]
    permutation: tuple[str, ...] = ()
    split: int | None = None
    no_reuse: tuple[str, ...] = ()
    no_link_transfer: tuple[str, ...] = ()
    rmw_first_update: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """One target of Timeloop's list."""
        factors = " ".join(f"{d}={bound}" if bound == rest else f"{d}={bound},{rest}" for d, bound, rest in self.factors)
        order = written_permutation(self.permutation)
        out: dict[str, Any] = {"target": self.target, "type": self.kind, "factors": factors, "permutation": order}
        if self.split is not None:
            out["split"] = self.split
        return out | {name: list(getattr(self, name)) for name in REUSE_FLAGS if getattr(self, name)}


@dataclass(frozen=True)
class Bypass:
    """What one level keeps and what passes it by.

    Attributes:
        target: the level's name.
        keep: data spaces it stores.
        bypass: data spaces that pass it.
        no_coalesce: data spaces that it neither stores across passes nor combines: each access goes on to the level outside.
    """

    target: str
    keep: tuple[str, ...] = ()
    bypass: tuple[str, ...] = ()
    no_coalesce: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """One target of Timeloop's list."""
        out = {"target": self.target, "type": "bypass", "keep": list(self.keep), "bypass": list(self.bypass)}
        return out | ({"no_coalesce": list(self.no_coalesce)} if self.no_coalesce else {})


@dataclass(frozen=True)
class Mapping:
    """A loop nest on an architecture: the targets in any order; the architecture says which level is outer.

    A level without a temporal or spatial target has loops of 1. A data space in neither `keep` nor `bypass` of a level is
    kept, unless the architecture's data-space constraint says otherwise.
    """

    loops: tuple[Loops, ...]
    bypass: tuple[Bypass, ...] = ()

    def find(self, target: str, kind: str) -> Loops | None:
        """The loops of (target, kind), None when there are none."""
        return next((entry for entry in self.loops if entry.target == target and entry.kind == kind), None)

    def find_bypass(self, target: str) -> Bypass | None:
        """The keep/bypass entry of a level, None when there is none."""
        return next((entry for entry in self.bypass if entry.target == target), None)

    def to_list(self) -> list[dict[str, Any]]:
        """Timeloop's list of targets."""
        return [*(entry.to_dict() for entry in self.loops), *(entry.to_dict() for entry in self.bypass)]

    def to_dict(self) -> dict[str, Any]:
        """`{"mapping": [...]}`."""
        return {"mapping": self.to_list()}

    def to_yaml(self) -> str:
        """A file that Timeloop and `load_mapping` read."""
        return to_yaml(self.to_dict())


def load_mapping(source: Any, variables: MappingABC[str, Any] | None = None, include: Iterable[str | Path] = ()) -> Mapping:
    """Reads a mapping: a file, text, a list of targets, or a dict with `mapping`.

    Both encodings are taken: factors as a dict or as `"C1 M8"`, permutations as a list or as `"MCR"`, keep/bypass under the type
    `bypass`, `datatype` or `dataspace`; targets in any order.

    `variables` and `include` are those of `hwloop.spec.source.read_spec`.

    Raises:
        SpecError: with the file and the field.
    """
    if isinstance(source, Mapping):
        return source
    document, name = read_spec(source, variables, include)
    path = ""
    if isinstance(document, MappingABC):
        if document.get("mapping") is None and ("architecture" in document or "arch" in document):
            return Mapping(())  # the constraints of its nodes are the mapping
        if "mapping" not in document:
            raise SpecError(name, "mapping", "a list of targets", None, "give the list itself or put it under `mapping:`")
        document, path = document["mapping"], "mapping"
    if isinstance(document, MappingABC) and "nodes" in document:  # v0.4 may wrap the list once more
        document, path = document["nodes"], f"{path}.nodes"
    if not isinstance(document, list):
        raise SpecError(name, path or "(top)", "a list of targets", document)
    if len(document) > TARGETS:
        raise SpecError(name, path or "(top)", f"at most {TARGETS} targets", f"{len(document)} targets")
    loops: list[Loops] = []
    bypass: list[Bypass] = []
    for i, raw in enumerate(document):
        entry = Fields(raw, name, f"{path}[{i}]")
        kind = entry.take("type", str)
        target = entry.take("target", str)
        if kind in ("temporal", "spatial"):
            if any(x.target == target and x.kind == kind for x in loops):
                raise entry.error("target", "each (target, type) once", target)
            loops.append(_read_loops(entry, target, kind))
        elif kind in ("bypass", "datatype", "dataspace"):
            bypass.append(Bypass(target, *(read_names(entry, name) or () for name in ("keep", "bypass", "no_coalesce"))))
        else:
            raise entry.error("type", "temporal, spatial or bypass", kind)
        entry.finish(strict=False)
    return Mapping(tuple(loops), tuple(bypass))


def _read_loops(entry: Fields, target: str, kind: str) -> Loops:
    factors = tuple((d, bound, rest) for d, _, bound, rest in read_factors(entry, "factors", relations=False))
    permutation = read_permutation(entry, "permutation") or ()
    split = entry.take("split", int, None)  # read and without effect on a temporal target, as in the real program
    no_reuse = read_names(entry, "no_reuse")
    if kind == "temporal":
        slow = read_names(entry, "no_temporal_reuse") or ()
        return Loops(
            target, kind, factors, permutation, None, slow if no_reuse is None else no_reuse,
            rmw_first_update=read_names(entry, "rmw_first_update") or (),
        )  # fmt: skip
    if "no_multicast_no_reduction" in entry:
        entry.warn("no_multicast_no_reduction", "no effect in a mapping, as in the real program; write `no_reuse`")
        entry.raw("no_multicast_no_reduction")
    return Loops(target, kind, factors, permutation, split, no_reuse or (), read_names(entry, "no_link_transfer") or ())
