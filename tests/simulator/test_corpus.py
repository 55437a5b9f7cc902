"""What the real Timeloop said, record by record: feasibility, every count, cycles, and energy as far as it was printed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import hwloop
from hwloop import InfeasibleMappingError
from hwloop.simulator import LayerCost, Simulator
from hwloop.spec.architecture import Architecture
from hwloop.validate.compare import Difference, compare_stats

DATA = Path(__file__).resolve().parents[1] / "data" / "corpus"


def records(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


@cache
def architecture(text: str) -> Architecture:
    return hwloop.load_architecture(text)


def differences(record: dict[str, Any]) -> Iterator[Difference | str]:
    problem, table = hwloop.load_problem(record["problem"]), hwloop.load_energy_table(record["ert"])
    simulator = Simulator(problem, architecture(record["arch"]), table)
    try:
        cost = simulator.run(hwloop.load_mapping(record["mapping"]))
    except InfeasibleMappingError as error:
        if record["feasible"]:
            yield f"refused: {error}"
        return
    if not record["feasible"]:
        yield f"not refused, Timeloop says {record['reason'][-80:]}"
        return
    yield from (difference for equal, difference in compare_stats(cost, record["expected"]) if not equal)


def dense_ids() -> list[Any]:
    found = [*records(DATA / "dense.jsonl.gz"), *records(DATA / "unusual.jsonl.gz")]
    return [pytest.param(record, id=f"{record['arch_name']}-{record['id']}") for record in found]


@pytest.mark.parametrize("record", dense_ids())
def test_equals_timeloop(record: dict[str, Any]) -> None:
    assert list(differences(record)) == []


def test_the_copied_corpus_covers_every_architecture_and_both_outcomes() -> None:
    dense = records(DATA / "dense.jsonl.gz")
    assert {r["arch_name"] for r in dense} == {
        "row_stationary", "weight_stationary", "output_stationary", "two_level", "three_level_1d", "deep",
    }  # fmt: skip
    assert {r["feasible"] for r in dense} == {True, False}
    cut = [r for r in records(DATA / "unusual.jsonl.gz") if r["id"].startswith("imperfect")]
    assert any(isinstance(f, list) and f[0] != f[1] for r in cut for t in r["mapping"] for f in t.get("factors", {}).values())


def test_whole_dense_corpus(shared: Path) -> None:
    wrong = {}
    found = records(shared / "reference" / "corpus" / "dense.jsonl.gz")
    for record in found:
        problems = list(differences(record))
        if problems:
            wrong[record["id"]] = problems[:3]
    assert len(found) == 1200
    assert wrong == {}


DENSE_UPSTREAM = (
    "eyeriss_like", "simple_weight_stationary", "sparseloop__01.2.1-DUDU-dot-product", "tutorial__00-model-conv1d-1level",
    "tutorial__01-model-conv1d-2level__os", "tutorial__01-model-conv1d-2level__ws",
    "tutorial__02-model-conv1d+oc-2level__no-tiling", "tutorial__02-model-conv1d+oc-2level__tiling",
    "tutorial__03-model-conv1d+oc-3level__no-bypass", "tutorial__04-model-conv1d+oc-3levelspatial__cp",
    "tutorial__05-mapper-conv1d+oc-3level__baked", "tutorial__05-mapper-conv1d+oc-3level__freebypass",
    "tutorial__05-mapper-conv1d+oc-3level__null", "tutorial__timeloop+accelergy__intmac",
)  # fmt: skip


@pytest.mark.parametrize("name", DENSE_UPSTREAM)
def test_upstream_run(replay_upstream: Callable[[str], tuple[LayerCost, dict[str, Any]]], name: str) -> None:
    cost, expected = replay_upstream(name)
    compared = compare_stats(cost, expected)
    assert [difference for equal, difference in compared if not equal] == []
    assert len(compared) >= 30
