"""What an accelerator is: a chain of levels from the outermost storage to the compute units."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from hwloop.spec.attributes import NETWORK_CLASSES, SPATIAL_ATTRIBUTES, SPATIAL_CLASS, Attributes, quoted
from hwloop.spec.constraints import Constraints
from hwloop.spec.document import Fields, to_yaml
from hwloop.spec.expressions import Value
from hwloop.spec.sparsity import SparseOptimizations


@dataclass(frozen=True)
class Level:
    """One level of the chain.

    Attributes:
        name: e.g. `psum_spad`.
        kind: `storage`, `spatial` (a fan-out that stores nothing) or `compute`.
        class_name: the component class an energy estimator knows, e.g. `SRAM`.
        subclass: a finer class, may be empty.
        instances: how many there are in the accelerator.
        mesh_x: instances along X in the accelerator.
        mesh_y: instances along Y in the accelerator.
        attributes: everything the spec says of it, evaluated.
        sparse: its sparse optimisations.
    """

    name: str
    kind: str
    class_name: str
    subclass: str = ""
    instances: int = 1
    mesh_x: int = 1
    mesh_y: int = 1
    attributes: tuple[tuple[str, Value | None], ...] = ()
    sparse: SparseOptimizations = field(default_factory=SparseOptimizations)

    @cached_property
    def values(self) -> dict[str, Value | None]:
        """The attributes as a dict."""
        return dict(self.attributes)

    def number(self, name: str, default: float) -> float:
        """A numeric attribute, `default` when it is absent or null."""
        value = self.values.get(name)
        return default if value is None or isinstance(value, str) else float(value)

    @cached_property
    def word_bits(self) -> int:
        """Bits of a word [bits]: `datawidth`."""
        return int(self.number("datawidth", 16))

    @cached_property
    def width(self) -> int | None:
        """Bits of a row [bits], None when the spec gives none."""
        return None if self.values.get("width") is None else int(self.number("width", 0))

    @cached_property
    def block_size(self) -> int:
        """Words in one vector access of one cluster member: `block_size`, else width / datawidth / cluster_size."""
        if self.values.get("block_size") is not None:
            return int(self.number("block_size", 1))
        if self.width is None:
            return 1
        cluster = int(self.number("cluster_size", 1))
        return max(self.width // cluster // self.word_bits, 1)

    @cached_property
    def cluster_size(self) -> int:
        """Instances that share one address generator and one row of `width` bits."""
        if self.values.get("cluster_size") is not None or self.width is None or self.values.get("block_size") is None:
            return int(self.number("cluster_size", 1))
        return max(self.width // (self.word_bits * self.block_size), 1)

    @cached_property
    def depth(self) -> int | None:
        """Rows, None when unbounded (as a DRAM is)."""
        return None if self.values.get("depth") is None else int(self.number("depth", 0))

    @cached_property
    def entries(self) -> int | None:
        """Capacity of one instance [words] at `datawidth`, None when unbounded."""
        if self.values.get("entries") is not None:
            return int(self.number("entries", 0))
        if self.depth is not None:
            return self.depth * self.block_size
        if self.values.get("sizeKB") is not None:
            return int(self.number("sizeKB", 0)) * 1024 * 8 // self.word_bits
        return None

    def to_dict(self) -> dict[str, Any]:
        """One entry of the tree's `local` list."""
        out: dict[str, Any] = {"name": f"{self.name}[1..{self.instances}]", "class": self.class_name}
        if self.subclass:
            out["subclass"] = self.subclass
        attributes = {k: v for k, v in self.attributes if k not in ("meshX", "meshY")}
        out["attributes"] = {k: quoted(v) for k, v in attributes.items()} if self.kind != "spatial" else dict(SPATIAL_ATTRIBUTES)
        out["attributes"] |= {"meshX": self.mesh_x, "meshY": self.mesh_y}
        return out


@dataclass(frozen=True)
class Architecture:
    """An accelerator.

    Attributes:
        levels: outermost first; the last one is the compute level.
        constraints: what its nodes say a mapping may do.
        name: for people.
        attributes: of the top container, e.g. `technology` and `global_cycle_seconds`.
        source: the file it was read from, for messages; not part of what it is.
    """

    levels: tuple[Level, ...]
    constraints: Constraints = field(default_factory=Constraints)
    name: str = field(default="system", compare=False)
    attributes: tuple[tuple[str, Value | None], ...] = ()
    source: str = field(default="<dict>", compare=False)

    @cached_property
    def storage(self) -> tuple[Level, ...]:
        """Every level but the compute level: the ones that may hold loops, outermost first."""
        return self.levels[:-1]

    @cached_property
    def compute(self) -> Level:
        """The compute units."""
        return self.levels[-1]

    @cached_property
    def fanout(self) -> tuple[tuple[int, int], ...]:
        """(X, Y) fan-out from one instance of each storage or spatial level to the next level below."""
        pairs = zip(self.levels[:-1], self.levels[1:], strict=True)
        return tuple((max(b.mesh_x // a.mesh_x, 1), max(b.mesh_y // a.mesh_y, 1)) for a, b in pairs)

    @cached_property
    def cycle_s(self) -> float:
        """Clock period [s]: `global_cycle_seconds` of the compute level or the top container, 1 ns when neither says."""
        value = self.compute.values.get("global_cycle_seconds") or dict(self.attributes).get("global_cycle_seconds")
        return float(value) if isinstance(value, (int, float)) and value else 1e-9

    def level(self, name: str) -> Level:
        """The level called `name`.

        Raises:
            KeyError: there is none.
        """
        for level in self.levels:
            if level.name == name:
                return level
        raise KeyError(name)

    def with_constraints(self, constraints: Constraints | None) -> Architecture:
        """The same accelerator with these constraints on top of its own."""
        return self if constraints is None else replace(self, constraints=self.constraints.merged_with(constraints))

    def to_dict(self) -> dict[str, Any]:
        """The expanded tree form, with `architecture_constraints` and `sparse_optimizations` beside it."""
        top = {k: quoted(v) for k, v in self.attributes}
        tree = {"name": self.name, "attributes": top, "local": [level.to_dict() for level in self.levels]}
        out: dict[str, Any] = {"architecture": {"version": 0.4, "subtree": [tree]}}
        if self.constraints.loops or self.constraints.data_spaces or self.constraints.min_utilization:
            out["architecture_constraints"] = self.constraints.to_dict()
        sparse = [{"name": level.name, **level.sparse.to_dict()} for level in self.levels if level.sparse]
        if sparse:
            out["sparse_optimizations"] = {"version": 0.4, "targets": sparse}
        return out

    def to_yaml(self) -> str:
        """A file that `load_architecture` and the Timeloop binaries read."""
        return to_yaml(self.to_dict())


def chain(name: str, levels: list[Level], attributes: Attributes, fields: Fields, constraints: Constraints) -> Architecture:
    """Checks a list of levels and makes it an `Architecture`.

    Raises:
        SpecError: fewer than two levels, a repeated name, or a constraint on a level that is not there.
    """
    where = "nodes" if fields.path.endswith("architecture") else "(levels)"
    if len(levels) < 2:
        raise fields.error(where, "at least one storage and, last, one compute component", [level.name for level in levels])
    names = [level.name for level in levels]
    if len(set(names)) != len(names):
        raise fields.error(where, "distinct names", names)
    last = replace(levels[-1], kind="compute")
    for level in levels[:-1]:
        if level.kind == "compute":
            raise fields.error(where, "the compute component last", names, f"{level.name!r} is a {level.class_name}")
    targets = {c.target for c in constraints.loops} | {c.target for c in constraints.data_spaces}
    for target in sorted(targets - set(names[:-1])):
        raise fields.error("constraints", f"a storage or inter_..._spatial level among {names[:-1]}", target)
    return Architecture((*levels[:-1], last), constraints, name, attributes.pairs(), fields.source)


def is_spatial(class_name: str) -> bool:
    """Whether a class of the tree form is a fan-out that stores nothing."""
    return class_name == SPATIAL_CLASS


def is_network(class_name: str) -> bool:
    """Whether a class of the tree form is a network, which hwloop leaves out of the chain."""
    return class_name.lower() in NETWORK_CLASSES
