"""Reading what a caller brings as a part of a data set, or as a function that scores networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader, IterableDataset

from hwloop.errors import DataError
from hwloop.network.data.batches import Inputs, as_batch, batch_length
from hwloop.network.data.samples import Split, TensorSplit
from hwloop.network.data.torch_data import DatasetSplit, LoaderSplit, loader_batches

Score = Callable[[nn.Module], float]


def read_part(part: Any, where: str, labelled: bool) -> Split:
    """One part of a data set from whatever holds it.

    Args:
        part: a `Split`, a DataLoader, a map-style Dataset, a pair `(inputs, labels)` of tensors or arrays, or inputs alone.
        where: `train`, `validation` or `test`, for errors.
        labelled: whether class labels are needed.

    Raises:
        DataError: none of these, empty, inputs that are not numbers, or labels that are missing or no classes.
    """
    split = _read(part, where)
    if not len(split):
        raise DataError(f"own data: the {where} part is empty")
    if labelled and split.labels is None:
        raise DataError(
            f"own data: the {where} part has no labels; give (inputs, labels), or evaluate=, a function that scores a network"
        )
    return split


def _read(part: Any, where: str) -> Split:
    if isinstance(part, Split):
        return part
    if isinstance(part, DataLoader):
        lengths, labels = _scan(loader_batches(part), where)
        return LoaderSplit(part, tuple(lengths), labels)
    if isinstance(part, IterableDataset):
        raise DataError(f"own data: the {where} part is an IterableDataset, which cannot be indexed; wrap it in a DataLoader")
    if _is_dataset(part):
        whole = DatasetSplit(part, torch.arange(len(part)), None)
        return replace(whole, labels=_scan(whole.batches(256), where)[1])
    return _read_tensors(part, where)


def _is_dataset(part: Any) -> bool:
    """Whether items can be asked for by number; a torch Dataset or anything that acts like one."""
    held = isinstance(part, (Tensor, tuple, list, Mapping)) or hasattr(part, "__array__")
    return not held and hasattr(part, "__getitem__") and hasattr(part, "__len__")


def _scan(batches: Any, where: str) -> tuple[list[int], Tensor | None]:
    """How long each batch is, and all labels, None where there are none."""
    found = [(batch_length(inputs), labels) for inputs, labels in batches]
    lengths = [length for length, _ in found]
    labels = torch.cat([labels for _, labels in found]) if found else None
    return lengths, _checked_labels(labels if labels is not None and len(labels) else None, sum(lengths), where)


def _read_tensors(part: Any, where: str) -> Split:
    pair = isinstance(part, (tuple, list)) and len(part) == 2
    inputs, labels = as_batch(tree_map(_as_tensor, tuple(part) if pair else part))
    lengths = sorted({len(leaf) for leaf in tree_leaves(inputs)})
    if len(lengths) != 1:
        raise DataError(f"own data: the {where} part has inputs of different lengths, {lengths}")
    for leaf in tree_leaves(inputs):
        if leaf.is_floating_point() and not bool(torch.isfinite(leaf).all()):
            raise DataError(f"own data: the {where} part has inputs that are not finite numbers (NaN or infinite)")
    return TensorSplit(inputs, _checked_labels(labels if len(labels) else None, lengths[0], where))


def _as_tensor(value: Any) -> Any:
    return torch.as_tensor(value) if hasattr(value, "__array__") else value


def _checked_labels(labels: Tensor | None, count: int, where: str) -> Tensor | None:
    if labels is None:
        return None
    whole = not labels.is_floating_point() and not labels.is_complex() and labels.dtype != torch.bool
    if labels.dim() != 1 or len(labels) != count or not whole or (count and int(labels.min()) < 0):
        raise DataError(
            f"own data: labels of the {where} part must be class numbers from 0, one an example ({count}), "
            f"found {labels.dtype} {tuple(labels.shape)}; for anything else give inputs alone and evaluate="
        )
    return labels.cpu().to(torch.int64)


def check_alike(parts: Sequence[tuple[str, Split]]) -> None:
    """Refuses parts whose examples a network could not both take.

    Raises:
        DataError: names the two parts and their shapes.
    """
    first_name, first = parts[0]
    wanted = _form(first.example())
    for name, split in parts[1:]:
        if (found := _form(split.example())) != wanted:
            raise DataError(f"own data: examples of the {name} part are {found}, those of the {first_name} part {wanted}")


def _form(inputs: Inputs) -> str:
    named = inputs.items() if isinstance(inputs, dict) else (("", leaf) for leaf in tree_leaves(inputs))
    return ", ".join(
        f"{name} {leaf.dim() - 1}-dimensional {leaf.dtype}".strip() for name, leaf in sorted(named, key=lambda e: e[0])
    )


def class_names(classes: Sequence[str] | int | None, parts: Sequence[Any], splits: Sequence[Split]) -> tuple[str, ...]:
    """Names of the labels: as given, as a Dataset has them, or their numbers.

    Raises:
        DataError: a label for which there is no name.
    """
    held = [split.labels for split in splits if split.labels is not None]
    count = max((int(labels.max()) + 1 for labels in held), default=0)
    owners: list[Any] = [owner for part in parts for owner in (part, getattr(part, "dataset", None))]
    known = next((owner.classes for owner in owners if isinstance(getattr(owner, "classes", None), (list, tuple))), None)
    if classes is None:
        classes = known if known is not None and len(known) >= count else count
    names = tuple(str(at) for at in range(classes)) if isinstance(classes, int) else tuple(str(name) for name in classes)
    if len(names) < count:
        raise DataError(f"own data: there are labels up to {count - 1}, but names for only {len(names)} classes")
    return names


def read_scores(evaluate: Any) -> tuple[Score, Score | None]:
    """The functions that score a network on validation data and, if there is one, on test data.

    Raises:
        DataError: neither a function nor a pair of them.
    """
    pair = tuple(evaluate) if isinstance(evaluate, (tuple, list)) else (evaluate, None)
    if len(pair) != 2 or not callable(pair[0]) or not (pair[1] is None or callable(pair[1])):
        raise DataError("evaluate must be a function(model) -> number, or a pair of them (for validation, for test)")
    return pair


def call_score(function: Score, model: nn.Module) -> float:
    """What a caller's scoring function says of `model`, which is in evaluation mode, before and after.

    Raises:
        DataError: it is not a finite number.
    """
    model.eval()
    try:
        value: Any = function(model)
    finally:
        model.eval()
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"evaluate({type(model).__name__}) gave {value!r}; it must give a finite number, the higher the better")
    return number
