"""How values of some width lie in the rows of a storage level: what capacity, energy and bandwidth count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hwloop.simulator.numeric import Number, ceil_div, maximum


@dataclass(frozen=True)
class Packing:
    """How words of one width lie in the rows of a level. Numbers, or arrays `(candidate, 1)` where candidates differ.

    Attributes:
        bits: width of a word [bits].
        row_words: words in a row; 1 when a word is wider than a row.
        word_rows: rows a word takes; 1 unless it is wider than a row.
        bandwidth_scale: how many words of the level's `datawidth` the transfer of one of these takes.
    """

    bits: Number
    row_words: Number
    word_rows: Number
    bandwidth_scale: Number

    def rows(self, words: Number) -> Number:
        """Rows that so many words take."""
        if isinstance(self.row_words, np.ndarray):  # one of the two is 1
            return ceil_div(words, self.row_words) * self.word_rows
        if self.word_rows > 1:
            return words * self.word_rows
        return words if self.row_words == 1 else ceil_div(words, self.row_words)

    def rows_with(self, words: Number, others: Number, of: Packing) -> Number:
        """Rows of `words` and of `others` that lie as `of` says, counted together: equal packings give `rows` of both."""
        return ceil_div(
            words * self.word_rows * of.row_words + others * of.word_rows * self.row_words, self.row_words * of.row_words
        )


@dataclass(frozen=True)
class Waiting:
    """A result where it waits for its reader, at the outermost level that keeps it.

    Attributes:
        partial: how partial sums lie there.
        finished: how finished values do.
    """

    partial: Packing
    finished: Packing


class Rows(Protocol):
    """A storage level as far as its rows go: `block_size` words of `word_bits` each."""

    @property
    def word_bits(self) -> int:
        """`datawidth` [bits]."""

    @property
    def block_size(self) -> int:
        """Words of `word_bits` in a row."""


def pack(level: Rows, scale: Number, width: Number | None) -> Packing:
    """How words of `width` bits lie in the rows of a level; of its `datawidth` when None.

    Args:
        level: the level.
        scale: words of bandwidth that a word of the level's `datawidth` takes.
        width: bits of a word.
    """
    if width is None:
        return Packing(level.word_bits, level.block_size, 1, scale)
    row_bits = level.block_size * level.word_bits
    row_words, word_rows = maximum(row_bits // width, 1), ceil_div(width, row_bits)
    return Packing(width, row_words, word_rows, scale * level.block_size * word_rows / row_words)
