"""What an accelerator is: a chain of levels from the outermost storage to the compute units."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from hwloop.errors import SpecError
from hwloop.spec.attributes import BANDWIDTH_SCALE, SPATIAL_ATTRIBUTES, quoted
from hwloop.spec.constraint_sets import read_constraint_sets
from hwloop.spec.constraints import Constraints
from hwloop.spec.document import Fields, to_yaml
from hwloop.spec.expressions import Value
from hwloop.spec.limits import LEVELS
from hwloop.spec.network import NETWORK_ROLES, Network, network_kind, network_of
from hwloop.spec.problem import Problem
from hwloop.spec.resolve import for_problem, level_of, on_levels
from hwloop.spec.sparsity import SparseOptimizations, read_sparse_optimizations


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
        energy_scale: what an estimator multiplies its energies by.
        area_scale: what an estimator multiplies its area by.
        bandwidth_scale: (data space, words of bandwidth that one of its words takes), from
            `per_dataspace_bandwidth_consumption_scale`; 1 for those not named.
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
    energy_scale: float = 1.0
    area_scale: float = 1.0
    bandwidth_scale: tuple[tuple[str, float], ...] = ()

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
    def network(self) -> Network:
        """The network to the level below that its own attributes describe, used where `network_read` names no other."""
        return network_of(self.values)

    def network_name(self, role: str) -> str | None:
        """The network this level names for a role of `NETWORK_ROLES`, e.g. `network_read`; None when it names none."""
        name = self.values.get(role)
        return None if name is None else str(name)

    @cached_property
    def vector_access_pj(self) -> float | None:
        """`vector_access_energy` [pJ]: of every read, fill and update, in place of all the energy table says of the level."""
        value = self.values.get("vector_access_energy")
        return float(value) if isinstance(value, (int, float)) else None

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
        attributes: dict[str, Any] = dict(SPATIAL_ATTRIBUTES) if self.kind == "spatial" else {}
        attributes |= {k: quoted(v) for k, v in self.attributes if k not in ("meshX", "meshY")}
        if self.bandwidth_scale:
            attributes[BANDWIDTH_SCALE] = dict(self.bandwidth_scale)
        out["attributes"] = attributes | {"meshX": self.mesh_x, "meshY": self.mesh_y}
        return out | {name: s for name in ("energy_scale", "area_scale") if (s := getattr(self, name)) != 1.0}


@dataclass(frozen=True)
class Architecture:
    """An accelerator.

    Attributes:
        levels: outermost first; the last one is the compute level.
        constraints: what its nodes say a mapping may do.
        name: for people.
        attributes: of the top container, e.g. `technology` and `global_cycle_seconds`.
        source: the file it was read from, for messages; not part of what it is.
        networks: those the spec names, as levels refer to them.
        front_end: whether upstream's front end stands between the spec and the programs (the `nodes` form): then the constraints
            of its nodes are part of every mapping, and missing dimensions of a permutation go in front (`LoopConstraint.order`).
    """

    levels: tuple[Level, ...]
    constraints: Constraints = field(default_factory=Constraints)
    name: str = field(default="system", compare=False)
    attributes: tuple[tuple[str, Value | None], ...] = ()
    source: str = field(default="<dict>", compare=False)
    networks: tuple[Network, ...] = ()
    front_end: bool = True

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

    def level_of(self, target: str, kind: str) -> str | None:
        """The level that a target of a mapping or a constraint means (`hwloop.spec.resolve`), None when there is none."""
        return level_of(target, kind, [level.name for level in self.storage], [x * y > 1 for x, y in self.fanout])

    def with_constraints(self, constraints: Constraints | None) -> Architecture:
        """The same accelerator with these constraints on top of its own.

        Raises:
            SpecError: a constraint on a level that is not there, or one that says what another has said.
        """
        if constraints is None:
            return self
        found = on_levels(constraints, [level.name for level in self.storage], [x * y > 1 for x, y in self.fanout])
        return replace(self, constraints=self.constraints.merged_with(found, repeats=self.front_end))

    def for_problem(self, problem: Problem) -> Architecture:
        """The same accelerator with its constraints in the problem's dimensions and data spaces.

        Raises:
            SpecError: a constraint on a dimension or a data space that the problem does not have.
        """
        found = for_problem(self.constraints, problem)
        return self if found is self.constraints else replace(self, constraints=found)

    def to_dict(self) -> dict[str, Any]:
        """The expanded tree form, with `architecture_constraints` and `sparse_optimizations` beside it."""
        top = {k: quoted(v) for k, v in self.attributes}
        tree: dict[str, Any] = {"name": self.name, "attributes": top}
        networks = [network.to_dict() for network in self.networks]
        tree["local"] = [*networks, *(level.to_dict() for level in self.levels)]
        out: dict[str, Any] = {"architecture": {"version": 0.4, "subtree": [tree]}}
        if self.front_end:
            out["architecture"]["front_end"] = True
        if self.constraints.loops or self.constraints.data_spaces or self.constraints.min_utilization:
            out["architecture_constraints"] = self.constraints.to_dict()
        sparse = [{"name": level.name, **level.sparse.to_dict()} for level in self.levels if level.sparse]
        if sparse:
            out["sparse_optimizations"] = {"version": 0.4, "targets": sparse}
        return out

    def to_yaml(self) -> str:
        """A file that `load_architecture` and the Timeloop binaries read."""
        return to_yaml(self.to_dict())


def chain(
    name: str, levels: list[Level], attributes: tuple[tuple[str, Value | None], ...], document: Fields, architecture: Fields,
    networks: list[Network], front_end: bool, own: Constraints | None = None,
) -> Architecture:  # fmt: skip
    """Checks a list of levels and makes it an `Architecture`, with all the constraints that stand beside it.

    Raises:
        SpecError: fewer than two levels, a repeated name, the compute level elsewhere than last, a constraint on a level that is
            not there, or two that say one thing.
    """
    where = "nodes" if front_end else "subtree"
    if len(levels) > LEVELS or len(networks) > LEVELS:
        raise architecture.error(where, f"at most {LEVELS} components", f"{max(len(levels), len(networks))} components")
    if len(levels) < 2:
        raise architecture.error(where, "at least one storage and, last, one compute component", [level.name for level in levels])
    names = [level.name for level in levels]
    if len(set(names)) != len(names):
        raise architecture.error(where, "distinct names", names)
    for level in levels[:-1]:
        if level.kind == "compute":
            raise architecture.error(where, "the compute component last", names, f"{level.name!r} is a {level.class_name}")
    if levels[-1].kind != "compute":
        raise architecture.error(where, "a compute component last", names, f"{names[-1]!r} is a {levels[-1].class_name}")
    by_name = {network.name for network in networks}
    for level in levels:
        for role in NETWORK_ROLES:
            named = level.network_name(role)
            if named is not None and named not in by_name:
                raise SpecError(
                    architecture.source, f"{level.name}.attributes.{role}", f"a network among {sorted(by_name)}", named
                )
    inner = read_constraint_sets(architecture, front_end)
    found = Architecture(tuple(levels), Constraints(), name, attributes, architecture.source, tuple(networks), front_end)
    for constraints in (own, inner, read_constraint_sets(document, front_end)):
        found = found.with_constraints(constraints)
    return found


def component_kind(class_name: str) -> str:
    """What a class is: `storage`, `compute`, `network`, or empty. The programs look for words in it."""
    if any(word in class_name for word in ("DRAM", "SRAM", "regfile", "smartbuffer", "storage")):
        return "storage"
    if any(word in class_name for word in ("mac", "compute")):
        return "compute"
    return "network" if network_kind(class_name) else ""


def apply_sparse(document: Fields, levels: list[Level]) -> None:
    """Puts the top-level `sparse_optimizations.targets` onto the levels they name, in place.

    Raises:
        SpecError: a target that is no level.
    """
    block = document.sub("sparse_optimizations")
    if block is None:
        return
    block.raw("version")
    by_name = {level.name: i for i, level in enumerate(levels)}
    for entry in block.each("targets", LEVELS):
        name = entry.take("target", str) if "target" in entry else entry.take("name", str)
        if name not in by_name:
            raise entry.error("name", f"a level among {sorted(by_name)}", name)
        levels[by_name[name]] = replace(levels[by_name[name]], sparse=read_sparse_optimizations(entry))
    block.finish()
