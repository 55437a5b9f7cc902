from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import hwloop
from hwloop.cli.main import main
from hwloop.errors import DataError, SpecError
from hwloop.network.data.load import load_data
from hwloop.network.scoring import accuracy
from hwloop.report.result import read_front
from hwloop.run.export import export_member
from hwloop.run.opened import open_run

TARGET = "xfx"


def front(run: Path, target: str = TARGET) -> Any:
    return next(read_front(f) for f in json.loads((run / "front.json").read_text())["fronts"] if f["target"] == target)


@pytest.fixture(scope="module")
def folder(small_run: Path, tmp_path_factory) -> Path:
    """An export of the first member."""
    out: Path = tmp_path_factory.mktemp("export") / "lenet5"
    export_member(small_run, 1, out, target=TARGET)
    return out


def test_what_is_loaded_back_scores_the_run_s_test_accuracy_to_the_image(small_run: Path, folder: Path) -> None:
    splits = load_data("digits", seed=0)
    assert accuracy(hwloop.load_export(folder), splits.test) == front(small_run).members[0].test_accuracy


def test_the_card_counts_the_images_that_differ(small_run: Path, folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    own, torch_module, onnx = card["agreement"]
    recorded = front(small_run).members[0].test_accuracy
    assert own["right"] / own["images"] == recorded
    assert torch_module["differing"] == 0
    assert torch_module["right"] == own["right"]
    assert abs(onnx["right"] - own["right"]) <= onnx["differing"] <= 0.001 * own["images"] + 1
    assert abs(onnx["accuracy"] - recorded) <= 0.001
    assert card["plan"] == front(small_run).members[0].plan.to_dict()
    text = (folder / "CARD.md").read_text()
    assert "| ONNX, in onnxruntime |" in text
    assert f"{100 * recorded:.2f}%" in text


def test_timeloop_inputs_are_of_every_layer_with_the_run_s_energies(small_run: Path, folder: Path) -> None:
    index = json.loads((folder / "timeloop" / "index.json").read_text())
    saved = open_run(small_run).layers[TARGET].members[0]
    assert [row["layer"] for row in index["layers"]] == [layer.name for layer in saved.layers]
    for row, layer in zip(index["layers"], saved.layers, strict=True):
        assert row["energy_pj"] == layer.energy_pj
        for run in row["runs"]:
            files = sorted(p.name for p in (folder / "timeloop" / run["folder"]).iterdir())
            assert files == ["ART.yaml", "ERT.yaml", "architecture.yaml", "mapping.yaml", "problem.yaml"]
            # rows of split levels are whole, so that odd widths cost a little less or more than their words do
            assert run["energy_pj"] == pytest.approx(layer.energy_pj, rel=0.02)
            assert run["cycles"] == layer.cycles


@pytest.mark.timeloop
def test_the_real_program_says_what_the_index_says(folder: Path, tmp_path: Path) -> None:
    from hwloop.programs import find_program, run_program

    program = find_program("timeloop-model")
    assert program is not None
    index = json.loads((folder / "timeloop" / "index.json").read_text())
    for number, run in enumerate(run for row in index["layers"] for run in row["runs"]):
        place = tmp_path / str(number)
        place.mkdir()
        files = sorted(str(p.resolve()) for p in (folder / "timeloop" / run["folder"]).glob("*.yaml"))
        run_program((program, *files), place, 60.0)
        stats = (place / "timeloop-model.stats.txt").read_text()
        assert f"Cycles: {run['cycles']}\n" in stats
        total = float(stats.split("Energy: ")[1].split(" uJ")[0])
        assert total == pytest.approx(run["energy_pj"] / 1e6, abs=0.0051)


def test_members_by_name_and_number(small_run: Path, tmp_path: Path) -> None:
    found = front(small_run)
    by_name = export_member(small_run, "knee", tmp_path / "a", target=TARGET, onnx=False)
    assert found.members[by_name.number - 1] is found.members[by_name.number - 1]
    assert found.knee() == found.members[by_name.number - 1]
    with pytest.raises(SpecError, match=f"a number from 1 to {len(found.members)}"):
        export_member(small_run, len(found.members) + 1, tmp_path / "b", target=TARGET)
    with pytest.raises(SpecError, match="a number or one of best, knee, by-test"):
        export_member(small_run, "finest", tmp_path / "b", target=TARGET)
    with pytest.raises(SpecError, match="one of the run's targets: xy, xfx"):
        export_member(small_run, 1, tmp_path / "b")
    with pytest.raises(SpecError, match="one of the run's targets: xy, xfx"):
        export_member(small_run, 1, tmp_path / "b", target="cico")
    assert not (tmp_path / "b").exists()


@pytest.fixture
def run(small_run: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(small_run, tmp_path / "run"))


def changed(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_what_cannot_be_made_again_is_refused(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    document = json.loads((run / "front.json").read_text())
    document["fronts"][1]["members"][0]["test_accuracy"] -= 0.25
    (run / "front.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="its data, library or bank have changed since"):
        export_member(run, 1, out, target=TARGET, onnx=False)
    document["fronts"][1]["members"][0]["how"] = "trained 3 epochs"
    (run / "front.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="its weights were made by the search"):
        export_member(run, 1, out, target=TARGET)
    changed(run / "identity.json", trained="another")
    with pytest.raises(DataError, match="the run compressed another network than"):
        export_member(run, 2, out, target=TARGET)
    config = json.loads((run / "config.json").read_text())
    changed(run / "config.json", settings={k: v for k, v in config["settings"].items() if k != "coding"})
    with pytest.raises(DataError, match=r"its settings are of another version of hwloop \(coding\)"):
        export_member(run, 2, out, target=TARGET)
    changed(run / "config.json", settings=config["settings"], data="own data")
    with pytest.raises(DataError, match="data of your own; give them"):
        export_member(run, 2, out, target=TARGET)
    shutil.rmtree(run / "library")
    changed(run / "config.json", data="digits")
    with pytest.raises(DataError, match=r"the library of pruned models is not there; say where it is \(--library\)"):
        export_member(run, 2, out, target=TARGET)
    (run / "layers-xfx.json").unlink()
    with pytest.raises(DataError, match=r"layers-xfx\.json is not there"):
        export_member(run, 2, out, target=TARGET)
    (run / "front.json").unlink()
    with pytest.raises(DataError, match="not finished"):
        export_member(run, 2, out, target=TARGET)


def test_a_run_may_be_moved_with_its_library(run: Path, tmp_path: Path, capsys) -> None:
    moved = tmp_path / "elsewhere" / "run"
    moved.parent.mkdir()
    run.rename(moved)
    arguments = ["--target", TARGET, "--member", "1", "--out", str(tmp_path / "out"), "--no-onnx", "--quiet"]
    assert main(["export", str(moved), *arguments]) == 0
    out = capsys.readouterr().out
    assert "torch module, loaded back: top-1" in out
    assert "0 of another class" in out
    assert not (tmp_path / "out" / "network.onnx").exists()
    state = torch.load(tmp_path / "out" / "state_dict.pt", weights_only=True)
    assert "conv1.weight" in state


def test_usage_errors_are_told_from_failures(small_run: Path, tmp_path: Path, capsys) -> None:
    assert main(["export", str(small_run), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "one of the run's targets: xy, xfx" in capsys.readouterr().err
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "out"), "--quiet"]) == 1
    assert "there is no config.json in it" in capsys.readouterr().err
