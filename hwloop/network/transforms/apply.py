"""From a network and a plan to the network that the plan describes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

from torch import nn

from hwloop.errors import DataError, SpecError
from hwloop.network.tracing.entries import Registry
from hwloop.network.tracing.operands import attach
from hwloop.network.tracing.registry import register_again
from hwloop.network.transforms.calibrate import Calibration
from hwloop.network.transforms.factorise import factors
from hwloop.network.transforms.modules import owner_of, replace_module
from hwloop.network.transforms.prune import magnitude_mask
from hwloop.network.transforms.quantize import activation_quantizer, quantize_weight
from hwloop.network.transforms.shrink import chosen_channels, shrink_
from hwloop.spec.density import Density
from hwloop.spec.plan import LayerPlan, Plan
from hwloop.spec.planned import PlannedLayer
from hwloop.spec.pruning import BlockPattern
from hwloop.spec.workload import Workload

Calibrate = Callable[[nn.Module, Registry], Calibration]


def apply_plan(
    model: nn.Module,
    registry: Registry,
    plan: Plan,
    calibrate: Calibrate | None = None,
    granularity: str = "channel",
    clipping: str = "mse",
) -> nn.Module:
    """A new module with the plan's shapes and weights: smaller, pruned and quantised.

    Channels go first, then layers are factorised or left out, then weights are pruned to their densities and rounded, and the
    activations that layers multiply are rounded by hooks. The state dict has plain names and values.

    Args:
        model: not changed. Its weights are those that the plan's `base` names.
        registry: of the model.
        plan: of the registry's workload.
        calibrate: measures the ranges of activations of the new module, given it and its registry; needed for activation bits.
        granularity: of the weights' steps, `channel` or `tensor`.
        clipping: of the weights, `max` or `mse`.

    Raises:
        SpecError: the plan does not fit the network, or the network cannot be changed that way; with the layer's name.

    Example:
        >>> registry = register(model, images)
        >>> smaller = apply_plan(model, registry, make_plan(registry.workload, weight_density=0.5, channels={"conv1": 12}))
    """
    new, new_registry = reshaped(model, registry, plan)
    said = shares(plan, registry.workload)
    prune_(new, new_registry, said)
    quantise_weights_(new, new_registry, said, granularity, clipping)
    bits = {name: share.activation_bits for name, share in said.items() if share.activation_bits is not None}
    products = [layer.name for layer in new_registry.workload.layers if layer.kind == "matmul"]
    second = {name: number for name in products if (number := said[name].weight_bits) is not None}
    if bits or second:
        if calibrate is None:
            name, number = next(iter((bits or second).items()))
            where = f"layers.{name}.activation_bits"
            raise SpecError("<plan>", where, "a way to calibrate the activations", number, "give `calibrate`")
        quantizer = activation_quantizer(new_registry, bits, calibrate(new, new_registry), second)
        attach(new, new_registry, quantizer, quantizer.layers)
    return new


def reshaped(model: nn.Module, registry: Registry, plan: Plan) -> tuple[nn.Module, Registry]:
    """A copy of `model` with the plan's shapes, and its registry, whose layers have the names of the planned ones.

    Densities and bits are not looked at. Where the plan changes no shape the registry is the same.

    Raises:
        SpecError: as `apply_plan`.
    """
    planned = plan.apply(registry.workload)
    kept = chosen_channels(model, registry, plan)
    new = copy.deepcopy(model)
    changed = [name for name, share in plan.layers if share.rank is not None or share.removed]
    if not kept and not changed:
        return new, registry
    shrink_(new, registry, kept)
    for entry in registry.entries:
        share = plan.of(entry.layers[0])
        if share.removed:
            replace_module(new, owner_of(new, registry.workload, entry, "removed"), nn.Identity())
        elif share.rank is not None:
            path = owner_of(new, registry.workload, entry, "rank")
            module = new.get_submodule(path)
            weight = module.get_parameter("weight").detach()
            replace_module(new, path, factors(module, weight.reshape(*weight.shape, *(1,) * (4 - weight.dim())), share.rank))
    where = ", ".join([*kept, *changed])
    try:
        again = register_again(registry, new)
    except DataError as error:
        hint = "the model's own code relies on these sizes"
        raise SpecError("<plan>", f"layers.{where}", "a model that runs with the plan's shapes", str(error), hint) from error
    _check_same(again, planned, where)
    return new, again


def _check_same(registry: Registry, planned: Sequence[PlannedLayer], where: str) -> None:
    found = [(layer.name, layer.problem.shape, layer.problem.bounds) for layer in registry.workload.layers]
    wanted = [(layer.name, layer.problem.shape, layer.problem.bounds) for layer in planned]
    for have, want in zip(found, wanted, strict=False):
        if have != want:
            raise SpecError("<plan>", f"layers.{where}", f"{want[0]} of {want[2]}", f"{have[0]} of {have[2]}")
    if len(found) != len(wanted):
        raise SpecError("<plan>", f"layers.{where}", f"{len(wanted)} layers", len(found))


def shares(plan: Plan, workload: Workload) -> dict[str, LayerPlan]:
    """What the plan says of each layer of the network it leads to, by the name of the planned layer."""
    return {planned.name: plan.of(planned.layer.name) for planned in plan.apply(workload)}


def prune_(model: nn.Module, registry: Registry, said: Mapping[str, LayerPlan]) -> None:
    """Sets the weights of smallest magnitude to zero, so that each layer has the density that is planned.

    Args:
        model: changed in place.
        registry: of the model.
        said: from `shares`.

    Raises:
        SpecError: a density that only a simulator can have.
    """
    for entry in registry.entries:
        density = said[entry.layers[0]].weight_density
        if density == 1.0:
            continue
        if isinstance(density, Density):
            expected = "a fraction, or N:M; any other spread can only be simulated"
            raise SpecError("<plan>", f"layers.{entry.layers[0]}.weight_density", expected, density.to_dict())
        weight = entry.read(model)
        free, pattern = (0.0, density) if isinstance(density, BlockPattern) else (1 - density, None)
        entry.write_(model, weight * magnitude_mask(weight, free, pattern))


def quantise_weights_(
    model: nn.Module,
    registry: Registry,
    said: Mapping[str, LayerPlan],
    granularity: str = "channel",
    clipping: str = "mse",
) -> None:
    """Rounds each layer's weights to the bits that are planned, in place; see `quantize_weight`."""
    for entry in registry.entries:
        bits = said[entry.layers[0]].weight_bits
        if bits is not None:
            entry.write_(model, quantize_weight(entry.read(model), bits, granularity, clipping))
