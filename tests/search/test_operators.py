from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.search.operators import integer_sbx, mutate, sample

LOWER, UPPER = np.array([0, 2, 2, 2]), np.array([9, 16, 16, 16])
GROUPS = ((0, 1), (1, 4))


def rows(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(LOWER, UPPER + 1, (count, 4))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 30))
def test_operators_stay_in_the_space_and_repeat_with_the_seed(seed: int, count: int) -> None:
    X = rows(count, seed)
    first = sample(count, LOWER, UPPER, GROUPS, X[:3], np.random.default_rng(seed))
    again = sample(count, LOWER, UPPER, GROUPS, X[:3], np.random.default_rng(seed))
    children = integer_sbx(np.stack([X, first]), LOWER, UPPER, 8.0, 0.5, np.random.default_rng(seed))
    mutants = mutate(X, LOWER, UPPER, GROUPS, 1.0, 0.15, np.random.default_rng(seed))
    assert np.array_equal(first, again)
    for out in (first, *children, mutants):
        assert out.shape == X.shape
        assert out.dtype == np.int64
        assert (out >= LOWER).all()
        assert (out <= UPPER).all()


def test_sampling_begins_with_the_anchors() -> None:
    anchors = rows(4, 1)
    assert np.array_equal(sample(10, LOWER, UPPER, GROUPS, anchors, np.random.default_rng(0))[:4], anchors)
    assert np.array_equal(sample(4, LOWER, UPPER, GROUPS, anchors, np.random.default_rng(0))[:2], anchors[:2])


def test_crossover_keeps_the_mean_away_from_the_ends() -> None:
    parents = np.stack([np.full((4000, 4), 7), np.full((4000, 4), 9)])
    children = integer_sbx(parents, np.zeros(4, int), np.full(4, 100), 8.0, 1.0, np.random.default_rng(0))
    assert children.mean() == pytest.approx(8.0, abs=0.05)
    assert np.array_equal(integer_sbx(parents, np.zeros(4, int), np.full(4, 100), 8.0, 0.0, np.random.default_rng(0)), parents)


def test_mutation_steps_about_one_variable_a_group_and_shifts_groups_together() -> None:
    X = np.full((4000, 4), 8)
    X[:, 0] = 5
    single = mutate(X, LOWER, UPPER, GROUPS, 1.0, 0.0, np.random.default_rng(0))
    assert (single[:, 1:] != X[:, 1:]).sum(axis=1).mean() == pytest.approx(1.0, abs=0.1)
    shifted = mutate(X, LOWER, UPPER, GROUPS, 0.0, 1.0, np.random.default_rng(0))
    assert (abs(shifted[:, 1:] - 8) == 1).all()
    assert (shifted[:, 1:] == shifted[:, 1:2]).all()
    assert (shifted[:, 0] == 5).all()
