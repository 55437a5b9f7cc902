import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hwloop.network.tracing.registry import register
from hwloop.network.tracing.segments import segments
from tests.network.models import MODELS, settled

PIECES = {"resnet20": 11, "lenet5": 5, "dense": 4, "sequence": 4, "decoder": 4, "functional": 1, "vit": 1, "encoder": 1}


def chained(pieces, images: Tensor) -> Tensor:
    for piece in pieces:
        images = piece.run(images)
    return images


@pytest.mark.parametrize("name", PIECES)
def test_pieces_one_after_another_are_the_network(name: str) -> None:
    make, shape = MODELS[name]
    torch.manual_seed(0)
    model = settled(make())
    registry = register(model, torch.randn(shape))
    pieces = segments(model, registry, torch.randn(3, *shape[1:]))
    assert len(pieces) == PIECES[name]
    assert [layer for piece in pieces for layer in piece.layers] == [layer.name for layer in registry.workload.layers]
    assert {entry for piece in pieces for entry in piece.entries} == set(registry.by_name)
    images = torch.randn(5, *shape[1:])
    with torch.inference_mode():
        assert torch.equal(chained(pieces, images), model(images))
        for entry in registry.entries:  # the pieces have the model's own weights
            entry.write_(model, entry.read(model) * 0.5)
        assert torch.equal(chained(pieces, images), model(images))


class Odd(nn.Module):
    """Two convolutions, and in between what `middle` does."""

    def __init__(self, middle) -> None:
        super().__init__()
        self.first, self.second, self.middle = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), middle

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.middle(self.first(x))).mean((2, 3))


def test_a_network_that_looks_at_its_data_is_one_piece() -> None:
    model = Odd(lambda x: x if x.sum() > 0 else -x).eval()
    assert len(segments(model, register(model, torch.randn(1, 3, 8, 8)), torch.randn(2, 3, 8, 8))) == 1


class Reused(nn.Module):
    """The second layer's input is changed in place after the layer has read it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = self.second(x)
        return self.third(y + F.relu(x, inplace=True)).mean((2, 3))


def test_pieces_that_change_what_they_were_given_are_not_used() -> None:
    model = Reused().eval()
    pieces = segments(model, register(model, torch.randn(1, 3, 8, 8)), torch.randn(2, 3, 8, 8))
    assert len(pieces) == 1
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(pieces[0].run(images), model(images))
    model = Odd(torch.relu).eval()
    assert len(segments(model, register(model, images[:1]), images)) == 2
