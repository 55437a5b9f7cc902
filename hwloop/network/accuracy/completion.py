"""Filling into a plan what the network it makes really has: densities, and bits that it leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from hwloop.network.accuracy.treatment import Sparsity, Treatment, origin
from hwloop.network.accuracy.variant import DENSITY_DIGITS, Variant
from hwloop.network.tracing.entries import Registry
from hwloop.network.transforms.calibrate import Calibration, LayerInputs
from hwloop.spec.layer_plan import LayerPlan
from hwloop.spec.plan import Plan
from hwloop.spec.pruning import BlockPattern


def completed(
    plan: Plan,
    registry: Registry,
    weights: Mapping[str, Sparsity],
    calibration: Calibration,
    reference_bits: int | None,
) -> Plan:
    """The plan with every layer's densities and bits.

    Args:
        plan: as asked for.
        registry: of the network.
        weights: what `weight_densities` found.
        calibration: of the network that the plan makes, before it is quantised.
        reference_bits: where the plan says nothing; weights that cannot be quantised stay at the accelerator's width.
    """
    inputs, second = _by_origin(calibration.layers), _by_origin(calibration.second)
    shares = []
    for layer in registry.workload.layers:
        share = plan.of(layer.name)
        if not share.removed:
            density = second.get(layer.name, weights.get(layer.name, share.weight_density))
            of_weights, of_inputs = share.weight_bits, share.activation_bits
            if of_weights is None and layer.name in registry.by_layer:
                of_weights = reference_bits
            of_inputs = reference_bits if of_inputs is None else of_inputs
            share = LayerPlan(density, inputs[layer.name], of_weights, of_inputs, share.channels, share.rank)
        shares.append((layer.name, share))
    return Plan(tuple(shares), plan.base)


def weight_densities(variant: Variant, treatment: Treatment, library: BlockPattern | None) -> dict[str, Sparsity]:
    """What to say of the weights of each layer that has any, once a treatment has pruned them.

    Args:
        variant: with the treatment's base loaded.
        treatment: what was asked for.
        library: the N:M structure that the base was pruned in; None for any other.
    """
    kept: dict[str, int] = {}
    there: dict[str, int] = {}
    asked: dict[str, Sparsity] = {}
    for entry in variant.registry.entries:
        for layer in dict.fromkeys(origin(name) for name in entry.layers):
            kept[layer] = kept.get(layer, 0) + variant.nonzeros(entry, treatment)
            there[layer] = there.get(layer, 0) + prod(entry.shape)
            asked[layer] = variant.sparsity(entry, treatment)
    return {layer: _density(kept[layer] / there[layer], wanted, library) for layer, wanted in asked.items()}


def _density(exact: float, wanted: Sparsity, library: BlockPattern | None) -> Sparsity:
    """A pattern where there is one and it holds; a fraction as it was asked for and pruned to; else as counted."""
    pattern = wanted if isinstance(wanted, BlockPattern) else library if wanted == 1.0 else None
    if pattern is not None and exact <= pattern.keep / pattern.block + 1e-9:
        return pattern
    return round(exact, DENSITY_DIGITS) if isinstance(wanted, BlockPattern) or wanted == 1.0 else wanted


def _by_origin(seen: Mapping[str, LayerInputs]) -> dict[str, float]:
    """Densities by layer of the plan; of a factorised layer, the density of what its first part reads."""
    found: dict[str, float] = {}
    for name, inputs in seen.items():
        found.setdefault(origin(name), round(inputs.density, DENSITY_DIGITS))
    return found
