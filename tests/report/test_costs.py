"""What stands beside an energy: leakage of the MACs, and the MACs of incomplete passes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import hwloop
from hwloop.cli.main import main
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.resources import open_architecture, open_mapping

ODD = make_problem(conv2d_shape(), {"C": 8, "M": 101, "P": 13, "Q": 13, "R": 3, "S": 3}, name="odd")  # 101 is prime


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    path = tmp_path / "odd.yaml"
    path.write_text(ODD.to_yaml())
    return path


def run(argv: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    assert main([*argv, "--json", "--quiet"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert main([*argv, "--quiet"]) == 0
    return document, capsys.readouterr().out


def test_a_layer_says_what_its_total_leaves_out(layer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["map", str(layer), "--arch", "eyeriss_168", "--dataflow", "row_stationary", "--bound", "0"]
    found, text = run(argv, capsys)
    cost = found["cost"]
    own = 8 * 101 * 13 * 13 * 9
    assert cost["padded_computes"] == cost["computes"] - own > 0
    assert found["useful_utilization"] == pytest.approx(cost["utilization"] * own / cost["computes"])
    table = hwloop.estimate_energy_table(open_architecture("eyeriss_168"))
    leak = table.component("mac").energies_pj["leak"]
    assert cost["compute_leakage_pj"] == pytest.approx(leak * 168 * cost["cycles"])
    assert sum(part["energy_pj"] for part in cost["components"].values()) == pytest.approx(cost["energy_pj"])  # without it
    assert "that the MAC units leak (Timeloop counts none" in text
    assert "1.23 M MACs, and " in text
    shares = [float(share) for share in re.findall(r" (\d+\.\d)%(?: +\d|\n)", text.split("level ", 1)[1].split("beside")[0])]
    assert sum(shares) == pytest.approx(100, abs=1)  # the lines of the table, leakage of storages among them, are the total


def test_nothing_is_said_of_padding_where_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "even.yaml"
    path.write_text(make_problem(conv2d_shape(), {"C": 8, "M": 16, "P": 12, "Q": 12, "R": 3, "S": 3}, name="even").to_yaml())
    found, text = run(["map", str(path), "--arch", "eyeriss_168", "--dataflow", "row_stationary", "--bound", "0"], capsys)
    assert found["cost"]["padded_computes"] == 0
    assert found["useful_utilization"] == found["cost"]["utilization"]
    assert "incomplete passes" not in text


def test_networks_show_their_own_macs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from hwloop.spec.workload import Layer, Workload

    path = tmp_path / "network.yaml"
    path.write_text(Workload("odd", (Layer("conv", ODD, "conv", "", "w"),), (("w", (101, 8, 3, 3)),)).to_yaml())
    best = hwloop.map_problem(
        ODD, open_architecture("flexible"), hwloop.estimate_energy_table(open_architecture("flexible")),
        constraints=open_mapping("weight_stationary"),
    ).cost  # fmt: skip
    found, text = run(["map", str(path), "--arch", "flexible", "--dataflow", "weight_stationary"], capsys)
    assert (found["computes"], found["padded_computes"]) == (best.computes, best.padded_computes)
    assert found["useful_utilization"] == pytest.approx(best.useful_utilization)
    assert re.search(r"^all +1\.23 M ", text, re.M)
    found, text = run(["compare", "--workload", str(path), "--dataflow", "weight_stationary", "--arch", "flexible"], capsys)
    [entry] = found["dataflows"]
    assert entry["compute_leakage_pj"] == pytest.approx(best.compute_leakage_pj)
    assert entry["padded_computes"] == best.padded_computes
    assert sum(entry["components"].values()) == pytest.approx(entry["energy_pj"])
    assert "the MACs' leakage is in no total" in " ".join(text.split())
    assert f"{entry['energy_pj'] / (best.computes - best.padded_computes):.2f}" in text
