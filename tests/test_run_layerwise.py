"""Runs over the layer-wise space: guided from single layers, stopped and resumed, on several objectives."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwloop.run import compress
from hwloop.run.settings import Settings
from hwloop.search.study import DIVERGENCES

from .test_run import Stop

SETTINGS = Settings(
    method_options={"population": 8, "generations": 3, "images": 20, "bases": 1}, space="layerwise",
    space_options={"amounts": "0.5,0.8,2:4"}, weight_bits=(3, 5), activation_bits=(4, 6), pruning=(0.5,), epochs=1,
    library_epochs=1, mapper_effort="quick", validation_images=60,
)  # fmt: skip


def run(place: Path, name: str, **changes):
    settings = Settings(**{**vars(SETTINGS), **changes.pop("settings", {})})
    return compress(
        "lenet5", "digits", "eyeriss_168_skipping", None, settings, library_dir=place / "library", run_dir=place / name,
        memo=place / "memo.sqlite", workers=1, **changes,
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with the library and memo table that the runs of this module share."""
    return tmp_path_factory.mktemp("layerwise")


@pytest.fixture(scope="module")
def whole(place: Path):
    return run(place, "whole")


@pytest.mark.parametrize("at", [3, 17])
def test_a_run_that_was_stopped_ends_with_the_same_front_bit_for_bit(place: Path, whole, at: int) -> None:
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        run(place, f"stopped-{at}", progress=Stop(at))
    folder = next((place / f"stopped-{at}").glob("method-*"))
    measured = (folder / DIVERGENCES).read_bytes()
    (folder / DIVERGENCES).write_bytes(measured[:-9])  # as a kill while writing would leave it
    again = run(place, f"stopped-{at}", resume=True)
    assert again.fronts == whole.fronts
    assert (folder / DIVERGENCES).read_bytes() == measured
    assert (place / f"stopped-{at}" / "front.csv").read_bytes() == (place / "whole" / "front.csv").read_bytes()


def test_layers_have_amounts_of_their_own_and_the_front_uses_them(whole) -> None:
    [front] = whole.fronts
    densities = [{member.plan.of(layer.name).weight_density for layer in whole.workload.layers} for member in front.members]
    assert any(len(each) > 1 for each in densities)
    assert front.images >= 60 * 24


def test_three_objectives_with_weights(place: Path) -> None:
    options = {"population": 8, "generations": 2, "images": 20, "bases": 1, "weights": (1.0, 2.0, 1.0)}
    objectives = ("accuracy", "energy", "size")
    found = run(place, "three", settings={"method": "nsga3", "method_options": options, "objectives": objectives})
    [front] = found.fronts
    assert front.objectives == ("accuracy", "energy_pj", "size_bits")
    assert front.preferred((1, 0.001, 0.001)).metrics["accuracy"] == max(m.metrics["accuracy"] for m in front.members)
    assert front.preferred((0.001, 1, 0.001)).metrics["energy_pj"] == min(m.metrics["energy_pj"] for m in front.members)


def test_the_knapsack_alone_makes_a_front(place: Path) -> None:
    found = run(place, "knapsack", settings={"method": "knapsack", "method_options": {"evaluations": 10, "images": 20}})
    [front] = found.fronts
    assert 1 < len(front.members) <= 10
    assert max(front.factor(member) for member in front.members) > 3
