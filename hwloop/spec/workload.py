"""The workload: a network's layers in execution order, each with its problem, its weights and what feeds it.

Layers whose problems are equal (shape, sizes, coefficients, densities) are mapped once (`Workload.unique`), yet each keeps
its own name and weights, because pruning and bits differ from layer to layer: a `hwloop.spec.plan.Plan` says how.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

from hwloop.errors import SpecError
from hwloop.spec.bits import check_bits
from hwloop.spec.channels import ChannelGroup, check_channel_groups, read_channel_group
from hwloop.spec.document import Fields, read_document, to_yaml
from hwloop.spec.feature_maps import FeatureMap, Operation, check_feature_maps, read_feature_map, read_operation
from hwloop.spec.limits import COMPUTES
from hwloop.spec.problem import Problem, conv2d_shape, load_problem
from hwloop.spec.waiting import Waiting

if TYPE_CHECKING:
    import networkx

KINDS = ("conv", "depthwise", "grouped", "linear", "matmul")
_SHAPES = {shape.name: shape for shape in (conv2d_shape(), conv2d_shape(depthwise=True), conv2d_shape(grouped=True))}


@dataclass(frozen=True)
class WeightTensor:
    """A parameter that layers read as their weights: what is pruned and quantised.

    Attributes:
        name: its dotted name in the model, e.g. `layer1.0.conv1.weight`; a part of a fused one has its rows behind it, e.g.
            `attn.in_proj_weight[0:64]`.
        shape: its sizes as torch keeps them, e.g. (M, C, kH, kW).
        layers: names of the layers that read it, in execution order; several when a module is called more than once.
    """

    name: str
    shape: tuple[int, ...]
    layers: tuple[str, ...]

    @property
    def values(self) -> int:
        """Number of values in it."""
        return prod(self.shape)


@dataclass(frozen=True)
class Layer:
    """One occurrence of a multiply-accumulate operation.

    Attributes:
        name: unique in the workload: the path of the module that owns the weights, or of the one that ran plus the operation
            (`encoder.self_attention.qk`); the second and later calls of the same end in `#2`, `#3`.
        problem: what is computed. A linear layer is a convolution with N = rows, C = inputs, M = outputs; a matrix product of
            two activations has its second operand in the place of `Weights`, and G = batch x heads.
        kind: `conv`, `depthwise`, `grouped`, `linear` or `matmul` (two activations).
        module: path of the module that was running.
        parameter: name of the weight parameter; empty where there is none to prune (two activations, a constant buffer).
        inputs: names of the layers whose results reach this one through nothing but unmapped operations.
        input_size: (height, width) of its input feature map without padding; empty where unknown or not an image.
    """

    name: str
    problem: Problem
    kind: str
    module: str = ""
    parameter: str = ""
    inputs: tuple[str, ...] = ()
    input_size: tuple[int, ...] = ()

    @property
    def activation_operands(self) -> tuple[str, ...]:
        """The data spaces that hold activations: both operands of a product of two activations."""
        return ("Inputs", "Weights") if self.kind == "matmul" else ("Inputs",)

    @property
    def output_channels(self) -> int:
        """Output channels, those of all groups together."""
        sizes = self.problem.sizes
        return sizes.get("M", sizes.get("C", 1)) * sizes.get("G", 1)

    @property
    def input_channels(self) -> int:
        """Input channels, those of all groups together."""
        sizes = self.problem.sizes
        return sizes.get("C", 1) * sizes.get("G", 1)

    @property
    def computes(self) -> int:
        """Multiply-accumulates when dense."""
        return self.problem.computes

    @property
    def weight_values(self) -> int:
        """Weights this layer reads, when dense; 0 without a parameter."""
        return self.problem.tensor_size("Weights") if self.parameter else 0


@dataclass(frozen=True)
class RepeatedProblem:
    """A distinct problem and the names of the layers that pose it, in execution order."""

    problem: Problem
    layers: tuple[str, ...]


@dataclass(frozen=True)
class UnmappedOperation:
    """An operation with arithmetic in it that no problem stands for.

    Attributes:
        module: path of the module that ran it.
        operation: e.g. `aten.convolution`.
        reason: why not.
    """

    module: str
    operation: str
    reason: str


@dataclass(frozen=True)
class Workload:
    """A network as the accelerator sees it.

    Attributes:
        name: the network's name.
        layers: every occurrence, in execution order.
        parameter_shapes: (name, shape) of each weight parameter, in the order of first use.
        unmapped: operations with arithmetic that are left out; empty unless the caller allowed it.
        free_operations: (name, calls) of the element-wise, pooling, normalisation operations, which are taken to cost nothing.
        channels: which layers' channels are kept or removed together; empty where nobody looked.
        maps: the activations between layers, in the order in which they are written; empty where nobody looked.
        operations: residual adds, pooling and other work between layers that reads and writes maps, in execution order.
        input_bits: bits per value of the network's inputs as data (8 for images); None where that is not known.

    Raises:
        SpecError: two layers of one name, an unknown kind or parameter, an input that does not come before, channel groups, maps
            or operations that do not fit the layers.
    """

    name: str
    layers: tuple[Layer, ...]
    parameter_shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    unmapped: tuple[UnmappedOperation, ...] = ()
    free_operations: tuple[tuple[str, int], ...] = field(default=(), compare=False)
    channels: tuple[ChannelGroup, ...] = ()
    maps: tuple[FeatureMap, ...] = ()
    operations: tuple[Operation, ...] = ()
    input_bits: int | None = None

    def __post_init__(self) -> None:
        seen: set[str] = set()
        parameters = dict(self.parameter_shapes)
        for i, layer in enumerate(self.layers):
            where = f"layers[{i}]"
            if layer.name in seen:
                raise SpecError(self.name, f"{where}.name", "a name no other layer has", layer.name)
            if layer.kind not in KINDS:
                raise SpecError(self.name, f"{where}.kind", f"one of {KINDS}", layer.kind)
            if layer.parameter and layer.parameter not in parameters:
                raise SpecError(self.name, f"{where}.parameter", "one of the workload's parameters", layer.parameter)
            for source in layer.inputs:
                if source not in seen:
                    raise SpecError(self.name, f"{where}.inputs", "names of earlier layers", source)
            seen.add(layer.name)
        made = {layer.name: layer.output_channels for layer in self.layers}
        check_channel_groups(self.channels, made, {layer.name: layer.input_channels for layer in self.layers}, self.name)
        spaces = {layer.name: {space.name for space in layer.problem.shape.data_spaces} for layer in self.layers}
        check_feature_maps(self.maps, self.operations, spaces, self.name)
        if self.input_bits is not None:
            check_bits(self.input_bits, "input_bits", source=self.name)

    @cached_property
    def by_name(self) -> dict[str, Layer]:
        """The layers by name."""
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def group_of_outputs(self) -> dict[str, ChannelGroup]:
        """The channel group of each layer's output channels, by layer name."""
        return {layer: group for group in self.channels for layer in group.outputs}

    @cached_property
    def waiting(self) -> Waiting:
        """At which bits and densities maps wait under plans; it keeps what it has answered."""
        return Waiting(self.layers, self.maps, self.operations, self.input_bits)

    @cached_property
    def unique(self) -> tuple[RepeatedProblem, ...]:
        """The distinct problems, in the order of first use: what a mapper has to look at."""
        found: dict[Problem, list[str]] = {}
        for layer in self.layers:
            found.setdefault(layer.problem, []).append(layer.name)
        return tuple(RepeatedProblem(problem, tuple(names)) for problem, names in found.items())

    @cached_property
    def weights(self) -> tuple[WeightTensor, ...]:
        """The parameters to prune and quantise, in the order of first use; one called twice is here once."""
        users: dict[str, list[str]] = {name: [] for name, _ in self.parameter_shapes}
        for layer in self.layers:
            if layer.parameter:
                users[layer.parameter].append(layer.name)
        return tuple(WeightTensor(name, shape, tuple(users[name])) for name, shape in self.parameter_shapes)

    @cached_property
    def computes(self) -> int:
        """Multiply-accumulates of all layers when dense, for the whole batch N."""
        return sum(layer.computes for layer in self.layers)

    @cached_property
    def weight_values(self) -> int:
        """Values in all weight parameters, each counted once."""
        return sum(weight.values for weight in self.weights)

    @cached_property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """(from, to) layer names."""
        return tuple((source, layer.name) for layer in self.layers for source in layer.inputs)

    @cached_property
    def graph(self) -> networkx.DiGraph[str]:
        """The layers as a networkx directed graph, nodes in execution order, each with its `Layer` as attribute `layer`."""
        import networkx  # slow to load, and few callers need it

        graph: networkx.DiGraph[str] = networkx.DiGraph(name=self.name)
        graph.add_nodes_from((layer.name, {"layer": layer}) for layer in self.layers)
        graph.add_edges_from(self.edges)
        return graph

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `load_workload` reads."""
        out: dict[str, Any] = {"name": self.name, "parameters": {name: list(shape) for name, shape in self.parameter_shapes}}
        out["layers"] = [_layer_to_dict(layer) for layer in self.layers]
        if self.unmapped:
            out["unmapped"] = [{"module": u.module, "operation": u.operation, "reason": u.reason} for u in self.unmapped]
        if self.free_operations:
            out["free_operations"] = dict(self.free_operations)
        if self.channels:
            out["channels"] = [group.to_dict() for group in self.channels]
        for key, entries in (("maps", self.maps), ("operations", self.operations)):
            if entries:
                out[key] = [entry.to_dict() for entry in entries]
        if self.input_bits is not None:
            out["input_bits"] = self.input_bits
        return out

    def to_yaml(self) -> str:
        """A file that `load_workload` reads."""
        return to_yaml({"workload": self.to_dict()})


def unknown_name(source: str, where: str, name: str, known: Mapping[str, object]) -> SpecError:
    """The error for a layer or parameter that a workload does not have; the caller raises it."""
    near = get_close_matches(name, list(known), n=1)
    return SpecError(source, where, "a layer or parameter of the workload", name, f"did you mean {near[0]!r}?" if near else "")


def _layer_to_dict(layer: Layer) -> dict[str, Any]:
    problem = layer.problem.to_dict()
    if _SHAPES.get(layer.problem.shape.name) == layer.problem.shape:
        problem["shape"] = layer.problem.shape.name
    out: dict[str, Any] = {"name": layer.name, "kind": layer.kind}
    out |= {key: value for key, value in (("module", layer.module), ("parameter", layer.parameter)) if value}
    out |= {"shape": problem["shape"], "instance": problem["instance"]}
    if layer.inputs:
        out["inputs"] = list(layer.inputs)
    if layer.input_size:
        out["input_size"] = list(layer.input_size)
    return out


def load_workload(source: Any) -> Workload:
    """Reads a workload from a YAML file, YAML text or a dict, with or without the outer `workload:` key.

    A layer's `shape` is `conv2D`, `depthwise`, `grouped_conv2D`, or a whole shape block.

    Raises:
        SpecError: with the file and the field, when something is missing, misspelt or out of range.
    """
    if isinstance(source, Workload):
        return source
    document, file = read_document(source)
    path = ""
    if isinstance(document, Mapping) and "workload" in document:
        document, path = document["workload"], "workload"
    fields = Fields(document, file, path)
    name = fields.take("name", str)
    parameters = fields.sub("parameters")
    shapes = tuple((key, _read_sizes(parameters, key, raw)) for key, raw in parameters.items()) if parameters else ()
    raw_layers: list[Any] = fields.take("layers", list)
    layers = tuple(_read_layer(Fields(raw, file, fields.where(f"layers[{i}]"))) for i, raw in enumerate(raw_layers))
    raw_unmapped: list[Any] = fields.take("unmapped", list, [])
    unmapped = []
    for i, raw in enumerate(raw_unmapped):
        entry = Fields(raw, file, fields.where(f"unmapped[{i}]"))
        unmapped.append(UnmappedOperation(entry.take("module", str), entry.take("operation", str), entry.take("reason", str)))
        entry.finish()
    free = fields.sub("free_operations")
    operations = tuple((key, free.take(key, int)) for key in free.names()) if free else ()
    groups = tuple(read_channel_group(entry) for entry in fields.each("channels"))
    maps = tuple(read_feature_map(entry) for entry in fields.each("maps"))
    work = tuple(read_operation(entry) for entry in fields.each("operations"))
    input_bits = fields.take("input_bits", int, None)
    fields.finish()
    return Workload(name, layers, shapes, tuple(unmapped), operations, groups, maps, work, input_bits)


def _read_sizes(fields: Fields, name: str, raw: Any) -> tuple[int, ...]:
    if not isinstance(raw, (list, tuple)) or not all(isinstance(size, int) and 0 < size <= COMPUTES for size in raw):
        raise fields.error(name, "a list of sizes", raw)
    return tuple(raw)


def _read_layer(fields: Fields) -> Layer:
    name, kind = fields.take("name", str), fields.take("kind", str)
    raw_shape = fields.raw("shape")
    if isinstance(raw_shape, str):
        if raw_shape not in _SHAPES:
            raise fields.error("shape", f"one of {sorted(_SHAPES)}, or a shape block", raw_shape)
        raw_shape = _SHAPES[raw_shape].to_dict()
    instance = fields.raw("instance")
    try:
        problem = load_problem({"shape": raw_shape, "instance": instance, "name": name})
    except SpecError as error:
        raise SpecError(fields.source, fields.where(error.field), error.expected, error.found, error.hint) from None
    inputs: list[Any] = fields.take("inputs", list, [])
    module, parameter = fields.take("module", str, ""), fields.take("parameter", str, "")
    input_size = _read_sizes(fields, "input_size", fields.raw("input_size", []))
    layer = Layer(name, problem, kind, module, parameter, tuple(str(source) for source in inputs), input_size)
    fields.finish()
    return layer
