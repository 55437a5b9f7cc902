from __future__ import annotations

import csv
import json
import shutil
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hwloop.errors import DataError, InfeasibleMappingError, SpecError
from hwloop.mapper import map_problem
from hwloop.memo import Memo
from hwloop.report.progress import Silent
from hwloop.run import compare, compress, make_targets, map_layer, map_network
from hwloop.run.networks import open_subject
from hwloop.run.settings import Settings
from hwloop.spec.document import to_yaml
from hwloop.spec.energy_table import load_energy_table
from hwloop.spec.plan import make_plan
from hwloop.spec.plan_row import read_plan_row
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.resources import open_mapping
from hwloop.spec.workload import Layer, Workload

SETTINGS = Settings(
    method_options={"population": 8, "generations": 3}, weight_bits=(2, 8), pruning=(0.9,), epochs=2, library_epochs=1,
    mapper_effort="quick", validation_images=60, compression="magnitude",
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
        yield _StopTask(self, "search with" in title)


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
    assert (config["model"], config["settings"]["method_options"]["population"]) == ("lenet5", 8)
    assert set(json.loads((folder / "versions.json").read_text())) >= {"hwloop", "backend", "torch"}
    assert (folder / "front.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((folder / "front.csv").open()))
    assert [read_plan_row(row) for row in rows] == [member.plan for front in whole.fronts for member in front.members]
    for flow, front in zip(FLOWS, json.loads((folder / "front.json").read_text())["fronts"], strict=True):
        lines = (folder / f"evaluations-{flow}.jsonl").read_text().splitlines()
        assert front["target"] == flow
        assert 8 <= len(lines) == front["evaluated"]
        assert {layer[0] for layer in json.loads(lines[0])["layers"]} == {layer.name for layer in whole.workload.layers}


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


@pytest.fixture
def done(whole, place: Path, tmp_path: Path) -> Path:
    """A finished run that a test may spoil."""
    return Path(shutil.copytree(place / "whole", tmp_path / "done"))


def resume(place: Path, folder: Path, settings: Settings = SETTINGS, model: Any = "lenet5", **arguments: Any):
    return compress(
        model, "digits", "flexible", FLOWS, settings, library_dir=place / "library", run_dir=folder, memo=place / "memo.sqlite",
        workers=1, resume=True, **arguments,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data | {"trained": "0" * 64}, r"something that has changed \(trained: "),
        (lambda data: data | {"data": "0" * 64}, r"something that has changed \(data: "),
        (lambda data: data | {"library": {"0.0": "0" * 64}}, r"something that has changed \(library\.0\.0: "),
        (lambda data: data | {"backend": "embedded 0"}, r"something that has changed \(backend: \"embedded 0\" then"),
        (lambda data: data | {"space": {"name": "other"}}, r"something that has changed \(space\.name: "),
    ],
)
def test_what_evaluations_stand_on_must_be_the_same(done: Path, place: Path, change, message: str) -> None:
    identity = done / "identity.json"
    identity.write_text(json.dumps(change(json.loads(identity.read_text()))))
    with pytest.raises(DataError, match=message):
        resume(place, done)


def test_a_table_ten_times_as_dear_is_not_gone_on_with(whole, place: Path, tmp_path: Path) -> None:
    dear = tmp_path / "table.yaml"
    table = load_energy_table(make_targets("flexible")[0].table({})).to_dict()
    settings = replace(SETTINGS, energy=str(dear), method_options={"population": 4, "generations": 1})
    dear.write_text(to_yaml(table))
    resume(place, tmp_path / "run", settings)
    resume(place, tmp_path / "run", settings)
    dear.write_text(to_yaml(ten_times(table)))
    with pytest.raises(
        DataError, match=r"something that has changed \(targets\.row_stationary\.energy_tables\..*; start a new run"
    ):
        resume(place, tmp_path / "run", settings)


def ten_times(table: Any) -> Any:
    """Every energy of a table, ten times."""
    if isinstance(table, dict):
        return {key: 10 * value if key == "energy" else ten_times(value) for key, value in table.items()}
    return [ten_times(entry) for entry in table] if isinstance(table, list) else table


MODEL = """
import torch
from torch import nn


class Small(nn.Module):
    def __init__(self, in_channels, image_size, classes):
        super().__init__()
        self.first, self.last = nn.Linear(in_channels * image_size**2, 16), nn.Linear(16, classes)

    def forward(self, images):
        return self.last(torch.relu(self.first(images.flatten(1))))
"""


def test_a_model_whose_code_changed_is_trained_and_evaluated_anew(place: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = replace(SETTINGS, method_options={"population": 4, "generations": 1})
    Path("hw_changing_model.py").write_text(MODEL)
    first = resume(place, tmp_path / "run", settings, "hw_changing_model:Small")
    assert first.trained == "trained now"
    assert resume(place, tmp_path / "run", settings, "hw_changing_model:Small").fronts == first.fronts
    Path("hw_changing_model.py").write_text(MODEL.replace("relu", "tanh") + "# a line more, so that Python reads it again\n")
    del sys.modules["hw_changing_model"]
    with pytest.raises(DataError, match=r"something that has changed \(trained: .*library"):
        resume(place, tmp_path / "run", settings, "hw_changing_model:Small")
    del sys.modules["hw_changing_model"]


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
        replace(SETTINGS, method_options={"population": 8, "generations": 1}),
        library_dir=place / "library",
        workers=1,
    )
    assert result.files == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objectives": ("speed",)}, "objectives: expected among"),
        ({"weight_bits": (1, 8)}, "weight_bits: expected a whole number from 2 to 23, found 1"),
        ({"weight_bits": (8, 4)}, "weight_bits: expected the least bits first"),
        ({"activation_bits": 99}, "activation_bits: expected a whole number from 2 to 23"),
        ({"reference_bits": 65}, "reference_bits: expected a whole number from 1 to 64"),
        ({"budgets": ("accuracy>=97",)}, "an accuracy of at most 1 or 100%"),
        ({"budgets": ("energy<=20",)}, "a unit of energy"),
        ({"coding": "zip"}, "coding: expected normal or csr or coo"),
        ({"mapper_effort": "great"}, "mapper_effort: expected quick or normal or thorough"),
        ({"mapper_objective": "speed"}, "mapper_objective: expected edp or energy or cycles"),
        ({"granularity": "layer"}, "granularity: expected channel or tensor"),
        ({"library_mode": "fast"}, "library_mode: expected trajectory or gradual"),
        ({"simulator": "spice"}, "simulator: expected embedded or"),
        ({"seed": -1}, "seed: expected a whole number of 0 or more, found -1"),
        ({"batch_size": 0}, "batch_size: expected a whole number of 1 or more"),
        ({"validation_images": 0}, "validation_images: expected a whole number of 1 or more"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a number above 0"),
        ({"pruning": (1.0,)}, "pruning: expected a fraction from 0 to below 1"),
        ({"pruning": ()}, "pruning: expected at least one"),
        ({"evaluations": 0}, "evaluations: expected 1 or more"),
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
    row, weight = compare(network, "flexible", FLOWS, effort="quick", workers=1)
    assert row.cost.energy_pj != weight.cost.energy_pj


def test_dataflows_that_fit_nothing_are_left_out_with_the_reason() -> None:
    flow = open_mapping("row_stationary")
    impossible = type(flow)(flow.loops, flow.data_spaces, min_utilization=1.0, name="full")
    with pytest.raises(InfeasibleMappingError, match="small layer conv0 on flexible under"):
        map_network(small_network(), "flexible", impossible, effort="quick", workers=1)
    found = compare(small_network(), "flexible", [impossible, "row_stationary"], effort="quick", workers=1)
    assert [case.dataflow for case in found] == ["row_stationary"]
    assert list(found.left_out) == ["small on flexible, full"]
    with pytest.raises(InfeasibleMappingError, match="small layer conv0 on flexible under full"):
        compare(small_network(), "flexible", [impossible], effort="quick", workers=1)


class Own(nn.Module):
    """A network of a user's own: a convolution, weights that a function reads, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.weight, self.last = nn.Conv2d(1, 4, 3), nn.Parameter(torch.randn(16, 144) / 12), nn.Linear(16, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = torch.relu(self.conv(images)).flatten(1)
        return self.last(torch.relu(nn.functional.linear(features, self.weight)))


def own_data() -> tuple[Any, Any, Any]:
    """Images whose class is where they are bright, in three parts."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 10
    images = torch.rand(300, 1, 8, 8, generator=generator)
    images[torch.arange(300), 0, labels // 5, labels % 5] += 3
    cut = (slice(0, 200), slice(200, 250), slice(250, 300))
    train, validation, test = ((images[part], labels[part]) for part in cut)
    return train, validation, test


SMALL = replace(SETTINGS, method_options={"population": 6, "generations": 2}, library_epochs=2)


def test_a_network_and_data_of_ones_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    own = Own()
    before = {name: value.clone() for name, value in own.state_dict().items()}
    arguments: dict[str, Any] = {"library_dir": tmp_path / "library", "run_dir": tmp_path / "run", "workers": 1}
    result = compress(own, own_data(), "flexible", "row_stationary", SMALL, **arguments)
    [front] = result.fronts
    assert [layer.name for layer in result.workload.layers] == ["conv", "linear", "last"]
    assert set(front.members[0].weight_bits) == {"conv", "linear", "last"}, "every weight is in the plan"
    assert result.trained == "weights as given"
    assert all(member.test_accuracy is not None for member in front.members)
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items()), "the caller's network is left alone"
    assert compress(own, own_data(), "flexible", "row_stationary", SMALL, resume=True, **arguments).fronts == result.fronts
    with torch.no_grad():
        own.last.bias.add_(1)
    with pytest.raises(DataError, match=r"something that has changed \(trained: "):
        compress(own, own_data(), "flexible", "row_stationary", SMALL, resume=True, **arguments)


def test_a_function_scores_in_place_of_labels(tmp_path: Path) -> None:
    train, validation, _ = own_data()
    seen: list[float] = []

    def score(model: Any) -> float:
        images, labels = validation
        seen.append(float((model(images).argmax(1) == labels).float().mean()))
        return seen[-1]

    torch.manual_seed(0)
    result = compress(
        Own(), train, "flexible", "row_stationary", SMALL, evaluate=score, library_dir=tmp_path / "library", workers=1
    )
    [front] = result.fronts
    assert front.reference.metrics["accuracy"] in seen
    assert front.reference.test_accuracy is None
    assert any("your function's" in note and "no test set" in note for note in result.notes)


def test_what_is_no_model_and_no_place_for_a_library_are_named() -> None:
    with pytest.raises(DataError, match="model: expected a name or a torch module, found int"):
        compress(3, own_data(), library_dir="nowhere")
    with pytest.raises(SpecError, match="library_dir: expected a folder for the pruned models"):
        compress("lenet5", "digits")


def test_four_workers_find_the_front_that_one_finds(whole, place: Path) -> None:
    result = compress("lenet5", "digits", "flexible", FLOWS[0], SETTINGS, library_dir=place / "library", workers=4)
    assert result.fronts[0].members == whole.fronts[0].members


def test_a_budget_of_evaluations_and_of_images_stops_the_search(whole, place: Path) -> None:
    unguided = {**SETTINGS.method_options, "seeds": 0.0, "proposals": 0.0, "drawn": 1}  # guides run images of their own
    for change, most in (({"evaluations": 5}, 5), ({"images": 7 * 60}, 7)):
        settings = replace(SETTINGS, method_options=unguided, **change)
        result = compress("lenet5", "digits", "flexible", FLOWS[0], settings, library_dir=place / "library", workers=1)
        assert len(result.fronts[0].cloud) == most
        assert result.fronts[0].images == 60 * most
