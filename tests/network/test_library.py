import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from hwloop.errors import DataError, SpecError
from hwloop.network import library as library_module
from hwloop.network.build import LibraryConfig, MemberEvent, build_library, fraction_steps
from hwloop.network.data import DataSplits, load_data
from hwloop.network.finetune import TrainConfig
from hwloop.network.library import Library, open_library, weights_digest, write_file
from hwloop.network.prune import densities
from hwloop.network.registry import register
from hwloop.network.scoring import accuracy

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
    assert weights_digest(model) == weights_digest(net()) == built.start_sha256


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
    monkeypatch.setattr("hwloop.network.build.train", never)
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
    written: list[str] = []

    def write_then_die(path: Path, content: bytes) -> None:
        if len(written) == 5:  # index, member 0, index, member 0.5, index | member 0.8
            write_file(path, content)
            raise KeyboardInterrupt("killed")
        written.append(path.name)
        write_file(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(library_module, "write_file", write_then_die)
        with pytest.raises(KeyboardInterrupt, match="killed"):
            build_library(net(), splits, tmp_path, QUICK)
    assert (tmp_path / "p80.00.pt").exists()
    assert open_library(tmp_path).fractions == (0.0, 0.5)
    assert build_library(net(), splits, tmp_path, QUICK).fractions == (0.0, 0.5, 0.8, 0.9)
    assert not list(tmp_path.glob(".*"))


def test_a_damaged_member_is_refused_when_read_and_made_anew_when_built(splits: DataSplits, tmp_path: Path):
    built = build_library(net(), splits, tmp_path, QUICK)
    digest = built.info(0.8).sha256
    (tmp_path / "p80.00.pt").write_bytes(b"garbage")
    with pytest.raises(DataError, match=r"p80.00.pt is damaged .*; build the library again"):
        open_library(tmp_path).member(0.8)
    (tmp_path / "p90.00.pt").unlink()
    with pytest.raises(DataError, match=r"p90.00.pt cannot be read"):
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


def test_another_model_or_recipe_does_not_overwrite(built: Library, splits: DataSplits):
    other = net()
    other[0].weight.data += 1
    with pytest.raises(DataError, match=r"library of small that was made another way \(different: trained weights\)"):
        build_library(other, splits, built.folder, QUICK)
    with pytest.raises(DataError, match=r"\(different: steps, schedule, mode\)|\(different: schedule, steps, mode\)"):
        build_library(net(), splits, built.folder, replace(QUICK, mode="gradual"))
    with pytest.raises(DataError, match=r"\(different: training\)"):
        build_library(net(), splits, built.folder, replace(QUICK, training=TrainConfig(epochs=2)))


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
        if calls > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot write .*p80.00.pt \(No space left on device\); what was computed .* is kept"):
        build_library(net(), splits, tmp_path, QUICK)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["library.json", "p00.00.pt", "p50.00.pt"]
    assert open_library(tmp_path).fractions == (0.0, 0.5)


def test_what_is_not_a_library(tmp_path: Path):
    with pytest.raises(DataError, match=r"no library in .*; build one first"):
        open_library(tmp_path)
    (tmp_path / "library.json").write_text("{")
    with pytest.raises(DataError, match=r"is not a library's index"):
        open_library(tmp_path)
    (tmp_path / "library.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(DataError, match=r"written in format 99, this version reads format 1"):
        open_library(tmp_path)


def test_a_member_for_another_model(built: Library):
    wider = nn.Sequential(nn.Conv2d(1, 7, 3), nn.BatchNorm2d(7), nn.ReLU(), nn.Flatten(), nn.Linear(216, 10))
    with pytest.raises(DataError, match=r"p50.00.pt does not fit the model: .*size mismatch"):
        built.member(0.5).load_into(wider)


def test_fraction_steps_are_the_papers():
    steps = fraction_steps()
    assert (len(steps), steps[0], steps[1], steps[-1]) == (95, 0.01, 0.02, 0.95)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"fractions": (1.0,)}, "library.fractions: expected numbers from 0 to below 1, found 1.0"),
        ({"mode": "fast"}, "library.mode: expected gradual or trajectory"),
        ({"fractions": (0.3,), "block": 4}, r"multiples of 1/4 \(the block\), found 0.3"),
        ({"steps": 0}, "steps: expected a whole number"),
    ],
)
def test_settings_that_do_not_fit(options: dict, message: str):
    with pytest.raises(SpecError, match=message):
        LibraryConfig(**options)
