"""The problem: one layer's tensor operation (shape) with its sizes, coefficients and densities (instance).

A shape names dimensions and data spaces. A data space is a tensor; its projection says, rank by rank, which sum of
`coefficient x dimension` indexes it. The form is Timeloop's problem specification, version 0.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

from hwloop.errors import SpecError
from hwloop.spec import limits
from hwloop.spec.density import Density, read_density, unstructured
from hwloop.spec.document import Fields, nearest, to_yaml
from hwloop.spec.shapes import DEFAULT_SHAPE, NAMED_SHAPES
from hwloop.spec.source import read_spec

Term = tuple[str, str | None]  # (dimension, coefficient name or None for 1)
Rank = tuple[Term, ...]  # the sum of its terms indexes one rank of the tensor


@dataclass(frozen=True)
class DataSpace:
    """A tensor of the problem.

    Attributes:
        name: e.g. `Weights`.
        projection: one entry a rank, each a tuple of (dimension, coefficient or None) terms that are summed.
        read_write: True for the result, which is read, updated and written.
    """

    name: str
    projection: tuple[Rank, ...]
    read_write: bool = False

    @cached_property
    def dimensions(self) -> frozenset[str]:
        """The dimensions that index this data space: the relevant ones."""
        return frozenset(dimension for rank in self.projection for dimension, _ in rank)


@dataclass(frozen=True)
class ProblemShape:
    """The operation without sizes.

    Attributes:
        name: e.g. `conv2D`.
        dimensions: names of the loop dimensions, in order. Names longer than a letter are allowed.
        coefficients: (name, default value) pairs.
        data_spaces: the tensors; those with `read_write` are results.
    """

    name: str
    dimensions: tuple[str, ...]
    coefficients: tuple[tuple[str, int], ...]
    data_spaces: tuple[DataSpace, ...]

    @cached_property
    def output(self) -> DataSpace:
        """The (first) data space that is written.

        Raises:
            KeyError: none is.
        """
        for data_space in self.data_spaces:
            if data_space.read_write:
                return data_space
        raise KeyError("read_write")

    def data_space(self, name: str) -> DataSpace:
        """The data space called `name`.

        Raises:
            KeyError: there is none.
        """
        for data_space in self.data_spaces:
            if data_space.name == name:
                return data_space
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """The `shape` block."""
        spaces = []
        for d in self.data_spaces:
            projection = [
                [[dim] if coefficient is None else [dim, coefficient] for dim, coefficient in rank] for rank in d.projection
            ]
            spaces.append({"name": d.name, "projection": projection, **({"read_write": True} if d.read_write else {})})
        return {
            "name": self.name,
            "dimensions": list(self.dimensions),
            "coefficients": [{"name": name, "default": default} for name, default in self.coefficients],
            "data_spaces": spaces,
        }


@dataclass(frozen=True)
class Problem:
    """One layer's problem: a shape with sizes.

    Attributes:
        shape: the operation.
        bounds: size of each dimension, aligned with `shape.dimensions`.
        coefficients: value of each coefficient, aligned with `shape.coefficients`.
        densities: (data space, `Density`) for those that are not dense, in the shape's order.
        name: the layer's name, not part of what is simulated.
    """

    shape: ProblemShape
    bounds: tuple[int, ...]
    coefficients: tuple[int, ...]
    densities: tuple[tuple[str, Density], ...] = ()
    name: str = field(default="", compare=False)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Size of each dimension by name."""
        return dict(zip(self.shape.dimensions, self.bounds, strict=True))

    @cached_property
    def coefficient_values(self) -> dict[str, int]:
        """Value of each coefficient by name."""
        return {name: value for (name, _), value in zip(self.shape.coefficients, self.coefficients, strict=True)}

    @cached_property
    def computes(self) -> int:
        """Multiply-accumulates of the dense problem: the product of the dimensions."""
        return prod(self.bounds)

    def density(self, data_space: str) -> Density:
        """The density of `data_space`; dense (1.0) when none is given."""
        return dict(self.densities).get(data_space, Density())

    def rank_sizes(self, data_space: str) -> tuple[int, ...]:
        """Size of each rank of a data space's tensor: 1 + sum of coefficient x (size - 1) over the rank's terms."""
        values = self.coefficient_values
        return tuple(
            1 + sum((values[c] if c else 1) * (self.sizes[d] - 1) for d, c in rank)
            for rank in self.shape.data_space(data_space).projection
        )

    def tensor_size(self, data_space: str) -> int:
        """Values in the tensor, [words]."""
        return prod(self.rank_sizes(data_space))

    def with_densities(self, densities: Mapping[str, Density | float]) -> Problem:
        """The same problem with these densities (a number means unstructured pruning, see `hwloop.spec.density.unstructured`).

        In a file a plain number is `fixed_structured`, as in the real program, and a warning says so.

        Raises:
            SpecError: an unknown data space, or a density outside 0-1.
        """
        known = {d.name for d in self.shape.data_spaces}
        raw: dict[str, Any] = {}
        for name, given in densities.items():
            if isinstance(given, (int, float)) and not isinstance(given, bool) and name in known:
                given = unstructured(given, self.tensor_size(name))
            raw[name] = given.to_dict() if isinstance(given, Density) else {"distribution": "hypergeometric", "density": given}
        return replace(self, densities=_read_densities(Fields(raw, "<dict>", "densities"), self.shape))

    def to_dict(self) -> dict[str, Any]:
        """Timeloop's `problem` block, `{"version": 0.4, "instance": {...}, "shape": {...}}`."""
        instance: dict[str, Any] = {**self.sizes, **self.coefficient_values}
        if self.densities:
            instance["densities"] = {name: density.to_dict() for name, density in self.densities}
        return {"version": 0.4, "instance": instance, "shape": self.shape.to_dict()}

    def to_yaml(self) -> str:
        """A file that Timeloop and `load_problem` read."""
        return to_yaml({"problem": self.to_dict()})


def load_problem(source: Any, variables: Mapping[str, Any] | None = None, include: Iterable[str | Path] = ()) -> Problem:
    """Reads a problem from a YAML file, YAML text or a dict, with or without the outer `problem:` key.

    `variables` and `include` are those of `hwloop.spec.source.read_spec`.

    Raises:
        SpecError: with the file and the field, when something is missing, misspelt or out of range.
    """
    if isinstance(source, Problem):
        return source
    document, name = read_spec(source, variables, include)
    path = ""
    if isinstance(document, Mapping) and "problem" in document:
        document, path = document["problem"], "problem"
    fields = Fields(document, name, path)
    _check_version(fields)
    shape = _read_shape(_shape_fields(fields))
    layer_name = fields.text("name")
    instance = fields.sub("instance")
    if instance is None:  # an old form: the sizes stand beside the shape
        return _read_instance(fields, shape, layer_name)
    fields.finish()
    return _read_instance(instance, shape, layer_name)


def _shape_fields(fields: Fields) -> Fields:
    """The shape's own fields: written out, named, or those of the shape that stands when there is none."""
    written = fields.raw("shape", DEFAULT_SHAPE)
    if not isinstance(written, str):
        return Fields(written, fields.source, fields.where("shape"))
    name = next((n for n in NAMED_SHAPES if n.casefold() == written.casefold().replace("-", "_")), None)
    if name is None:
        raise fields.error("shape", f"a shape, or the name of one: {', '.join(NAMED_SHAPES)}", written)
    return Fields(NAMED_SHAPES[name], fields.source, fields.where("shape"))


def _check_version(fields: Fields) -> None:
    version = fields.raw("version", 0.4)
    if str(version) not in ("0.4", "0.3", "0.2", "0.1"):
        raise fields.error("version", "0.4", version)


def _read_shape(fields: Fields) -> ProblemShape:
    name = fields.text("name") or "problem"
    dimensions = fields.items_of("dimensions", limits.DIMENSIONS, required=True)
    if not all(isinstance(d, str) for d in dimensions):
        raise fields.error("dimensions", "a list of dimension names", dimensions, "quote a name that YAML reads as true or false")
    if len(set(dimensions)) != len(dimensions):
        raise fields.error("dimensions", "distinct names", dimensions)
    coefficients = []
    for entry in fields.each("coefficients", limits.DIMENSIONS):
        coefficients.append((entry.take("name", str), entry.take("default", int, 1)))
        entry.finish()
    if "data_spaces" not in fields:
        raise fields.error("data_spaces", "a list of data spaces", None)
    spaces = []
    for entry in fields.each("data_spaces", limits.DATA_SPACES):
        space_name = entry.take("name", str)
        projection = _read_projection(entry, entry.raw("projection"), set(dimensions), {n for n, _ in coefficients})
        read_write = entry.raw("read_write", False)
        entry.raw("ranks")  # names for people and for layouts
        spaces.append(DataSpace(space_name, projection, str(read_write).casefold() in ("true", "1", "yes", "on")))
        entry.finish()
    if len({s.name for s in spaces}) != len(spaces):
        raise fields.error("data_spaces", "distinct names", [s.name for s in spaces])
    if fields.raw("flatten"):
        raise fields.error("flatten", "not to be there", "a list", "hwloop does not model flattened dimensions")
    fields.finish()
    return ProblemShape(name, tuple(dimensions), tuple(coefficients), tuple(spaces))


def _read_projection(fields: Fields, raw: Any, dimensions: set[str], coefficients: set[str]) -> tuple[Rank, ...]:
    hint = "one list a rank, each a list of [dimension] or [dimension, coefficient] terms"
    if not isinstance(raw, list) or not 0 < len(raw) <= limits.RANKS:
        raise fields.error("projection", f"a list of 1 to {limits.RANKS} ranks", raw, hint)
    ranks: list[Rank] = []
    for i, rank in enumerate(raw):
        if isinstance(rank, str):
            rank = [[rank]]
        if not isinstance(rank, list) or not rank or len(rank) > limits.RANKS:
            raise fields.error(f"projection[{i}]", f"a list of at most {limits.RANKS} terms", rank, hint)
        terms: list[Term] = []
        for j, term in enumerate(rank):
            if isinstance(term, str):
                term = [term]
            words = isinstance(term, list) and len(term) in (1, 2) and all(isinstance(word, str) for word in term)
            if not words or term[0] not in dimensions:
                raise fields.error(
                    f"projection[{i}][{j}]",
                    f"[dimension] or [dimension, coefficient] with one of {sorted(dimensions)}",
                    term,
                    hint,
                )
            if len(term) == 2 and term[1] not in coefficients:
                raise fields.error(f"projection[{i}][{j}]", f"a coefficient among {sorted(coefficients)}", term[1])
            terms.append((term[0], term[1] if len(term) == 2 else None))
        ranks.append(tuple(terms))
    return tuple(ranks)


def _whole(fields: Fields, name: str, least: int) -> int:
    value = fields.take(name, int)
    if value < least:
        raise fields.error(name, f"a whole number of at least {least}", value)
    return value


def _read_instance(fields: Fields, shape: ProblemShape, name: str) -> Problem:
    bounds = tuple(_whole(fields, d, 1) for d in shape.dimensions)
    coefficients = tuple(_whole(fields, n, 0) if n in fields else default for n, default in shape.coefficients)
    for (coefficient, _), value in zip(shape.coefficients, coefficients, strict=True):
        if value < 0:
            raise fields.error(coefficient, "a whole number of at least 0", value, "the default of the shape counts here")
    common = fields.raw("commonDensity")
    densities = fields.sub("densities")
    if common is not None:  # counts for all, and before any other
        densities = Fields({s.name: common for s in shape.data_spaces}, fields.source, fields.where("commonDensity"))
    read = _read_densities(densities, shape) if densities else ()
    if "name" in fields:
        name = fields.text("name")
    spare = []
    for extra, value in fields.items():  # sizes that other tools keep beside the dimensions, e.g. H, W, Hpad
        slip = nearest(extra, [n for n, _ in shape.coefficients if n[0].casefold() == extra[:1].casefold()], 0.8)
        if slip:
            raise fields.error(extra, "a dimension or a coefficient of the shape", value, f"did you mean {slip!r}?")
        if not isinstance(value, (int, float)) and nearest(extra, ["densities"]):
            raise fields.error(extra, f"one of the dimensions {list(shape.dimensions)}, a coefficient, or densities", value)
        spare.append(extra)
    if spare:
        names = ", ".join(spare)
        fields.warn(names, f"no effect: neither dimensions nor coefficients of the shape {shape.name!r}, as in the real program")
    problem = Problem(shape, bounds, coefficients, read, name)
    sizes = {"multiply-accumulates": problem.computes, **{s.name: problem.tensor_size(s.name) for s in shape.data_spaces}}
    for what, size in sizes.items():
        if size > limits.COMPUTES:
            raise SpecError(fields.source, fields.path or "instance", f"at most {limits.COMPUTES:.0e} ({what})", size)
    return problem


def _read_densities(fields: Fields, shape: ProblemShape) -> tuple[tuple[str, Density], ...]:
    known = [d.name for d in shape.data_spaces]
    found: dict[str, Density] = {}
    for name, raw in fields.items():
        if name not in known:
            raise fields.error(name, f"a data space among {known}", raw)
        if isinstance(raw, (int, float)) and not isinstance(raw, bool):
            if 0 < raw < 1:
                fields.warn(name, "a plain number is `fixed_structured`, as in the real program; write `distribution` to say so")
            raw = {"distribution": "fixed_structured", "density": raw}
        found[name] = read_density(Fields(raw, fields.source, fields.where(name)))
    return tuple((name, found[name]) for name in known if name in found)


def conv2d_shape(depthwise: bool = False, grouped: bool = False) -> ProblemShape:
    """The shape of a 2-D convolution: dimensions N C M R S P Q (and G for groups); a depthwise one has no M.

    Weights [C, M, R, S], Inputs [N, C, R*Wdilation + P*Wstride, S*Hdilation + Q*Hstride], Outputs [N, M, Q, P], as in the
    public Timeloop exercises.
    """
    group: tuple[Rank, ...] = ((("G", None),),) if grouped else ()
    window: tuple[Rank, ...] = ((("R", "Wdilation"), ("P", "Wstride")), (("S", "Hdilation"), ("Q", "Hstride")))
    c: Rank = (("C", None),)
    m: Rank = (("C" if depthwise else "M", None),)
    n: Rank = (("N", None),)
    tail: tuple[Rank, ...] = ((("R", None),), (("S", None),))
    weights = group + ((c,) if depthwise else (c, m)) + tail
    dimensions = ("C",) if depthwise else ("C", "M")
    return ProblemShape(
        name="depthwise" if depthwise else ("grouped_conv2D" if grouped else "conv2D"),
        dimensions=(*dimensions, "R", "S", "N", "P", "Q", *(("G",) if grouped else ())),
        coefficients=(("Wstride", 1), ("Hstride", 1), ("Wdilation", 1), ("Hdilation", 1)),
        data_spaces=(
            DataSpace("Weights", weights),
            DataSpace("Inputs", (n, *group, c, *window)),
            DataSpace("Outputs", (n, *group, m, (("Q", None),), (("P", None),)), read_write=True),
        ),
    )


def make_problem(
    shape: ProblemShape, sizes: Mapping[str, int], densities: Mapping[str, Density | float] | None = None, name: str = ""
) -> Problem:
    """A problem from a shape and its sizes; dimensions not named are 1, coefficients not named take their default.

    Raises:
        SpecError: a name that is neither a dimension nor a coefficient of the shape, or a size below 1.
    """
    known = {*shape.dimensions, *(n for n, _ in shape.coefficients)}
    for key in sizes:
        if key not in known:
            raise SpecError("<dict>", f"sizes.{key}", f"one of {sorted(known)}", sizes[key])
    fields = Fields({**dict.fromkeys(shape.dimensions, 1), **sizes}, "<dict>", "sizes")
    problem = _read_instance(fields, shape, name)
    return problem.with_densities(densities) if densities else problem
