from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from hwloop.errors import DataError
from hwloop.network.export.onnx_file import OnnxNetwork, write_onnx
from hwloop.spec.plan import make_plan

from ..models import Dense
from .test_files import images, lenet, noise, scorer_of


def checked(file: Path, scorer, plan, example, batch, ties: bool = False) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The graph and the notes, once onnxruntime gives torch's scores.

    The two add up in other orders, and a sum that is off in its last bit may round to the next level of the layer behind: so the
    scores of most images are the same to 1e-5, and those of the others within what a level is worth. With one step for a whole
    tensor, sums are multiples of one number and often lie half-way between levels (`ties`), where torch's `x * (1 / step)` and
    ONNX's `x / step` may round apart.
    """
    notes = write_onnx(file, scorer.pieces(plan), example)
    with torch.inference_mode():
        wanted = scorer.materialise(plan)(batch)
        off = (OnnxNetwork(file)(batch) - wanted).abs().amax(dim=1) / wanted.abs().max()
    assert ties or float(off.median()) < 1e-5
    assert float(off.max()) < 0.01
    return onnx.load(file), notes


def test_odd_widths_are_clipped_inside_the_next_integer(tmp_path: Path) -> None:
    model, splits, _ = lenet()
    scorer = scorer_of(model, splits)
    bits = {"conv1": 3, "conv2": 8, "fc1": 9, "fc2": 13, "fc3": 16}
    plan = make_plan(scorer.workload, weight_density=0.5, weight_bits=bits, activation_bits={"conv1": 8, "conv2": 5, "fc1": 11})
    graph, notes = checked(tmp_path / "n.onnx", scorer, plan, splits.example_input, images(splits))
    assert notes == ()
    weights = {each.name: numpy_helper.to_array(each) for each in graph.graph.initializer}
    for name, width in bits.items():
        levels = weights[f"{name}.weight.levels"]
        assert levels.dtype == (np.int8 if width <= 8 else np.int16)
        assert np.abs(levels.astype(int)).max() <= 2 ** (width - 1) - 1
        assert f"{name}.weight" not in weights
        pieces = scorer.pieces(plan)
        value = pieces.network.get_parameter(f"{name}.weight").detach().numpy()
        steps = weights[f"{name}.weight.step"].reshape(-1, *(1,) * (value.ndim - 1))
        assert np.array_equal(levels.astype(np.float32) * steps, value)
    kinds = [node.op_type for node in graph.graph.node]
    assert kinds.count("QuantizeLinear") == 3
    assert kinds.count("DequantizeLinear") == 3 + len(bits)
    zeros = [n.attribute[0].t.data_type for n in graph.graph.node if n.op_type == "Constant" and n.attribute[0].name == "value"]
    assert zeros.count(onnx.TensorProto.UINT8) == 2
    assert zeros.count(onnx.TensorProto.UINT16) == 1


def test_what_is_wider_than_16_bits_is_rounded_in_floating_point_and_said(tmp_path: Path) -> None:
    model, splits, _ = lenet()
    scorer = scorer_of(model, splits)
    plan = make_plan(scorer.workload, weight_bits={"fc1": 18, "fc2": 4}, activation_bits={"fc3": 20})
    _, notes = checked(tmp_path / "n.onnx", scorer, plan, splits.example_input, images(splits))
    assert notes == (
        "weights of fc1 stay floats: 18 bits, and the widest integer is of 16",
        "activations wider than 16 bits are rounded in floating point: fc3",
    )


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_every_kind_of_layer(tmp_path: Path, granularity: str) -> None:
    class Kinds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.grouped = nn.Conv2d(4, 8, 3, groups=2)
            self.depthwise = nn.Conv2d(8, 8, 3, groups=8)
            self.back = nn.ConvTranspose2d(8, 4, 2, stride=2)
            self.scores = nn.Linear(4 * 64, 5)

        def forward(self, x):
            return self.scores(torch.relu(self.back(torch.relu(self.depthwise(torch.relu(self.grouped(x)))))).flatten(1))

    torch.manual_seed(0)
    splits = noise(4, 8, 5)
    scorer = scorer_of(Kinds(), splits, granularity=granularity)
    plan = make_plan(scorer.workload, weight_bits=6, activation_bits=8)
    ties = granularity == "tensor"
    graph, notes = checked(tmp_path / "n.onnx", scorer, plan, splits.example_input, images(splits), ties)
    assert notes == ()
    assert sum(each.name.endswith(".levels") for each in graph.graph.initializer) == 4


def test_concatenation_residuals_and_batchnorm(tmp_path: Path) -> None:
    torch.manual_seed(0)
    splits = noise(3, 8, 7)
    scorer = scorer_of(Dense(), splits)
    plan = make_plan(scorer.workload, weight_bits=4, activation_bits=7)
    checked(tmp_path / "n.onnx", scorer, plan, splits.example_input, images(splits))


def test_what_torch_cannot_export_is_named(tmp_path: Path) -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scores = nn.Linear(48, 5)

        def forward(self, x):
            return self.scores(x.flatten(1)) if x.sum() > 0 else self.scores(-x.flatten(1))

    splits = noise(3, 4, 5)
    scorer = scorer_of(Branch(), splits)
    with pytest.raises(DataError, match="torch cannot export this network to ONNX: "):
        write_onnx(tmp_path / "n.onnx", scorer.pieces(make_plan(scorer.workload, weight_bits=4)), splits.example_input)


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "n.onnx").write_bytes(b"no")
    with pytest.raises(DataError, match="onnxruntime cannot run it"):
        OnnxNetwork(tmp_path / "n.onnx")
