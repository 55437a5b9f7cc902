from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hwloop.errors import DataError
from hwloop.run.opened import open_run


@pytest.fixture
def run(small_run: Path, tmp_path: Path) -> Path:
    """A copy that may be changed, without the library."""
    return Path(shutil.copytree(small_run, tmp_path / "run", ignore=shutil.ignore_patterns("library", "memo*")))


def test_a_finished_run(small_run: Path) -> None:
    found = open_run(small_run)
    assert found.finished
    assert found.status == "finished"
    assert found.notes == ()
    assert [front.target for front in found.fronts] == list(found.layers) == list(found.targets) == ["xy", "xfx"]
    assert all(len(found.evaluated[front.target]) >= len(front.members) for front in found.fronts)


def test_an_unfinished_run_says_how_far_it_is_and_stays_as_it_is(run: Path) -> None:
    for name in ("front.json", "layers-xy.json", "layers-xfx.json", "evaluations-xfx.jsonl"):
        (run / name).unlink()
    log = run / "evaluations-xy.jsonl"
    whole = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(whole[:3]) + whole[3][:10])  # a process is writing the fourth
    before = log.read_bytes()
    found = open_run(run)
    assert not found.finished
    assert found.status.startswith("not finished: 3 candidates on xy, 0 candidates on xfx")
    assert found.fronts == ()
    assert log.read_bytes() == before


@pytest.mark.parametrize("name", ["front.json", "layers-xy.json", "versions.json", "evaluations-xy.jsonl"])
def test_what_is_damaged_is_named_and_left_out(run: Path, name: str) -> None:
    (run / name).write_text('{"fronts": [3]}\n')
    found = open_run(run)
    assert any(name in note for note in found.notes) or name == "versions.json"
    if name == "front.json":
        assert not found.finished
    else:
        assert len(found.fronts) == 2


def test_layers_of_another_front_are_not_taken(run: Path) -> None:
    document = json.loads((run / "layers-xy.json").read_text())
    (run / "layers-xy.json").write_text(json.dumps({**document, "members": document["members"][1:]}))
    found = open_run(run)
    assert "xy" not in found.layers
    assert any("does not belong to front.json" in note for note in found.notes)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such folder"):
        open_run(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"there is no config\.json in it"):
        open_run(tmp_path)
    (tmp_path / "config.json").write_text('{"model": "lenet5"}')
    with pytest.raises(DataError, match="is not the config of a compression run"):
        open_run(tmp_path)
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(DataError, match="cannot be read"):
        open_run(tmp_path)
