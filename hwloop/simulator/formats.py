"""Representation formats: what it takes to say where a tile's nonzeros are, rank by rank.

Sparseloop, MICRO 2022, section 5.3.3 and figure 3: a tile is a tree of fibers, one rank a level of the tree. A rank has
`fibers` fibers (those that are not empty), each with room for `shape` coordinates, of which `present` are not empty. A format
says how many metadata words (coordinates, run lengths, bits) and payload words (offsets into the next rank) that takes.
The innermost rank's payloads are the values themselves and are not counted here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

COMPRESSED = frozenset({"CP", "B", "RLE"})  # formats that drop empty coordinates


@dataclass(frozen=True)
class Rank:
    """One rank of a format, ready to be counted.

    Attributes:
        kind: UOP, CP, B, RLE or UB.
        metadata_bits: bits of a metadata word.
        payload_bits: bits of a payload word.
        groups: sets of dimension indices that this rank may flatten; empty when any one dimension will do.
    """

    kind: str
    metadata_bits: int
    payload_bits: int
    groups: tuple[frozenset[int], ...] = ()

    @property
    def compressed(self) -> bool:
        """Whether empty coordinates are left out."""
        return self.kind in COMPRESSED


def rank_words(kind: str, most_fibers: int, shape: int, fibers_empty: Floats, coordinates_empty: Floats) -> tuple[Any, Any]:
    """Words of one rank of a tile.

    Args:
        kind: the rank's format.
        most_fibers: fibers there would be were the tile dense.
        shape: coordinates a fiber has room for.
        fibers_empty: probability that a fiber of this rank is empty, by case.
        coordinates_empty: probability that a coordinate of it is, by case.

    Returns:
        (metadata words, payload words), by case or a number for all cases:

        - UOP, uncompressed offset pairs: an offset a coordinate and one more (the row pointers of CSR).
        - CP, coordinate and payload: both for each nonempty coordinate (CSR's columns; COO when flattened).
        - B, bitmask: a bit a coordinate, a payload for each nonempty one.
        - RLE, run-length encoding: a run length and a payload for each nonempty coordinate.
        - UB, uncompressed with a bitmask: a bit and a payload a coordinate, empty or not.
    """
    if kind == "UB":
        return most_fibers * shape, most_fibers * shape
    fibers = most_fibers * (1.0 - fibers_empty)
    if kind == "UOP":
        return 0, fibers * (shape + 1)
    present = shape * (1.0 - coordinates_empty)
    if kind != "RLE":
        present = np.ceil(present)
    words = present * fibers
    return (fibers * shape, words) if kind == "B" else (words, words)


def tile_words(ranks: tuple[Rank, ...], shapes: tuple[int, ...], empty: list[Floats], top_kept: bool) -> Floats:
    """Words of all ranks of a tile.

    The innermost rank that takes words has no payload: that is the values themselves.

    Args:
        ranks: innermost first.
        shapes: size of a fiber of each rank, innermost first.
        empty: by case, the probability that a fiber of rank r is empty is `empty[r + 1]`, that a coordinate of it is, `empty[r]`.
        top_kept: a rank with fibers of 1 costs nothing, but for the outermost (True) or the innermost (False), whichever is
            assigned to loops first.

    Returns:
        `(rank, 2, case)`: metadata and payload words by rank, innermost first.
    """
    out = np.zeros((len(ranks), 2, len(empty[0])))
    fibers = 1
    first = len(ranks) - 1 if top_kept else 0
    innermost = next((r for r, shape in enumerate(shapes) if shape != 1 or r == first), 0)
    for r in range(len(ranks) - 1, -1, -1):
        if shapes[r] != 1 or r == first:
            out[r, 0], payload = rank_words(ranks[r].kind, fibers, shapes[r], empty[r + 1], empty[r])
            if r != innermost:
                out[r, 1] = payload
        fibers *= shapes[r]
    return out
