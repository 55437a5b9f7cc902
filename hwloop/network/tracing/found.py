"""What the recorder writes down: layers before they have names, and the operations that compute them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from hwloop.network.tracing.layouts import Layout
from hwloop.network.tracing.operations import Posed

_OWNER = re.compile(r"\.parametrizations\.(\w+)\.original\d*$")


@dataclass(frozen=True)
class Call:
    """One convolution or matrix product, as it arrives: they come in the same order whenever the model runs the same way.

    Attributes:
        layers: positions of the layers it computes: none where it is no layer, several where weights are fused.
        swapped: whether the weights are its first operand and the inputs its second.
    """

    layers: tuple[int, ...] = ()
    swapped: bool = False


@dataclass
class Found:
    """A layer before it has a name: its attention role may only show once a later product reads its result.

    Attributes:
        posed: its problem and kind.
        module: path of the module that was running.
        owner: the parameter that gives the layer its name; empty where there is none.
        layout: how that parameter holds the weights; None where they are computed from it or lie in it in another way.
        inputs: positions of the layers before it.
        role: its name in the module when it has no parameter, or shares one.
        fused: whether it shares one.
        constants: parameters and buffers that its weights are made of.
        input_size: (height, width) of the input feature map without padding; empty where there is none.
    """

    posed: Posed
    module: str
    owner: str
    layout: Layout | None
    inputs: frozenset[int]
    role: str = "matmul"
    fused: bool = False
    constants: frozenset[str] = frozenset()
    input_size: tuple[int, ...] = ()

    @property
    def base(self) -> str:
        """The name without the number of the call."""
        if self.owner and not self.fused:
            name = _OWNER.sub(r".\1", self.owner).removesuffix("_orig").removesuffix(".weight_v").removesuffix(".weight")
            return self.posed.kind if name == "weight" else name  # the model is the layer
        module = self.owner.rpartition(".")[0] if self.fused else self.module
        return f"{module}.{self.role}" if module else self.role


def layer_names(found: Iterable[Found]) -> tuple[str, ...]:
    """Names of layers in execution order; the second and later calls of the same end in `#2`, `#3`."""
    seen: Counter[str] = Counter()
    names: list[str] = []
    for layer in found:
        base = layer.base
        seen[base] += 1
        names.append(base if seen[base] == 1 else f"{base}#{seen[base]}")
    return tuple(names)
