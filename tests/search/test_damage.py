"""A run folder that somebody has changed: nonsense is refused with its line, and nothing outside is written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hwloop.errors import DataError
from hwloop.search.log import EvaluationLog
from hwloop.search.records import LayerRecord, Record
from hwloop.search.run_folder import RunFolder
from hwloop.spec.plan import Plan

METRICS = {"accuracy": 0.5, "energy_pj": 3.0}


def write(path: Path) -> None:
    log = EvaluationLog(path)
    log.append(Record(Plan(), METRICS, (LayerRecord("a", 3.0, 4),)))
    log.close()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("accuracy", 5.0, "line 1 is damaged .accuracy is 5.0"),
        ("accuracy", -0.1, "accuracy is -0.1"),
        ("accuracy", float("nan"), "accuracy is nan"),
        ("energy_pj", -1.0, "energy_pj is -1.0"),
        ("energy_pj", float("inf"), "energy_pj is inf"),
        ("energy_pj", "3", "energy_pj is '3'"),
    ],
)
def test_numbers_that_cannot_be_are_refused(tmp_path: Path, name: str, value: Any, message: str) -> None:
    path = tmp_path / "log.jsonl"
    write(path)
    entry = json.loads(path.read_text())
    entry["metrics"][name] = value
    path.write_text(json.dumps(entry) + "\n")
    with pytest.raises(DataError, match=message):
        EvaluationLog(path)


def test_a_score_of_ones_own_may_be_any_number(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = EvaluationLog(path, fractions=False)
    log.append(Record(Plan(), METRICS | {"accuracy": -7.0}))
    log.close()
    assert EvaluationLog(path, fractions=False).records()[0].metrics["accuracy"] == -7.0


@pytest.mark.parametrize("name", ["evaluations-x.jsonl", "config.json", ".lock", "front.csv"])
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_nothing_outside_is_written(tmp_path: Path, name: str, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    if kind == "link":
        (run / name).symlink_to(outside)
    elif kind == "pipe":
        os.mkfifo(run / name)
    else:
        (run / name).mkdir()
    with pytest.raises(DataError, match="writes to files of its own alone"):
        RunFolder(run, {"a": 1}, {})
    assert outside.read_text() == "mine"
