"""Candidates of one architecture run side by side: what two of them have in common, from the first layer on, is computed once.

Two candidates share a piece of the network's work where everything that goes into it is the same: the weights of all layers so
far (their base, density and bits, and with these every correction that follows from them) and the levels of all activations
so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hwloop.network.accuracy.variant import Spec, Variant
from hwloop.network.cache import ByteCache
from hwloop.network.data.batches import Inputs
from hwloop.network.tracing.operands import attached
from hwloop.network.tracing.segments import Segment
from hwloop.network.transforms.calibrate import LayerInputs, observed
from hwloop.network.transforms.quantize import ActivationQuantizer

Prefix = tuple[object, ...]
Features = ByteCache[tuple[object, Prefix], list[Any]]  # (which images, what was done to them) -> feature maps
Seen = ByteCache[Prefix, Mapping[str, LayerInputs]]


def features_bytes(features: Sequence[Any]) -> int:
    """What feature maps take."""
    return sum(tensor.nbytes for tensor in features)


@dataclass(frozen=True, eq=False)
class Member:
    """One candidate, as it is run.

    Attributes:
        specs: (density or pattern, bits) by weight tensor; 1.0 and 0 leave it as it is.
        quantizer: of its activations.
        rest: tensors besides the weights that differ from the base's, by key of the state dict.
    """

    specs: Mapping[str, Spec]
    quantizer: ActivationQuantizer
    rest: Mapping[str, Tensor]


class Together:
    """Members of a loaded architecture. While they are `running`, nobody else may use the variant.

    Args:
        variant: with the members' base loaded.
        members: the candidates.
        features: where what the pieces of the network gave is kept.
        images: what the network is cut on, see `segments`.

    Attributes:
        order: positions of the members, so that those that share much follow each other.
    """

    def __init__(self, variant: Variant, members: Sequence[Member], features: Features, images: Inputs) -> None:
        self._variant, self._members, self._features = variant, members, features
        self._pieces = variant.pieces(images)
        self._prefixes = [_prefixes(variant.name, self._pieces, member) for member in members]
        self.order = _in_order(self._prefixes)
        self._now: Member | None = None
        self._watched: dict[str, list[Tensor]] | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """The variant is as it was afterwards."""
        self._variant.ready()
        layers = dict.fromkeys(layer for member in self._members for layer in member.quantizer.layers)
        try:
            with attached(self._variant.model, self._variant.registry, self._see, layers), torch.inference_mode():
                yield
        finally:
            self._now = None
            self._variant.put_back()

    def outputs(self, at: int, block: object, images: Sequence[Inputs]) -> list[Any]:
        """What the network of member `at` gives.

        Args:
            at: position of the member.
            block: what tells these images from others.
            images: batches of them.
        """
        return list(self._after(at, len(self._pieces) - 1, block, images))

    def seen(self, known: Seen, images: Sequence[Inputs]) -> dict[str, LayerInputs]:
        """What each layer of the first member sees.

        Args:
            known: of members before; what is new is added.
            images: batches, always the same.
        """
        self._variant.ready()
        layers: dict[str, LayerInputs] = {}
        every = [layer for piece in self._pieces for layer in piece.layers]
        with attached(self._variant.model, self._variant.registry, self._watch, every), torch.inference_mode():
            try:
                for number, prefix in enumerate(self._prefixes[0]):
                    layers |= known.get(prefix, partial(self._seen_in, number, images))
            finally:
                self._now = None
                self._variant.put_back()
        return layers

    def _seen_in(self, number: int, images: Sequence[Inputs]) -> dict[str, LayerInputs]:
        given = self._after(0, number - 1, None, images)
        self._watched = {}
        try:
            self._run(0, number, None, given)
            return {layer: observed(parts) for layer, parts in self._watched.items()}
        finally:
            self._watched = None

    def _after(self, at: int, last: int, block: object, images: Sequence[Inputs]) -> Sequence[Any]:
        """What piece `last` gives; the images where there is none."""
        prefixes, values, first = self._prefixes[at], images, 0
        for number in range(last + 1):
            if (block, prefixes[number]) in self._features:
                values, first = self._features.get((block, prefixes[number]), list), number + 1
        for number in range(first, last + 1):
            values = self._run(at, number, block, values)
        return values

    def _run(self, at: int, number: int, block: object, given: Sequence[Any]) -> list[Any]:
        member, piece = self._members[at], self._pieces[number]
        if self._now is not member:
            self._variant.put_rest(member.rest)
            self._now = member
        for name in piece.entries:
            self._variant.put(name, *member.specs[name])
        outputs = [piece.run(part) for part in given]
        if number < len(self._pieces) - 1:
            self._features.get((block, self._prefixes[at][number]), lambda: outputs)
        return outputs

    def _see(self, layer: str, operand: str, values: Tensor) -> Tensor | None:
        return None if self._now is None else self._now.quantizer(layer, operand, values)

    def _watch(self, layer: str, _operand: str, values: Tensor) -> None:
        if self._watched is not None:
            self._watched.setdefault(layer, []).append(values)


def _prefixes(name: str, pieces: Sequence[Segment], member: Member) -> list[Prefix]:
    """By piece, all that goes into what it gives."""
    spans: dict[str, list[object]] = {}
    for (layer, operand), span in member.quantizer.spans.items():
        spans.setdefault(layer, []).append((operand, span))
    own = [
        (tuple(member.specs[entry] for entry in piece.entries), tuple(tuple(spans.get(layer, ())) for layer in piece.layers))
        for piece in pieces
    ]
    return [(name, *own[: number + 1]) for number in range(len(own))]


def _in_order(prefixes: Sequence[Sequence[Prefix]]) -> list[int]:
    """Positions of members, those with the same first pieces beside each other, else as they come."""
    first: dict[Prefix, int] = {}
    for at, member in enumerate(prefixes):
        for prefix in member:
            first.setdefault(prefix, at)
    return sorted(range(len(prefixes)), key=lambda at: [first[prefix] for prefix in prefixes[at]])
