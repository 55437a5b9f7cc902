"""Data sets that a caller brings: tensors, torch Datasets, DataLoaders, and a scoring function in place of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwloop.errors import DataError
from hwloop.network.data.parts import check_alike, class_names, read_part, read_scores
from hwloop.network.data.samples import Split
from hwloop.network.data.splits import DataSplits


def make_splits(
    train: Any,
    validation: Any = None,
    test: Any = None,
    *,
    evaluate: Any = None,
    name: str = "own data",
    classes: Sequence[str] | int | None = None,
    validation_fraction: float = 0.1,
    seed: int = 0,
    limit: int | None = None,
) -> DataSplits:
    """A data set from a caller's own parts.

    A part is a DataLoader, a map-style Dataset (its items `(inputs, label)`, `(input, ..., label)` or a dict with the key
    `labels`), a pair `(inputs, labels)` of tensors or arrays, or inputs alone where `evaluate` scores. Inputs are what the
    network takes: a tensor, a tuple of positional arguments, or a dict of keyword arguments, the batch first in each tensor.
    Nothing is normalised or augmented: a Dataset's own transforms do that. What they draw at random they should
    draw from torch, or else the answers of a run do not repeat. Labels are class numbers from 0.

    With `evaluate`, its number stands wherever accuracy stands (what the search maximises, budgets, tables), so it is best a
    fraction from 0 to 1. A single function is all that scores: nothing is left for an independent test. Of a pair, the first
    scores during the search and the second once, for the report. Labels are then only needed for retraining.

    Args:
        train: what the weights learn from and what activations are measured on.
        validation: what the search scores on; drawn from `train` by class when None and nothing else scores.
        test: scored once, for the report; read when first asked for.
        evaluate: `function(model) -> float`, the higher the better, or a pair of such functions. The model comes in evaluation
            mode and must be left with the weights it has.
        name: for tables.
        classes: names of the labels, or how many; found in the data when None.
        validation_fraction: part of `train` held out when `validation` is not given.
        seed: of that draw.
        limit: use at most this many examples of `train`.

    Raises:
        DataError: a part that is empty, of an unknown form, with labels that are no classes, unlike the others, or of no use.
    """
    score, score_test = (None, None) if evaluate is None else read_scores(evaluate)
    if train is None:
        raise DataError(
            f"{name}: give inputs to trace the network on and to measure its activations on (train=), even where evaluate= scores"
        )
    if not 0 < validation_fraction < 1:
        raise DataError(f"{name}: the validation fraction must lie between 0 and 1, found {validation_fraction}")
    if limit is not None and limit < 2:
        raise DataError(f"{name}: the limit must be 2 examples or more, found {limit}")
    if score is not None and (validation is not None or test is not None):
        raise DataError(
            f"{name}: evaluate= scores in place of validation and test examples; give it as a pair of functions for a test, and "
            "leave these parts out"
        )
    whole = read_part(train, "train", labelled=score is None)
    whole = whole if limit is None else whole.subset(limit, seed)
    if validation is not None:
        held, rest = read_part(validation, "validation", labelled=score is None), whole
        how = "validation examples are the caller's own"
    elif score is not None:
        held = rest = whole
        how = "scored by the caller's function"
    else:
        count = max(1, round(len(whole) * validation_fraction))
        if count >= len(whole):
            raise DataError(f"{name}: {len(whole)} training examples leave none to train on beside {count} for validation")
        held, rest = whole.divide(count, seed)
        how = f"{count} of the {len(whole)} training examples held out for validation, by class"
    check_alike([("train", rest), ("validation", held)])

    def load_test() -> Split:
        split = read_part(test, "test", labelled=True)
        check_alike([("train", rest), ("test", split)])
        return split

    return DataSplits(
        name=name,
        classes=class_names(classes, (train, validation), (rest, held)),
        train=rest,
        validation=held,
        how=how,
        seed=seed,
        held_out=validation is None and score is None,
        scored_on=f"{len(held)} validation examples" if score is None else "your function",
        load_test=None if test is None else load_test,
        evaluate=score,
        evaluate_test=score_test,
    )
