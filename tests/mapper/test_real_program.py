"""Mappings found under random constraint sets, held against the real program under the same sets.

`timeloop-model` checks a mapping's factors against a set itself. Its check of orders, splits and bypass is not finished (it takes
the constraint's split for the number of loops on X, and skips loops of one pass by the wrong index), so these are left to
`independent`, which reads both lists without hwloop. The reuse flags are part of the mapping: the real program's cost shows them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hwloop.backend.timeloop.inputs import mapper_input, model_input
from hwloop.backend.timeloop.programs import Timeloop
from hwloop.errors import InfeasibleMappingError, SimulatorError
from hwloop.mapper import MapResult, map_problem
from hwloop.spec.batch import MappingBatch
from hwloop.spec.constraint_sets import load_constraints
from hwloop.spec.constraints import Constraints
from hwloop.spec.energy_table import load_energy_table
from hwloop.spec.mapping import load_mapping
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.validate.compare import compare_costs

from .conftest import ENERGIES, make_dataflow
from .independent import broken

PROBLEM = make_problem(conv2d_shape(), {"C": 4, "M": 4, "P": 4, "R": 3})
ARCHITECTURE = replace(make_dataflow("weight_stationary", 64), constraints=Constraints())
TABLE = load_energy_table(ENERGIES)
SPACES = ("Weights", "Inputs", "Outputs")


def drawn_targets(rng: np.random.Generator) -> list[dict[str, Any]]:
    def some(options: list[str], most: int) -> list[str]:
        chosen = rng.permutation(options)[: rng.integers(most + 1)]
        return [str(c) for k, c in enumerate(chosen) if c[0] not in {o[0] for o in chosen[:k]}]

    keep = some(list(SPACES), 2)
    return [
        {"target": "glb", "type": "temporal", "factors": some(["C=2", "M<=2", "R=3", "P<=2", "C<=1"], 3),
         "permutation": [["P", "C"], ["R", "M"], ["M"], []][rng.integers(4)]},
        {"target": "reg", "type": "temporal", "factors": some(["R=3", "C<=2", "M=1", "P<=2"], 2),
         "no_reuse": some(list(SPACES), 1)},
        {"target": "inter_PE_spatial", "type": "spatial", "factors": some(["C<=2", "M=4", "P=1"], 2),
         "permutation": ["C", "N", "P", "Q", "R", "S", "M"], "split": int(rng.integers(1, 7)),
         "no_link_transfer": some(list(SPACES), 1), "no_reuse": some(list(SPACES), 1)},
        {"target": "glb", "type": "dataspace", "keep": keep, "bypass": [s for s in some(list(SPACES), 1) if s not in keep]},
        {"target": "reg", "type": "dataspace", "keep": ["Weights"], "bypass": ["Inputs", "Outputs"]},
    ]  # fmt: skip


def found_under(targets: list[dict[str, Any]]) -> MapResult | None:
    try:
        return map_problem(PROBLEM, ARCHITECTURE, TABLE, load_constraints(targets), objective="energy", effort="quick")
    except InfeasibleMappingError:
        return None


def flags_of(entries: list[dict[str, Any]]) -> dict[tuple[str, str, str], set[str]]:
    names = ("no_reuse", "no_link_transfer")
    return {(e["target"], e["type"], name): set(e[name]) for e in entries for name in names if e.get(name)}


def test_found_mappings_carry_the_flags_of_their_set() -> None:
    seen = 0
    for seed in range(6):
        targets = drawn_targets(np.random.default_rng(seed))
        found = found_under(targets)
        if found is not None and flags_of(targets):
            seen += 1
            assert flags_of(found.mapping.to_list()) == flags_of(targets)
    assert seen >= 3


@pytest.mark.timeloop
def test_the_real_program_accepts_what_was_found() -> None:
    real, seen = Timeloop.find(), 0
    for seed in range(20):
        targets = drawn_targets(np.random.default_rng(seed))
        found = found_under(targets)
        if found is None:
            continue
        seen += 1
        factors = load_constraints([{k: r[k] for k in ("target", "type", "factors")} for r in targets if "factors" in r])
        document = model_input(PROBLEM, ARCHITECTURE, found.mapping, TABLE)
        document["architecture_constraints"] = mapper_input(PROBLEM, ARCHITECTURE, TABLE, factors, {})["architecture_constraints"]
        assert real.run_model(document)
        theirs = real.simulate(PROBLEM, ARCHITECTURE.with_constraints(load_constraints(targets)), found.mapping, TABLE)
        assert [d for equal, d in compare_costs(found.cost, theirs) if not equal] == []
        fan_outs = {level.name: ARCHITECTURE.fanout[i] for i, level in enumerate(ARCHITECTURE.storage)}
        assert broken(targets, found.mapping.to_list(), PROBLEM.sizes, fan_outs, 0) == []
    assert seen >= 10


@pytest.mark.timeloop
def test_the_real_program_refuses_broken_factors() -> None:
    constraints = load_constraints([{"target": "glb", "type": "temporal", "factors": ["C=2"]}])
    wrong = load_mapping(
        [
            {"target": "DRAM", "type": "temporal", "factors": "C4 M4 P4 R3", "permutation": "CMPRSNQ"},
            *({"target": t, "type": "bypass", "keep": list(SPACES), "bypass": []} for t in ("DRAM", "glb")),
            {"target": "reg", "type": "bypass", "keep": ["Weights"], "bypass": ["Inputs", "Outputs"]},
        ]
    )
    batch = MappingBatch.from_mappings([wrong], PROBLEM.shape, PROBLEM.bounds, ARCHITECTURE)
    whole = batch.to_mapping(0, PROBLEM.shape, ARCHITECTURE)
    document = model_input(PROBLEM, ARCHITECTURE, whole, TABLE)
    assert Timeloop.find().run_model(document)
    document["architecture_constraints"] = mapper_input(PROBLEM, ARCHITECTURE, TABLE, constraints, {})["architecture_constraints"]
    with pytest.raises(SimulatorError, match="mapping violates architecture constraints"):
        Timeloop.find().run_model(document)
