"""Formats against tiles laid out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hwloop.simulator.formats import Rank, rank_words, tile_words
from hwloop.simulator.hypergeometric import Hypergeometric
from hwloop.simulator.sparse.occupancy import (
    Format,
    Holding,
    Tree,
    expected_holding,
    metadata_bits,
    vector_ratio,
)

FULL, HALF = np.array([[0.0]]), np.array([[0.5]])


@pytest.mark.parametrize(
    ("kind", "metadata", "payload"),
    [
        ("UOP", 0, 3 * 5),  # 3 of 6 fibers are not empty, each with 4 offsets and one more
        ("CP", 3 * 2, 3 * 2),  # half of 4 coordinates
        ("RLE", 3 * 2, 3 * 2),
        ("B", 3 * 4, 3 * 2),
        ("UB", 6 * 4, 6 * 4),
    ],
)
def test_words_of_one_rank(kind: str, metadata: float, payload: float) -> None:
    found = rank_words(kind, 6, 4, HALF, HALF)
    assert [float(np.ravel(words)[0]) for words in found] == [metadata, payload]


def test_only_run_lengths_count_parts_of_a_coordinate() -> None:
    empty = np.array([[0.3]])
    assert rank_words("RLE", 1, 4, FULL, empty)[0][0, 0] == pytest.approx(2.8)
    assert rank_words("CP", 1, 4, FULL, empty)[0][0, 0] == 3.0
    assert rank_words("B", 1, 4, FULL, empty)[1][0, 0] == 3.0


def test_compressed_sparse_rows() -> None:
    """A 3 x 4 matrix with 6 nonzeros: 4 row pointers and 6 columns; the values are no metadata."""
    csr = (Rank("CP", 2, 3), Rank("UOP", 2, 3))
    words = tile_words(csr, np.array([[4], [3]]), [HALF, FULL, FULL], top_kept=True)
    assert words[..., 0, 0].tolist() == [[6.0, 0.0], [0.0, 4.0]]


def test_a_rank_of_one_coordinate_costs_nothing_unless_it_is_the_first_to_be_assigned() -> None:
    ranks = (Rank("CP", 4, 4), Rank("UOP", 4, 4))
    empty = [HALF, FULL, FULL]
    outward = tile_words(ranks, np.array([[8], [1]]), empty, top_kept=True)
    assert outward[:, 1, 0, 0].tolist() == [0.0, 2.0]
    inward = tile_words(ranks, np.array([[8], [1]]), empty, top_kept=False)
    assert inward[:, 1, 0, 0].tolist() == [0.0, 0.0]
    assert inward[0, 0, 0, 0] == 4.0


def holding(
    model: Hypergeometric, size: int, form: Format | None, tree: Tree | None, parent_knows: bool, block: int = 1
) -> Holding:
    tile = np.array([[size]])
    return expected_holding(model, tile, tile[:, 0], form, tree, parent_knows, np.array([block]))


def test_coordinate_list_of_an_expected_tile() -> None:
    """COO: one rank, as many coordinates as nonzeros, so the mean of one is the mean of the other."""
    form = Format((Rank("CP", 6, 0),))
    held = holding(Hypergeometric(0.25, 64), 16, form, Tree(np.array([[16]]), (np.array([[1]]),)), parent_knows=False)
    assert held.occupancy == pytest.approx(4.0)
    assert held.words.tolist() == [[pytest.approx(4.0), 0.0]]
    assert held.held.tolist() == [1.0]
    assert held.largest.tolist() == [[16.0, 0.0]]
    assert metadata_bits(form, held.largest).tolist() == [96]


def test_empty_tiles_are_not_sent_when_the_level_above_knows_them() -> None:
    held = holding(Hypergeometric(0.25, 8), 2, None, None, parent_knows=True)
    empty = 6 * 5 / (8 * 7)
    assert held.held == pytest.approx(1 - empty)
    assert held.occupancy == pytest.approx(2 * 0.25 / (1 - empty))


def test_a_tile_that_is_the_whole_tensor_is_kept() -> None:
    held = holding(Hypergeometric(0.25, 8), 8, None, None, parent_knows=True)
    assert (held.occupancy.tolist(), held.held.tolist()) == ([2.0], [1.0])


def ratio(model: Hypergeometric, size: int, density: float, block: int) -> float:
    vectors = holding(model, size, None, None, parent_knows=False, block=block).vectors
    return float(vector_ratio(vectors, np.array([size]), np.array([density]), np.array([block]))[0])


def test_part_filled_vectors() -> None:
    """A tile of 2 values with 1 nonzero in 2 of 3 cases: one access of a vector of two, whatever it holds."""
    model = Hypergeometric(0.5, 4)
    expected = (4 / 6 * 1 + 1 / 6 * 1) / (2 * 0.5 / 2)
    assert ratio(model, 2, 0.5, 2) == pytest.approx(expected)
    assert ratio(model, 2, 1.0, 2) == 1.0
    assert ratio(Hypergeometric(0.5, 10**6), 4096, 0.5, 2) == 1.0
