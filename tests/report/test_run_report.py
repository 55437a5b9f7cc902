from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hwloop.report.run_report import chosen_grid, finetuned_grid, report_markdown, report_text
from hwloop.run.opened import open_run


def test_fine_tuned_members_stand_apart(small_run: Path) -> None:
    run = open_run(small_run)
    assert finetuned_grid(run) is None
    made = {"target": "xfx", "member": 0, "epochs": 3, "accuracy": 0.875, "test_accuracy": 0.75}
    grid = finetuned_grid(replace(run, document={**run.document, "finetuned": [made, {**made, "member": 999}]}))
    assert grid is not None
    [row] = grid.rows
    assert row[:2] == ("xfx", "1")
    assert row[4:7] == ("87.50%", "75.00%", "3")


def test_both_choices_stand_side_by_side_and_are_told_what_they_stand_on(small_run: Path) -> None:
    run = open_run(small_run)
    grid = chosen_grid(run)
    assert [(row[0], row[1]) for row in grid.rows] == [
        ("xy", "validation"), ("xy", "the test set"), ("xfx", "validation"), ("xfx", "the test set")
    ]  # fmt: skip
    assert any("accuracy is on 360 held-out training images, test accuracy on the test set" in note for note in grid.notes)
    seen = run.fronts[0].reference
    front = replace(run.fronts[0], reference=replace(seen, metrics={**seen.metrics, "accuracy": 1.0}, test_accuracy=0.9))
    assert any("probably trained on them" in note for note in chosen_grid(replace(run, fronts=(front,))).notes)


def test_a_run_without_fronts_is_short(small_run: Path) -> None:
    run = replace(open_run(small_run), document={}, fronts=(), layers={})
    for text in (report_text(run), report_markdown(run)):
        assert "not finished" in text
        assert "14.0x" not in text
