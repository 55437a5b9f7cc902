from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hwloop.cli.main import main
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.resources import open_mapping
from hwloop.spec.workload import Layer, Workload


@pytest.fixture
def network(tmp_path: Path) -> Path:
    problem = make_problem(conv2d_shape(), {"C": 4, "M": 8, "R": 3, "S": 3, "P": 6, "Q": 6})
    layers = tuple(Layer(f"conv{i}", problem, "conv", "", f"conv{i}.weight") for i in range(2))
    path = tmp_path / "network.yaml"
    path.write_text(Workload("small", layers, tuple((f"conv{i}.weight", (8, 4, 3, 3)) for i in range(2))).to_yaml())
    return path


def test_dataflows_stand_side_by_side_and_the_parts_add_up(network: Path, capsys) -> None:
    argv = ["compare", "--workload", str(network), "--arch", "flexible", "--effort", "quick", "--workers", "1", "--quiet"]
    assert main([*argv, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["dataflows"]
    assert {entry["dataflow"] for entry in found} == {"row_stationary", "weight_stationary", "output_stationary"}
    for entry in found:
        assert sum(entry["components"].values()) == pytest.approx(entry["energy_pj"])
        assert sum(layer["energy_pj"] for layer in entry["layers"]) == pytest.approx(entry["energy_pj"])
    assert main(argv) == 0
    text = capsys.readouterr().out
    least = min(found, key=lambda entry: entry["energy_pj"])["dataflow"]
    assert re.search(rf"-----\n{least} .* 1\.00 ", text)
    assert all(len(line) <= 80 for line in text.splitlines())


def test_a_dataflow_that_fits_nothing_is_left_out_and_said(network: Path, tmp_path: Path, capsys) -> None:
    flow = open_mapping("row_stationary")
    impossible = tmp_path / "full.yaml"
    impossible.write_text(type(flow)(flow.loops, flow.data_spaces, min_utilization=1.0, name="full").to_yaml())
    argv = [
        "compare",
        "--workload",
        str(network),
        "--arch",
        "flexible",
        "--effort",
        "quick",
        "--workers",
        "1",
        "--quiet",
        "--dataflow",
        str(impossible),
    ]
    assert main([*argv, "--dataflow", "row_stationary"]) == 0
    assert re.search(r"left out: small on flexible, full: small layer conv0 on\s+flexible under full", capsys.readouterr().out)
    assert main(argv) == 1
    assert "small layer conv0 on flexible under" in capsys.readouterr().err
