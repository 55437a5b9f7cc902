"""What a plan does to weights and activations, reduced to what a network's answers depend on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from hwloop.errors import SpecError
from hwloop.network.entries import Registry
from hwloop.spec.bits import MAX_QUANTISED, MIN_QUANTISED, check_bits
from hwloop.spec.density import Density
from hwloop.spec.layer_plan import LayerPlan
from hwloop.spec.plan import Plan
from hwloop.spec.planned import PlannedLayer
from hwloop.spec.pruning import BlockPattern, base_name, base_pruning

_FACTOR = re.compile(r"\.rank\d+(?=#|$)")  # what a factorised layer's parts have behind its name
Sparsity = float | BlockPattern


@dataclass(frozen=True)
class Treatment:
    """What a plan does, densities of inputs aside.

    Attributes:
        base: the network whose weights are taken, as `base_name` writes it.
        structure: channels, ranks and removals alone.
        density: (layer, fraction kept or pattern) where less than everything is kept.
        weight_bits: (layer, bits) where weights are quantised.
        activation_bits: (layer, bits) where the inputs are quantised.
        second_bits: (layer, bits) where the second operand of a product of two activations is quantised.
        planned: the layers as they run.
    """

    base: str
    structure: Plan
    density: tuple[tuple[str, Sparsity], ...]
    weight_bits: tuple[tuple[str, int], ...]
    activation_bits: tuple[tuple[str, int], ...]
    second_bits: tuple[tuple[str, int], ...]
    planned: tuple[PlannedLayer, ...]

    @cached_property
    def density_of(self) -> Mapping[str, Sparsity]:
        """By layer; layers that keep all are missing."""
        return dict(self.density)

    @cached_property
    def bits_of(self) -> Mapping[str, int]:
        """Bits per weight by layer; layers that stay in floating point are missing."""
        return dict(self.weight_bits)

    @property
    def floats(self) -> tuple[str, str, tuple[tuple[str, Sparsity], ...]]:
        """What the weights depend on before they are quantised: a key for caches."""
        return self.base, self.structure.key, self.density

    @property
    def key(self) -> tuple[object, ...]:
        """What the answers depend on: a key for caches."""
        return *self.floats, self.weight_bits, self.activation_bits, self.second_bits

    @property
    def quantises_activations(self) -> bool:
        """Whether ranges of activations are needed."""
        return bool(self.activation_bits or self.second_bits)

    @property
    def changes_shapes(self) -> bool:
        """Whether the network's layers have other shapes than they were traced with."""
        return bool(self.structure.layers)


def origin(layer: str) -> str:
    """The layer that a part of a factorised one comes from (`fc.rank0` -> `fc`); any other layer's own name."""
    return _FACTOR.sub("", layer)


def treatment_of(plan: Plan, registry: Registry) -> Treatment:
    """What `plan` does to the network of `registry`.

    Raises:
        SpecError: a name that the network does not have, shapes that it cannot have, or weights that cannot be treated so.
    """
    planned = plan.apply(registry.workload)
    density: list[tuple[str, Sparsity]] = []
    weights: list[tuple[str, int]] = []
    activations: list[tuple[str, int]] = []
    second: list[tuple[str, int]] = []
    structure: list[tuple[str, LayerPlan]] = []
    for layer in registry.workload.layers:
        share = plan.of(layer.name)
        if layer.name not in registry.by_layer:
            _check_untouched(layer.name, layer.kind, share, registry)
        elif share.weight_density != 1.0:
            density.append((layer.name, _sparsity(layer.name, share)))
        of_weights = _bits(layer.name, "weight_bits", share.weight_bits)
        of_inputs = _bits(layer.name, "activation_bits", share.activation_bits)
        if layer.kind == "matmul":
            second += _entry(layer.name, of_inputs if share.weight_bits is None else of_weights)
        else:
            weights += _entry(layer.name, of_weights)
        activations += _entry(layer.name, of_inputs)
        if share.channels is not None or share.rank is not None or share.removed:
            structure.append((layer.name, LayerPlan(channels=share.channels, rank=share.rank, removed=share.removed)))
    base = base_name(base_pruning(plan.base))
    return Treatment(
        base, Plan(tuple(structure)), tuple(density), tuple(weights), tuple(activations), tuple(second), planned
    )  # fmt: skip


def _bits(layer: str, name: str, bits: int | None) -> int | None:
    """None where nothing is quantised: a float32 holds no more than 24 bits, so that from there on nothing would change."""
    if bits is None or bits > MAX_QUANTISED:
        return None
    return check_bits(bits, f"layers.{layer}.{name}", MIN_QUANTISED, source="<plan>")


def _entry(layer: str, bits: int | None) -> list[tuple[str, int]]:
    return [] if bits is None else [(layer, bits)]


def _sparsity(layer: str, share: LayerPlan) -> Sparsity:
    if isinstance(share.weight_density, Density):
        hint = "another spread of the nonzeros can be simulated, not pruned to"
        where = f"layers.{layer}.weight_density"
        raise SpecError("<plan>", where, "a fraction kept or an N:M pattern", share.weight_density.to_dict(), hint)
    return share.weight_density


def _check_untouched(layer: str, kind: str, share: LayerPlan, registry: Registry) -> None:
    """A layer without weights of its own can be neither pruned nor have its weights quantised."""
    asked = {name: value for name, value in share.to_dict().items() if name in ("weight_density", "weight_bits", "rank")}
    if kind == "matmul" or not asked:
        return
    name, value = next(iter(asked.items()))
    reasons = "; ".join(f"{parameter}: {reason}" for parameter, reason in registry.left_out)
    raise SpecError("<plan>", f"layers.{layer}.{name}", "nothing: its weights cannot be compressed", value, reasons)
