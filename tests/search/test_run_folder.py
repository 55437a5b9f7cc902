from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from hwloop.errors import DataError
from hwloop.search.records import Record
from hwloop.search.run_folder import RunFolder
from hwloop.spec.plan import Plan

CONFIG = {"model": "lenet5", "search": {"seed": 0, "population": 8}}
RECORD = Record(Plan(), {"accuracy": 1.0})


def test_config_versions_and_fronts_are_files(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run", CONFIG, {"hwloop": "1"}) as folder:
        folder.write_csv("front.csv", [{"p": 0.5, "energy_pj": 2.0}, {"p": 0.7, "bits": 4}])
        folder.write_json("front.json", [1, 2])
    assert json.loads((tmp_path / "run/config.json").read_text()) == CONFIG
    assert json.loads((tmp_path / "run/versions.json").read_text()) == {"hwloop": "1"}
    assert list(csv.DictReader((tmp_path / "run/front.csv").open()))[1] == {"p": "0.7", "energy_pj": "", "bits": "4"}


def test_a_folder_in_use_or_used_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, CONFIG, {})
    with pytest.raises(DataError, match="another process is running"):
        RunFolder(tmp_path, CONFIG, {}, resume=True)
    log = folder.log("here")
    log.append(RECORD)
    log.close()
    folder.close()
    with pytest.raises(DataError, match="--resume"):
        RunFolder(tmp_path, CONFIG, {})
    RunFolder(tmp_path, CONFIG, {}, resume=True).close()
    other = {"model": "lenet5", "search": {"seed": 1, "population": 8}}
    with pytest.raises(DataError, match=r"search\.seed: 0 then, 1 now"):
        RunFolder(tmp_path, other, {}, resume=True)
    RunFolder(tmp_path, CONFIG, {}, resume=True).close()


def test_what_evaluations_stand_on_is_pinned_once_there_are_any(tmp_path: Path) -> None:
    with RunFolder(tmp_path, {"data_root": "a slip"}, {}) as folder:
        folder.pin({"trained": "one way"})
    with RunFolder(tmp_path, CONFIG, {}) as folder:  # a start that failed before its search claims nothing
        folder.pin({"trained": "another way"})
        log = folder.log("here")
        log.append(RECORD)
        log.close()
    with RunFolder(tmp_path, CONFIG, {}, resume=True) as folder:
        folder.pin({"trained": "another way"})
        with pytest.raises(
            DataError, match=r"depend on something that has changed \(trained: \"another way\" then, \"a third\" now\)"
        ):
            folder.pin({"trained": "a third"})
        assert folder.method_folder("here").parent == folder.path


def test_a_disk_that_refuses_and_a_damaged_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*choose another folder"):
        RunFolder(tmp_path / "file", CONFIG, {})
    with RunFolder(tmp_path / "run", CONFIG, {}) as folder:
        (folder.path / "taken.json").mkdir()
        with pytest.raises(DataError, match="every evaluation so far is kept"):
            folder.write_json("taken.json", {})
        (folder.path / "taken.json").rmdir()
        log = folder.log("here")
        log.append(RECORD)
        log.close()
    (tmp_path / "run" / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config\.json cannot be read"):
        RunFolder(tmp_path / "run", CONFIG, {}, resume=True)
