"""Networks for small images (28 or 32 pixels): LeNet-5, VGG-16, MobileNet, and the CIFAR ResNets.

Each follows its paper; where the small-image form is custom rather than in the paper, the docstring says so.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

# output channels, "M" is a 2x2 max pooling: configuration D of Simonyan and Zisserman, arXiv 1409.1556, table 1
_VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")
# (output channels, stride) of the depthwise separable blocks: Howard et al., arXiv 1704.04861, table 1
_MOBILENET = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
_RESNET_STAGES = ((16, 1), (32, 2), (64, 2))  # (channels, stride): He et al., arXiv 1512.03385, section 4.2
LENET_MIN_PIXELS, VGG_MIN_PIXELS = 8, 32


class LeNet5(nn.Module):
    """LeNet-5 (LeCun et al., Proc. IEEE 86(11), 1998) with max pooling and ReLU, for square images of 8 pixels and more.

    At 32 pixels the convolutions are unpadded as in the paper; smaller images are padded by 2 in the first convolution, which
    makes 28 pixels arrive at the paper's 16x5x5, and below 16 in the second one as well.
    """

    def __init__(self, in_channels: int = 1, image_size: int = 28, classes: int = 10) -> None:
        super().__init__()
        pads = (0 if image_size >= 32 else 2, 0 if image_size >= 16 else 2)
        pixels = image_size
        for pad in pads:
            pixels = (pixels + 2 * pad - 4) // 2
        self.conv1 = nn.Conv2d(in_channels, 6, 5, padding=pads[0])
        self.conv2 = nn.Conv2d(6, 16, 5, padding=pads[1])
        self.fc1 = nn.Linear(16 * pixels * pixels, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Scores `(n, classes)` of images `(n, C, H, W)`."""
        x = functional.max_pool2d(functional.relu(self.conv1(images)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = functional.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc3(functional.relu(self.fc2(x)))  # type: ignore[no-any-return]


class SmallVGG16(nn.Module):
    """VGG-16 for small images: its 13 convolutions, then one linear layer in place of the three of ImageNet size.

    Args:
        batch_norm: normalise after every convolution, without which training from scratch is touchy.
    """

    def __init__(self, in_channels: int = 3, image_size: int = 32, classes: int = 10, batch_norm: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for step in _VGG16:
            if isinstance(step, str):
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
                continue
            layers.append(nn.Conv2d(channels, step, 3, padding=1, bias=not batch_norm))
            layers += [nn.BatchNorm2d(step)] if batch_norm else []
            layers.append(nn.ReLU(inplace=True))
            channels = step
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        _initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Scores `(n, classes)` of images `(n, C, H, W)`."""
        return self.classifier(torch.flatten(self.pool(self.features(images)), 1))  # type: ignore[no-any-return]


class SmallMobileNet(nn.Module):
    """MobileNet (v1, width 1) for small images: the first convolution keeps the resolution; the rest is the paper's."""

    def __init__(self, in_channels: int = 3, image_size: int = 32, classes: int = 10) -> None:
        super().__init__()
        blocks: list[nn.Module] = [_normalised(in_channels, 32)]
        channels = 32
        for out, stride in _MOBILENET:
            depthwise = _normalised(channels, channels, stride=stride, groups=channels)
            pointwise = _normalised(channels, out, kernel=1)
            blocks.append(nn.Sequential(OrderedDict(depthwise=depthwise, pointwise=pointwise)))
            channels = out
        self.features = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        _initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Scores `(n, classes)` of images `(n, C, H, W)`."""
        return self.classifier(torch.flatten(self.pool(self.features(images)), 1))  # type: ignore[no-any-return]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters (option A): every second pixel, zeros for the new channels."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.new_channels = stride, channels - in_channels

    def forward(self, images: Tensor) -> Tensor:
        """`(n, channels, H / stride, W / stride)` of `(n, in_channels, H, W)`."""
        x = functional.relu(self.bn1(self.conv1(images)))
        x = self.bn2(self.conv2(x))
        shortcut = images[:, :, :: self.stride, :: self.stride] if self.stride > 1 else images
        if self.new_channels:
            before = self.new_channels // 2
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, before, self.new_channels - before))
        return functional.relu(x + shortcut)


class CifarResNet(nn.Module):
    """The ResNet of 6n + 2 layers for CIFAR-10, with option-A shortcuts; loads the public checkpoints of 20 to 56 layers."""

    def __init__(self, depth: int, in_channels: int = 3, image_size: int = 32, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        channels, stages = 16, []
        for out, stride in _RESNET_STAGES:
            rest = (BasicBlock(out, out, 1) for _ in range((depth - 2) // 6 - 1))
            stages.append(nn.Sequential(BasicBlock(channels, out, stride), *rest))
            channels = out
        self.layer1, self.layer2, self.layer3 = stages
        self.linear = nn.Linear(channels, classes)
        _initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Scores `(n, classes)` of images `(n, C, H, W)`."""
        x = functional.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def _normalised(in_channels: int, channels: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(OrderedDict(conv=convolution, bn=nn.BatchNorm2d(channels), relu=nn.ReLU(inplace=True)))


def _initialise(model: nn.Module) -> None:
    """He et al., arXiv 1502.01852: keeps the variance through rectifiers."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out" if isinstance(module, nn.Conv2d) else "fan_in")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
