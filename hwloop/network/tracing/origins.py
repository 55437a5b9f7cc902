"""Where tensors come from: which layers and which parameters, through views and writes in place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary


@dataclass(frozen=True)
class Origin:
    """Where a tensor comes from.

    Attributes:
        layers: positions of the nearest layers before it.
        constants: names of parameters and buffers it is made of, if made of nothing else.
        data: True when the model's input is part of it.
        viewed: name of the parameter or buffer that it is a view of, if nothing but that.
    """

    layers: frozenset[int] = frozenset()
    constants: frozenset[str] = frozenset()
    data: bool = False
    viewed: str = ""

    @property
    def weight(self) -> bool:
        """Made of parameters and buffers alone."""
        return bool(self.constants) and not self.data


def merge(origins: Iterable[Origin]) -> Origin:
    """Where a tensor comes from that is made of others."""
    found = list(origins)
    data = any(o.data for o in found)
    constants = frozenset() if data else frozenset().union(*(o.constants for o in found))
    return Origin(frozenset().union(*(o.layers for o in found)), constants, data)


def storage_of(tensor: Tensor) -> StorageWeakRef:
    """What views of one tensor have in common."""
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]


def is_view(value: Any) -> bool:
    """Whether an operation's result, by its schema, is a view of an argument."""
    return value.alias_info is not None and not value.alias_info.is_write


def written_by(func: Any, args: Any, kwargs: Any) -> Iterator[Tensor]:
    """The tensors among an operation's arguments that it writes in place."""
    schema = getattr(func, "_schema", None)
    if schema is None or not schema.is_mutable:
        return
    for i, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            for leaf in tree_leaves(args[i] if i < len(args) else kwargs.get(argument.name)):
                if isinstance(leaf, Tensor):
                    yield leaf


class Origins:
    """Where the tensors of one run come from.

    Args:
        constants: the model's parameters and buffers by name.
    """

    def __init__(self, constants: Mapping[str, Tensor]) -> None:
        self._known: Any = WeakTensorKeyDictionary()
        self._written: dict[StorageWeakRef, Origin] = {}  # storages that were written in place, for views of them
        for name, tensor in constants.items():
            self._known[tensor] = Origin(constants=frozenset((name,)), viewed=name)

    def start(self, arguments: Any) -> None:
        """The tensors among these are the model's inputs."""
        for leaf in tree_leaves(arguments):
            if isinstance(leaf, Tensor):
                self._known[leaf] = Origin(data=True)

    def of(self, tensor: Tensor) -> Origin:
        """Where a tensor comes from."""
        origin: Origin = self._known.get(tensor, Origin())
        if self._written and (written := self._written.get(storage_of(tensor))):
            return merge((origin, written))
        return origin

    def mark(self, func: Any, args: Any, kwargs: Any, result: Any, origin: Origin) -> None:
        """The results of an operation, and what it writes in place, come from `origin`."""
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._known[leaf] = origin
        for leaf in written_by(func, args, kwargs):
            self._written[storage_of(leaf)] = origin
