from __future__ import annotations

import csv
import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hwloop.errors import DataError, InfeasibleMappingError, SpecError
from hwloop.mapper import map_problem
from hwloop.memo import Memo
from hwloop.report.progress import Silent
from hwloop.run import compare_dataflows, compress, make_targets, map_layer, map_network
from hwloop.run.networks import open_subject
from hwloop.run.settings import Settings
from hwloop.spec.plan import make_plan
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.resources import open_mapping
from hwloop.spec.workload import Layer, Workload

SETTINGS = Settings(
    population=8, generations=3, weight_bits=(2, 8), fractions=(0.9,), epochs=2, library_epochs=1, mapper_effort="quick",
    validation_images=60,
)  # fmt: skip
FLOWS = ("row_stationary", "weight_stationary")


class Stop:
    """A progress display that presses Ctrl-C at the n-th evaluation of the search."""

    def __init__(self, at: int) -> None:
        self.left = at

    def say(self, text: str) -> None:
        pass

    @contextmanager
    def task(self, title: str, total: int):
        yield _StopTask(self, "evolve" in title)


class _StopTask:
    def __init__(self, stop: Stop, counts: bool) -> None:
        self.stop, self.counts = stop, counts

    def advance(self, note: str = "", steps: int = 1) -> None:
        if self.counts and steps:
            self.stop.left -= 1
            if self.stop.left == 0:
                raise KeyboardInterrupt


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with the library and memo table that the runs of this module share."""
    return tmp_path_factory.mktemp("run")


def run(place: Path, name: str, settings: Settings = SETTINGS, **arguments):
    return compress(
        "lenet5", "digits", "flexible", FLOWS, settings, library_dir=place / "library", run_dir=place / name,
        memo=place / "memo.sqlite", workers=1, **arguments,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(place: Path):
    return run(place, "whole")


def test_a_run_leaves_config_versions_evaluations_fronts_and_a_plot(whole, place: Path) -> None:
    folder = place / "whole"
    config = json.loads((folder / "config.json").read_text())
    assert (config["model"], config["settings"]["population"]) == ("lenet5", 8)
    assert set(json.loads((folder / "versions.json").read_text())) >= {"hwloop", "simulator", "torch"}
    assert (folder / "front.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((folder / "front.csv").open()))
    assert len(rows) == sum(len(front.members) for front in whole.fronts)
    for flow, front in zip(FLOWS, json.loads((folder / "front.json").read_text())["fronts"], strict=True):
        lines = (folder / f"evaluations-{flow}.jsonl").read_text().splitlines()
        assert front["target"] == flow
        assert 8 <= len(lines) == front["evaluated"]


def test_fronts_are_fronts_and_full_mapping_never_costs_more(whole) -> None:
    for front in whole.fronts:
        points = front.minimised(front.members)
        for i, point in enumerate(points):
            others = points[[j for j in range(len(points)) if j != i]]
            assert not ((others <= point).all(axis=1) & (others < point).any(axis=1)).any()
        for member in front.members:
            assert member.metrics["energy_pj"] <= member.searched["energy_pj"] * (1 + 1e-9)
            assert 0 <= member.test_accuracy <= 1
        assert front.reference.metrics["energy_pj"] > min(m.metrics["energy_pj"] for m in front.members)


def test_notes_say_what_a_dense_accelerator_cannot_use(whole) -> None:
    assert any(note.startswith("flexible has no sparse optimisations") for note in whole.notes)


def test_a_second_run_asks_the_mapper_for_nothing_and_ends_the_same(whole, place: Path) -> None:
    again = run(place, "again")
    assert again.memo.misses == 0
    assert again.memo.hits > 0
    assert again.fronts == whole.fronts


def test_a_run_that_was_stopped_resumes_to_the_same_front(whole, place: Path) -> None:
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        run(place, "stopped", progress=Stop(at=11))
    log = place / "stopped" / "evaluations-row_stationary.jsonl"
    assert 10 <= len(log.read_text().splitlines()) <= 12
    with pytest.raises(DataError, match="give --resume"):
        run(place, "stopped")
    resumed = run(place, "stopped", resume=True)
    assert resumed.fronts == whole.fronts
    for name in ("front.csv",):
        assert (place / "stopped" / name).read_text() == (place / "whole" / name).read_text()


def test_another_library_is_not_gone_on_with(whole, place: Path) -> None:
    identity = place / "again" / "identity.json"
    if not identity.exists():
        run(place, "again")
    data = json.loads(identity.read_text())
    identity.write_text(json.dumps(data | {"trained": "0" * 64}))
    with pytest.raises(DataError, match="what its evaluations stand on has changed"):
        run(place, "again", resume=True)


def test_a_budget_out_of_reach_names_the_nearest_and_keeps_the_evaluations(whole, place: Path) -> None:
    settings = replace(SETTINGS, budgets=("energy<=1pJ",))
    with pytest.raises(
        InfeasibleMappingError, match=r"none of \d+ candidates meets energy <= 1.00 pJ; the nearest reaches energy"
    ):
        run(place, "hopeless", settings)
    assert (place / "hopeless" / "evaluations-row_stationary.jsonl").stat().st_size > 0


def test_without_folders_nothing_is_written_but_the_library(whole, place: Path, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    result = compress(
        "lenet5",
        "digits",
        "flexible",
        "row_stationary",
        replace(SETTINGS, generations=1),
        library_dir=place / "library",
        workers=1,
    )
    assert result.files == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"population": 2}, "population: expected 4 or more"),
        ({"objectives": ("speed",)}, "objectives: expected among"),
        ({"weight_bits": (1, 8)}, "weight_bits: expected a rising range within 2-23"),
        ({"weight_bits": (8, 4)}, "weight_bits: expected a rising range"),
        ({"activation_bits": 99}, "activation_bits: expected within 1-23"),
        ({"budgets": ("accuracy>=97",)}, "an accuracy of at most 1 or 100%"),
        ({"coding": "zip"}, "coding: expected normal or csr or coo"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Settings(**change)


@pytest.mark.parametrize(
    ("objectives", "budgets", "wanted"),
    [
        (("accuracy", "energy"), (), "energy"),
        (("accuracy", "latency"), (), "cycles"),
        (("accuracy", "energy"), ("latency<=10",), "edp"),
        (("accuracy", "size"), (), "edp"),
    ],
)
def test_the_mapper_minimises_what_the_search_wants(objectives, budgets, wanted: str) -> None:
    assert Settings(objectives=objectives, budgets=budgets).mapping_objective == wanted


def test_targets_are_named_by_what_differs() -> None:
    assert [t.name for t in make_targets("flexible", FLOWS)] == list(FLOWS)
    assert [t.name for t in make_targets(["flexible", "eyeriss_168"])] == ["flexible", "eyeriss_168"]
    assert [t.name for t in make_targets(["flexible", "eyeriss_168"], "row_stationary")] == [
        "flexible row_stationary", "eyeriss_168 row_stationary",
    ]  # fmt: skip
    with pytest.raises(SpecError, match="targets that differ"):
        make_targets(["flexible", "flexible"])


def small_network() -> Workload:
    shape = conv2d_shape()
    sizes = ({"C": 1, "M": 4}, {"C": 4, "M": 8}, {"C": 4, "M": 8})
    problems = [make_problem(shape, {**size, "R": 3, "S": 3, "P": 8, "Q": 8}) for size in sizes]
    layers = [Layer(f"conv{i}", problem, "conv", "", f"conv{i}.weight") for i, problem in enumerate(problems)]
    return Workload("small", tuple(layers), tuple((f"conv{i}.weight", (8, 4, 3, 3)) for i in range(3)))


class Steps(Silent):
    """Keeps what is shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    @contextmanager
    def task(self, title: str, total: int):
        self.shown.append(f"{title}: {total}")
        yield self

    def advance(self, note: str = "", steps: int = 1) -> None:
        self.shown.append(note)


def test_map_network_shows_every_layer() -> None:
    progress = Steps()
    result = map_network(small_network(), "flexible", "row_stationary", effort="quick", workers=1, progress=progress)
    assert progress.shown[0] == "map small on flexible row_stationary: 3"
    assert sorted(progress.shown[1:]) == ["conv0", "conv1", "conv2"] == [layer.name for layer in result.layers]
    assert result.computes == small_network().computes


def test_map_layer_is_map_problem_on_a_target(tmp_path: Path) -> None:
    problem = small_network().layers[1].problem
    file = tmp_path / "some_layer.yaml"
    file.write_text(problem.to_yaml())
    subject = open_subject(file)
    assert (subject, subject.name) == (problem, "some_layer")
    with Memo(tmp_path / "memo.sqlite") as memo:
        given = {"densities": {"Weights": 0.5}, "bits": {"Weights": 8, "Inputs": 8}}
        found = map_layer(subject, "flexible_skipping", "row_stationary", effort="quick", memo=memo, **given)
        again = map_layer(subject, "flexible_skipping", "row_stationary", effort="quick", memo=memo, **given)
        assert again == found
        assert memo.statistics.hits == 1
    [target] = make_targets("flexible_skipping", "row_stationary")
    direct = map_problem(
        problem.with_densities({"Weights": 0.5}), target.arch, target.table(given["bits"]), target.constraints,
        bits=given["bits"], effort="quick",
    )  # fmt: skip
    assert (direct.mapping, direct.cost) == (found.mapping, found.cost)


def test_fewer_bits_cost_less_and_dataflows_differ() -> None:
    network = small_network()
    wide, narrow = (
        map_network(
            network, "flexible", "row_stationary", effort="quick", workers=1,
            plan=make_plan(network, weight_bits=bits, activation_bits=bits), objective="energy",
        )
        for bits in (16, 4)
    )  # fmt: skip
    assert narrow.energy_pj < wide.energy_pj
    row, weight = compare_dataflows(network, "flexible", FLOWS, effort="quick", workers=1)
    assert row.energy_pj != weight.energy_pj


def test_dataflows_that_fit_nothing_are_left_out_with_the_reason() -> None:
    flow = open_mapping("row_stationary")
    impossible = type(flow)(flow.loops, flow.data_spaces, min_utilization=1.0, name="full")
    with pytest.raises(InfeasibleMappingError, match="small layer conv0 on flexible under"):
        map_network(small_network(), "flexible", impossible, effort="quick", workers=1)
    found = compare_dataflows(small_network(), "flexible", [impossible, "row_stationary"], effort="quick", workers=1)
    assert [cost.target for cost in found] == ["row_stationary"]
    assert list(found.left_out) == ["full"]
    with pytest.raises(InfeasibleMappingError, match="small layer conv0 on flexible under flexible full"):
        compare_dataflows(small_network(), "flexible", [impossible], effort="quick", workers=1)
