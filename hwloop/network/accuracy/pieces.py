"""A compressed network taken apart: what an export needs beyond the module itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from hwloop.network.tracing.registry import Registry
from hwloop.network.transforms.quantize import Spans


@dataclass(frozen=True, eq=False)
class Pieces:
    """A network and what its numbers stand for.

    Attributes:
        network: a module of its own, without hooks: its weights are on their levels.
        registry: of it.
        bits: per weight, by name of the registry's entry; entries that stay in floating point are missing.
        steps: by entry, `(M or 1, 1, 1, 1)`: a weight is a whole number times its step.
        spans: (bits, range) of the activations that are quantised, by (layer, data space).
    """

    network: nn.Module
    registry: Registry
    bits: Mapping[str, int]
    steps: Mapping[str, Tensor]
    spans: Spans
