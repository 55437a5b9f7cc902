"""From labels to channel groups: which channels are kept or removed together, and what goes along with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import lcm

import numpy as np

from hwloop.network.follow import Follower
from hwloop.network.labels import NONE, Labels
from hwloop.spec.channels import ChannelGroup
from hwloop.spec.workload import Layer

Segment = tuple[str, int, int]  # (group, first, repeat): the group's channels stand from place `first` on, `repeat` places each


@dataclass(frozen=True)
class Companion:
    """A parameter or buffer that is no layer's weights, but has channels: a bias, a normalisation, a position.

    Attributes:
        key: its name in the state dict.
        axis: along which its channels stand.
        segments: which.
    """

    key: str
    axis: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Couplings:
    """The channels of a network.

    Attributes:
        groups: in the order of their first layer.
        companions: what else has channels that may be removed.
        reshaped: names of the groups that may be removed unless a reshape has their size written down.
    """

    groups: tuple[ChannelGroup, ...]
    companions: tuple[Companion, ...]
    reshaped: frozenset[str]


def find_couplings(follower: Follower, layers: Sequence[Layer]) -> Couplings:
    """Sorts what was followed into groups.

    Args:
        follower: after the run.
        layers: of the workload, in execution order.
    """
    classes = follower.unions.classes()
    fixed = follower.unions.fixed(classes)
    outputs = {at: classes[reader.outputs] for at, reader in follower.readers.items()}
    inputs = {at: np.where(reader.inputs == NONE, NONE, classes[reader.inputs]) for at, reader in follower.readers.items()}
    members: dict[bytes, list[int]] = {}
    for at in sorted(outputs):
        members.setdefault(outputs[at].tobytes(), []).append(at)
    drafts = [_Draft(layers, places, outputs[places[0]]) for places in members.values()]
    owner: dict[int, _Draft] = {}
    for draft in drafts:
        draft.reason = next((fixed[c] for c in draft.channels.tolist() if c in fixed), "")
        if any(not layers[at].parameter and layers[at].kind != "matmul" for at in draft.makers):
            draft.keep("a layer's weights cannot be compressed")
        if len(np.unique(draft.channels)) < draft.channels.size:
            draft.keep("some of them are one channel")
        for c in draft.channels.tolist():
            other = owner.setdefault(c, draft)
            if other is not draft:
                draft.keep(f"some of them, not all, are joined with channels of {other.name}")
                other.keep(f"they are joined with some of the channels of {draft.name}")
    for at, found in sorted(inputs.items()):
        _take(layers[at], found, owner)
    companions = [
        companion
        for key, labels in follower.parameters.items()
        if (companion := _companion(key, classes[labels], owner)) is not None
    ]
    free = {draft.name for draft in drafts if not draft.reason}
    kept = tuple(companion for companion in companions if any(name in free for name, _, _ in companion.segments))
    groups = tuple(draft.group() for draft in drafts)
    reshaped = follower.reshaped_classes(classes)
    suspects = (draft for draft in drafts if not draft.reason and not reshaped.isdisjoint(draft.channels.tolist()))
    return Couplings(groups, kept, frozenset(draft.name for draft in suspects if draft.channels.size > draft.multiple))


class _Draft:
    """A group in the making."""

    def __init__(self, layers: Sequence[Layer], makers: list[int], channels: Labels) -> None:
        self.makers, self.channels = makers, channels
        self.names = tuple(layers[at].name for at in makers)
        self.name, self.reason, self.multiple = self.names[0], "", 1
        self.inputs: list[tuple[str, int, int]] = []
        for at in makers:
            self.blocks(layers[at])

    def keep(self, reason: str) -> None:
        """None may be removed, for this reason unless there is one."""
        self.reason = self.reason or reason

    def blocks(self, layer: Layer) -> None:
        """Each group of a grouped layer keeps as many."""
        self.multiple = lcm(self.multiple, layer.problem.sizes.get("G", 1))

    def group(self) -> ChannelGroup:
        size = int(self.channels.size)
        if size % self.multiple or self.multiple == size > 1:
            self.keep("every one is a group of its own")
        multiple = 1 if self.reason else self.multiple
        return ChannelGroup(self.name, size, self.names, tuple(self.inputs), multiple, self.reason)


def _segments(found: Labels, owner: Mapping[int, _Draft]) -> Iterator[tuple[_Draft, int, int]]:
    """Where whole groups stand in a row of channels; a group that stands there in another way is kept as it is."""
    at, count = 0, found.size
    while at < count:
        draft = owner.get(int(found[at]))
        if draft is None:
            at += 1
            continue
        other = np.flatnonzero(found[at:] != found[at])
        repeat = int(other[0]) if other.size else count - at
        end = at + repeat * draft.channels.size
        if end <= count and np.array_equal(found[at:end], np.repeat(draft.channels, repeat)):
            yield draft, at, repeat
            at = end
        else:
            draft.keep("a layer reads them in another order, or not all of them")
            at += 1


def _take(layer: Layer, found: Labels, owner: Mapping[int, _Draft]) -> None:
    groups = layer.problem.sizes.get("G", 1)
    for draft, first, repeat in _segments(found, owner):
        draft.inputs.append((layer.name, first, repeat))
        if groups > 1:
            draft.blocks(layer)
            if repeat != 1 or draft.channels.size != found.size:
                draft.keep(f"{layer.name}, a layer in groups, reads them together with others")
        if not layer.parameter:
            draft.keep(f"the weights of {layer.name}, which reads them, cannot be compressed")


def _companion(key: str, found: Labels, owner: Mapping[int, _Draft]) -> Companion | None:
    axes = [axis for axis in range(found.ndim) if found.shape[axis] > 1 and bool((found != found.take([0], axis)).any())]
    there = {id(owner[c]): owner[c] for c in np.unique(found).tolist() if c in owner}
    if not there:
        return None
    if len(axes) > 1:
        for draft in there.values():
            draft.keep(f"{key} is read in a way that mixes them")
        return None
    axis = axes[0] if axes else int(np.argmax(found.shape)) if found.ndim else 0
    row = np.moveaxis(found, axis, 0).reshape(found.shape[axis], -1)[:, 0]
    segments = tuple((draft.name, first, repeat) for draft, first, repeat in _segments(row, owner))
    return Companion(key, axis, segments)
