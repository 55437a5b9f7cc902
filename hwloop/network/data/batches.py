"""A batch: what a network takes, and the labels.

Inputs are whatever the network takes: a tensor `(b, ...)`, a tuple of positional arguments or a dict of keyword arguments, each
tensor with the batch first. Labels are `(b,)` int64, and `(0,)` where there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from hwloop.errors import DataError

Inputs = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
Batch = tuple[Inputs, Tensor]
T = TypeVar("T")
_LABEL_KEYS = ("labels", "label")


def as_batch(raw: Any) -> Batch:
    """What the network takes and the labels, from a batch as a DataLoader gives it.

    Raises:
        DataError: it is none of the forms that hwloop reads.
    """
    if isinstance(raw, Tensor):
        return raw, no_labels()
    if isinstance(raw, Mapping):
        key = next((key for key in _LABEL_KEYS if key in raw), None)
        inputs: Any = {name: value for name, value in raw.items() if name != key}
        labels = no_labels() if key is None else raw[key]
    elif isinstance(raw, Sequence) and raw:
        parts = tuple(raw)
        inputs, labels = (parts[:-1], parts[-1]) if len(parts) > 1 else (parts, no_labels())
        inputs = inputs[0] if len(inputs) == 1 else inputs
        inputs = tuple(inputs) if isinstance(inputs, list) else inputs
    else:
        inputs, labels = None, None
    leaves = tree_leaves(inputs)
    if not leaves or not all(isinstance(leaf, Tensor) and leaf.dim() for leaf in leaves) or not isinstance(labels, Tensor):
        raise DataError(
            f"own data: a batch must be (inputs, labels), (input, ..., labels) or a dict of tensors with the key 'labels', "
            f"found {_kind(raw)}"
        )
    return inputs, labels


def batch_length(inputs: Inputs) -> int:
    """How many examples there are in a batch."""
    return int(tree_leaves(inputs)[0].shape[0])


def to_device(inputs: Inputs, device: torch.device) -> Inputs:
    """The same batch on a device."""
    return tree_map(lambda tensor: tensor.to(device), inputs)  # type: ignore[no-any-return]


def run_model(model: nn.Module, inputs: Inputs) -> Any:
    """Runs `model` on a batch: a tuple is its positional arguments, a dict its keyword arguments."""
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def class_scores(model: nn.Module, inputs: Inputs) -> Tensor:
    """The scores `(n, classes)` that `model` gives for a batch.

    Raises:
        DataError: it gives something else than a tensor.
    """
    return as_scores(run_model(model, inputs))


def as_scores(scores: Any) -> Tensor:
    """What a network gave, if it is the scores of classes.

    Raises:
        DataError: it is something else than a tensor.
    """
    if not isinstance(scores, Tensor):
        raise DataError(
            f"the network gives {_kind(scores)}, not a tensor of class scores; wrap it in a module that returns the scores, "
            "or score it yourself with evaluate="
        )
    return scores


def no_labels() -> Tensor:
    """The labels of a batch that has none."""
    return torch.empty(0, dtype=torch.int64)


def repeatable(make: Callable[[], Iterator[T]]) -> Iterator[T]:
    """What `make()` yields when torch's random numbers start at seed 0; the caller's go on as if nothing had been drawn."""
    state = torch.Generator().manual_seed(0).get_state()
    iterator: Iterator[T] | None = None
    while True:
        outer = torch.get_rng_state()
        torch.set_rng_state(state)
        try:
            iterator = make() if iterator is None else iterator
            value = next(iterator)
        except StopIteration:
            return
        finally:
            state = torch.get_rng_state()
            torch.set_rng_state(outer)
        yield value


def _kind(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}: {', '.join(type(part).__name__ for part in value[:4])}"
    return f"a {type(value).__name__}"
