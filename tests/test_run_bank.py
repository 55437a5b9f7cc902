"""Runs on the bank of layers, and on a part of the test set."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hwloop.errors import DataError, SpecError
from hwloop.network.data.load import as_splits
from hwloop.network.data.splits import DataSplits
from hwloop.network.training.prepare import Trained
from hwloop.network.training.settings import TrainConfig
from hwloop.network.training.trainer import train
from hwloop.report.result import Front, Member
from hwloop.run import compress
from hwloop.run.finetuning import Finetuning
from hwloop.run.outputs import CompressResult, document, result_text
from hwloop.run.settings import PAPER_PRUNING, Settings
from hwloop.run.validation import validation_splits
from hwloop.spec.plan import Plan

SMALL = Settings(
    method_options={"population": 6, "generations": 2}, weight_bits=(3, 5), one_shot=(0.5, 0.8), pruning=(0.0,),
    library_epochs=1, mapper_effort="quick", calibration_images=100,
)  # fmt: skip


class Net(nn.Module):
    """Two layers, drawn alike each time."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.last = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Linear(6 * 36, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.norm(self.conv(images))).flatten(1))


def splits(size: int = 8) -> DataSplits:
    return as_splits("digits", image_size=size)


@pytest.fixture(scope="module")
def trained() -> Net:
    net = Net()
    train(net, splits(), TrainConfig(epochs=4))
    return net.eval()


class Notes:
    """A progress display that keeps what is said and how each task ends."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.steps: dict[str, int] = {}

    def say(self, text: str) -> None:
        self.said.append(text)

    def task(self, title: str, total: int) -> Any:
        return _Task(self, title, total)


class _Task:
    def __init__(self, notes: Notes, title: str, total: int) -> None:
        self.notes, self.title, self.total = notes, title, total

    def __enter__(self) -> _Task:
        self.notes.steps[self.title] = -self.total
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, note: str = "", steps: int = 1) -> None:
        self.notes.steps[self.title] += steps


Run = Callable[..., CompressResult]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Compresses, with one memo table for the module."""
    memo = tmp_path_factory.mktemp("memo") / "memo.sqlite"

    def compressed(place: Path, model: nn.Module, settings: Settings = SMALL, **more: Any) -> CompressResult:
        given: dict[str, Any] = {"library_dir": place / "library", "memo": memo, "workers": 1} | more
        return compress(model, splits(), "flexible_skipping", "row_stationary", settings, **given)

    return compressed


@pytest.fixture(scope="module")
def whole(run: Run, trained: Net, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CompressResult]:
    place = tmp_path_factory.mktemp("bank")
    return place, run(place, trained, run_dir=place / "run")


def test_candidates_are_put_together_from_the_bank(whole: tuple[Path, CompressResult]) -> None:
    place, result = whole
    assert result.library.fractions == (0.0,), "nothing was retrained"
    assert result.bank is not None
    assert result.bank.folder == str(place / "library" / "bank")
    files = list((place / "library" / "bank").rglob("*.pt"))
    assert result.bank.made == len(files) > 0
    plans = [member.plan for front in result.fronts for member in front.members]
    assert {plan.base for plan in plans} == {""}
    assert {share.weight_density for plan in plans for _, share in plan.layers} & {0.5, 0.2}
    assert json.loads((place / "run" / "identity.json").read_text())["bank"] == result.bank.identity
    told = document(result)
    assert told["bank"]["made"] == result.bank.made
    assert any("second-order methods, on 100 training images" in note for note in told["notes"])
    assert f"{result.bank.made} made" in result_text(result)


def test_a_bank_that_is_full_ends_with_the_same_front(whole: tuple[Path, CompressResult], run: Run, trained: Net) -> None:
    place, result = whole
    notes = Notes()
    filled = run(place, trained, bank_dir=place / "other", fill=True, progress=notes)
    assert filled.fronts == result.fronts
    # two layers, 0 50 80% pruned, at 3 to 5 bits and not rounded
    assert filled.bank is not None
    assert filled.bank.made == len(list((place / "other").rglob("*.pt"))) == 2 * (3 * 4 - 1)
    assert notes.steps["bank of layers"] == 0
    again = run(place, trained, bank_dir=place / "other", fill=True)
    assert again.bank is not None
    assert again.bank.made == 0


def test_by_magnitude_there_is_no_bank(run: Run, trained: Net, tmp_path: Path) -> None:
    result = run(tmp_path, trained, replace(SMALL, compression="magnitude", one_shot=None, pruning=(0.5,)), fill=True)
    assert result.bank is None
    assert result.library.fractions == (0.0, 0.5)
    assert not (tmp_path / "library" / "bank").exists()
    assert any("by magnitude" in note for note in result.notes)
    assert {share.weight_density == 1.0 or member.plan.base for front in result.fronts for member in front.members
            for _, share in member.plan.layers} <= {True, "p=0.5"}  # fmt: skip


def test_entries_belong_to_the_network_that_a_candidate_starts_from(run: Run, trained: Net, tmp_path: Path) -> None:
    settings = replace(SMALL, pruning=(0.0, 0.5), one_shot=(0.8,), evaluations=10)
    result = run(tmp_path, trained, settings, fill=True)
    about = [json.loads(path.read_text())["about"] for path in (tmp_path / "library" / "bank").rglob("*.json")]
    assert len({each["base"] for each in about}) == 2
    removed = {base: {e["removed"] for e in about if e["base"] == base and e["layer"] == "last"} for base in
               {e["base"] for e in about}}  # fmt: skip
    # 80% are pruned from the network that has 50% already, and from no other
    assert sorted(map(sorted, removed.values())) == [[0], [0, round(0.8 * 2160)]]
    assert result.library.settings["pruner"]["name"] == "second-order"
    assert result.library.settings["training"]["distillation"] == 0.9


def test_statistics_and_means_may_be_repaired(run: Run, trained: Net, tmp_path: Path) -> None:
    settings = replace(SMALL, evaluations=4, bias_correction=True, batchnorm="augmented", batchnorm_images=64)
    notes = run(tmp_path, trained, settings).notes
    assert any("means of their outputs shifted back" in note and "64 augmented training images" in note for note in notes)


def test_the_search_may_have_a_part_of_the_test_set(run: Run, trained: Net, tmp_path: Path) -> None:
    result = run(tmp_path, trained, replace(SMALL, evaluations=4, validation="test:100"), run_dir=tmp_path / "run")
    [front] = result.fronts
    assert (front.scored_on, front.reported_on) == ("100 of the 359 test images, by class", "the other 259 test images")
    scores = {front.reference.metrics["accuracy"] * 100, *(member.metrics["accuracy"] * 100 for member in front.members)}
    assert all(abs(score - round(score)) < 1e-6 for score in scores)
    tests = {member.test_accuracy * 259 for member in front.members if member.test_accuracy is not None}
    assert tests
    assert all(abs(score - round(score)) < 1e-6 for score in tests)
    told = json.loads((tmp_path / "run" / "front.json").read_text())
    assert told["fronts"][0]["scored_on"] == front.scored_on
    assert any("accuracy is on 100 of the 359 test images" in note for note in told["notes"])
    assert "accuracy: 100 of the 359 test images, by class; test: the other 259 test images" in result_text(result)


def test_the_halves_of_a_test_set_are_apart_and_by_class() -> None:
    data = splits()
    half = data.test_halved(180)
    both = torch.cat([half.validation.tensors()[0], half.test.tensors()[0]]).flatten(1)
    assert len(both) == len(torch.unique(both, dim=0)) == len(torch.unique(data.test.tensors()[0].flatten(1), dim=0))
    counts = torch.bincount(half.validation.labels) - torch.bincount(data.test.labels) / 2
    assert float(counts.abs().max()) <= 1
    assert half.train is data.train
    assert half.fingerprint != data.fingerprint
    for count in (0, 359, 400):
        with pytest.raises(DataError, match=f"{count} of 359 test examples leave none"):
            data.test_halved(count)


def knows(parts: list[Any]) -> Trained:
    """A network that was trained until it knows these examples by heart, and no others."""
    inputs, labels = torch.cat([part.tensors()[0] for part in parts]), torch.cat([part.labels for part in parts])

    class Heart(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            away = torch.cdist(images.flatten(1), inputs.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
            nearest = labels[away.argmin(dim=1)]
            unknown = away.min(dim=1).values > 1e-3
            return nn.functional.one_hot(torch.where(unknown, (nearest + 1) % 10, nearest), 10).float()

    data = splits()
    model = Heart().eval()
    right = model(data.validation.tensors()[0]).argmax(1) == data.validation.labels
    return Trained(model, "weights of heart.pt", float(right.float().mean()))


@pytest.mark.parametrize("published", [None, 0.1])
def test_weights_that_know_the_held_out_images_get_a_part_of_the_test_set(published: float | None) -> None:
    data, notes = splits(), Notes()
    model = knows([data.train, data.validation])
    found, told = validation_splits(data, model, True, Settings(published_accuracy=published), notes)
    assert (len(found.validation), len(found.test)) == (179, 180)
    assert "probably trained on the held-out images" in told
    assert notes.said == [f"warning: {told}"]
    for settings, given in ((Settings(validation="held-out"), True), (Settings(), False)):
        assert validation_splits(data, model, given, settings, notes) == (data, "")


def test_weights_that_are_as_good_on_new_images_keep_the_held_out_ones(trained: Net) -> None:
    data, notes = splits(), Notes()
    right = trained(data.validation.tensors()[0]).argmax(1) == data.validation.labels
    model = Trained(trained, "weights", float(right.float().mean()))
    found, told = validation_splits(data, model, True, Settings(), notes)
    assert found is data
    assert "on 179 test images" in told
    assert not notes.said
    assert validation_splits(data, model, True, Settings(published_accuracy=0.4), notes)[0] is not data


def test_without_a_test_set_there_is_only_a_warning() -> None:
    data = splits()
    alone, notes = replace(data, load_test=None), Notes()
    model = knows([data.train, data.validation])
    assert validation_splits(alone, model, True, Settings(), notes) == (alone, "")
    found, told = validation_splits(alone, model, True, Settings(published_accuracy=0.5), notes)
    assert found is alone
    assert "there is no test set to validate on instead" in told
    with pytest.raises(DataError, match="no test set was given"):
        validation_splits(alone, model, True, Settings(validation="test:10"), notes)
    with pytest.raises(DataError, match="where your own function scores"):
        validation_splits(replace(data, evaluate=lambda net: 1.0), model, True, Settings(validation="test:10"), notes)


def test_amounts_follow_the_way_of_compression() -> None:
    assert Settings().members == (0.0, 0.7, 0.8, 0.9)
    assert Settings(pruning=(0.0,)).members == (0.0,)
    assert Settings(pruning=(0.0,)).amounts[::9] == (0.05, 0.5, 0.95)
    assert Settings(compression="magnitude").members == (0.0, *PAPER_PRUNING)
    assert Settings(compression="magnitude").amounts == ()
    assert Settings(pruning=(0.5, 0.9)).amounts == tuple(a for a in Settings(pruning=(0.0,)).amounts if a not in (0.5, 0.9))
    assert (Settings().distilled, Settings(compression="magnitude").distilled, Settings(distillation=0.3).distilled) == (
        0.9,
        0,
        0.3,
    )


WRONG: dict[str, tuple[Callable[[], Settings], str]] = {
    "compression": (lambda: Settings(compression="third-order"), "second-order or magnitude"),
    "batchnorm": (lambda: Settings(batchnorm="none"), "base or plain or augmented"),
    "no images": (lambda: Settings(calibration_images=0), "calibration_images: expected a whole number of 1 or more"),
    "one shot": (lambda: Settings(one_shot=(1.0,)), "one_shot: expected a fraction from 0 to below 1"),
    "validation": (lambda: Settings(validation="test"), "validation: expected auto, held-out, or test:N"),
    "no validation": (lambda: Settings(validation="test:0"), "validation: expected auto, held-out, or test:N"),
    "published": (lambda: Settings(published_accuracy=91.7), "published_accuracy: expected a fraction between 0 and 1"),
    "distillation": (lambda: Settings(distillation=2.0), "distillation: expected a fraction between 0 and 1"),
    "means": (lambda: Settings(compression="magnitude", bias_correction=True), "bias_correction: expected false with magnitude"),
}  # fmt: skip


def test_members_are_fine_tuned_after_the_search_and_the_front_stays(
    whole: tuple[Path, CompressResult], run: Run, trained: Net
) -> None:
    place, result = whole
    how = Finetuning(2, "2", learning_rate=0.02)
    arguments: dict[str, Any] = {"run_dir": place / "run", "resume": True, "finetune": how}
    stopped = Stopping("fine-tune")
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        run(place, trained, progress=stopped, **arguments)
    assert list((place / "run" / "finetuned").glob("*.state")), "an epoch is kept"
    tuned = run(place, trained, **arguments)
    assert tuned.fronts == result.fronts
    [front] = tuned.fronts
    assert len(tuned.finetuned) == min(2, len(front.members))
    assert not list((place / "run" / "finetuned").glob("*.state"))
    alone = run(place, trained, finetune=how)  # from nothing, and never stopped
    assert [replace(made, file="") for made in tuned.finetuned] == list(alone.finetuned)
    assert run(place, trained, **arguments).finetuned == tuned.finetuned
    for made in tuned.finetuned:
        state = torch.load(made.file, weights_only=True)
        for name, share in front.members[made.member].plan.layers:
            weight = state[f"{name}.weight"].flatten(1)
            assert share.weight_bits is not None
            levels = [len(torch.unique(row)) for row in weight]
            assert max(levels) <= 2**share.weight_bits - 1
            density = share.weight_density if isinstance(share.weight_density, float) else 1.0
            assert int((weight != 0).sum()) <= round(density * weight.numel()) + 1
        Path(made.file).write_bytes(b"damaged")
    assert run(place, trained, **arguments).finetuned == tuned.finetuned, "damaged files are made anew"
    assert "fine-tuned after the search, quantisation-aware, 2 epochs" in result_text(tuned)
    assert document(tuned)["finetuned"][0]["epochs"] == 2


class Stopping(Notes):
    """A progress display that presses Ctrl-C in a task, once a first step is done."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = title

    def task(self, title: str, total: int) -> Any:
        return _Stopping(self, title, total) if title.startswith(self.title) else super().task(title, total)


class _Stopping(_Task):
    def advance(self, note: str = "", steps: int = 1) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("members", "count", "chosen"),
    [("all", 3, [0, 1, 2]), ("2", 3, [0, 2]), ("9", 3, [0, 1, 2]), ("1", 3, [0]), ("best", 3, [1]), ("all", 0, [])],
)
def test_which_members_are_fine_tuned(members: str, count: int, chosen: list[int]) -> None:
    def member(accuracy: float, energy: float) -> Member:
        metrics = {"accuracy": accuracy, "energy_pj": energy}
        return Member(Plan(), 0.0, metrics, metrics)

    three = (member(0.9, 5.0), member(0.8999, 3.0), member(0.5, 1.0))
    front = Front("t", ("accuracy", "energy_pj"), (True, False), member(0.9, 9.0), three[:count])
    assert Finetuning(1, members).chosen(front) == chosen
    assert Finetuning(1).chosen(front) == ([1] if count else [])


def test_fine_tuning_that_makes_no_sense_is_refused() -> None:
    for given, message in (((0,), "1 epoch or more"), ((1, "some"), "knee, best, all, or a number"), ((1, "0"), "or a number"),
                           ((1, "all", -1.0), "learning_rate")):  # fmt: skip
        with pytest.raises(SpecError, match=message):
            Finetuning(*given)


@pytest.mark.parametrize("what", sorted(WRONG))
def test_settings_that_make_no_sense_are_refused(what: str) -> None:
    make, message = WRONG[what]
    with pytest.raises(SpecError, match=message):
        make()
