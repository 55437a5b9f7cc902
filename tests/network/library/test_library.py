import errno
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from hwloop.errors import DataError, SpecError
from hwloop.network.data.load import DataSplits, load_data
from hwloop.network.data.own_data import make_splits
from hwloop.network.library.build import LibraryConfig, MemberEvent, build_library, fraction_steps
from hwloop.network.library.library import Library, open_library
from hwloop.network.scoring import accuracy
from hwloop.network.tracing.registry import register
from hwloop.network.training.settings import TrainConfig
from hwloop.network.training.trainer import train
from hwloop.network.transforms.prune import densities
from hwloop.network.weights_file import weights_digest, write_state

QUICK = LibraryConfig(fractions=(0.5, 0.8, 0.9), training=TrainConfig(epochs=1, learning_rate=0.02, seed=4))


@pytest.fixture(scope="module")
def splits() -> DataSplits:
    return load_data("digits", image_size=8, limit=300)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(216, 10))


@pytest.fixture(scope="module")
def built(splits: DataSplits, tmp_path_factory: pytest.TempPathFactory) -> Library:
    return build_library(net(), splits, tmp_path_factory.mktemp("library"), QUICK, name="small")


def states(library: Library) -> dict[float, dict[str, torch.Tensor]]:
    return {p: dict(library.member(p).state) for p in library.fractions}


def assert_same(one: Library, other: Library) -> None:
    first, second = states(one), states(other)
    assert list(first) == list(second)
    for p in first:
        assert all(torch.equal(first[p][name], second[p][name]) for name in first[p])
        assert one.info(p).sha256 == other.info(p).sha256


def test_members_hold_the_densities_and_accuracies_the_index_says(built: Library, splits: DataSplits):
    assert built.fractions == (0.0, 0.5, 0.8, 0.9)
    for info in built.infos:
        model = net()
        built.member(info.p).load_into(model)
        assert densities(model, register(model, next(splits.train.batches(1))[0])) == info.densities
        assert all(abs(kept - (1 - info.p)) < 0.01 for kept in info.densities.values()) or info.p == 0
        assert accuracy(model, splits.validation) == info.validation_accuracy


def test_the_first_member_is_the_trained_model_itself(built: Library):
    model = net()
    built.member(0).load_into(model)
    assert weights_digest(model.state_dict()) == weights_digest(net().state_dict()) == built.start_sha256


def test_what_is_opened_is_what_was_built(built: Library):
    opened = open_library(built.folder)
    assert (opened.model, opened.mode, opened.infos) == ("small", "trajectory", built.infos)
    assert opened.versions["torch"] == torch.__version__
    assert_same(built, opened)


def test_exact_and_nearest(built: Library):
    assert built.info(0.80001).p == 0.8
    assert built.nearest(0.83).p == 0.8
    assert built.nearest(0.65).p == 0.5  # the smaller of two as near
    assert built.nearest(1.0).p == 0.9
    with pytest.raises(DataError, match=r"no model pruned by 83%; there are: 0%, 50%, 80%, 90%"):
        built.member(0.83)


def test_a_second_build_reuses_everything(built: Library, splits: DataSplits, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hwloop.network.library.build.train", never)
    events: list[MemberEvent] = []
    again = build_library(net(), splits, built.folder, QUICK, on_member=events.append)
    assert again.infos == built.infos
    assert [(event.done, event.total, event.reused) for event in events] == [(n, 4, True) for n in range(1, 5)]


def never(*_: object) -> None:
    raise AssertionError("nothing was left to train")


@pytest.mark.parametrize("mode", ["trajectory", "gradual"])
@pytest.mark.parametrize("members_before_the_kill", [1, 2, 3])
def test_a_build_goes_on_after_a_kill_and_ends_the_same(
    splits: DataSplits, tmp_path: Path, mode: str, members_before_the_kill: int
):
    config = replace(QUICK, mode=mode, steps=2, fractions=(0.5, 0.8))

    def kill(event: MemberEvent) -> None:
        if event.done == members_before_the_kill:
            raise KeyboardInterrupt("ctrl-c")

    with pytest.raises(KeyboardInterrupt, match="ctrl-c"):
        build_library(net(), splits, tmp_path / "killed", config, on_member=kill)
    assert len(open_library(tmp_path / "killed").infos) == members_before_the_kill
    events: list[MemberEvent] = []
    resumed = build_library(net(), splits, tmp_path / "killed", config, on_member=events.append)
    assert sum(event.reused for event in events) == members_before_the_kill
    assert_same(resumed, build_library(net(), splits, tmp_path / "whole", config))


def test_a_kill_between_the_member_and_the_index_loses_that_member_only(
    splits: DataSplits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def write_then_die(path: Path, state: Mapping[str, torch.Tensor]) -> str:
        digest = write_state(path, state)
        if path.name.startswith("p80.00"):
            raise KeyboardInterrupt("killed")
        return digest

    with monkeypatch.context() as patch:
        patch.setattr("hwloop.network.library.build.write_state", write_then_die)
        with pytest.raises(KeyboardInterrupt, match="killed"):
            build_library(net(), splits, tmp_path, QUICK)
    assert list(tmp_path.glob("p80.00-*.pt"))
    assert open_library(tmp_path).fractions == (0.0, 0.5)
    assert build_library(net(), splits, tmp_path, QUICK).fractions == (0.0, 0.5, 0.8, 0.9)
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_damaged_member_is_refused_when_read_and_made_anew_when_built(splits: DataSplits, tmp_path: Path):
    built = build_library(net(), splits, tmp_path, QUICK)
    digest = built.info(0.8).sha256
    (tmp_path / built.info(0.8).file).write_bytes(b"garbage")
    with pytest.raises(DataError, match=r"p80.00-\w+.pt is damaged .*; build the library again"):
        open_library(tmp_path).member(0.8)
    (tmp_path / built.info(0.9).file).unlink()
    with pytest.raises(DataError, match=r"p90.00-\w+.pt cannot be read"):
        open_library(tmp_path).member(0.9)
    assert build_library(net(), splits, tmp_path, QUICK).info(0.8).sha256 == digest


def test_gradual_members_do_not_depend_on_each_other(splits: DataSplits, tmp_path: Path):
    config = replace(QUICK, mode="gradual", steps=3)
    both = build_library(net(), splits, tmp_path / "a", replace(config, fractions=(0.5, 0.9)))
    alone = build_library(net(), splits, tmp_path / "b", replace(config, fractions=(0.9,)))
    assert both.info(0.9).sha256 == alone.info(0.9).sha256
    added = build_library(net(), splits, tmp_path / "b", replace(config, fractions=(0.5,)))
    assert added.fractions == (0.0, 0.5, 0.9)
    assert_same(both, added)


def test_other_models_and_recipes_lie_side_by_side(splits: DataSplits, tmp_path: Path):
    config = replace(QUICK, fractions=(0.5,))
    first = build_library(net(), splits, tmp_path, config, name="first")
    other = net()
    other[0].weight.data += 1
    for model, settings in (
        (other, config),
        (net(), replace(config, mode="gradual", steps=2)),
        (net(), replace(config, training=TrainConfig(epochs=2))),
    ):
        built = build_library(model, splits, tmp_path, settings, name="other")
        assert_same(built, open_library(tmp_path, built.key))
        assert built.key != first.key
    assert_same(first, open_library(tmp_path, first.key[:12]))
    with pytest.raises(DataError, match=rf"holds 4 libraries of key '', not one: {first.key[:12]} \(first, trajectory, 2 mem"):
        open_library(tmp_path)
    with pytest.raises(DataError, match="holds 0 libraries of key 'zzz'"):
        open_library(tmp_path, "zzz")


def test_a_trajectory_with_one_more_member_shares_what_came_before(splits: DataSplits, tmp_path: Path):
    short = build_library(net(), splits, tmp_path, replace(QUICK, fractions=(0.5, 0.9)))
    events: list[MemberEvent] = []
    longer = build_library(net(), splits, tmp_path, replace(QUICK, fractions=(0.5, 0.8, 0.9)), on_member=events.append)
    assert [event.reused for event in events] == [True, True, False, False]
    assert longer.info(0.5).file == short.info(0.5).file
    assert longer.info(0.9).file != short.info(0.9).file
    assert_same(short, open_library(tmp_path, short.key))
    assert_same(longer, build_library(net(), splits, tmp_path / "whole", replace(QUICK, fractions=(0.5, 0.8, 0.9))))


def test_excluded_layers_stay_dense_and_blocks_are_structured(splits: DataSplits, tmp_path: Path):
    config = replace(QUICK, fractions=(0.5,), exclude=("0",), block=4)
    library = build_library(net(), splits, tmp_path, config)
    assert library.info(0.5).densities == {"0": 1.0, "4": 0.5}
    kept = library.member(0.5).state["4.weight"] != 0
    assert kept.view(10, 54, 4).sum(dim=2).eq(2).all()


def test_a_full_disk_names_the_file_and_keeps_what_is_there(splits: DataSplits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real: Callable[[int], None] = os.fsync
    calls = 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 4:  # a member and the index, twice
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot write .*p80.00-\w+.pt \(No space left on device\); what was .* is kept"):
        build_library(net(), splits, tmp_path, QUICK)
    names = sorted(path.name.partition("-")[0] for path in tmp_path.iterdir() if not path.name.endswith(".lock"))
    assert names == ["library.json", "p00.00", "p50.00"]
    assert open_library(tmp_path).fractions == (0.0, 0.5)


def test_what_is_not_a_library(tmp_path: Path):
    with pytest.raises(DataError, match=r"no library in .*; build one first"):
        open_library(tmp_path)
    (tmp_path / "library.json").write_text("{")
    with pytest.raises(DataError, match=r"is not a library's index"):
        open_library(tmp_path)
    (tmp_path / "library.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(DataError, match=r"written in format 99, this version reads format 2"):
        open_library(tmp_path)


def test_a_member_for_another_model(built: Library):
    wider = nn.Sequential(nn.Conv2d(1, 7, 3), nn.BatchNorm2d(7), nn.ReLU(), nn.Flatten(), nn.Linear(216, 10))
    with pytest.raises(DataError, match=r"p50.00-\w+.pt does not fit the model: .*size mismatch"):
        built.member(0.5).load_into(wider)


def test_fraction_steps_are_the_papers():
    steps = fraction_steps()
    assert (len(steps), steps[0], steps[1], steps[-1]) == (95, 0.01, 0.02, 0.95)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"fractions": (1.0,)}, "library.fractions: expected a fraction from 0 to below 1, found 1.0"),
        ({"mode": "fast"}, "library.mode: expected gradual or trajectory"),
        ({"fractions": (0.3,), "block": 4}, r"multiples of 1/4 \(the block\), found 0.3"),
        ({"steps": 0}, "steps: expected a whole number"),
        ({"pruner": "random"}, "library.pruner: expected magnitude or second-order, found 'random'"),
    ],
)
def test_settings_that_do_not_fit(options: dict, message: str):
    with pytest.raises(SpecError, match=message):
        LibraryConfig(**options)


def test_weights_that_are_not_numbers_are_refused_before_any_work(splits: DataSplits, tmp_path: Path):
    model = net()
    model[4].weight.data[0, 0] = torch.nan
    with pytest.raises(DataError, match=r"small: 4.weight holds 1 of 2160 values that are NaN or infinite"):
        build_library(model, splits, tmp_path, QUICK, name="small")
    assert not list(tmp_path.iterdir())


def test_a_complete_library_is_read_without_writing(splits: DataSplits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    built = build_library(net(), splits, tmp_path, QUICK)
    monkeypatch.setattr("hwloop.network.library.library.locked", never)
    monkeypatch.setattr("hwloop.network.library.build.locked", never)
    assert build_library(net(), splits, tmp_path, QUICK).infos == built.infos


BUILDER = """
import sys
from pathlib import Path
import torch
from tests.network.library.test_library import QUICK, net
from hwloop.network.library import build
from hwloop.network.data.load import load_data
from hwloop.network.training.trainer import train

torch.set_num_threads(1)
folder, marks, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])

def trained(*arguments, **more):
    with marks.open("a") as file:
        file.write("trained\\n")
    return train(*arguments, **more)

build.train = trained
config = build.replace(QUICK, training=build.replace(QUICK.training, seed=seed))
build.build_library(
    net(), load_data("digits", image_size=8, limit=300), folder, config,
    on_member=lambda event: print("member", event.info.p, event.reused, flush=True),
    on_wait=lambda who: print("waits for", who, flush=True),
)
"""


class Builder:
    """A process that builds the library; what it prints is read line by line."""

    def __init__(self, folder: Path, marks: Path, seed: int = 4) -> None:
        arguments = [sys.executable, "-c", BUILDER, str(folder), str(marks), str(seed)]
        root = Path(__file__).parents[3]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=root, env=environment)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def rest(self) -> list[str]:
        output = self.process.communicate(timeout=600)[0]
        assert self.process.returncode == 0
        return output.splitlines()

    def stop(self, number: int) -> None:
        self.process.send_signal(number)


@pytest.mark.skipif(os.name != "posix", reason="locks and kills of POSIX")
def test_of_two_builders_one_works_and_the_other_finishes_what_a_kill_leaves(splits: DataSplits, tmp_path: Path):
    first = Builder(tmp_path / "library", tmp_path / "marks")
    assert first.line() == "member 0.0 False"
    assert first.line() == "member 0.5 False"
    first.stop(signal.SIGSTOP)  # stands still in the middle, and holds the lock
    second = Builder(tmp_path / "library", tmp_path / "marks")
    lines = [second.line() for _ in range(3)]
    waits = [line for line in lines if line.startswith("waits")]
    assert waits in ([f"waits for process {first.process.pid} on {platform.node()}"], [])  # [] when the first had got further
    first.stop(signal.SIGKILL)
    lines += second.rest()
    assert [line for line in lines if line.startswith("member")][:2] == ["member 0.0 True", "member 0.5 True"]
    assert len([line for line in lines if line.startswith("member")]) == 4
    finished = open_library(tmp_path / "library")
    assert_same(finished, build_library(net(), splits, tmp_path / "whole", QUICK))
    assert not [path for path in (tmp_path / "library").glob("p*") if path.name not in {info.file for info in finished.infos}]
    first.process.communicate()


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")
def test_builders_at_once_make_each_member_once_and_lose_none(splits: DataSplits, tmp_path: Path):
    builders = [Builder(tmp_path / "library", tmp_path / "marks", seed) for seed in (4, 4, 5)]
    for builder in builders:
        assert len([line for line in builder.rest() if line.startswith("member")]) == 4
    assert (tmp_path / "marks").read_text().split() == ["trained"] * 6  # three members each of two libraries
    for seed in (4, 5):
        config = replace(QUICK, training=replace(QUICK.training, seed=seed))
        again = build_library(net(), splits, tmp_path / "library", config)
        assert_same(again, build_library(net(), splits, tmp_path / f"alone{seed}", config))


def test_without_labels_a_library_is_pruned_and_not_retrained(splits: DataSplits, tmp_path: Path):
    own = make_splits(splits.train.tensors()[0], evaluate=lambda model: float((model[4].weight != 0).float().mean()))
    with pytest.raises(DataError, match=r"training needs labels; without them ask for 0 epochs"):
        build_library(net(), own, tmp_path, QUICK)
    assert not list(tmp_path.iterdir())
    library = build_library(net(), own, tmp_path, replace(QUICK, training=TrainConfig(epochs=0)))
    assert [info.validation_accuracy for info in library.infos] == pytest.approx([1.0, 0.5, 0.2, 0.1])


def test_a_step_may_prune_by_second_order(splits: DataSplits, tmp_path: Path):
    trained = net()
    train(trained, splits, TrainConfig(epochs=3, averaging=0.0))
    unchanged = replace(QUICK, training=TrainConfig(epochs=0))
    plain = build_library(trained, splits, tmp_path, unchanged)
    better = build_library(trained, splits, tmp_path, replace(unchanged, pruner="second-order"))
    assert better.key != plain.key
    for info in better.infos:
        assert info.densities == {"0": round(54 * (1 - info.p)) / 54, "4": round(2160 * (1 - info.p)) / 2160}
    assert sum(info.validation_accuracy for info in better.infos) > sum(info.validation_accuracy for info in plain.infos)
    patterned = build_library(
        trained, splits, tmp_path, replace(unchanged, pruner="second-order", block=4, fractions=(0.5,), exclude=("0",))
    )
    assert patterned.infos[-1].densities == {"0": 1.0, "4": 0.5}


def test_what_was_pruned_stays_pruned_while_it_learns_from_the_trained_network(splits: DataSplits, tmp_path: Path):
    training = TrainConfig(epochs=1, learning_rate=0.01, averaging=0.0, distillation=0.9)
    library = build_library(net(), splits, tmp_path, LibraryConfig((0.5, 0.75), pruner="second-order", training=training))
    half, more = (library.member(p).state for p in (0.5, 0.75))
    for name in ("0.weight", "4.weight"):
        assert not bool((more[name] != 0)[half[name] == 0].any())
        assert bool((more[name] != half[name])[more[name] != 0].any())
    assert build_library(net(), splits, tmp_path, replace(QUICK, training=training)).key != library.key
