"""The plan (phenotype): what densities and bits each layer of a workload runs with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hwloop.errors import SpecError
from hwloop.spec.density import Density
from hwloop.spec.document import Fields, read_document, to_yaml
from hwloop.spec.problem import Problem
from hwloop.spec.workload import Layer, Workload, unknown_name

MAX_BITS = 64


@dataclass(frozen=True)
class LayerPlan:
    """One layer's share of a plan.

    Attributes:
        weight_density: fraction of weights kept, 0-1; a number means `hypergeometric` (unstructured
            pruning), a `Density` any other.
        input_density: fraction of nonzero input activations, as measured.
        weight_bits: bits per weight; None keeps the accelerator's width.
        activation_bits: bits per input activation; None keeps the accelerator's width.
    """

    weight_density: float | Density = 1.0
    input_density: float | Density = 1.0
    weight_bits: int | None = None
    activation_bits: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """What differs from a dense layer at the accelerator's width."""
        out: dict[str, Any] = {}
        for name, default in (("weight_density", 1.0), ("input_density", 1.0), ("weight_bits", None), ("activation_bits", None)):
            value = getattr(self, name)
            if value != default:
                out[name] = value.to_dict() if isinstance(value, Density) else value
        return out


@dataclass(frozen=True)
class PlannedLayer:
    """A layer as it will run: hashable, and equal in (problem, weight_bits, activation_bits) means equal in cost.

    Attributes:
        layer: which one.
        problem: its problem with the plan's densities.
        weight_bits: bits per value of `Weights`; None keeps the accelerator's width.
        activation_bits: bits per value of `Inputs`; None keeps the accelerator's width.
    """

    layer: Layer
    problem: Problem
    weight_bits: int | None = None
    activation_bits: int | None = None

    @property
    def bits(self) -> dict[str, int]:
        """`{data space: bits}` as `hwloop.simulate` takes it."""
        pairs = (("Weights", self.weight_bits), ("Inputs", self.activation_bits))
        return {name: bits for name, bits in pairs if bits is not None}


@dataclass(frozen=True)
class Plan:
    """Densities and bits by layer name; a layer that is not named is dense at the accelerator's width.

    Example:
        >>> plan = make_plan(workload, weight_density=0.3, weight_bits={"conv1.weight": 8, "fc.weight": 4})
        >>> for planned in plan.apply(workload): ...
    """

    layers: tuple[tuple[str, LayerPlan], ...] = ()

    @cached_property
    def by_name(self) -> dict[str, LayerPlan]:
        """The shares by layer name."""
        return dict(self.layers)

    def of(self, layer: str) -> LayerPlan:
        """The share of the layer called `layer`."""
        return self.by_name.get(layer, LayerPlan())

    def apply(self, workload: Workload) -> tuple[PlannedLayer, ...]:
        """Every layer of `workload` as it runs under this plan, in execution order.

        Raises:
            SpecError: a name the workload does not have, a density or bits out of range, or layers that share a weight
                parameter and disagree about it.
        """
        for name in self.by_name:
            if name not in workload.by_name:
                raise unknown_name("<plan>", "layers", name, workload.by_name)
        for weight in workload.weights:
            shares = {(self.of(name).weight_density, self.of(name).weight_bits) for name in weight.layers}
            if len(shares) > 1:
                field, expected = f"layers.{weight.layers[0]}", f"one density and bit-width for all who share {weight.name}"
                raise SpecError("<plan>", field, expected, {name: self.of(name).to_dict() for name in weight.layers})
        return tuple(_apply(layer, self.of(layer.name)) for layer in workload.layers)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `load_plan` reads."""
        return {"layers": {name: share.to_dict() for name, share in self.layers}}

    def to_yaml(self) -> str:
        """A file that `load_plan` reads."""
        return to_yaml({"plan": self.to_dict()})


def _apply(layer: Layer, share: LayerPlan) -> PlannedLayer:
    given = {"Weights": share.weight_density, "Inputs": share.input_density}
    densities = dict(layer.problem.densities) | {
        name: value for name, value in given.items() if (value.density if isinstance(value, Density) else value) != 1.0
    }
    for name, bits in (("weight_bits", share.weight_bits), ("activation_bits", share.activation_bits)):
        if bits is not None and not 1 <= bits <= MAX_BITS:
            raise SpecError("<plan>", f"layers.{layer.name}.{name}", f"a whole number from 1 to {MAX_BITS}", bits)
    try:
        problem = layer.problem.with_densities(densities) if densities else layer.problem
    except SpecError as error:
        raise SpecError("<plan>", f"layers.{layer.name}.{error.field}", error.expected, error.found, error.hint) from None
    return PlannedLayer(layer, problem, share.weight_bits, share.activation_bits)


def make_plan(
    workload: Workload,
    weight_density: float | Density | Mapping[str, float | Density] = 1.0,
    input_density: float | Density | Mapping[str, float | Density] = 1.0,
    weight_bits: int | Mapping[str, int] | None = None,
    activation_bits: int | Mapping[str, int] | None = None,
) -> Plan:
    """A plan from one value for the whole network or a mapping by layer name or parameter name.

    A name without `#` holds for the later calls of the same module too, unless they are named. What is said about weights as
    one value holds for layers with a weight parameter. In a product of two activations both operands are activations: its
    `Weights` take `activation_bits`, and stay dense unless the layer itself is named.

    Raises:
        SpecError: a key that names neither a layer nor a parameter of `workload`.
    """
    known: dict[str, object] = {**workload.by_name, **dict(workload.parameter_shapes)}
    for where, value in (
        ("weight_density", weight_density),
        ("input_density", input_density),
        ("weight_bits", weight_bits),
        ("activation_bits", activation_bits),
    ):
        if isinstance(value, Mapping):
            for name in value:
                if name not in known:
                    raise unknown_name("<plan>", where, name, known)
    shares = []
    for layer in workload.layers:
        has_weights = bool(layer.parameter)
        activation = _pick(activation_bits, layer, None)
        density = _pick(weight_density, layer, 1.0) if has_weights or isinstance(weight_density, Mapping) else 1.0
        bits = _pick(weight_bits, layer, None) if has_weights or isinstance(weight_bits, Mapping) else activation
        if bits is None and not has_weights:
            bits = activation
        shares.append((layer.name, LayerPlan(density, _pick(input_density, layer, 1.0), bits, activation)))
    return Plan(tuple(shares))


def _pick(given: Any, layer: Layer, default: Any) -> Any:
    if not isinstance(given, Mapping):
        return given
    keys = (layer.name, layer.parameter, layer.name.partition("#")[0])  # the last: the first call of a module called again
    return next((given[key] for key in keys if key in given), default)


def load_plan(source: Any) -> Plan:
    """Reads a plan from a YAML file, YAML text or a dict, with or without the outer `plan:` key.

    Raises:
        SpecError: with the file and the field, when something is missing, misspelt or of another type.
    """
    document, file = read_document(source)
    path = ""
    if isinstance(document, Mapping) and "plan" in document:
        document, path = document["plan"], "plan"
    fields = Fields(document, file, path)
    layers = fields.sub("layers", required=True)
    assert layers is not None
    fields.finish()
    return Plan(tuple((name, _read_share(Fields(raw, file, layers.where(name)))) for name, raw in layers.items()))


def _read_share(fields: Fields) -> LayerPlan:
    weight_bits, activation_bits = fields.take("weight_bits", int, None), fields.take("activation_bits", int, None)
    share = LayerPlan(weight_bits=weight_bits, activation_bits=activation_bits)
    for name in ("weight_density", "input_density"):
        value = fields.raw(name, 1.0)
        if isinstance(value, Mapping):
            entry = Fields(value, fields.source, fields.where(name))
            value = Density(
                entry.take("distribution", str),
                entry.take("density", float),
                entry.take("band_width", int, 0),
                entry.take("workload_tensor_size", int, 0),
                entry.take("filename", str, ""),
            )
            entry.finish()
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise fields.error(name, "a fraction between 0 and 1, or a density block", value)
        share = replace(share, **{name: value})
    fields.finish()
    return share
