"""Parts of a data set that torch's own Dataset and DataLoader hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader, Dataset, default_collate

from hwloop.errors import DataError
from hwloop.network.data.batches import Batch, as_batch, batch_length, repeatable
from hwloop.network.data.samples import Augmentation, Split, in_order, refuse_augmentation


@dataclass(frozen=True, eq=False)
class DatasetSplit(Split):
    """Some examples of a map-style torch Dataset, read one by one whenever they are wanted, in this process.

    Attributes:
        dataset: its items are `(inputs, label)`, `(input, ..., label)` or a dict with the key `labels`.
        indices: `(n,)` which items.
        labels: `(n,)` int64, None where there are none.
    """

    dataset: Dataset[Any]
    indices: Tensor
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, indices: Tensor) -> DatasetSplit:
        """The items at the positions `indices` of this split."""
        return DatasetSplit(self.dataset, self.indices[indices], None if self.labels is None else self.labels[indices])

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None, augmentation: Augmentation | None = None
    ) -> Iterator[Batch]:
        """See `Split.batches`."""
        refuse_augmentation(augmentation)

        def read() -> Iterator[Batch]:
            for chosen in in_order(len(self), batch_size, generator):
                items = [self.dataset[int(at)] for at in self.indices[chosen]]
                try:
                    batch = default_collate(items)
                except (RuntimeError, TypeError) as error:
                    raise DataError(
                        f"own data: items of {type(self.dataset).__name__} cannot be put into one batch ({error}); "
                        "give a DataLoader with a collate_fn"
                    ) from error
                yield as_batch(batch)

        yield from read() if generator is not None else repeatable(read)


@dataclass(frozen=True, eq=False)
class LoaderSplit(Split):
    """What a torch DataLoader gives, in its own batches and, for training, its own order: a batch size asked for is not used.

    Attributes:
        loader: its batches are `(inputs, labels)`, `(input, ..., labels)` or a dict with the key `labels`.
        sizes: of the batches of a repeatable pass; the last one that is used may be cut.
        labels: `(n,)` int64 of such a pass, None where there are none.
    """

    loader: DataLoader[Any]
    sizes: tuple[int, ...]
    labels: Tensor | None

    def __len__(self) -> int:
        return sum(self.sizes)

    def take(self, indices: Tensor) -> LoaderSplit:
        """Raises DataError: a loader gives what comes next."""
        raise DataError("own data: a DataLoader is read in its own order; give a Dataset or tensors to take a part of it")

    def steps(self, batch_size: int) -> int:
        """How many batches the loader gives."""
        return len(self.sizes)

    def subset(self, count: int, seed: int = 0) -> LoaderSplit:
        """The first `count` examples of a pass, since a loader does not say beforehand which classes come."""
        if count >= len(self):
            return self
        starts = accumulate(self.sizes, initial=0)
        sizes = tuple(min(size, count - start) for start, size in zip(starts, self.sizes, strict=False) if start < count)
        return LoaderSplit(self.loader, sizes, None if self.labels is None else self.labels[:count])

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None, augmentation: Augmentation | None = None
    ) -> Iterator[Batch]:
        """See `Split.batches`."""
        refuse_augmentation(augmentation)
        yield from _first(loader_batches(self.loader, generator), len(self))


def loader_batches(loader: DataLoader[Any], generator: torch.Generator | None = None) -> Iterator[Batch]:
    """One pass over a loader: the same every time without a `generator`, in its own order and draws with one."""
    own = loader.generator
    state = None if own is None else own.get_state()
    try:
        if own is not None:
            own.manual_seed(0 if generator is None else int(torch.randint(2**31, (), generator=generator)))
        for raw in iter(loader) if generator is not None else repeatable(lambda: iter(loader)):
            yield as_batch(raw)
    finally:
        if own is not None and state is not None:
            own.set_state(state)


def _first(batches: Iterator[Batch], count: int) -> Iterator[Batch]:
    """The first `count` examples; the last batch is cut."""
    for inputs, labels in batches:
        length = batch_length(inputs)
        if length >= count:
            cut = tree_map(lambda tensor, most=count: tensor[:most], inputs)
            yield cut, labels[:count]
            return
        count -= length
        yield inputs, labels
