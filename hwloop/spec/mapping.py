"""The mapping: the chosen loop nest, as Timeloop's list of targets."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from typing import Any

from hwloop.errors import SpecError
from hwloop.spec.document import Fields, read_document, to_yaml
from hwloop.spec.loops import read_factors, read_names, read_permutation, written_permutation


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
    """

    target: str
    kind: str
    factors: tuple[tuple[str, int, int], ...]
    permutation: tuple[str, ...] = ()
    split: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """One target of Timeloop's list."""
        factors = " ".join(f"{d}={bound}" if bound == rest else f"{d}={bound},{rest}" for d, bound, rest in self.factors)
        order = written_permutation(self.permutation)
        out: dict[str, Any] = {"target": self.target, "type": self.kind, "factors": factors, "permutation": order}
        if self.split is not None:
            out["split"] = self.split
        return out


@dataclass(frozen=True)
class Bypass:
    """What one level keeps and what passes it by."""

    target: str
    keep: tuple[str, ...] = ()
    bypass: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """One target of Timeloop's list."""
        return {"target": self.target, "type": "bypass", "keep": list(self.keep), "bypass": list(self.bypass)}


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


def load_mapping(source: Any) -> Mapping:
    """Reads a mapping: a file, text, a list of targets, or a dict with `mapping`.

    Both encodings are taken: factors as a dict or as `"C1 M8"`, permutations as a list or as `"MCR"`, keep/bypass under the type
    `bypass`, `datatype` or `dataspace`; targets in any order.

    Raises:
        SpecError: with the file and the field.
    """
    if isinstance(source, Mapping):
        return source
    document, name = read_document(source)
    path = ""
    if isinstance(document, MappingABC):
        if "mapping" not in document:
            raise SpecError(name, "mapping", "a list of targets", None, "give the list itself or put it under `mapping:`")
        document, path = document["mapping"], "mapping"
    if isinstance(document, MappingABC) and "nodes" in document:  # v0.4 may wrap the list once more
        document, path = document["nodes"], f"{path}.nodes"
    if not isinstance(document, list):
        raise SpecError(name, path or "(top)", "a list of targets", document)
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
            bypass.append(Bypass(target, read_names(entry, "keep") or (), read_names(entry, "bypass") or ()))
        else:
            raise entry.error("type", "temporal, spatial or bypass", kind)
        entry.finish()
    return Mapping(tuple(loops), tuple(bypass))


def _read_loops(entry: Fields, target: str, kind: str) -> Loops:
    factors = tuple((d, bound, rest) for d, _, bound, rest in read_factors(entry, "factors", relations=False))
    permutation = read_permutation(entry, "permutation") or ()
    split = entry.take("split", int, None) if kind == "spatial" else None
    return Loops(target, kind, factors, permutation, split)
