"""`list`, `check`, `simulate` and `explain` at the command line, and how the images of a network are said."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from hwloop.cli.main import main
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.shipped import architecture_names, mapping_names

LAYER = make_problem(conv2d_shape(), {"C": 8, "M": 16, "P": 12, "Q": 12, "R": 3, "S": 3}, name="layer")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "layer.yaml").write_text(LAYER.to_yaml())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def out(argv: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    assert main(argv) == code
    return capsys.readouterr().out


def test_lists_hold_what_ships(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(out(["list", "--json"], capsys))
    assert [row["accelerator"] for row in found["accelerators"]] == list(architecture_names())
    assert [row["dataflow"] for row in found["dataflows"]] == list(mapping_names())
    assert {"model": "lenet5", "input": "1x28x28", "from": "hwloop"} in found["models"]
    assert {"model": "resnet18", "input": "3x224x224", "from": "torchvision"} in found["models"]
    assert "sram" in {row["class"] for row in found["classes"]}
    assert all(row["area_mm2"] > 0 for row in found["accelerators"])
    for what in ("accelerators", "dataflows", "classes"):
        assert all(len(line) <= 80 for line in out(["list", what], capsys).splitlines())
    rows = list(csv.DictReader(io.StringIO(out(["list", "dataflows", "--csv"], capsys))))
    assert [row["dataflow"] for row in rows] == list(mapping_names())


def test_map_simulate_and_explain_agree(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--weight-bits", "8", "--activation-bits", "8"]
    mapped = json.loads(
        out(["map", "layer.yaml", "--effort", "quick", "--bound", "0", "--output", "m.yaml", "--json", *options], capsys)
    )
    simulated = json.loads(out(["simulate", "layer.yaml", "--mapping", "m.yaml", "--json", *options], capsys))
    assert simulated["cost"] == mapped["cost"]
    opened = json.loads(out(["explain", "layer.yaml", "--mapping", "m.yaml", "--json", *options], capsys))
    assert opened["of_pj"] == mapped["cost"]["energy_pj"]
    assert sum(row["energy_pj"] for row in opened["entries"]) == pytest.approx(mapped["cost"]["energy_pj"], rel=1e-12)
    rows = list(csv.DictReader(io.StringIO(out(["explain", "layer.yaml", "--mapping", "m.yaml", "--csv", *options], capsys))))
    assert len(rows) == len(opened["entries"])
    text = out(["simulate", "layer.yaml", "--mapping", "m.yaml", *options], capsys)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "on eyeriss_168: 168 MACs" in text
    assert "weights and activations 8 bits; dense" in text


def test_a_mapping_that_does_not_fit_says_why(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", "layer.yaml", "--effort", "quick", "--bound", "0", "--output", "m.yaml"]) == 0
    text = (place / "m.yaml").read_text()
    (place / "m.yaml").write_text(text.replace("M=", "M=3", 1))
    capsys.readouterr()
    assert main(["simulate", "layer.yaml", "--mapping", "m.yaml"]) == 1
    assert "M" in capsys.readouterr().err
    assert main(["check", "layer.yaml", "m.yaml", "--arch", "eyeriss_168"]) == 1
    assert "m.yaml: error: " in capsys.readouterr().out


def test_check_says_what_a_file_is_and_what_it_is_not(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "nothing.yaml").write_text("numbers: [1, 2]\n")
    (place / "broken.yaml").write_text("problem: {\n")
    found = json.loads(out(["check", "layer.yaml", "nothing.yaml", "broken.yaml", "none.yaml", "--json"], capsys, 1))
    said = {(finding["file"], finding["kind"]): finding["text"] for finding in found["findings"]}
    assert found["errors"] == 3
    assert "144 k MACs" in said["layer.yaml", "ok"] or "166 k MACs" in said["layer.yaml", "ok"]
    assert "expected one of the fields architecture, problem, mapping" in said["nothing.yaml", "error"]
    assert ("broken.yaml", "error") in said
    assert ("none.yaml", "error") in said
    text = out(["check", "layer.yaml", "--arch", "flexible", "--dataflow", "row_stationary"], capsys)
    assert text.endswith("no mistakes found\n")
    assert "row_stationary: ok: dataflow row_stationary" in text
    assert "expected a storage or inter_..._spatial level" in out(
        ["check", "layer.yaml", "--arch", "tpu_like", "--dataflow", "xy"], capsys, 1
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["compare"], "--model, --workload: expected at least one network"),
        (["compare", "--model", "lenet5", "--bits", "many"], "--bits: expected whole numbers such as 16,8 or 4/8"),
        (["compare", "--model", "lenet5", "--bits", "0"], "--bits: expected a whole number from 1 to 64, found 0"),
        (
            ["compare", "--model", "lenet5", "--bits", "8", "--weight-bits", "4"],
            "no --weight-bits and --activation-bits beside it",
        ),
        (["compare", "--model", "lenet5", "--density", "half"], "--density: expected fractions kept such as 1,0.5 or 10%"),
        (["compare", "--model", "lenet5", "--density", "1.5"], "--density: expected a fraction between 0 and 1, found 1.5"),
        (
            ["compare", "--model", "lenet5", "--save", "x.xlsx"],
            "--save: expected a name that ends in .csv, .json, .parquet, .png",
        ),
        (["compare", "--model", "lenet5", "--rows", "parts", "--save", "x.png"], "--rows total or layers for a picture"),
        (["compare", "--model", "lenet5", "--equal-area", "big"], "--equal-area: expected an area [mm^2]"),
        (["compare", "--model", "lenet5", "--input-shape", "3x"], "--input-shape: expected sizes such as 3x224x224, found '3x'"),
        (["map", "--model", "lenet5", "--input-shape", "1x28x28", "--channels", "1"], "no --image-size and --channels beside it"),
        (["explain", "layer.yaml", "--layer", "conv1"], "--layer: expected a network, to choose a layer of"),
        (["explain", "layer.yaml", "--simulator", "timeloop"], "--simulator: expected embedded, whose counts can be opened"),
        (["explain", "--model", "lenet5", "--mapping", "m.yaml"], "--mapping: expected a layer, not a network"),
        (["list", "everything"], "invalid choice"),
    ],
)
def test_bad_usage_is_said(argv: list[str], message: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert message in capsys.readouterr().err


def test_images_are_the_network_s_own_unless_told(capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--effort", "quick", "--bound", "0", "--quiet", "--workers", "1"]
    assert "lenet5, images of 1 x 28 x 28, batch 1" in out(["map", "--model", "lenet5", *short], capsys)
    other = out(["map", "--model", "lenet5", "--input-shape", "2x32x32", "--batch", "3", *short], capsys)
    assert "lenet5, images of 2 x 32 x 32, batch 3" in other
