"""Random small cases: a problem, an accelerator, an energy table and a mapping, drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import hwloop
from hwloop.backend.timeloop.stats import parse_stats
from hwloop.simulator import LayerCost
from hwloop.spec.architecture import Architecture
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.mapping import Bypass, Loops, Mapping
from hwloop.spec.problem import Problem, conv2d_shape, make_problem

HEAD = """
architecture:
  version: 0.4
  nodes:
  - !Container {name: system, attributes: {technology: "45nm", global_cycle_seconds: 1e-9}}
  - !Component {name: DRAM, class: DRAM, attributes: {width: 64, datawidth: 16}}
"""
GLB = (
    "  - !Component {{name: glb, class: SRAM, attributes: "
    "{{width: 64, datawidth: 16, depth: {depth}, read_bandwidth: 4, write_bandwidth: 3}}}}\n"
)
RF = "  - !Component {{name: rf, class: SRAM, attributes: {{width: 16, datawidth: 16, depth: {depth}}}}}\n"
MAC = "  - !Component {name: mac, class: intmac, attributes: {datawidth: 16}}\n"
ARRAY = "  - !Container {{name: PE, spatial: {{meshX: {x}, meshY: {y}}}}}\n"
COLUMN = "  - !Container {{name: column, spatial: {{meshX: {x}, meshY: 1}}}}\n"


def _architectures(depth: int) -> list[str]:
    glb, rf = GLB.format(depth=depth), RF.format(depth=depth)
    return [
        HEAD + glb + ARRAY.format(x=4, y=3) + rf + MAC,
        HEAD + glb + COLUMN.format(x=4) + ARRAY.format(x=1, y=4) + rf + MAC,
        HEAD + glb + ARRAY.format(x=4, y=4) + MAC,
        HEAD + glb + ARRAY.format(x=12, y=1) + rf + MAC,
        HEAD + glb + rf + MAC,
    ]


CONV1D = {
    "name": "conv1d",
    "dimensions": ["C", "K", "R", "P"],
    "coefficients": [{"name": "stride", "default": 1}],
    "data_spaces": [
        {"name": "Weights", "projection": [[["C"]], [["K"]], [["R"]]]},
        {"name": "Inputs", "projection": [[["C"]], [["R"], ["P", "stride"]]]},
        {"name": "Outputs", "projection": [[["K"]], [["P"]]], "read_write": True},
    ],
}
MATMUL = {
    "name": "matmul",
    "dimensions": ["M", "N", "K"],
    "data_spaces": [
        {"name": "A", "projection": [[["M"]], [["K"]]]},
        {"name": "B", "projection": [[["K"]], [["N"]]]},
        {"name": "Z", "projection": [[["M"]], [["N"]]], "read_write": True},
    ],
}
SHARED_RANKS = {
    "name": "shared_ranks",
    "dimensions": ["A", "B", "C"],
    "data_spaces": [
        {"name": "X", "projection": [[["A"], ["B"]], [["B"], ["C"]]]},
        {"name": "W", "projection": [[["A"]], [["A"], ["C"]]]},
        {"name": "Z", "projection": [[["B"]], [["C"]]], "read_write": True},
    ],
}


@dataclass(frozen=True)
class Case:
    """Everything a simulation takes."""

    problem: Problem
    architecture: Architecture
    energy_table: EnergyTable
    mapping: Mapping


def draw_case(seed: int, imperfect: bool = False, depth: int = 10**5, like: Case | None = None) -> Case:
    """A random case, or `like` with another mapping. `imperfect` cuts some factors short in the last pass."""
    rng = random.Random(seed)
    if like is not None:
        return replace(like, mapping=_mapping(rng, like.problem, like.architecture, imperfect))
    problem = _problem(rng)
    architecture = _load(rng.choice(_architectures(depth)))
    table = {level.name: _actions(rng) for level in architecture.storage if level.kind != "spatial"}
    energy_table = hwloop.load_energy_table({**table, "mac": {"compute": 1.25}})
    return Case(problem, architecture, energy_table, _mapping(rng, problem, architecture, imperfect))


_LOADED: dict[str, Architecture] = {}


def _load(text: str) -> Architecture:
    if text not in _LOADED:
        _LOADED[text] = hwloop.load_architecture(text)
    return _LOADED[text]


def _actions(rng: random.Random) -> dict[str, float]:
    return {"read": rng.uniform(1, 9), "write": rng.uniform(1, 9), "leak": rng.choice([0.0, 0.01])}


def _problem(rng: random.Random) -> Problem:
    kind = rng.randrange(5)
    if kind < 2:
        sizes = {"C": [1, 2, 4], "M": [1, 3, 4], "R": [1, 2, 3], "S": [1, 3], "P": [2, 4, 6], "Q": [1, 4, 6]}
        sizes |= {"Wstride": [1, 1, 2], "Hstride": [1, 2], "Wdilation": [1, 1, 2]}
        if kind == 1:
            del sizes["M"]
        return make_problem(conv2d_shape(depthwise=kind == 1), {k: rng.choice(v) for k, v in sizes.items()})
    shape, choices = [
        (CONV1D, {"C": [1, 2], "K": [2, 6], "R": [2, 3, 4], "P": [4, 8, 12], "stride": [1, 1, 2]}),
        (MATMUL, {"M": [4, 6], "N": [4, 6], "K": [4, 8, 9]}),
        (SHARED_RANKS, {"A": [2, 4, 6], "B": [2, 3, 4], "C": [2, 6, 8]}),
    ][kind - 2]
    return hwloop.load_problem({"version": 0.4, "instance": {k: rng.choice(v) for k, v in choices.items()}, "shape": shape})


def _mapping(rng: random.Random, problem: Problem, architecture: Architecture, imperfect: bool) -> Mapping:
    dims, spaces = problem.shape.dimensions, [d.name for d in problem.shape.data_spaces]
    left = dict(problem.sizes)
    loops: list[Loops] = []

    def take(d: str, most: int) -> tuple[int, int]:
        if imperfect and left[d] > 2 and rng.random() < 0.3:
            bound = rng.randint(1, min(most, left[d]))
        else:
            bound = rng.choice([f for f in range(1, min(most, left[d]) + 1) if left[d] % f == 0])
        passes = -(-left[d] // bound)
        rest = left[d] - (passes - 1) * bound
        left[d] = passes
        return bound, rest

    for i in range(len(architecture.storage) - 1, -1, -1):
        level = architecture.storage[i]
        if architecture.fanout[i] != (1, 1):
            room, split, order = list(architecture.fanout[i]), rng.randint(0, len(dims)), rng.sample(dims, len(dims))
            factors = []
            for j, d in enumerate(order):
                bound, rest = take(d, room[j >= split]) if rng.random() < 0.7 else (1, 1)
                room[j >= split] //= bound
                factors.append((d, bound, rest))
            loops.append(Loops(level.name, "spatial", tuple(factors), tuple(order), split))
        if level.kind != "spatial":
            factors = [(d, *take(d, left[d])) if i else (d, left[d], left[d]) for d in dims]
            loops.append(Loops(level.name, "temporal", tuple(factors), tuple(rng.sample(dims, len(dims)))))
    bypass = []
    for i, level in enumerate(architecture.storage):
        kept = () if level.kind == "spatial" else tuple(s for s in spaces if i == 0 or rng.random() < 0.75)
        bypass.append(Bypass(level.name, kept, tuple(s for s in spaces if s not in kept)))
    return Mapping(tuple(loops), tuple(bypass))


@pytest.fixture(scope="session")
def random_case() -> Callable[..., Case]:
    """`random_case(seed, imperfect=False, depth=..., like=None)`."""
    return draw_case


@pytest.fixture
def replay_upstream(shared: Path) -> Callable[[str], tuple[LayerCost, dict[str, Any]]]:
    """Simulates a public example run, and reads what the real program said of it."""

    def replay(name: str) -> tuple[LayerCost, dict[str, Any]]:
        folder = shared / "reference" / "upstream" / name
        document = yaml.safe_load((folder / "input.yaml").read_text())
        mapping = folder / "mapping.yaml"
        cost = hwloop.simulate(
            hwloop.load_problem({"problem": document["problem"]}),
            hwloop.load_architecture(folder / "input.yaml"),
            hwloop.load_mapping(mapping if mapping.exists() else {"mapping": document["mapping"]}),
            hwloop.load_energy_table(folder / "ERT.yaml"),
        )
        return cost, parse_stats((folder / "stats.txt").read_text())

    return replay
