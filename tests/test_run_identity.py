"""One change at a time of all that enters a run: resumed with it, it refuses, or its evaluations do not depend on it."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from hwloop.errors import DataError, SpecError
from hwloop.report.progress import Silent
from hwloop.run import compress, make_targets
from hwloop.run.finetuning import Finetuning
from hwloop.run.identity import target_identity
from hwloop.run.settings import Settings
from hwloop.spec.constraints import Constraints
from hwloop.spec.energy_table import load_energy_table
from hwloop.spec.plan import Plan
from hwloop.spec.resources import open_architecture, open_mapping
from hwloop.spec.workload import Layer, Workload

from .changes import changes

SETTINGS = Settings(
    method_options={"population": 4, "generations": 1},
    weight_bits=(2, 8),
    pruning=(0.5,),
    one_shot=(0.7,),
    library_epochs=1,
    mapper_effort="quick",
)
OTHER: dict[str, Any] = {
    "objectives": ("accuracy", "size"), "budgets": ("energy<=1000uJ",), "method": "random", "method_options": {"population": 5},
    "space": "mine", "space_options": {"x": 1}, "evaluations": 9, "images": 10**6, "weight_bits": (2, 7),
    "activation_bits": 7, "reference_bits": 15, "coding": "csr", "pruning": (0.6,), "library_mode": "gradual",
    "library_epochs": 2, "distillation": 0.5, "compression": "magnitude", "one_shot": (0.6,),
    "calibration_images": 30, "bias_correction": True,
    "batchnorm": "plain", "batchnorm_images": 20, "validation": "test:10", "published_accuracy": 0.9,
    "library_learning_rate": 0.03, "epochs": 11, "batch_size": 63, "learning_rate": 0.06, "train_images": 50,
    "validation_images": 10, "granularity": "tensor", "mapper_objective": "cycles", "mapper_effort": "normal",
    "energy": "table", "activations": "resident", "simulator": "timeloop", "seed": 1,
}  # fmt: skip


class Net(nn.Module):
    """Two layers, drawn alike each time."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.last = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.conv(images)).flatten(1))


class Other(Net):
    """Computes something else with the same weights."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.conv(images)).flatten(1))


def data() -> list[list[torch.Tensor]]:
    """Training, validation and test: images and labels of each."""
    generator = torch.Generator().manual_seed(0)
    return [[torch.rand(n, 1, 8, 8, generator=generator), torch.arange(n) % 10] for n in (60, 20, 20)]


def parts(given: list[list[torch.Tensor]]) -> tuple[Any, ...]:
    return tuple((images, labels) for images, labels in given)


def altered(part: int, what: int) -> tuple[Any, ...]:
    """The data with the first pixel or label of a part another."""
    given = data()
    given[part][what].view(-1)[0] += 1
    return parts(given)


def arguments(place: Path) -> dict[str, Any]:
    return {
        "model": Net(), "data": parts(data()), "arch": "flexible", "dataflows": "row_stationary", "settings": SETTINGS,
        "library_dir": place / "library", "run_dir": place / "run", "workers": 1,
    }  # fmt: skip


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A finished run and where it is."""
    place = tmp_path_factory.mktemp("first")
    return place, compress(**arguments(place))


@pytest.fixture
def place(first: tuple[Path, Any], tmp_path: Path) -> Path:
    """A copy of the finished run, to be spoilt."""
    return Path(shutil.copytree(first[0], tmp_path / "copy"))


def test_the_lists_below_are_whole() -> None:
    assert set(OTHER) == {field.name for field in fields(Settings)}
    known = {
        "model",
        "data",
        "arch",
        "dataflows",
        "settings",
        *CONFIGURED,
        *UNTOUCHED,
        "evaluate",
        "weights",
        "resume",
        "run_dir",
    }
    assert known == set(inspect.signature(compress).parameters)


@pytest.mark.parametrize("name", sorted(OTHER))
def test_no_setting_may_change(place: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwloop.run.settings.check_space", lambda name, options: dict(options))  # there is one space yet
    if name == "simulator":
        monkeypatch.setattr("hwloop.run.compression.find_backend", lambda name, workers: SimpleNamespace(identity="other"))
    more = {"method_options": {}} if name == "method" else {}
    with pytest.raises(DataError, match=rf"the run there has other settings \(.*settings\.{name}[.:]"):
        compress(**{**arguments(place), "settings": replace(SETTINGS, **{name: OTHER[name]}, **more)}, resume=True)


CONFIGURED = {"data_root": "elsewhere", "normalisation": "imagenet", "image_size": 9}


@pytest.mark.parametrize("name", sorted(CONFIGURED))
def test_no_argument_of_the_data_may_change(place: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"the run there has other settings \({name}: "):
        compress(**arguments(place), **{name: CONFIGURED[name]}, resume=True)


def weights(change: Callable[[Net], object]) -> Net:
    net = Net()
    with torch.no_grad():
        change(net)
    return net


INPUTS: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "a weight": (lambda: {"model": weights(lambda net: net.conv.weight.view(-1)[0].add_(1e-3))}, "trained: "),
    "a bias": (lambda: {"model": weights(lambda net: net.last.bias[3].add_(1e-3))}, "trained: "),
    "the code": (lambda: {"model": type("Net", (Other,), {})()}, r".*model\."),
    "a training image": (lambda: {"data": altered(0, 0)}, "data: "),
    "a training label": (lambda: {"data": altered(0, 1)}, "data: "),
    "a validation image": (lambda: {"data": altered(1, 0)}, "data: "),
    "a validation label": (lambda: {"data": altered(1, 1)}, "data: "),
    "the accelerator": (lambda: {"arch": changed_arch()}, "targets.flexible row_stationary.accelerator"),
    "the dataflow": (lambda: {"dataflows": changed_flow()}, "targets.flexible row_stationary.dataflow"),
}


def changed_arch() -> Any:
    arch = open_architecture("flexible")
    storage = replace(arch.levels[0], attributes=(*arch.levels[0].attributes, ("read_bandwidth", 3.0)))
    return replace(arch, levels=(storage, *arch.levels[1:]))


def changed_flow() -> Constraints:
    flow = open_mapping("row_stationary")
    assert isinstance(flow, Constraints)
    return replace(flow, loops=flow.loops[:-1])


@pytest.mark.parametrize("what", sorted(INPUTS))
def test_nothing_that_evaluations_stand_on_may_change(place: Path, what: str) -> None:
    change, message = INPUTS[what]
    with pytest.raises(DataError, match=rf"something that has changed \({message}"):
        compress(**{**arguments(place), **change()}, resume=True)


def test_a_checkpoint_is_part_of_it(place: Path, tmp_path: Path) -> None:
    torch.save(Net().state_dict(), tmp_path / "w.pt")
    with pytest.raises(DataError, match=r"other settings \(weights: nothing then|other settings \(weights: null then"):
        compress(**arguments(place), weights=tmp_path / "w.pt", resume=True)


@pytest.mark.parametrize(("name", "value"), [("hwloop.__version__", "9"), ("torch.__version__", "0.1")])
def test_other_software_is_refused(place: Path, name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name, value)
    with pytest.raises(DataError, match=rf"something that has changed \((library.*)?software\.{name.split('.')[0]}: "):
        compress(**arguments(place), resume=True)


def test_the_number_of_torchs_threads_is_part_of_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    try:
        with pytest.raises(DataError, match=r"something that has changed \(software\.torch_threads: 1 then, 2 now\)"):
            compress(**arguments(place), resume=True)
    finally:
        torch.set_num_threads(before)


UNTOUCHED: dict[str, Callable[[Path], Any]] = {
    "workers": lambda place: 4, "memo": lambda place: place / "memo.sqlite", "progress": lambda place: Silent(),
    "library_dir": lambda place: place / "another library", "bank_dir": lambda place: place / "another bank",
    "bank_bytes": lambda place: 1, "fill": lambda place: True, "finetune": lambda place: Finetuning(1),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(UNTOUCHED))
def test_evaluations_do_not_depend_on_how_they_are_made(first: tuple[Path, Any], tmp_path: Path, place: Path, name: str) -> None:
    """Changed from the beginning, and on resuming."""
    [log] = (first[0] / "run").glob("evaluations-*.jsonl")
    anew = {**arguments(tmp_path), "library_dir": first[0] / "library", name: UNTOUCHED[name](tmp_path)}
    assert compress(**anew).fronts == first[1].fronts
    assert (tmp_path / "run" / log.name).read_bytes() == log.read_bytes()
    again = {**arguments(place), name: UNTOUCHED[name](place)}
    assert compress(**again, resume=True).fronts == first[1].fronts
    assert (place / "run" / log.name).read_bytes() == log.read_bytes()


@pytest.mark.parametrize("arch", ["flexible_skipping", "tpu_like_compressed"])
def test_every_field_of_a_target_is_in_the_identity(arch: str) -> None:
    [target] = make_targets(arch, "row_stationary" if arch.startswith("flexible") else None)
    problem = make_workload()
    base = target_identity(target, problem, [Plan()])
    tried = 0
    for name in ("arch", *(["constraints"] if target.constraints else [])):
        for where, new, counts in changes(getattr(target, name)):
            try:
                found = target_identity(replace(target, **{name: new}), problem, [Plan()])
            except SpecError:
                continue  # nobody could ask for that
            assert (found != base) == counts, f"{name}{where}"
            tried += counts
    table = target.table({})
    for where, new, counts in changes(table):
        found = target_identity(replace(target, energies=lambda bits, new=new: load_energy_table(new)), problem, [Plan()])
        assert (found != base) == counts, f"table{where}"
        tried += counts
    assert tried > 300


def make_workload() -> Workload:
    from hwloop.spec.problem import conv2d_shape, make_problem

    problem = make_problem(conv2d_shape(), {"C": 8, "M": 8, "R": 3, "S": 3, "P": 4, "Q": 4})
    return Workload("net", (Layer("a", problem, "conv", "", "a.weight"),), (("a.weight", (8, 8, 3, 3)),))


def test_targets_whose_evaluations_would_be_kept_in_one_file_are_refused() -> None:
    flow = open_mapping("row_stationary")
    with pytest.raises(SpecError, match="targets that differ"):
        make_targets("flexible", [replace(flow, name="a b"), replace(flow, name="a-b")])


_SCRIPT = """
import sys
from pathlib import Path
from tests.test_run_identity import arguments
from hwloop.run import compress
place = Path(sys.argv[1])
more = {"workers": int(sys.argv[2]), "memo": place / "memo.sqlite"}
compress(**{**arguments(place), **more})
"""


def test_the_same_front_for_any_number_of_workers_and_any_order_of_hashes(tmp_path: Path) -> None:
    seen = []
    for hashes, workers in (("0", "1"), ("4242", "4")):
        place = tmp_path / hashes
        environment = {**os.environ, "PYTHONHASHSEED": hashes, "PYTHONPATH": str(Path(__file__).parents[1])}
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, str(place), workers], env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        files = [*(place / "run").glob("evaluations-*.jsonl"), place / "run" / "front.csv", place / "run" / "identity.json"]
        seen.append({file.name: file.read_bytes() for file in files})
    assert len(seen[0]) == 3
    assert seen[0] == seen[1]
