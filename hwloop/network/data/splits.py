"""A data set in three parts: what weights learn from, what the search sees, and what is read once for the report."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

from torch import Tensor, nn

from hwloop.errors import DataError
from hwloop.network.code import code_of
from hwloop.network.data.batches import Inputs, to_device
from hwloop.network.data.parts import Score
from hwloop.network.data.samples import Augmentation, Split
from hwloop.network.layers import device_of


@dataclass(frozen=True, eq=False)
class DataSplits:
    """A data set in three parts.

    Attributes:
        name: of the data set.
        classes: names of the labels; empty where there are none.
        train: what the weights learn from, and what ranges and densities of activations are measured on.
        validation: what the search sees: a stratified part of the training set where the caller gives none.
        how: how the parts were made, in words.
        seed: of the draw of the validation examples.
        load_test: reads the test set; None when there is none.
        augmentation: what training does to images; None leaves them as they are.
        evaluate: scores a network in place of its accuracy on `validation`: a number, the higher the better.
        evaluate_test: the same in place of its accuracy on `test`.
        held_out: whether `validation` is a part of the training set, which weights that were trained elsewhere may have seen.
        scored_on: what `validation` is, for tables.
        reported_on: what `test` is, for tables.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    how: str
    seed: int
    load_test: Callable[[], Split] | None = field(repr=False, default=None)
    augmentation: Augmentation | None = None
    evaluate: Score | None = None
    evaluate_test: Score | None = None
    held_out: bool = False
    scored_on: str = "validation images"
    reported_on: str = "the test set"

    @cached_property
    def test(self) -> Split:
        """The test set, read when first asked for.

        Raises:
            DataError: there is none, or its files are missing or broken.
        """
        if self.load_test is None:
            raise DataError(f"{self.name}: no test set was given")
        return self.load_test()

    def test_halved(self, count: int) -> DataSplits:
        """The same with `count` test examples, by class, for validation, and the rest of them as the test set.

        Args:
            count: from 1 to one less than there are.

        Raises:
            DataError: there is no test set, it has fewer examples, or it cannot be divided.
        """
        whole = self.test
        if not 0 < count < len(whole):
            raise DataError(f"{self.name}: {count} of {len(whole)} test examples leave none on one side; give a number between")
        held, rest = whole.divide(count, self.seed)
        scored, reported = f"{count} of the {len(whole)} test images, by class", f"the other {len(rest)} test images"
        return replace(
            self, validation=held, how=f"validated on {scored}; the test set is {reported}", load_test=lambda: rest,
            held_out=False, scored_on=scored, reported_on=reported,
        )  # fmt: skip

    @property
    def has_test(self) -> bool:
        """Whether there is anything for a score that the search never saw.

        With `evaluate`, that is `evaluate_test` alone: an accuracy on labels would be another kind of number.
        """
        return self.evaluate_test is not None or (self.evaluate is None and self.load_test is not None)

    @cached_property
    def example_input(self) -> Inputs:
        """The first training example as a batch of one: what a network is traced on."""
        return self.train.example()

    def example_for(self, model: nn.Module) -> Inputs:
        """`example_input` on the device that `model` is on."""
        return to_device(self.example_input, device_of(model))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(C, H, W)`: what a model made by name is made for.

        Raises:
            DataError: the examples are no images.
        """
        example = self.example_input
        if not isinstance(example, Tensor) or example.dim() != 4 or not example.is_floating_point():
            raise DataError(
                f"{self.name}: its examples are not images (C, H, W) of floating-point numbers, for which a model could be "
                "made by name; give the network itself (a torch module)"
            )
        channels, height, width = example.shape[1:]
        return channels, height, width

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the training and validation examples, labels, augmentation and scoring function.

        It is what a trained model and its scores depend on. Of a scoring function it knows the name and the code, not
        the data that the function holds.
        """
        digest = hashlib.sha256(repr(self.augmentation).encode())
        for function in (self.evaluate, self.evaluate_test):
            digest.update(("" if function is None else code_of(function)).encode())
        for split in (self.train, self.validation):
            split.update(digest)
        return digest.hexdigest()
