"""A compressed network as ONNX: weights as integers behind DequantizeLinear, activations through QuantizeLinear and back.

ONNX has integers of 8 and 16 bits here; odd widths are clipped to their own range inside the next larger one. Values wider than
16 bits are rounded by Mul, Round and Clip in floating point, and weights wider than that stay floats, on their levels.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hwloop.errors import DataError
from hwloop.files import write_file
from hwloop.network.accuracy.pieces import Pieces
from hwloop.network.tracing.operands import attached
from hwloop.network.transforms.quantize import Spans

OPSET = 21  # the first in which 16-bit integers are quantised
INPUT, OUTPUT = "input", "scores"
_SMALL, _WIDE = 8, 16


@torch.library.custom_op("hwloop::quantised", mutates_args=())
def _quantised(values: Tensor, step: float, low: int, high: int) -> Tensor:
    """Values on their levels; an operation of its own, so that it is found again in the exported graph."""
    return values.mul(1 / step).round_().clamp_(low, high).mul_(step)


@_quantised.register_fake
def _(values: Tensor, step: float, low: int, high: int) -> Tensor:
    return torch.empty_like(values)


@dataclass(frozen=True)
class _Marked:
    """Quantises activations by the operation above."""

    spans: Spans

    def __call__(self, layer: str, operand: str, values: Tensor) -> Tensor | None:
        found = self.spans.get((layer, operand))
        if found is None:
            return None
        step, zero = found[1].levels(found[0])
        marked: Tensor = torch.ops.hwloop.quantised(values, step, -zero, 2 ** found[0] - 1 - zero)
        return marked if step else None


def write_onnx(file: Path, pieces: Pieces, example: Tensor) -> tuple[str, ...]:
    """Writes the network; its input is `input`, `(batch, C, H, W)`, its output `scores`.

    Args:
        file: to be written.
        pieces: the network.
        example: a batch of one.

    Returns:
        What of it is not in integers, and why.

    Raises:
        DataError: torch cannot export the network, or the disk refuses.
    """
    import onnx

    model = _exported(pieces, example)
    notes = [note for name in pieces.bits if (note := _integers(model, pieces, name))]
    wide = sorted({layer for (layer, _), (bits, _) in pieces.spans.items() if bits > _WIDE})
    if wide:
        notes.append(f"activations wider than {_WIDE} bits are rounded in floating point: {', '.join(wide)}")
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise DataError(f"the exported ONNX graph is not valid: {error}") from error
    write_file(file, model.SerializeToString())
    return tuple(notes)


def _exported(pieces: Pieces, example: Tensor) -> Any:
    marked, network = _Marked(pieces.spans), pieces.network
    layers = tuple(dict.fromkeys(layer for layer, _ in pieces.spans))
    batch = torch.cat([example, example])  # a batch of one would be taken for a constant
    try:
        with _quiet(), attached(network, pieces.registry, marked, layers), torch.no_grad():
            program = torch.onnx.export(
                network, (batch,), dynamo=True, opset_version=OPSET, optimize=False, verbose=False, input_names=[INPUT],
                output_names=[OUTPUT], dynamic_shapes=({0: torch.export.Dim("batch")},),
                custom_translation_table={torch.ops.hwloop.quantised.default: _translated},
            )  # fmt: skip
    except Exception as error:  # torch.export raises whatever the network's own code makes it raise
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"torch cannot export this network to ONNX: {type(error).__name__}: {reason}") from error
    assert program is not None
    return program.model_proto


def _translated(values: Any, step: float, low: int, high: int) -> Any:
    from onnx import TensorProto, helper
    from onnxscript import opset21

    op: Any = opset21

    ends = [op.Constant(value_float=float(end * step)) for end in (low, high)]
    if high - low >= 2**_WIDE:
        levels = op.Clip(
            op.Round(op.Mul(values, op.Constant(value_float=1 / step))),
            op.Constant(value_float=float(low)),
            op.Constant(value_float=float(high)),
        )
        return op.Mul(levels, op.Constant(value_float=step))
    kind = TensorProto.UINT8 if high - low < 2**_SMALL else TensorProto.UINT16
    scale, zero = op.Constant(value_float=step), op.Constant(value=helper.make_tensor("zero", kind, [], [-low]))
    return op.DequantizeLinear(op.QuantizeLinear(op.Clip(values, *ends), scale, zero), scale, zero)


def _integers(model: Any, pieces: Pieces, name: str) -> str:
    """Puts integers and DequantizeLinear in the place of a float weight; says why where that cannot be."""
    from onnx import helper, numpy_helper

    entry, bits = pieces.registry.by_name[name], pieces.bits[name]
    if bits > _WIDE:
        return f"weights of {name} stay floats: {bits} bits, and the widest integer is of {_WIDE}"
    parameter = pieces.network.get_parameter(entry.key)
    whole = entry.read(pieces.network).numel() == parameter.numel()
    at = next((i for i, each in enumerate(model.graph.initializer) if each.name == entry.key), None)
    found = _in_place(parameter, entry, pieces.steps[name]) if whole and at is not None else None
    if found is None or at is None:
        return f"weights of {name} stay floats: {entry.key} holds more than one layer's, or has no axis of output channels"
    steps, axis = found
    levels = np.rint(parameter.detach().double().cpu().numpy() / _spread(steps, axis, parameter.dim()))
    kind = np.int8 if bits <= _SMALL else np.int16
    names = [f"{entry.key}.levels", f"{entry.key}.step"]
    model.graph.initializer[at].CopyFrom(numpy_helper.from_array(levels.astype(kind), names[0]))
    model.graph.initializer.append(numpy_helper.from_array(steps.astype(np.float32), names[1]))
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", names, [entry.key], axis=axis))
    return ""


def _in_place(parameter: Tensor, entry: Any, step: Tensor) -> tuple[Any, int] | None:
    """The steps along one axis of the parameter (or one for all), and that axis; None where they lie along no single one."""
    if step.numel() == 1:
        return step.detach().cpu().numpy().reshape(()), 0
    spread = torch.zeros_like(parameter)
    entry.layout.write_(spread, step.expand(entry.shape).to(spread))
    for axis in range(spread.dim()):
        rows = spread.movedim(axis, 0).reshape(spread.shape[axis], -1)
        if bool((rows == rows[:, :1]).all()):
            return rows[:, 0].cpu().numpy(), axis
    return None


def _spread(steps: Any, axis: int, dimensions: int) -> Any:
    shape = [1] * dimensions
    if steps.ndim:
        shape[axis] = -1
    return steps.astype(np.float64).reshape(shape)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's own words on the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class OnnxNetwork(nn.Module):
    """An ONNX file as a module that onnxruntime runs, so that it is scored as any other network.

    Raises:
        DataError: the file cannot be read or run.
    """

    def __init__(self, file: str | Path, threads: int = 1) -> None:
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has exceptions of its own for everything
            raise DataError(f"{file}: onnxruntime cannot run it: {error}") from error

    def forward(self, images: Tensor) -> Tensor:
        """Scores of a batch, `(batch, classes)`."""
        found: Sequence[Any] = self._session.run([OUTPUT], {INPUT: images.cpu().numpy()})
        return torch.from_numpy(found[0]).to(images.device)
