"""What each backend's model answers to a fixed set of questions, as one digest a model.

A memo table serves what a model of the same version answered, so that an answer which changes under the same version is a stale
hit for somebody. `tests/test_model_versions.py` compares the digests with those recorded in `data/model_versions.json`;
`python tools/record_model_versions.py` records them after a `MODEL_VERSION` was raised.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import hwloop
from hwloop import InfeasibleMappingError
from hwloop.backend.embedded import map_one
from hwloop.backend.request import MapperSettings, MapRequest
from hwloop.backend.target import make_targets
from hwloop.backend.timeloop import version as timeloop_version
from hwloop.backend.timeloop.inputs import mapper_input
from hwloop.backend.timeloop.programs import Timeloop
from hwloop.mapper import version as mapper_version
from hwloop.mapper.result import MapResult
from hwloop.simulator import version as simulator_version
from hwloop.spec.bits import operand_bits
from hwloop.spec.levels import Architecture
from hwloop.spec.problem import Problem, conv2d_shape, make_problem

from .timeloop_runs import RUN_NAMES, Recorded, read_recorded

DATA = Path(__file__).resolve().parent / "data"
RECORDED = DATA / "model_versions.json"
DIGITS = 9  # floats count to this many digits: the last ones are the machine's

Answers = Iterator[Any]


QUICK = MapperSettings("edp", "quick")


@dataclass(frozen=True)
class Question:
    """One thing the mapper is asked."""

    arch: str
    flow: str | None
    problem: Problem
    settings: MapperSettings = QUICK
    bits: dict[str, int] = field(default_factory=dict)


def _conv(c: int, m: int, p: int, r: int, **more: Any) -> Problem:
    return make_problem(conv2d_shape(), {"C": c, "M": m, "P": p, "Q": p, "R": r, "S": r, **more})


_DEPTHWISE = make_problem(conv2d_shape(depthwise=True), {"C": 24, "P": 9, "Q": 9, "R": 3, "S": 3})
_ZEROS = {"Weights": 0.3, "Inputs": 0.6}
QUESTIONS = (
    Question("eyeriss_168", "row_stationary", _conv(16, 32, 14, 3)),
    Question("eyeriss_168", "row_stationary", _conv(16, 32, 14, 3), MapperSettings("energy", "quick", 1), operand_bits(4, 8)),
    Question("eyeriss_168", "row_stationary", _conv(3, 96, 55, 11, Wstride=4, Hstride=4), MapperSettings("cycles", "quick")),
    Question("tpu_like", None, make_problem(conv2d_shape(), {"N": 8, "C": 256, "M": 100})),
    Question("flexible", "output_stationary", _conv(61, 37, 7, 1), MapperSettings("edp", "normal")),
    Question("flexible", "weight_stationary", _DEPTHWISE),
    Question("flexible_skipping", "row_stationary", _conv(16, 16, 8, 3).with_densities(_ZEROS)),
    Question("flexible_skipping", "output_stationary", _conv(8, 24, 6, 3).with_densities(_ZEROS), bits=operand_bits(5, 7)),
    Question("tpu_like_compressed", None, _conv(32, 32, 4, 1).with_densities(_ZEROS)),
)
MAPPED_ONLY = (  # full arrays, where incomplete passes still save energy
    Question("shidiannao_like", None, _conv(128, 256, 56, 3), MapperSettings("energy", "normal")),
)


def digests() -> dict[str, tuple[int, str]]:
    """By model: its version, and the digest of its answers."""
    models: dict[str, tuple[int, Callable[[], Answers]]] = {
        "simulator": (simulator_version.MODEL_VERSION, simulator_answers),
        "mapper": (mapper_version.MODEL_VERSION, mapper_answers),
        "timeloop": (timeloop_version.MODEL_VERSION, timeloop_answers),
    }
    return {name: (version, _digest(answers())) for name, (version, answers) in models.items()}


def simulator_answers() -> Answers:
    """The costs of every recorded mapping, dense and sparse, and of those with bits of their own."""
    for file in sorted((DATA / "corpus").glob("*.jsonl.gz")):
        with gzip.open(file, "rt") as lines:
            for record in map(json.loads, lines):
                arguments = (hwloop.load_problem(record["problem"]), _architecture(record["arch"]))
                yield _cost(*arguments, hwloop.load_mapping(record["mapping"]), hwloop.load_energy_table(record["ert"]))
    for case in _timeloop_cases():
        for bits in (None, operand_bits(3, 5), operand_bits(24, 8)):
            yield _cost(case.problem, case.architecture, case.mapping, case.table, bits)
    orders = json.loads((DATA / "sparse_spatial_order.json").read_text())
    problem, arch = hwloop.load_problem(orders["problem"]), hwloop.load_architecture(json.dumps(orders["arch"]))
    for run in orders["runs"]:
        yield _cost(problem, arch, hwloop.load_mapping(run["mapping"]), hwloop.load_energy_table(orders["ert"]))


def mapper_answers() -> Answers:
    """The mapping found for each of `QUESTIONS` and `MAPPED_ONLY`."""
    for question in (*QUESTIONS, *MAPPED_ONLY):
        [target] = make_targets(question.arch, question.flow)
        request = MapRequest(
            question.problem,
            target.arch,
            target.table(question.bits),
            target.constraints,
            question.bits or None,
            question.settings,
        )
        found = map_one(request)
        yield [found.mapping.to_list(), found.value] if isinstance(found, MapResult) else [found.level, found.data_space]


def timeloop_answers() -> Answers:
    """What is written for the recorded runs of the real programs, and what is made of what they printed."""
    for case in _timeloop_cases():
        replay = _Replay("timeloop-model", None, "recorded")
        replay.stats.extend((run / "stats.txt").read_text() for run in sorted(case.folder.glob("run*")))
        yield replay.simulate(case.problem, case.architecture, case.mapping, case.table, case.bits).to_dict()
        yield replay.asked
    for question in QUESTIONS:
        [target] = make_targets(question.arch, question.flow)
        yield mapper_input(question.problem, target.arch, target.table(question.bits), target.constraints, {"timeout": 1})


@dataclass(frozen=True)
class _Replay(Timeloop):
    """Prints what the real program printed, and keeps what it was given."""

    stats: list[str] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)

    def run_model(self, document: Any) -> str:
        self.asked.append(document)
        return self.stats[len(self.asked) - 1]


def _timeloop_cases() -> list[Recorded]:
    return [read_recorded(name) for name in RUN_NAMES]


@cache
def _architecture(text: str) -> Architecture:
    architecture: Architecture = hwloop.load_architecture(text)
    return architecture


def _cost(problem: Any, arch: Any, mapping: Any, table: Any, bits: Any = None) -> Any:
    try:
        return hwloop.simulate(problem, arch, mapping, table, bits=bits).to_dict()
    except InfeasibleMappingError as refusal:
        return [refusal.level, refusal.data_space]


def _digest(answers: Answers) -> str:
    whole = hashlib.sha256()
    for answer in answers:
        whole.update(json.dumps(_plain(answer), sort_keys=True).encode())
    return whole.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if hasattr(value, "item"):  # a numpy number
        value = value.item()
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else value
