"""The seam for spaces: what a search may change, as whole numbers, and how a row of them becomes a plan and back.

A space is a dataclass whose first field is the `Choices` and whose other fields are its options. To add one: write a module
with such a class, and either name it in `SPACES` or give it as `--space package.module:Class`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import SpecError
from hwloop.search.options import default_options, find_class, plain_options, read_options
from hwloop.spec.bits import MAX_QUANTISED, MIN_QUANTISED, check_bit_range, check_bits
from hwloop.spec.plan import LayerPlan, Plan
from hwloop.spec.pruning import check_pruning
from hwloop.spec.workload import Workload

Genes = NDArray[np.int64]
SPACES = {
    "global-pruning": "hwloop.search.spaces.global_pruning:GlobalPruning",
    "layerwise": "hwloop.search.spaces.layerwise:Layerwise",
}


@dataclass(frozen=True)
class Choices:
    """What any space may choose from.

    Attributes:
        workload: the network; its `channels` say what can be removed together.
        layers: names of the layers that may be changed.
        pruning: pruning amounts of the networks in the library, rising; `base_name` gives a plan's base.
        weight_bits: (least, most) bits per weight.
        activation_bits: (least, most) bits per activation when they are searched too, one number when they are fixed, None when
            activations are not quantised.
        one_shot: further pruning amounts, rising, that layers are brought to at once from a network of the library: a density in
            the plan.

    Raises:
        SpecError: no pruning amounts, no layers, or values out of range.
    """

    workload: Workload
    layers: tuple[str, ...]
    pruning: tuple[float, ...]
    weight_bits: tuple[int, int] = (2, 16)
    activation_bits: tuple[int, int] | int | None = None
    one_shot: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.pruning or list(self.pruning) != sorted(set(self.pruning)):
            raise SpecError("<arguments>", "pruning", "pruning amounts, rising and distinct", self.pruning)
        if list(self.one_shot) != sorted({*self.one_shot} - {*self.pruning}):
            expected = "pruning amounts besides those of the library, rising and distinct"
            raise SpecError("<arguments>", "one_shot", expected, self.one_shot)
        for amount in (*self.pruning, *self.one_shot):
            check_pruning(amount, "pruning")
        if not self.layers or any(layer not in self.workload.by_name for layer in self.layers):
            raise SpecError("<arguments>", "layers", "layers of the workload, at least one", self.layers)
        check_bit_range(self.weight_bits, "weight_bits", MIN_QUANTISED, MAX_QUANTISED)
        check_activation_bits(self.activation_bits)

    @cached_property
    def sharing(self) -> dict[str, tuple[str, ...]]:
        """By each of `layers` and `products`, all layers of the workload that read the same weights: a plan treats them alike."""
        users = {weight.name: weight.layers for weight in self.workload.weights}
        known = self.workload.by_name
        weighted = {name: users[known[name].parameter] if known[name].parameter else (name,) for name in self.layers}
        return weighted | {name: (name,) for name in self.products}

    @cached_property
    def products(self) -> tuple[str, ...]:
        """The products of two activations (attention): they have no weights to change, and activation bits like any layer."""
        return tuple(layer.name for layer in self.workload.layers if layer.kind == "matmul" and layer.name not in self.layers)

    def spread(self, shares: Mapping[str, LayerPlan]) -> tuple[tuple[str, LayerPlan], ...]:
        """What is said of each of `layers` and `products`, said of all that share its weights: the `layers` of a plan."""
        return tuple((user, share) for layer, share in shares.items() for user in self.sharing[layer])


def check_activation_bits(bits: tuple[int, int] | int | None) -> None:
    """Checks activation bits: a range when searched, one number when fixed, None when activations are not quantised.

    Raises:
        SpecError: out of range.
    """
    if isinstance(bits, (tuple, list)):
        check_bit_range(bits, "activation_bits", MIN_QUANTISED, MAX_QUANTISED)
    elif bits is not None:
        check_bits(bits, "activation_bits", MIN_QUANTISED, MAX_QUANTISED)


class Space(Protocol):
    """What may be changed. The same row always means the same plan, and `row(plan(x))` gives a row with that plan."""

    name: ClassVar[str]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the variables, e.g. `weight_bits:conv1`."""
        ...

    @property
    def lower(self) -> Genes:
        """`(n_var,)` least value of each variable."""
        ...

    @property
    def upper(self) -> Genes:
        """`(n_var,)` greatest value of each variable, inclusive."""
        ...

    @property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """(from, to) columns that mean the same kind of thing, e.g. the bits of all layers; together they cover every column."""
        ...

    def anchors(self) -> Genes:
        """`(k, n_var)` starting points worth trying, the most different first; k may be 0."""
        ...

    def corners(self) -> list[Plan]:
        """A few plans far apart in density and bits, at which good mappings are looked for before the search."""
        ...

    def plan(self, row: Sequence[int] | Genes) -> Plan:
        """The plan that a row means.

        Raises:
            ValueError: a length or value out of the space.
        """
        ...

    def row(self, plan: Plan) -> tuple[int, ...]:
        """A row that means `plan`.

        Raises:
            ValueError: the plan is not in the space.
        """
        ...


def check_row(row: Sequence[int] | Genes, lower: Genes, upper: Genes) -> Genes:
    """`row` as an array, if it is in the space.

    Raises:
        ValueError: a length or value out of the space.
    """
    values = np.asarray(row, np.int64)
    if values.shape != lower.shape or (values < lower).any() or (values > upper).any():
        raise ValueError(f"expected {len(lower)} whole numbers from {lower.tolist()} to {upper.tolist()}, found {values}")
    return values


def find_space(name: str, choices: Choices, options: Mapping[str, Any] | None = None) -> Space:
    """The space called `name`, or the user's own `package.module:Class`, with its options.

    Raises:
        SpecError: no such space, or options that it does not have.
        DataError: the user's module cannot be imported.
    """
    kind = find_class(name, SPACES, "space")
    space: Space = kind(choices, **read_options(kind, options or {}, "space option", ("choices",)))
    return space


def check_space(name: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The options of a space, with its defaults where none are given, before its choices are known.

    Raises:
        SpecError: no such space, or options that it does not have.
        DataError: the user's module cannot be imported.
    """
    kind = find_class(name, SPACES, "space")
    return default_options(kind, ("choices",)) | read_options(kind, options or {}, "space option", ("choices",))


def space_identity(space: Space) -> dict[str, Any]:
    """Name and options of a space as plain data."""
    return {"name": space.name, "options": plain_options(space, ("choices",))}
