"""A bounded part of `tools/fuzz_inputs.py` over what hwloop keeps: tables, run folders, checkpoints, command lines."""

from __future__ import annotations

from random import Random

import pytest

from .store_cases import STORES

COUNTS = {"bank": 25, "memo": 12, "run_folder": 25, "checkpoint": 25, "command": 12}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", sorted(COUNTS))
def test_damage_is_said_and_never_trusted(kind: str) -> None:
    outcomes = [STORES[kind](Random(f"2024-{kind}-{number}")) for number in range(COUNTS[kind])]
    assert any(outcome.startswith("refused") for outcome in outcomes)
