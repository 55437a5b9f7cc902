"""The layers of published networks as problems, so that checks against Timeloop and the chip need no torch.

Shapes as published: AlexNet (Krizhevsky et al., NIPS 2012, with its two-group layers, as Eyeriss ran it), VGG-16 (Simonyan and
Zisserman, ICLR 2015) and MobileNet (Howard et al., 2017), for 224 x 224 images (227 x 227 for AlexNet).
"""

from __future__ import annotations

from dataclasses import replace

from hwloop.errors import SpecError
from hwloop.spec.problem import Problem, conv2d_shape, make_problem

_VGG = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)  # 0 is a 2 x 2 pooling
_MOBILENET = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *(((512, 1),) * 5), (1024, 2), (1024, 1),
)  # fmt: skip


def network_layers(name: str) -> tuple[Problem, ...]:
    """The layers of a network in order, named.

    Args:
        name: `alexnet`, `vgg16` or `mobilenet`.

    Raises:
        SpecError: another name.
    """
    makers = {"alexnet": _alexnet, "vgg16": _vgg16, "mobilenet": _mobilenet}
    if name not in makers:
        raise SpecError("<arguments>", "layers", f"networks among {', '.join(makers)}", name)
    return makers[name]()


def distinct(layers: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """Each shape once, under the name of the first layer that has it."""
    seen: dict[Problem, Problem] = {}
    for layer in layers:
        seen.setdefault(replace(layer, name=""), layer)
    return tuple(seen.values())


def convolution(name: str, c: int, m: int, p: int, r: int, stride: int = 1, groups: int = 1, n: int = 1) -> Problem:
    """A square convolution of c input and m output channels over p x p outputs, `groups` of channels on their own."""
    sizes = {"P": p, "Q": p, "R": r, "S": r, "N": n, "Wstride": stride, "Hstride": stride}
    if groups == 1:
        return make_problem(conv2d_shape(), {**sizes, "C": c, "M": m}, name=name)
    if groups == c == m:
        return make_problem(conv2d_shape(depthwise=True), {**sizes, "C": c}, name=name)
    return make_problem(conv2d_shape(grouped=True), {**sizes, "G": groups, "C": c // groups, "M": m // groups}, name=name)


def _alexnet(n: int = 1) -> tuple[Problem, ...]:
    return (
        convolution("C1", 3, 96, 55, 11, stride=4, n=n),
        convolution("C2", 96, 256, 27, 5, groups=2, n=n),
        convolution("C3", 256, 384, 13, 3, n=n),
        convolution("C4", 384, 384, 13, 3, groups=2, n=n),
        convolution("C5", 384, 256, 13, 3, groups=2, n=n),
        convolution("FC6", 256, 4096, 1, 6, n=n),
        convolution("FC7", 4096, 4096, 1, 1, n=n),
        convolution("FC8", 4096, 1000, 1, 1, n=n),
    )


def _vgg16() -> tuple[Problem, ...]:
    out = []
    side, before, block, number = 224, 3, 1, 1
    for channels in _VGG:
        if channels == 0:
            side, block, number = side // 2, block + 1, 1
            continue
        out.append(convolution(f"conv{block}_{number}", before, channels, side, 3))
        before, number = channels, number + 1
    fully_connected = (("fc6", 512, 4096, 7), ("fc7", 4096, 4096, 1), ("fc8", 4096, 1000, 1))
    return (*out, *(convolution(name, c, m, 1, r) for name, c, m, r in fully_connected))


def _mobilenet() -> tuple[Problem, ...]:
    out = [convolution("conv1", 3, 32, 112, 3, stride=2)]
    side, before = 112, 32
    for i, (channels, stride) in enumerate(_MOBILENET, 2):
        side //= stride
        out.append(convolution(f"dw{i}", before, before, side, 3, stride, groups=before))
        out.append(convolution(f"pw{i}", before, channels, side, 1))
        before = channels
    return (*out, convolution("fc", 1024, 1000, 1, 1))
