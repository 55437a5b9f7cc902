"""The plan: what a compressed network is, layer by layer. The one form in which candidates pass between the rooms."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from hwloop.errors import SpecError
from hwloop.spec.density import DENSITY_MODELS, Density, read_density
from hwloop.spec.document import Fields, read_document, to_yaml
from hwloop.spec.layer_plan import Channels, Kept, LayerPlan, Rank
from hwloop.spec.planned import PlannedLayer, planned_layers
from hwloop.spec.planned_maps import PlannedMaps, planned_maps
from hwloop.spec.workload import Layer, Workload, unknown_name

__all__ = ["LayerPlan", "Plan", "PlannedLayer", "load_plan", "make_plan"]


@dataclass(frozen=True, eq=False)
class Plan:
    """What is done to each layer; a layer that is not named is dense at the accelerator's width.

    Plans that say the same are equal, whatever the order of their layers.

    Attributes:
        layers: (name, share) of each layer that something is said of.
        base: the network whose weights are taken, e.g. `p=0.7`, a member of a library; empty for the trained one.
        accelerator: (path, value) of fields of the accelerator's spec that are other than given, where it is searched, too.

    Example:
        >>> plan = make_plan(workload, weight_density=0.3, weight_bits={"conv1.weight": 8, "fc.weight": 4})
        >>> for planned in plan.apply(workload): ...
    """

    layers: tuple[tuple[str, LayerPlan], ...] = ()
    base: str = ""
    accelerator: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if len(self.by_name) < len(self.layers):
            raise SpecError("<plan>", "layers", "each layer once", [name for name, _ in self.layers])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @cached_property
    def by_name(self) -> dict[str, LayerPlan]:
        """The shares by layer name."""
        return dict(self.layers)

    @cached_property
    def key(self) -> str:
        """SHA-256 over what the plan says; the same for plans that say the same."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def of(self, layer: str) -> LayerPlan:
        """The share of the layer called `layer`."""
        return self.by_name.get(layer, _DENSE)

    def apply(self, workload: Workload) -> tuple[PlannedLayer, ...]:
        """Every layer of `workload` as it runs under this plan, in execution order.

        Kept channels change the sizes of the layers that make and read them; a factorised layer becomes two (SVD) or three
        (Tucker-2) layers; removed layers are not there.

        Raises:
            SpecError: a name the workload does not have; layers that share a weight parameter or channels and disagree about
                them; channels, ranks or a removal that the layer's shape does not allow.
        """
        for name in self.by_name:
            if name not in workload.by_name:
                raise unknown_name("<plan>", "layers", name, workload.by_name)
        for weight in workload.weights:
            if len(weight.layers) > 1 and len({_of_weights(self.of(name)) for name in weight.layers}) > 1:
                field, expected = f"layers.{weight.layers[0]}", f"one treatment for all who share {weight.name}"
                raise SpecError("<plan>", field, expected, {name: self.of(name).to_dict() for name in weight.layers})
        return tuple(planned_layers(workload, self.of))

    def maps(self, workload: Workload) -> PlannedMaps:
        """The feature maps of `workload` under this plan: their sizes, bits and densities, and the operations between layers.

        Raises:
            SpecError: as `apply`.
        """
        return planned_maps(workload, self.apply(workload), [self.of(layer.name) for layer in workload.layers])

    def weights_kept(self, workload: Workload) -> float:
        """Fraction of the network's weights that are left: those pruned, with removed channels or layers, or factorised are gone.

        Raises:
            SpecError: as `apply`.
        """
        first = {weight.layers[0] for weight in workload.weights if weight.layers}
        every = sum(layer.weight_values for layer in workload.layers if layer.name in first)
        planned = [p for p in self.apply(workload) if p.layer.name in first]
        left = sum(p.problem.tensor_size("Weights") * p.problem.density("Weights").density for p in planned)
        return left / every if every else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `load_plan` reads."""
        out: dict[str, Any] = {"base": self.base} if self.base else {}
        out |= {"accelerator": dict(self.accelerator)} if self.accelerator else {}
        return out | {"layers": {name: share.to_dict() for name, share in self.layers if share != _DENSE}}

    def to_yaml(self) -> str:
        """A file that `load_plan` reads."""
        return to_yaml({"plan": self.to_dict()})


_DENSE = LayerPlan()


def _of_weights(share: LayerPlan) -> tuple[object, ...]:
    return (share.weight_density, share.weight_bits, share.channels, share.rank, share.removed)


def make_plan(
    workload: Workload,
    weight_density: Kept | str | Mapping[str, Any] = 1.0,
    input_density: float | Density | Mapping[str, Any] = 1.0,
    weight_bits: int | Mapping[str, int] | None = None,
    activation_bits: int | Mapping[str, int] | None = None,
    channels: Mapping[str, Channels] | None = None,
    rank: Mapping[str, Rank] | None = None,
    removed: Iterable[str] = (),
    base: str = "",
) -> Plan:
    """A plan from one value for the whole network or a mapping by layer name or parameter name.

    A name without `#` holds for the later calls of the same module too, unless they are named. What is said about weights as
    one value holds for layers with a weight parameter; `input_density` as one value for both operands of a product of two
    activations. `channels` named for one layer hold for all of its channel group.
    Nothing else is kept of what is said about removed layers.

    Raises:
        SpecError: a key that names neither a layer nor a parameter of `workload`, or a value out of range.
    """
    gone = set(removed)
    known: dict[str, object] = {**workload.by_name, **dict(workload.parameter_shapes)}
    named = (
        ("weight_density", weight_density), ("input_density", input_density), ("weight_bits", weight_bits),
        ("activation_bits", activation_bits), ("channels", channels), ("rank", rank), ("removed", dict.fromkeys(gone)),
    )  # fmt: skip
    for where, value in named:
        for name in value if isinstance(value, Mapping) else ():
            if name not in known:
                raise unknown_name("<plan>", where, name, known)
    kept = _spread_channels(workload, channels or {})
    shares = []
    for layer in workload.layers:
        with _named(layer.name):
            if _pick(dict.fromkeys(gone, True), layer, False):
                shares.append((layer.name, LayerPlan(removed=True)))
                continue
            second = input_density if layer.kind == "matmul" and not isinstance(input_density, Mapping) else 1.0
            share = LayerPlan(
                _pick(weight_density, layer, second) if layer.parameter or isinstance(weight_density, Mapping) else second,
                _pick(input_density, layer, 1.0),
                _pick(weight_bits, layer, None) if layer.parameter or isinstance(weight_bits, Mapping) else None,
                _pick(activation_bits, layer, None),
                kept.get(layer.name),
                _pick(rank or {}, layer, None),
            )
            shares.append((layer.name, share))
    return Plan(tuple(shares), base)


def _pick(given: Any, layer: Layer, default: Any) -> Any:
    if not isinstance(given, Mapping):
        return given
    keys = (layer.name, layer.parameter, layer.name.partition("#")[0])  # the last: the first call of a module called again
    return next((given[key] for key in keys if key in given), default)


def _spread_channels(workload: Workload, channels: Mapping[str, Channels]) -> dict[str, Channels]:
    """By layer: what is said of one layer of a group, or of its parameter, holds for the whole group."""
    found = {layer.name: _pick(channels, layer, None) for layer in workload.layers} if channels else {}
    for group in workload.channels if channels else ():
        said = {found[name] for name in group.outputs} - {None}
        if len(said) == 1:
            found |= dict.fromkeys(group.outputs, said.pop())
    return {name: kept for name, kept in found.items() if kept is not None}


@contextmanager
def _named(layer: str, source: str = "<plan>", path: str = "layers") -> Iterator[None]:
    """Puts the file and the layer's name into an error."""
    try:
        yield
    except SpecError as error:
        raise SpecError(source, f"{path}.{layer}.{error.field}", error.expected, error.found, error.hint) from None


def load_plan(source: Any) -> Plan:
    """Reads a plan from a YAML file, YAML text or a dict, with or without the outer `plan:` key.

    Raises:
        SpecError: with the file and the field, when something is missing, misspelt, of another type or out of range.
    """
    document, file = read_document(source)
    path = ""
    if isinstance(document, Mapping) and "plan" in document:
        document, path = document["plan"], "plan"
    entries = Fields(document, file, path)
    base = entries.take("base", str, "")
    accelerator: dict[str, Any] = entries.take("accelerator", dict, {})
    layers = entries.sub("layers", required=True)
    assert layers is not None
    entries.finish()
    shares = []
    for name, raw in layers.items():
        with _named(name, file, layers.path):
            shares.append((name, _read_share(Fields(raw, "", ""))))
    return Plan(tuple(shares), base, tuple((str(path), value) for path, value in accelerator.items()))


def _read_share(entries: Fields) -> LayerPlan:
    values = {field.name: entries.raw(field.name, field.default) for field in fields(LayerPlan)}
    entries.finish()
    for name in ("weight_density", "input_density"):
        if isinstance(values[name], Mapping):
            block = Fields(values[name], "", name)
            if "distribution" not in block:
                raise block.error("distribution", f"one of {DENSITY_MODELS}", None)
            values[name] = read_density(block)
    return LayerPlan(**values)
