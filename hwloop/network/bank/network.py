"""A whole network pruned at once by second order: what a step of a gradual pruning starts its retraining from."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

from torch import nn

from hwloop.network.bank import columns, factor, hessian, layer, rows
from hwloop.network.bank.hessian import in_passes, see_inputs
from hwloop.network.bank.layer import Settings, compress_layer
from hwloop.network.data.samples import Split
from hwloop.network.tracing.registry import Registry
from hwloop.network.transforms import prune
from hwloop.network.transforms.prune import Masks
from hwloop.spec.pruning import BlockPattern

CODE: tuple[ModuleType, ...] = (columns, factor, hessian, layer, rows, prune)  # what the weights depend on


def prune_network_(
    model: nn.Module,
    registry: Registry,
    calibration: Split,
    sparsity: float | BlockPattern,
    exclude: Iterable[str] = (),
    settings: Settings | None = None,
) -> Masks:
    """Prunes every layer to the same density or pattern and adjusts the weights that stay, see `compress_layer`.

    All layers see the inputs that they have in the network as it is given. Of a layer whose Hessian would take more than 1 GiB
    the smallest weights go.

    Args:
        model: changed in place.
        registry: of the model.
        calibration: training examples that the layers' inputs are seen on.
        sparsity: fraction of each layer's weights that stay, or N:M pattern; weights that are zero already go first.
        exclude: layers (names or patterns such as `features.*`) that stay as they are.
        settings: of single layers; `Settings()` when None.

    Returns:
        The weights that stay.

    Raises:
        SpecError: `exclude` names no layer.
        DataError: inputs of a layer that are not finite numbers.
    """
    entries = registry.select(exclude)
    made = {}
    for part in in_passes(entries):
        seen = see_inputs(model, registry, calibration, part)
        for entry in part:
            weight = entry.read(model)
            made[entry.name] = compress_layer(weight.cpu(), seen[entry.name].hessian.cpu(), sparsity, 0, settings).weight
    for entry in entries:
        weight = entry.read(model)
        new = made[entry.name] if entry.name in made else compress_layer(weight.cpu(), None, sparsity, 0, settings).weight
        entry.write_(model, new.to(weight.device))
    return Masks(registry, {entry.name: entry.read(model) != 0 for entry in entries})
