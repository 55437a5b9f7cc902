"""One mapping's ranks and leader tiles in Python's numbers are those of the arrays."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hwloop
from hwloop import InfeasibleMappingError
from hwloop.simulator import Simulator
from hwloop.simulator.simulator import nest_of
from hwloop.simulator.sparse import nest_of_mapping, shape_of_mapping

DATA = Path(__file__).resolve().parents[1] / "data" / "corpus"


def records() -> list[Any]:
    found = []
    for name in ("sparse.jsonl.gz", "sparse_unusual.jsonl.gz"):
        with gzip.open(DATA / name, "rt") as file:
            found += [pytest.param(record, id=record["id"]) for record in map(json.loads, file) if record["feasible"]]
    return found


@pytest.mark.parametrize("record", records())
def test_both_forms_see_the_same_nest(record: dict[str, Any]) -> None:
    problem, arch = hwloop.load_problem(record["problem"]), hwloop.load_architecture(record["arch"])
    simulator = Simulator(problem, arch, hwloop.load_energy_table(record["ert"]))
    if simulator.sparse is None:
        pytest.skip("no sparse optimisation")
    mapping = hwloop.load_mapping(record["mapping"])
    nest = nest_of(simulator.compiled, mapping)
    context, one = nest_of_mapping(simulator.sparse, nest, mapping)
    many, bounds = shape_of_mapping(simulator.sparse, nest.widened(), mapping)
    assert (one.single, many.single, one.batch, many.batch) == (True, False, 1, 1)
    assert bounds == one.loops.molds[-1]
    assert not many.refused.any()
    assert one.trees.keys() == many.trees.keys()
    for key, tree in one.trees.items():
        other = many.trees[key]
        assert tree.shapes == [int(shape[0]) for shape in other.shapes]
        assert tree.parts == [tuple(part[:, 0].tolist()) for part in other.parts]
    for saving in context.savings:
        for option in saving.options:
            source = next((m for m in range(saving.level, -1, -1) if nest.tiles[m][option.target].kept), None)
            for leader in option.leaders if source is not None else ():
                extents, nothing = one.leader(context, nest, source, option.target, leader)
                others, nowhere = many.leader(context, nest, source, option.target, leader)
                assert extents == tuple(np.asarray(others)[:, 0].tolist())
                assert nothing == bool(nowhere[0])


def test_loops_that_no_rank_takes_are_refused_in_both() -> None:
    with gzip.open(DATA / "sparse.jsonl.gz", "rt") as file:
        refused = [r for r in map(json.loads, file) if not r["feasible"] and "rank" in r["reason"]]
    assert refused
    for record in refused:
        problem, arch = hwloop.load_problem(record["problem"]), hwloop.load_architecture(record["arch"])
        simulator, mapping = (
            Simulator(problem, arch, hwloop.load_energy_table(record["ert"])),
            hwloop.load_mapping(record["mapping"]),
        )
        assert simulator.sparse is not None
        nest = nest_of(simulator.compiled, mapping)
        with pytest.raises(InfeasibleMappingError, match="ranks"):
            nest_of_mapping(simulator.sparse, nest, mapping)
        assert shape_of_mapping(simulator.sparse, nest.widened(), mapping)[0].refused.all()
