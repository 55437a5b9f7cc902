"""What layers multiply, held against what they compute: `mean |W x|^2` is `W H W^T / 2`, and the mean output `W mean(x)`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hwloop.errors import DataError
from hwloop.network.bank.factor import output_error
from hwloop.network.bank.hessian import hessian_bytes, in_passes, see_inputs
from hwloop.network.data.samples import TensorSplit
from hwloop.network.tracing.registry import register


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 0.3


class LeftProduct(nn.Module):
    """Weights on the left of a product."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Parameter(torch.randn(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        return (self.left @ x.t()).t()


class RightProduct(nn.Module):
    """Weights on the right of a product, in no module."""

    def __init__(self) -> None:
        super().__init__()
        self.right = nn.Parameter(torch.randn(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.right


class FunctionalKernel(nn.Module):
    """A convolution that no module owns."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(5, 4, 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel, stride=(2, 1), padding=(1, 0))


IMAGES, ROWS, SERIES = (7, 4, 9, 8), (11, 6), (7, 4, 9)
ONE_LAYER = {
    "plain": (lambda: nn.Conv2d(4, 5, 3, bias=False), IMAGES),
    "strided": (lambda: nn.Conv2d(4, 5, (3, 2), stride=(2, 3), padding=(1, 2), bias=False), IMAGES),
    "dilated": (lambda: nn.Conv2d(4, 5, 3, dilation=2, padding=2, bias=False), IMAGES),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2, padding=1, bias=False), IMAGES),
    "depthwise": (lambda: nn.Conv2d(4, 8, 3, groups=4, padding=1, bias=False), IMAGES),
    "same, even": (lambda: nn.Conv2d(4, 5, (4, 2), padding="same", bias=False), IMAGES),
    "reflected": (lambda: nn.Conv2d(4, 5, 3, padding=1, padding_mode="reflect", bias=False), IMAGES),
    "transposed": (
        lambda: nn.ConvTranspose2d(4, 5, (3, 2), stride=(2, 3), padding=(1, 0), output_padding=(1, 2), bias=False),
        IMAGES,
    ),
    "transposed, grouped": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False), IMAGES),
    "series": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2, bias=False), SERIES),
    "linear": (lambda: nn.Linear(6, 3, bias=False), ROWS),
    "linear in three dimensions": (lambda: nn.Linear(6, 3, bias=False), (5, 3, 6)),
    "functional": (FunctionalKernel, IMAGES),
    "weights on the left": (LeftProduct, ROWS),
    "weights on the right": (RightProduct, ROWS),
}


@pytest.mark.filterwarnings("ignore:Using padding=.same.")
@pytest.mark.parametrize("kind", ONE_LAYER)
def test_hessian_and_mean_are_those_of_what_the_layer_computes(kind: str):
    make, shape = ONE_LAYER[kind]
    torch.manual_seed(0)
    model, inputs = make().eval(), drawn(*shape)
    registry = register(model, inputs[:1])
    entry = registry.entries[0]
    seen = see_inputs(model, registry, TensorSplit(inputs, None), [entry], batch_size=4)[entry.name]
    weight = entry.read(model).double().reshape(entry.groups, -1, seen.mean.shape[-1])
    with torch.no_grad():
        outputs = model(inputs).double()
    channel = 1 if kind not in ("linear", "linear in three dimensions", "weights on the left", "weights on the right") else -1
    outputs = outputs.movedim(channel, -1).reshape(-1, entry.shape[0])
    assert output_error(weight, seen.hessian.double()) == pytest.approx(float(outputs.square().sum(dim=1).mean()), rel=1e-4)
    mean = torch.einsum("gmk,gk->gm", weight, seen.mean.double()).flatten()
    assert torch.allclose(mean, outputs.mean(dim=0), rtol=1e-3, atol=1e-4)
    assert torch.allclose(seen.hessian, seen.hessian.mT)


def test_tied_weights_see_the_inputs_of_all_their_layers():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.once = nn.Linear(6, 6, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.once(torch.tanh(self.once(x)))

    torch.manual_seed(0)
    model, inputs = Tied().eval(), drawn(*ROWS)
    registry = register(model, inputs[:1])
    seen = see_inputs(model, registry, TensorSplit(inputs, None), registry.entries)[registry.entries[0].name]
    with torch.no_grad():
        both = torch.cat([inputs, torch.tanh(model.once(inputs))])
    assert torch.allclose(seen.hessian[0], 2 * both.T @ both / len(both), rtol=1e-4, atol=1e-5)


def test_many_examples_at_once_make_no_difference(monkeypatch: pytest.MonkeyPatch):
    model, inputs = nn.Conv2d(4, 6, 3, groups=2, padding=1).eval(), drawn(*IMAGES)
    registry = register(model, inputs[:1])
    split = TensorSplit(inputs, None)
    whole = see_inputs(model, registry, split, registry.entries)
    monkeypatch.setattr("hwloop.network.bank.hessian.UNFOLDED_BYTES", 1)
    parts = see_inputs(model, registry, split, registry.entries)
    for name in whole:
        assert torch.allclose(whole[name].hessian, parts[name].hessian, rtol=1e-4)
        assert torch.allclose(whole[name].mean, parts[name].mean, rtol=1e-4)


def test_the_model_is_left_as_it_was_and_bad_inputs_are_named():
    model = nn.Sequential(nn.Linear(6, 5), nn.Dropout(), nn.Linear(5, 2)).train()
    registry = register(model, drawn(1, 6))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    see_inputs(model, registry, TensorSplit(drawn(*ROWS), None), registry.entries)
    assert model.training
    assert not model[0]._forward_pre_hooks
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    inputs = drawn(*ROWS)
    inputs[3, 2] = float("inf")
    with pytest.raises(DataError, match="inputs of 0 are not finite"):
        see_inputs(model, registry, TensorSplit(inputs, None), registry.entries)


def test_hessians_are_collected_in_passes_that_fit():
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 16), nn.Linear(16, 4), nn.Linear(4, 4)).eval()
    entries = register(model, drawn(1, 8)).entries
    assert [hessian_bytes(entry) for entry in entries] == [256, 64, 1024, 64]
    passes = [[entry.name for entry in part] for part in in_passes(entries, 320)]
    assert passes == [["0", "1"], ["3"]]  # the third alone would be too large


class Mixed(nn.Module):
    """Layers in modules, and weights that a function reads between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.kernel, self.last = nn.Linear(6, 5), nn.Parameter(torch.randn(4, 5)), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.linear(self.first(x), self.kernel))


def test_what_is_computed_on_the_way_is_no_operation_of_the_network() -> None:
    torch.manual_seed(0)
    model, rows = Mixed().eval(), drawn(*ROWS)
    registry = register(model, rows[:1])
    split = TensorSplit(rows, None)
    together = see_inputs(model, registry, split, registry.entries)
    assert set(together) == {entry.name for entry in registry.entries}
    for entry in registry.entries:
        alone = see_inputs(model, registry, split, [entry])[entry.name]
        assert torch.equal(together[entry.name].hessian, alone.hessian)
