"""What a tile holds: expected and largest occupancy, and the metadata of its format (MICRO 2022 section 5.3.3).

Everything here is a function of one tile; `Lookup` keeps their answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from hwloop.simulator.density import DensityModel, Key
from hwloop.simulator.formats import Rank, tile_words

Words = tuple[float, ...]  # metadata and payload words of each rank in turn, innermost first

# Tiles of fewer vectors than this fill their vectors unevenly: by words in a vector, for densities of 0.1, 0.2, ... 1.0 (values
# of the real program).
_EVEN_FROM: dict[int, tuple[int, ...]] = {
    2: (251, 125, 84, 63, 51, 42, 36, 32, 28, 1),
    4: (375, 188, 125, 94, 75, 63, 54, 47, 42, 1),
    8: (438, 219, 146, 110, 88, 73, 63, 55, 49, 1),
    16: (469, 235, 157, 118, 94, 79, 67, 59, 52, 1),
    32: (485, 243, 162, 122, 97, 81, 70, 61, 52, 1),
}


@dataclass(frozen=True)
class Format:
    """A data space's format at a level, ready to be counted.

    Attributes:
        ranks: innermost first.
        outer_to_inner: whether ranks are assigned to loops from the outermost loop inwards.
    """

    ranks: tuple[Rank, ...]
    outer_to_inner: bool = True

    @property
    def compressed(self) -> bool:
        """Whether zeros are left out."""
        return any(rank.compressed for rank in self.ranks)


@dataclass(frozen=True)
class Tree:
    """A tile's tree of fibers: `shapes[r]` coordinates in a fiber of rank r, each standing for a subtile `parts[r]`."""

    shapes: tuple[int, ...]
    parts: tuple[Key, ...]


@dataclass(frozen=True)
class Holding:
    """What a tile holds on average.

    Attributes:
        occupancy: expected nonzeros, of the tiles that are held at all.
        held: fraction of tiles that are held: those not empty, when the level above can tell.
        words: expected metadata and payload words, rank by rank, innermost first; empty without a format.
        largest: likewise of the fullest tile there can be.
    """

    occupancy: float
    held: float
    words: Words = ()
    largest: Words = ()


def expected_holding(
    model: DensityModel, tile: Key, size: int, form: Format | None, tree: Tree | None, parent_knows: bool
) -> Holding:
    """The expected occupancy and metadata of a tile.

    Args:
        model: density of the tensor.
        tile: the tile, as its loops have it.
        size: its values; fewer than the loops cover when factors are imperfect.
        form: its format, None when it has none.
        tree: its tree of fibers, with a format.
        parent_knows: whether the level above has metadata, so that empty tiles are never sent. The real program then drops the
            first possible occupancy whenever the least one is 0, also where that occupancy is not 0 itself; so does this.
    """
    counts, probabilities = model.occupancies(tile)
    least = model.least_occupancy(tile, size)
    counts, probabilities = counts[counts >= least], probabilities[counts >= least]
    held = 1.0
    if parent_knows and least == 0:
        held = 1.0 - float(probabilities[0])
        if held > 0.0:
            probabilities = probabilities / held
        probabilities = probabilities.copy()
        probabilities[0] = 0.0
    occupancy = _sums(counts * probabilities)
    if form is None or tree is None:
        return Holding(float(occupancy), held)
    cases = np.append(counts, model.most_occupancy(tile))  # the fullest tile comes last
    known = (size,) if model.by_size else tile
    empty = [model.empty_within(part, known, cases) for part in (*tree.parts, tile)]
    by_case = tile_words(form.ranks, tree.shapes, empty, form.outer_to_inner).reshape(-1, len(cases))
    words = _sums(by_case[:, :-1] * probabilities)
    return Holding(float(occupancy), held, tuple(words.tolist()), tuple(by_case[:, -1].tolist()))


def _sums(terms: Any) -> Any:
    """Sums along the last axis, term by term as the real program forms them: rounding up follows, so the last bit counts."""
    return np.cumsum(terms, axis=-1)[..., -1] if terms.shape[-1] else np.zeros(terms.shape[:-1])


def metadata_bits(form: Format, words: Words) -> int:
    """Bits that these words take, rounded up."""
    bits = [b for rank in form.ranks for b in (rank.metadata_bits, rank.payload_bits)]
    return ceil(sum(count * b for count, b in zip(words, bits, strict=True)))


def vector_ratio(model: DensityModel, tile: Key, size: int, density: float, block_size: int) -> float:
    """Vector accesses of a compressed tile relative to its words / block size: small tiles leave their last vector part empty."""
    if block_size <= 1 or not density < 1.0 or size == 0 or block_size not in _EVEN_FROM:
        return 1.0
    column = int(density / 0.1) - 1 if density >= 0.1 else 0
    if _EVEN_FROM[block_size][column] <= size // block_size or density <= 0.0:
        return 1.0
    counts, probabilities = model.occupancies(tile)
    return float(_sums(np.ceil(counts / block_size) * probabilities)) / (size * density / block_size)


class Lookup:
    """Remembers what functions of tiles returned, a cache for each kind of question."""

    def __init__(self, limit: int = 1 << 18) -> None:
        self._caches: dict[tuple[Any, ...], dict[Key, Any]] = {}
        self._limit = limit

    def cache(self, *question: Any) -> dict[Key, Any]:
        """The cache of one kind of question, emptied when it has grown past the limit."""
        found = self._caches.setdefault(question, {})
        if len(found) > self._limit:
            found.clear()
        return found
