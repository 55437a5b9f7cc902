"""A compressed network on disk, and back.

- `weights.safetensors`: rounded weights as whole numbers, packed at their bits (`NAME.levels`), beside their steps (`NAME.step`);
  everything else in floating point under its name in the state dict.
- `state_dict.pt`: the same in floating point, for torch alone.
- `network.json`: what it takes to build the module: its name or nothing, the input, the plan, ranges of the activations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import hwloop
from hwloop.errors import DataError, SpecError
from hwloop.files import write_file
from hwloop.network.accuracy.pieces import Pieces
from hwloop.network.export.packing import pack_levels, unpack_levels
from hwloop.network.tracing.entries import Registry
from hwloop.network.tracing.operands import attach
from hwloop.network.tracing.registry import register
from hwloop.network.transforms.apply import reshaped
from hwloop.network.transforms.calibrate import ActivationRange
from hwloop.network.transforms.quantize import ActivationQuantizer
from hwloop.network.weights_file import write_state
from hwloop.network.zoo.models import make_model
from hwloop.reading import read_bytes, read_text
from hwloop.spec.plan import LayerPlan, Plan, load_plan

FORMAT = 1
WEIGHTS, STATE, NETWORK = "weights.safetensors", "state_dict.pt", "network.json"
_LEVELS, _STEP = ".levels", ".step"
_JSON_BYTES = 10**8


def write_network(folder: Path, pieces: Pieces, plan: Plan, model: Mapping[str, Any] | None, data: Mapping[str, Any]) -> None:
    """Writes the three files.

    Args:
        folder: made when missing.
        pieces: the network.
        plan: it follows.
        model: what `make_model` is to be called with (`name`, `in_channels`, `image_size`, `classes`); None for a module of
            the caller's, which `load_export` must then be given.
        data: what it was trained and scored on, for people.

    Raises:
        DataError: the disk refuses.
    """
    from safetensors.torch import save

    state: dict[str, Tensor] = dict(pieces.network.state_dict())
    coded = {name: _coded(pieces, name) for name in pieces.bits}
    tensors = {key: value.contiguous() for key, value in state.items() if key not in _covered(pieces)}
    for name, (packed, step) in coded.items():
        tensors[f"{name}{_LEVELS}"], tensors[f"{name}{_STEP}"] = packed, step
    document = {
        "format": FORMAT,
        "hwloop": hwloop.__version__,
        "model": None if model is None else dict(model),
        "data": dict(data),
        "plan": plan.to_dict(),
        "weights": [
            {
                "name": name,
                "key": pieces.registry.by_name[name].key,
                "bits": bits,
                "shape": list(pieces.registry.by_name[name].shape),
            }
            for name, bits in pieces.bits.items()
        ],
        "activations": [
            {"layer": layer, "data_space": space, "bits": bits, "low": span.low, "high": span.high}
            for (layer, space), (bits, span) in pieces.spans.items()
        ],
    }
    write_file(folder / WEIGHTS, save({key: value.cpu() for key, value in tensors.items()}, {"format": "hwloop 1"}))
    write_state(folder / STATE, {key: value.contiguous() for key, value in state.items()})
    write_file(folder / NETWORK, json.dumps(document, indent=1) + "\n")


def _coded(pieces: Pieces, name: str) -> tuple[Tensor, Tensor]:
    """Packed levels and steps; together they give the weights back, bit for bit."""
    weight, step = pieces.registry.by_name[name].read(pieces.network), pieces.steps[name].float()
    levels = (weight.double() / step.double()).round()
    if not torch.equal(levels.float() * step, weight):
        raise DataError(f"the weights of {name} are not whole numbers of their steps")
    return torch.from_numpy(pack_levels(levels.cpu().numpy(), pieces.bits[name])), step.contiguous()


def _covered(pieces: Pieces) -> set[str]:
    """Parameters of which every number is a coded weight."""
    counts: dict[str, int] = {}
    for name in pieces.bits:
        entry = pieces.registry.by_name[name]
        counts[entry.key] = counts.get(entry.key, 0) + entry.read(pieces.network).numel()
    return {key for key, count in counts.items() if pieces.network.get_parameter(key).numel() == count}


def load_export(folder: str | Path, model: nn.Module | None = None) -> nn.Module:
    """The exported network as a torch module in evaluation mode: weights on their levels, activations quantised by hooks.

    Args:
        folder: what `hwloop export` wrote.
        model: a module of the uncompressed architecture, whose weights do not matter; needed for one of your own. It is copied.

    Raises:
        DataError: a file is missing, damaged, or does not fit.

    Example:
        >>> network = hwloop.load_export("exported")
        >>> scores = network(images)
    """
    place = Path(folder)
    document = _read(place)
    try:
        start = model if model is not None else make_model(*_arguments(document, place))
        example = torch.zeros(1, *document["data"]["input"])
        if not isinstance(document["plan"], dict):
            raise ValueError("plan: expected what is done to each layer")
        network, registry = _shaped(start.eval(), example, load_plan(document["plan"]))
        _fill(network, registry, document, place / WEIGHTS)
        spans = {
            (each["layer"], each["data_space"]): (each["bits"], ActivationRange(each["low"], each["high"]))
            for each in document["activations"]
        }
    except (KeyError, TypeError, ValueError, SpecError) as error:
        raise DataError(f"{place}: the export cannot be read: {error}") from error
    quantizer = ActivationQuantizer(spans)
    attach(network, registry, quantizer, quantizer.layers)
    return network.eval()


def _read(place: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_text(place / NETWORK, _JSON_BYTES))
    except (DataError, ValueError, RecursionError) as error:
        raise DataError(f"{place / NETWORK}: {error}; give a folder that `hwloop export` wrote") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DataError(f"{place / NETWORK}: is not of format {FORMAT}, which this version reads")
    return document


def _arguments(document: Mapping[str, Any], place: Path) -> tuple[str, int, int, int]:
    how = document["model"]
    if how is None:
        raise DataError(f"{place}: this is a network of your own; give its module: load_export(folder, model)")
    name = str(how["name"])
    if ":" in name and not name.startswith("torchvision:"):  # a file must not say which function is called
        raise DataError(f"{place}: this is a network of {name}; give its module: load_export(folder, model)")
    return name, int(how["in_channels"]), int(how["image_size"]), int(how["classes"])


def _shaped(model: nn.Module, example: Any, plan: Plan) -> tuple[nn.Module, Registry]:
    """The architecture with the plan's shapes; which channels are kept makes no difference to those."""
    parts = ((name, LayerPlan(channels=s.channels, rank=s.rank, removed=s.removed)) for name, s in plan.layers)
    return reshaped(model, register(model, example), Plan(tuple(parts)))


def _fill(network: nn.Module, registry: Registry, document: Mapping[str, Any], file: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(read_bytes(file, file.stat().st_size))
    except (DataError, SafetensorError, OSError) as error:
        raise DataError(f"{file}: {error}") from error
    with torch.no_grad():
        plain = {key: value for key, value in tensors.items() if not key.endswith((_LEVELS, _STEP))}
        coded = {each["key"] for each in document["weights"]}
        missing, unexpected = network.load_state_dict(plain, strict=False)
        if unexpected or set(missing) - coded:
            raise ValueError(f"{file.name} does not fit the network: {[*unexpected, *(set(missing) - coded)][:3]}")
        for each in document["weights"]:
            entry, bits = registry.by_name[each["name"]], int(each["bits"])
            packed, step = tensors[f"{entry.name}{_LEVELS}"], tensors[f"{entry.name}{_STEP}"]
            count = entry.read(network).numel()
            levels = torch.from_numpy(unpack_levels(packed.numpy(), bits, count)).view(entry.shape).to(torch.float32)
            entry.write_(network, levels * step)
