"""Small networks of every kind, for the tests of what is done to networks."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from hwloop.network.zoo import make_model


class Dense(nn.Module):
    """Results are concatenated, as in DenseNet, then flattened into a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 4, 3, padding=1, bias=False)
        self.both = nn.BatchNorm2d(10)
        self.third = nn.Conv2d(10, 5, 1)
        self.scores = nn.Linear(15 * 16, 7)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.norm(self.first(x)))
        b = F.relu(self.both(torch.cat([a, self.second(a)], dim=1)))
        c = torch.cat([b, self.third(b)], dim=1)
        return self.scores(torch.flatten(F.max_pool2d(c, 2), 1))


class Functional(nn.Module):
    """No module owns a weight, and a bias and a scale are parameters of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(6, 3, 3, 3))
        self.scale = nn.Parameter(torch.rand(6, 1, 1) + 0.5)
        self.hidden = nn.Parameter(torch.randn(8, 6 * 9) / 7)
        self.shift = nn.Parameter(torch.randn(8))
        self.out = nn.Parameter(torch.randn(8, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.conv2d(x, self.kernel, stride=2) * self.scale)
        return torch.tanh(F.linear(x.flatten(1), self.hidden) + self.shift) @ self.out


class Sequence(nn.Module):
    """1-D convolutions, one of them in groups."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv1d(4, 8, 3, padding=1), nn.BatchNorm1d(8)
        self.grouped = nn.Conv1d(8, 12, 3, stride=2, groups=2)
        self.last = nn.Conv1d(12, 6, 1)
        self.scores = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.grouped(F.relu(self.norm(self.first(x)))))
        return self.scores(F.gelu(self.last(x)).mean(dim=-1))


class Decoder(nn.Module):
    """Down and up again."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.up = nn.ConvTranspose2d(8, 6, 4, 2, 1)
        self.more = nn.ConvTranspose2d(6, 6, 3, padding=1, groups=3)
        self.last = nn.Conv2d(6, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.more(F.relu(self.up(self.down(x))))))


def small_vit() -> nn.Module:
    model = torchvision.models.VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=10)
    nn.init.normal_(model.heads.head.weight, std=0.2)  # torchvision starts it at zero
    return model


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


MODELS = {
    "resnet20": (lambda: make_model("resnet20"), (1, 3, 32, 32)),
    "vgg": (lambda: torchvision.models.vgg11_bn(num_classes=10), (1, 3, 32, 32)),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(num_classes=10), (1, 3, 32, 32)),
    "resnext": (lambda: torchvision.models.resnext50_32x4d(num_classes=10), (1, 3, 32, 32)),
    "densenet": (lambda: torchvision.models.densenet121(num_classes=10), (1, 3, 32, 32)),
    "lenet5": (lambda: make_model("lenet5"), (1, 3, 32, 32)),
    "dense": (Dense, (1, 3, 8, 8)),
    "functional": (Functional, (1, 3, 8, 8)),
    "sequence": (Sequence, (1, 4, 9)),
    "decoder": (Decoder, (1, 3, 8, 8)),
    "vit": (small_vit, (1, 3, 32, 32)),
    "encoder": (encoder, (1, 5, 16)),
    "shuffle": (lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=10), (1, 3, 32, 32)),
    "efficientnet": (lambda: torchvision.models.efficientnet_b0(num_classes=10), (1, 3, 32, 32)),
}


def settled(model: nn.Module) -> nn.Module:
    """In evaluation mode, with normalisation that is no identity."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.dim() == 1 and tensor.is_floating_point():
            tensor.data = torch.rand(tensor.shape, generator=generator) * 0.5 + (0.5 if "var" in name or "weight" in name else 0)
    return model.eval()
