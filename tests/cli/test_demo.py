from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import hwloop.run.demo as demo
from hwloop.backend.find import find_backend
from hwloop.cli.main import main


@pytest.fixture
def tiny(monkeypatch) -> None:
    settings = replace(
        demo.SETTINGS, method_options={"population": 4, "generations": 2}, pruning=(0.8,), epochs=1, library_epochs=1,
        validation_images=30,
    )  # fmt: skip
    monkeypatch.setattr(demo, "SETTINGS", settings)
    monkeypatch.setattr(demo, "DATAFLOWS", demo.DATAFLOWS[:1])


def test_demo_twice_says_what_the_memo_table_saved(tiny, tmp_path: Path, capsys) -> None:
    for run in (1, 2):
        assert main(["demo", "--out", str(tmp_path), "--quiet"]) == 0
        text = capsys.readouterr().out
        assert (tmp_path / f"run-{run}" / "front.png").exists()
        assert "lenet5 on flexible_skipping row_stationary:" in text
        assert "on flexible_skipping: 256 MACs (16 x 16)" in text
        for word in ("knee:", "pruned (p):", "The library holds", "Coding `normal`", "memo table:"):
            assert word in text
        assert (tmp_path / ".gitignore").read_text() == "*\n"
    assert "which saved" in text
    assert "0 new ones took 0.0 s" in text


def test_demo_goes_on_with_the_run_that_was_stopped_unless_it_was_another_programs(tmp_path: Path) -> None:
    def stopped(number: int, backend: str, seed: int = 0) -> None:
        folder = tmp_path / f"run-{number}"
        folder.mkdir()
        settings = replace(demo.SETTINGS, seed=seed)
        (folder / "config.json").write_text(json.dumps({"settings": settings.to_dict()}))
        (folder / "versions.json").write_text(json.dumps({"backend": backend}))

    assert demo.next_run(tmp_path, demo.SETTINGS).name == "run-1"
    stopped(1, "hwloop 0.0.0")
    stopped(2, find_backend().identity, seed=1)
    assert demo.next_run(tmp_path, demo.SETTINGS).name == "run-3"
    stopped(3, find_backend().identity)
    assert demo.next_run(tmp_path, demo.SETTINGS).name == "run-3"
    for name in ("front.json", "front.png"):
        (tmp_path / "run-3" / name).write_text("done")
    assert demo.next_run(tmp_path, demo.SETTINGS).name == "run-4"
