from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from hwloop.errors import DataError
from hwloop.search.archive import Evaluation
from hwloop.search.checkpoint import EvaluationLog, RunFolder, write_whole

CONFIG = {"model": "lenet5", "search": {"seed": 0, "population": 8}}


def test_config_versions_and_fronts_are_files(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run", CONFIG, {"hwloop": "1"}) as folder:
        folder.write_csv("front.csv", [{"p": 0.5, "energy_pj": 2.0}, {"p": 0.7, "energy_pj": 1.0}])
        folder.write_json("front.json", [1, 2])
    assert json.loads((tmp_path / "run/config.json").read_text()) == CONFIG
    assert json.loads((tmp_path / "run/versions.json").read_text()) == {"hwloop": "1"}
    assert list(csv.DictReader((tmp_path / "run/front.csv").open()))[1] == {"p": "0.7", "energy_pj": "1.0"}


def test_a_folder_in_use_or_used_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, CONFIG, {})
    with pytest.raises(DataError, match="another process is running"):
        RunFolder(tmp_path, CONFIG, {}, resume=True)
    log = folder.log("here")
    log.append(Evaluation((1,), {"accuracy": 1.0}))
    log.close()
    folder.close()
    with pytest.raises(DataError, match="--resume"):
        RunFolder(tmp_path, CONFIG, {})
    RunFolder(tmp_path, CONFIG, {}, resume=True).close()
    other = {"model": "lenet5", "search": {"seed": 1, "population": 8}}
    with pytest.raises(DataError, match=r"search\.seed: 0 then, 1 now"):
        RunFolder(tmp_path, other, {}, resume=True)
    RunFolder(tmp_path, CONFIG, {}, resume=True).close()


def test_a_start_that_failed_before_its_search_claims_nothing(tmp_path: Path) -> None:
    with RunFolder(tmp_path, {"data_root": "a slip"}, {}) as folder:
        folder.pin("identity.json", {"trained": "one way"})
    with RunFolder(tmp_path, CONFIG, {}) as folder:
        folder.pin("identity.json", {"trained": "another way"})
    assert json.loads((tmp_path / "config.json").read_text()) == CONFIG


def test_every_evaluation_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    log = EvaluationLog(tmp_path / "log.jsonl")
    log.append(Evaluation((1, 2), {"accuracy": 0.1 + 0.2}))
    assert EvaluationLog(tmp_path / "log.jsonl")[(1, 2)].metrics == {"accuracy": 0.1 + 0.2}
    log.close()


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="everything evaluated before is kept"):
        write_whole(tmp_path / "file" / "front.json", "{}")
    with pytest.raises(DataError, match="cannot write"):
        RunFolder(tmp_path / "file", CONFIG, {})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_named() -> None:
    log = EvaluationLog(Path("/dev/full"))
    with pytest.raises(DataError, match="No space left"):
        log.append(Evaluation((1,), {"accuracy": 1.0}))
