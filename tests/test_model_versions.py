"""An answer that changes under the same model version would be a stale hit in somebody's memo table: it fails here."""

from __future__ import annotations

import json

import pytest

from hwloop.backend.embedded import Embedded
from hwloop.mapper import version as mapper_version
from hwloop.simulator import version as simulator_version

from . import model_answers
from .model_answers import RECORDED, digests


def test_answers_change_only_with_the_version() -> None:
    recorded = json.loads(RECORDED.read_text())
    for model, (version, digest) in digests().items():
        advice = f"raise MODEL_VERSION in the {model}'s version.py, then run python tools/record_model_versions.py"
        assert str(version) in recorded[model], f"{model}: version {version} is not recorded: {advice}"
        assert recorded[model][str(version)] == digest, f"{model}: its answers have changed under version {version}: {advice}"


def test_versions_are_in_the_identity_and_no_digest_stands_twice() -> None:
    assert f"mapper {mapper_version.MODEL_VERSION}, simulator {simulator_version.MODEL_VERSION}" in Embedded().identity
    for model, versions in json.loads(RECORDED.read_text()).items():
        assert len(set(versions.values())) == len(versions), f"{model}: two versions with the same answers"


def test_a_change_of_any_kind_changes_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [{"energy_pj": 1.0, "components": {"DRAM": {"reads": 10}}}]
    base = model_answers._digest(iter(answers))
    assert model_answers._digest(iter([{"components": {"DRAM": {"reads": 10}}, "energy_pj": 1.0 + 1e-13}])) == base
    for other in ({"energy_pj": 1.000001, "components": answers[0]["components"]}, {"energy_pj": 1.0}, ["glb", ""]):
        assert model_answers._digest(iter([other])) != base
