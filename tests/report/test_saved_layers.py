from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwloop.errors import DataError
from hwloop.report.result import read_front
from hwloop.report.saved_layers import document_of, read_saved
from hwloop.simulator import simulate


@pytest.mark.parametrize("target", ["xy", "xfx"])
def test_what_is_saved_gives_the_run_s_costs_again(small_run: Path, target: str) -> None:
    saved = read_saved(small_run / f"layers-{target}.json")
    front = next(f for f in json.loads((small_run / "front.json").read_text())["fronts"] if f["target"] == target)
    assert len(saved.members) == len(front["members"]) > 0
    for network, member in zip((saved.reference, *saved.members), (front["reference"], *front["members"]), strict=True):
        between = sum(energy for _, energy, _ in network.operations)
        assert sum(layer.energy_pj for layer in network.layers) + between == pytest.approx(member["metrics"]["energy_pj"])
        for layer in network.layers:
            again = simulate(layer.problem, layer.architecture, layer.mapping, layer.table, layer.bits)
            assert again.energy_pj == pytest.approx(layer.energy_pj, rel=1e-12)
            assert again.cycles == layer.cycles
            assert sum(part.energy_pj for part in layer.parts) == pytest.approx(layer.energy_pj, rel=1e-9)


def test_a_front_that_does_not_know_its_layers_writes_none(small_run: Path) -> None:
    assert document_of(read_front(json.loads((small_run / "front.json").read_text())["fronts"][0])) is None


def test_text_in_the_place_of_a_spec_is_no_file_s_name(small_run: Path, tmp_path: Path) -> None:
    document = json.loads((small_run / "layers-xy.json").read_text())
    (tmp_path / "layers-xy.json").write_text(json.dumps({**document, "architectures": ["eyeriss_168"] * 9}))
    with pytest.raises(DataError, match="expected a spec, found 'eyeriss_168'"):
        read_saved(tmp_path / "layers-xy.json")


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"target": "xy", "reference": 3, "members": []}', "no json"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "layers-xy.json"
    file.write_text(damage)
    with pytest.raises(DataError, match=r"layers-xy\.json cannot be read"):
        read_saved(file)
