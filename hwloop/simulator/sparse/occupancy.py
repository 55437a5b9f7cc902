"""What tiles hold: expected and largest occupancy, and the metadata of their format (MICRO 2022 section 5.3.3).

Everything here is a function of single tiles, given many at a time, a row each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.simulator.density import DensityModel, Floats, Ints
from hwloop.simulator.formats import Rank, tile_words

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
    """The tiles' trees of fibers.

    Attributes:
        shapes: `(rank, row)` coordinates in a fiber of each rank, innermost first.
        parts: by rank, the subtiles `(row, key)` that a coordinate stands for.
    """

    shapes: Ints
    parts: tuple[Ints, ...]


@dataclass(frozen=True)
class Holding:
    """What tiles hold on average, a row each.

    Attributes:
        occupancy: expected nonzeros, of the tiles that are held at all.
        held: fraction of tiles that are held: those not empty, when the level above can tell.
        words: `(row, 2 x rank)` expected metadata and payload words of each rank in turn, innermost first.
        largest: likewise of the fullest tile there can be.
        vectors: expected vectors of `block_size` words in a tile, its last one part empty.
    """

    occupancy: Floats
    held: Floats
    words: Floats
    largest: Floats
    vectors: Floats


def expected_holding(
    model: DensityModel, tiles: Ints, sizes: Ints, form: Format | None, tree: Tree | None, parent_knows: bool, blocks: Ints
) -> Holding:
    """The expected occupancy and metadata of tiles.

    Args:
        model: density of the tensor.
        tiles: `(row, key)` the tiles, as their loops have them.
        sizes: `(row,)` their values; fewer than the loops cover when factors are imperfect.
        form: their format, None when they have none.
        tree: their trees of fibers, with a format.
        parent_knows: whether the level above has metadata, so that empty tiles are never sent. The real program then drops the
            first possible occupancy whenever the least one is 0, also where that occupancy is not 0 itself; so does this.
        blocks: `(row,)` words in a vector.
    """
    counts, chances = model.occupancies(tiles)
    vectors = _sums(np.ceil(counts / blocks[:, None]) * chances)
    least = model.least_occupancy(tiles, sizes)
    chances = np.where(counts >= least[:, None], chances, 0.0)
    held = np.ones(len(tiles))
    if parent_knows:
        drops = least == 0
        held = np.where(drops, 1.0 - chances[:, 0], 1.0)
        chances = chances / np.where(held > 0.0, held, 1.0)[:, None]
        chances[drops, 0] = 0.0
    occupancy = _sums(counts * chances)
    if form is None or tree is None:
        nothing = np.zeros((len(tiles), 0))
        return Holding(occupancy, held, nothing, nothing, vectors)
    cases = np.concatenate([counts, model.most_occupancy(tiles)[:, None]], axis=1)
    known = sizes[:, None] if model.by_size else tiles
    empty = [model.empty_within(part, known, cases) for part in (*tree.parts, tiles)]
    by_case = tile_words(form.ranks, tree.shapes, empty, form.outer_to_inner).reshape(-1, *cases.shape)
    return Holding(occupancy, held, _sums(by_case[..., :-1] * chances).T, by_case[..., -1].T, vectors)


def _sums(terms: Floats) -> Floats:
    """Sums along the last axis, term by term as the real program forms them: rounding up follows, so the last bit counts."""
    sums: Floats = np.cumsum(terms, axis=-1)[..., -1]
    return sums


def metadata_bits(form: Format, words: Floats) -> Floats:
    """`(row,)` bits that these words `(row, 2 x rank)` take, rounded up."""
    total = np.zeros(len(words))
    for column, width in enumerate(b for rank in form.ranks for b in (rank.metadata_bits, rank.payload_bits)):
        total = total + words[:, column] * width
    return np.ceil(total)


def vector_ratio(vectors: Floats, sizes: Ints, densities: Floats, blocks: Ints) -> Floats:
    """Vector accesses of compressed tiles relative to their words / block size: small tiles leave their last vector part empty.

    Args:
        vectors: `(row,)` vectors in a tile, expected.
        sizes: `(row,)` values in a tile.
        densities: `(row,)` expected densities.
        blocks: `(row,)` words in a vector.
    """
    out = np.ones(len(sizes))
    column = np.where(densities >= 0.1, np.clip(densities / 0.1, 1, 10).astype(np.int64) - 1, 0)
    for block, limits in _EVEN_FROM.items():
        few = np.array(limits)[column] > sizes // block
        uneven: NDArray[np.bool_] = (blocks == block) & (densities < 1.0) & (densities > 0.0) & few & (sizes > 0)
        out[uneven] = vectors[uneven] / (sizes[uneven] * densities[uneven] / block)
    return out
