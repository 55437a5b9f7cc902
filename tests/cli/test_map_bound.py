"""`hwloop map` says how far mappings are from the best possible: a layer's, and a network's in sum."""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path

import pytest

from hwloop.cli.main import main
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.workload import Layer, Workload

SMALL = {"C": 2, "M": 2, "P": 2, "Q": 2}
LARGE = {"C": 8, "M": 12, "P": 6, "Q": 6, "R": 3, "S": 3}


@pytest.fixture
def network(tmp_path: Path) -> str:
    layers = tuple(
        Layer(name, make_problem(conv2d_shape(), sizes), "conv") for name, sizes in (("a", SMALL), ("b", LARGE), ("again", SMALL))
    )
    path = tmp_path / "network.yaml"
    path.write_text(Workload("toy", layers).to_yaml())
    return str(path)


@pytest.mark.parametrize("objective", ["energy", "cycles", "edp"])
def test_a_network_s_gap_is_of_sums(network: str, objective: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["map", network, "--arch", "eyeriss_168", "--objective", objective, "--workers", "1", "--bound", "10", "--json"]
    assert main(argv) == 0
    document = json.loads(capsys.readouterr().out)
    bound, layers = document["bound"], document["bound"]["layers"]
    assert [layer["layer"] for layer in layers] == ["a", "b", "again"]
    assert layers[0]["value"] == layers[2]["value"]
    values = [layer["value"] for layer in layers]
    whole = sum(map(sqrt, values)) ** 2 if objective == "edp" else sum(values)
    assert bound["value"] == pytest.approx(whole)
    found = {"energy": document["energy_pj"], "cycles": document["cycles"]}
    have = found["energy"] * found["cycles"] if objective == "edp" else found[objective]
    assert bound["found"] >= have * (1 - 1e-9)
    assert 0 <= bound["gap"] == pytest.approx(bound["found"] / whole - 1)


def test_the_network_s_gap_is_printed_and_can_be_left_out(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["map", network, "--arch", "tpu_like", "--objective", "cycles", "--workers", "1"]
    assert main(argv) == 0
    assert "cycles: " in (text := capsys.readouterr().out)
    assert "of 3 optimal" in text
    assert main([*argv, "--bound", "0"]) == 0
    assert "optimal" not in capsys.readouterr().out


def test_a_layer_whose_space_is_exhausted_is_called_optimal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "layer.yaml"
    path.write_text(make_problem(conv2d_shape(), {"C": 2, "M": 3}).to_yaml())
    assert main(["map", str(path), "--arch", "tpu_like", "--objective", "energy"]) == 0
    assert "energy: optimal" in capsys.readouterr().out
