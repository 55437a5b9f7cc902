from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from hwloop.errors import DataError
from hwloop.network.data.batches import as_batch
from hwloop.network.data.load import as_splits, load_data
from hwloop.network.data.own_data import make_splits
from hwloop.network.data.parts import call_score
from hwloop.network.data.samples import ImageSplit, Split, TensorSplit
from hwloop.network.scoring import accuracy, validation_score
from hwloop.network.training.settings import TrainConfig
from hwloop.network.training.trainer import train

COUNT = 90


def examples(count: int = COUNT, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    return torch.randn(count, 4, generator=generator) + 3 * nn.functional.one_hot(labels, 4), labels


class Words(Dataset):
    """Token sequences as dicts; each reading of an item masks one token at random, as a training transform would."""

    classes = ("first", "second", "third")

    def __init__(self, count: int, noisy: bool = True) -> None:
        self.tokens = torch.randint(0, 7, (count, 5), generator=torch.Generator().manual_seed(1))
        self.noisy = noisy

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, at: int) -> dict:
        tokens = self.tokens[at].clone()
        if self.noisy:
            tokens[torch.randint(0, 5, ())] = 0
        return {"tokens": tokens, "mask": tokens != 0, "labels": at % 3}


class Bag(nn.Module):
    """Takes tokens and a mask by name."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.head = nn.Embedding(7, 8), nn.Linear(8, 3)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self.head((self.embedding(tokens) * mask[..., None]).mean(dim=1))


def passes(split: Split) -> list[Tensor]:
    return [labels for _, labels in split.batches(16)]


def test_tensors_are_divided_by_class_and_given_as_they_are():
    inputs, labels = examples()
    splits = make_splits((inputs, labels), test=examples(12, seed=1), validation_fraction=0.2)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (72, 18, 12)
    assert splits.validation.labels.bincount().tolist() == [6, 6, 6]
    assert splits.classes == ("0", "1", "2")
    both = torch.cat([x for part in (splits.train, splits.validation) for x, _ in part.batches(50)])
    assert sorted(map(tuple, both.tolist())) == sorted(map(tuple, inputs.tolist()))
    assert splits.how == "18 of the 90 training examples held out for validation, by class"
    assert torch.equal(splits.example_input, next(splits.train.batches(1))[0])


def test_arrays_are_as_good_as_tensors():
    inputs, labels = examples()
    assert make_splits((inputs.numpy(), labels.numpy())).fingerprint == make_splits((inputs, labels)).fingerprint


def test_a_network_learns_from_tensors():
    splits = make_splits(examples(), examples(30, seed=1))
    model = nn.Linear(4, 3)
    train(model, splits, TrainConfig(epochs=20, batch_size=16, learning_rate=0.2))
    assert accuracy(model, splits.validation) > 0.9


@pytest.mark.parametrize("loader", [False, True])
def test_a_network_with_named_inputs_learns_from_a_dataset(loader: bool):
    part = DataLoader(Words(60), batch_size=20, shuffle=True) if loader else Words(60)
    splits = make_splits(part, Words(30, noisy=False))
    assert splits.classes == ("first", "second", "third")
    assert splits.example_input["tokens"].shape == (1, 5)
    model, same = Bag(), Bag()
    for one in (model, same):
        events = train(one, splits, TrainConfig(epochs=2, batch_size=16, learning_rate=0.1, seed=3))
    assert torch.equal(model.head.weight, same.head.weight)
    assert not torch.equal(model.head.weight, Bag().head.weight)
    assert 0 <= events[-1].validation_accuracy <= 1


@pytest.mark.parametrize("own_generator", [False, True])
def test_a_pass_over_random_transforms_and_shuffles_repeats(own_generator: bool):
    generator = torch.Generator().manual_seed(5) if own_generator else None
    loader = DataLoader(Words(40), batch_size=16, shuffle=True, generator=generator)
    splits = make_splits(loader, Words(30))
    torch.manual_seed(9)
    expected = torch.rand(1)
    torch.manual_seed(9)
    first, second = passes(splits.train), passes(splits.train)
    assert torch.equal(torch.rand(1), expected)  # the caller's random numbers go on as if nothing had been drawn
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert torch.equal(torch.cat(first), splits.train.labels)
    assert make_splits(loader, Words(30)).fingerprint == splits.fingerprint != make_splits(loader, Words(29)).fingerprint
    shuffled = [labels for _, labels in splits.train.batches(16, torch.Generator().manual_seed(1))]
    assert not torch.equal(torch.cat(shuffled), torch.cat(first))


def test_a_loader_keeps_its_own_batches():
    inputs, labels = examples()
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=40, drop_last=True)
    splits = make_splits(loader, (inputs, labels))
    assert (len(splits.train), splits.train.steps(7)) == (80, 2)
    half = splits.train.subset(50)
    assert [len(part) for part in passes(half)] == [40, 10]
    assert (len(half), half.steps(7), len(half.labels)) == (50, 2, 50)
    assert splits.train.subset(40).steps(7) == 1
    with pytest.raises(DataError, match=r"a DataLoader is read in its own order; give a Dataset or tensors"):
        make_splits(loader)


def test_the_test_part_is_read_when_asked_for():
    class Untouchable(Dataset):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, at: int) -> tuple[Tensor, int]:
            raise AssertionError("the test set was read")

    splits = make_splits(examples(), test=Untouchable())
    assert splits.has_test
    assert splits.fingerprint
    with pytest.raises(AssertionError, match="the test set was read"):
        assert splits.test
    none = make_splits(examples())
    assert not none.has_test
    with pytest.raises(DataError, match="own data: no test set was given"):
        assert none.test


def test_a_function_scores_in_place_of_labels():
    calls = []

    def score(model: nn.Module) -> float:
        calls.append(model.training)
        model.train()
        return 0.75

    inputs, labels = examples()
    splits = make_splits(inputs, evaluate=score)
    model = nn.Linear(4, 3).train()
    assert validation_score(model, splits) == 0.75
    assert (calls, model.training) == ([False], False)
    assert splits.classes == ()
    assert not splits.has_test
    assert splits.how == "scored by the caller's function"
    assert make_splits(inputs, evaluate=(score, score)).has_test
    with pytest.raises(DataError, match="training needs labels; without them ask for 0 epochs"):
        train(model, splits, TrainConfig(epochs=1))
    train(model, make_splits((inputs, labels), evaluate=score), TrainConfig(epochs=1))
    assert make_splits(inputs, evaluate=score).fingerprint != make_splits(inputs, evaluate=validation_score).fingerprint


@pytest.mark.parametrize("value", [None, "good", float("nan"), float("inf"), torch.zeros(2)])
def test_a_score_that_is_no_number_is_refused(value):
    with pytest.raises(DataError, match=r"evaluate\(Linear\) gave .*; it must give a finite number, the higher the better"):
        call_score(lambda model: value, nn.Linear(2, 2))
    assert call_score(lambda model: torch.tensor(0.5), nn.Linear(2, 2)) == 0.5


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        return iter([(torch.zeros(4), 0), (torch.ones(4), 1)])


def test_a_stream_needs_a_loader():
    with pytest.raises(DataError, match="IterableDataset, which cannot be indexed; wrap it in a DataLoader"):
        make_splits(Stream())
    splits = make_splits(DataLoader(Stream()), examples(6))
    assert (len(splits.train), splits.train.steps(1)) == (2, 2)


class Uneven(Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        return torch.zeros(1 + at), 0


@pytest.mark.parametrize(
    "parts, options, message",
    [
        ([torch.zeros(4, 2)], {}, "the train part has no labels; give .inputs, labels., or evaluate="),
        ([(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))], {}, "the train part is empty"),
        ([(torch.zeros(4, 2), torch.zeros(4))], {}, r"must be class numbers from 0, one an example \(4\), found torch.float32"),
        ([(torch.zeros(4, 2), torch.zeros(3, dtype=torch.int64))], {}, r"one an example \(4\), found torch.int64 \(3,\)"),
        ([(torch.zeros(4, 2), torch.full((4,), -1))], {}, "must be class numbers from 0"),
        ([(torch.full((4, 2), torch.nan), torch.zeros(4, dtype=torch.int64))], {}, "inputs that are not finite numbers"),
        ([((torch.zeros(4, 2), torch.zeros(3)), torch.zeros(4, dtype=torch.int64))], {}, "different lengths"),
        (
            [examples(), (torch.zeros(6, 2, 2), torch.zeros(6, dtype=torch.int64))],
            {},
            "of the validation part are 2-dim",
        ),
        ([examples()], {"classes": 2}, "labels up to 2, but names for only 2 classes"),
        ([examples()], {"validation_fraction": 0}, "must lie between 0 and 1, found 0"),
        ([examples(2)], {"validation_fraction": 0.9}, "2 training examples leave none to train on"),
        ([examples()], {"limit": 1}, "the limit must be 2 examples or more"),
        ([None], {"evaluate": len}, "give inputs to trace the network on"),
        ([examples()], {"evaluate": 3}, "evaluate must be a function"),
        ([examples(), examples()], {"evaluate": len}, "evaluate= scores in place of validation and test examples"),
        ([Uneven()], {}, "items of Uneven cannot be put into one batch .*; give a DataLoader with a collate_fn"),
        ([["text"]], {}, "a batch must be .inputs, labels., .* found a list of 1: str"),
        ([DataLoader(["a", "b"])], {}, "a batch must be .inputs, labels., .* found a list of 1: str"),
    ],
)
def test_what_cannot_be_used_is_said(parts: list, options: dict, message: str):
    with pytest.raises(DataError, match=message):
        make_splits(*parts, **options)


def test_forms_of_batches():
    x, y = torch.zeros(2, 3), torch.tensor([0, 1])
    assert as_batch([x, y])[0] is x
    assert isinstance(as_batch([x, x, y])[0], tuple)
    assert isinstance(as_batch([[x, x], y])[0], tuple)
    assert list(as_batch({"a": x, "label": y})[0]) == ["a"]
    assert len(as_batch({"a": x})[1]) == 0
    assert as_batch([x])[0] is x


def test_everything_a_caller_may_say():
    inputs, labels = examples()
    whole = make_splits((inputs, labels))
    assert as_splits(whole) is whole
    for data in ((inputs, labels), {"train": (inputs, labels)}, ((inputs, labels), None, None)):
        assert as_splits(data).fingerprint == whole.fingerprint
    assert len(as_splits((inputs, labels), limit=30).train) == 27
    named = as_splits("digits", evaluate=len)
    assert isinstance(named.train, ImageSplit)
    assert named.evaluate is len
    assert named.fingerprint != load_data("digits").fingerprint
    with pytest.raises(DataError, match="data_root belongs to a data set by name"):
        as_splits((inputs, labels), root="here")
    with pytest.raises(DataError, match="there is no part 'valid'"):
        as_splits({"train": inputs, "valid": inputs})
    with pytest.raises(DataError, match="DataSplits come ready made"):
        as_splits(whole, limit=3)
    with pytest.raises(DataError, match=r"its examples are not images \(C, H, W\)"):
        assert whole.image_shape


def test_the_fingerprint_follows_the_content():
    inputs, labels = examples()
    changed = inputs.clone()
    changed[5, 0] += 1
    prints = {make_splits((x, y)).fingerprint for x, y in ((inputs, labels), (changed, labels), (inputs, labels.flip(0)))}
    assert len(prints) == 3
    assert make_splits({"a": inputs, "labels": labels}).fingerprint not in prints
    assert isinstance(make_splits((np.zeros((6, 2)), np.zeros(6, dtype=np.int64))).train, TensorSplit)
