from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hwloop import DataError
from hwloop.validate.agreement import DENSE_SLACK, SPARSE_SLACK, Report, lines_of
from hwloop.validate.compare import Difference
from hwloop.validate.verify import find_cases, verify

DATA = Path(__file__).resolve().parents[1] / "data"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Six records: four dense (one refused), two sparse."""
    with gzip.open(DATA / "corpus" / "dense.jsonl.gz", "rt") as file:
        records = [json.loads(line) for line in file]
    chosen = [r for r in records if r["feasible"]][:3] + [r for r in records if not r["feasible"]][:1]
    with gzip.open(DATA / "corpus" / "sparse.jsonl.gz", "rt") as file:
        chosen += [r for r in map(json.loads, file) if r["feasible"]][:2]
    return write(tmp_path / "some.jsonl.gz", chosen)


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


def test_a_corpus_agrees(corpus: Path) -> None:
    seen = []
    report = verify(find_cases(corpus), on_case=lambda: seen.append(1))
    assert report.agrees
    assert (report.cases, report.refused, len(seen)) == (6, 1, 6)
    assert report.quantities["feasibility"].compared == 6
    assert report.quantities["cycles"].equal == report.quantities["cycles"].compared == 5
    assert report.quantities["reads"].compared > 20
    assert report.to_dict()["agrees"] is True


def test_a_folder_of_runs_agrees() -> None:
    report = verify(find_cases(DATA / "timeloop_runs"))
    assert report.agrees
    assert report.cases == len(list((DATA / "timeloop_runs").glob("*/run*"))) > 0


def test_whole_upstream(shared: Path) -> None:
    report = verify(find_cases(shared / "reference" / "upstream"))
    assert report.agrees
    assert report.cases == 21


def test_what_differs_is_named(corpus: Path, tmp_path: Path) -> None:
    records = read(corpus)
    records[0]["expected"]["cycles"] += 10
    records[1]["feasible"] = False
    records[1]["reason"] = "first\nERROR: couldn't map level x"
    report = verify(find_cases(write(tmp_path / "wrong.jsonl.gz", records)))
    assert not report.agrees
    [case] = report.quantities["cycles"].cases
    assert records[0]["id"] in case
    text = "\n".join(lines_of(report))
    assert f"differs: cycles of {case}: Timeloop {records[0]['expected']['cycles']}" in text
    assert "hwloop runs it, Timeloop: ERROR: couldn't map level x" in text


def test_a_record_that_cannot_be_read_spoils_only_itself(corpus: Path, tmp_path: Path) -> None:
    records = read(corpus)
    del records[2]["mapping"]
    path = write(tmp_path / "broken.jsonl.gz", records)
    report = verify(find_cases(path))
    assert report.cases == 6
    assert list(report.failed.values()) == ["broken.jsonl.gz[2]: not a record of a corpus: KeyError 'mapping'"]
    assert not report.agrees
    assert any(line.startswith("failed: case 2:") for line in lines_of(report))


def test_paths_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither a file nor a folder"):
        find_cases(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no folder in it has a stats\.txt"):
        find_cases(tmp_path)
    (tmp_path / "cut.jsonl.gz").write_bytes(b"\x1f\x8bnot gzip")
    with pytest.raises(DataError, match="cannot be read as JSON lines"):
        find_cases(tmp_path / "cut.jsonl.gz")


@pytest.mark.parametrize(("missing", "message"), [("input.yaml", "no input.yaml"), ("ERT", "no ERT.yaml, and no ERT in")])
def test_a_run_with_a_missing_part(tmp_path: Path, missing: str, message: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(DATA / "timeloop_runs" / "shidiannao_depthwise" / "run1", run)
    if missing == "input.yaml":
        (run / missing).unlink()
    else:
        text = (run / "input.yaml").read_text()
        (run / "input.yaml").write_text(text.replace("\nERT:", "\nother_table:"))
    report = verify(find_cases(tmp_path))
    assert message in next(iter(report.failed.values()))


def test_a_cycle_follows_from_a_count_that_is_rounded() -> None:
    cycle = (False, Difference("level cycles", "DRAM", 50177, 50176))
    count = (False, Difference("actual computes", "", 6_422_529, 6_422_528))
    for pairs, slack, agrees in (
        ([count, cycle], SPARSE_SLACK, True), ([cycle], SPARSE_SLACK, False), ([count, cycle], DENSE_SLACK, False),
        ([count, (False, replace(cycle[1], found=50175))], SPARSE_SLACK, False),
    ):  # fmt: skip
        report = Report()
        report.add("case", pairs, slack)
        assert report.agrees is agrees


@pytest.mark.parametrize(
    ("quantity", "expected", "found", "dense", "sparse"),
    [
        ("reads", 10, 11, False, True),
        ("reads", 10, 12, False, False),
        ("reads", 10_000_000, 10_000_009, False, True),
        ("cycles", 10, 11, False, False),
        ("cycles", 114_689, 114_688, False, True),
        ("data space energy", 20639.18, 20636.49, False, True),
        ("energy", 1000.0, 1000.05, False, True),
        ("energy", 1000.0, 1000.5, False, False),
        ("tile size", 5, 6, False, False),
    ],
)
def test_what_may_be_rounding(quantity: str, expected: float, found: float, dense: bool, sparse: bool) -> None:
    difference = Difference(quantity, "", expected, found)
    assert DENSE_SLACK.allows(difference) is dense
    assert SPARSE_SLACK.allows(difference) is sparse
    report = Report()
    report.add("case", [(False, difference)], SPARSE_SLACK)
    assert report.agrees is sparse
    assert report.quantities[quantity].close == int(sparse)
    assert report.quantities[quantity].worst == pytest.approx(abs(expected - found) / expected)
