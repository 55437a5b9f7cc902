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
Ints = NDArray[np.int64]

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


def rank_words(kind: str, most_fibers: Any, shape: Any, fibers_empty: Floats, coordinates_empty: Floats) -> tuple[Any, Any]:
    """Words of one rank of some tiles.

    Args:
        kind: the rank's format.
        most_fibers: fibers there would be were the tile dense, a number or `(tile, 1)`.
        shape: coordinates a fiber has room for, likewise.
        fibers_empty: `(tile, case)` probability that a fiber of this rank is empty.
        coordinates_empty: `(tile, case)` probability that a coordinate of it is.

    Returns:
        (metadata words, payload words), each `(tile, case)` or what broadcasts to it:

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


def tile_words(ranks: tuple[Rank, ...], shapes: Ints, empty: list[Floats], top_kept: bool) -> Floats:
    """Words of all ranks of some tiles.

    The innermost rank that takes words has no payload: that is the values themselves.

    Args:
        ranks: innermost first.
        shapes: `(rank, tile)` size of a fiber of each rank, innermost first.
        empty: the probability `(tile, case)` that a fiber of rank r is empty is `empty[r + 1]`, that a coordinate of it is,
            `empty[r]`.
        top_kept: a rank with fibers of 1 costs nothing, but for the outermost (True) or the innermost (False), whichever is
            assigned to loops first.

    Returns:
        `(rank, 2, tile, case)`: metadata and payload words by rank, innermost first.
    """
    out = np.zeros((len(ranks), 2, *empty[0].shape))
    counted = shapes != 1
    counted[len(ranks) - 1 if top_kept else 0] = True
    innermost = np.argmax(counted, axis=0)
    fibers = np.ones(shapes.shape[1], np.int64)
    for r in range(len(ranks) - 1, -1, -1):
        words, payloads = rank_words(ranks[r].kind, fibers[:, None], shapes[r][:, None], empty[r + 1], empty[r])
        out[r, 0] = np.where(counted[r][:, None], words, 0.0)
        out[r, 1] = np.where((counted[r] & (innermost != r))[:, None], payloads, 0.0)
        fibers = fibers * shapes[r]
    return out
