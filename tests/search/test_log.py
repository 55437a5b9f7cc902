from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwloop.errors import DataError
from hwloop.search.log import EvaluationLog
from hwloop.search.records import LayerRecord, Record
from hwloop.spec.plan import Plan, make_plan

from .toys import workload

PLAN = make_plan(workload(), 0.3, weight_bits=4, base="p=0.7")
RECORD = Record(PLAN, {"accuracy": 0.1 + 0.2}, (LayerRecord("a", 1 / 3, 7),), "distilled")
number = st.floats(allow_nan=False, allow_infinity=False)
energy = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
layer = st.builds(LayerRecord, st.text(), energy, st.integers(0, 10**12))
record = st.builds(
    Record, st.just(PLAN) | st.just(Plan()), st.dictionaries(st.text(min_size=1), number), st.lists(layer).map(tuple), st.text()
)


def test_every_record_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    log = EvaluationLog(tmp_path / "new" / "log.jsonl")
    log.append(RECORD)
    again = EvaluationLog(tmp_path / "new" / "log.jsonl")
    assert again[PLAN.key, "distilled"] == RECORD
    assert RECORD.key in again
    assert (PLAN.key, "") not in again
    assert len(again) == again.resumed == 1
    log.close()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(record, max_size=4))
def test_records_come_back_as_they_were(tmp_path: Path, records: list[Record]) -> None:
    path = tmp_path / "log.jsonl"
    path.unlink(missing_ok=True)
    log = EvaluationLog(path)
    for entry in records:
        log.append(entry)
    log.close()
    assert EvaluationLog(path).records() == log.records()


def test_a_last_line_cut_short_is_dropped_and_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = EvaluationLog(path)
    log.append(Record(Plan(), {"accuracy": 1.0}))
    log.append(RECORD)
    log.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    cut = EvaluationLog(path)
    assert cut.records() == log.records()[:1]
    cut.append(RECORD)
    cut.close()
    assert path.read_bytes() == whole


def test_damage_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    good = '{"plan":{"layers":{}},"metrics":{},"layers":[]}\n'
    for bad in (
        "nonsense\n",
        '{"x":[1],"metrics":{}}\n',
        '{"plan":{"layers":{"a":{"weight_bits":0}}},"metrics":{},"layers":[]}\n',
    ):
        path.write_text(good + bad + good)
        with pytest.raises(DataError, match="line 2 is damaged"):
            EvaluationLog(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_named() -> None:
    log = EvaluationLog(Path("/dev/full"))
    with pytest.raises(DataError, match=r"No space left.*every evaluation so far is kept"):
        log.append(RECORD)
