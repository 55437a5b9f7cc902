"""How far a network's outputs are from those of another: what single layers' compression costs, in few images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from hwloop.errors import DataError
from hwloop.network.cache import ByteCache
from hwloop.network.data.batches import Batch, run_model

LARGEST = 1e3  # of a divergence; what is no number counts as this, too
_KEPT_BYTES = 2**27
Outputs = tuple[Tensor, ...]


class Divergence:
    """The mean Kullback-Leibler divergence of class probabilities from a reference network's, by which layers are compared in
    ZeroQ (Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework", CVPR 2020, section 3.2).

    Outputs that are no class scores are compared by their squared change over the square of the reference's.

    Attributes:
        batches: the examples; labels are not looked at.
    """

    def __init__(self, batches: Iterable[Batch]) -> None:
        self.batches = batches
        self._known: ByteCache[object, list[Outputs]] = ByteCache(_KEPT_BYTES, _bytes)

    def reference(self, key: object, run: Callable[[Callable[[nn.Module], list[Outputs]]], list[Outputs]]) -> list[Outputs]:
        """A reference's outputs: those known by `key`, or what `run` gives, which calls its argument with the network."""
        return self._known.get(key, lambda: run(self._outputs))

    def of(self, model: nn.Module, expected: list[Outputs]) -> float:
        """Divergence of `model` from a reference [nats], 0 to `LARGEST`; minimised.

        Args:
            model: in evaluation mode, on the device of the examples.
            expected: what `reference` gave.

        Raises:
            DataError: the network gives no numbers at all.
        """
        total, count = 0.0, 0
        for found, wanted in zip(self._outputs(model), expected, strict=True):
            part, examples = _apart(found, wanted)
            total, count = total + part * examples, count + examples
        mean = total / count
        return min(max(mean, 0.0), LARGEST) if mean == mean else LARGEST

    def _outputs(self, model: nn.Module) -> list[Outputs]:
        with torch.inference_mode():
            return [_numbers(run_model(model, inputs)) for inputs, _ in self.batches]


def _numbers(output: Any) -> Outputs:
    """The tensors of an output; class scores become log probabilities."""
    leaves = tuple(leaf.float() for leaf in tree_leaves(output) if isinstance(leaf, Tensor) and leaf.is_floating_point())
    if not leaves:
        raise DataError("the network gives no floating-point outputs to compare")
    return (leaves[0].log_softmax(dim=1),) if _are_scores(leaves) else leaves


def _are_scores(leaves: Outputs) -> bool:
    return len(leaves) == 1 and leaves[0].dim() == 2 and leaves[0].shape[1] > 1


def _apart(found: Outputs, expected: Outputs) -> tuple[float, int]:
    """The mean divergence of a batch, and how many examples it has."""
    examples = int(found[0].shape[0])
    if _are_scores(expected):
        [p], [q] = expected, found
        return float((p.exp() * (p - q)).sum(dim=1).double().mean()), examples
    change = sum(float((a - b).double().square().sum()) for a, b in zip(found, expected, strict=True))
    scale = sum(float(b.double().square().sum()) for b in expected)
    return change / max(scale, 1e-30), examples


def _bytes(outputs: list[Outputs]) -> int:
    return sum(tensor.nbytes for batch in outputs for tensor in batch)
