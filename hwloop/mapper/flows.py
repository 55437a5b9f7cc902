"""What moves between levels: the traffic into every tile, and what each order of the loops above would leave of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.mapper.mapspace import Mapspace
from hwloop.mapper.orders import order_choices
from hwloop.mapper.prices import Prices
from hwloop.mapper.view import Array, Mask, View, rank_extent
from hwloop.simulator.compiled import Compiled

Part = tuple[Array | float, Array | float]
Kept = dict[tuple[int, int], Mask]


@dataclass
class Traffic:
    """Words that one level's tile of one data space takes, over all instances.

    Attributes:
        words: under the worst order of the loops above; afterwards under the chosen one.
        asked: those that come from the parent; the others come from a neighbour.
        ratios: (level, rows where its order matters, by order choice what remains of `words` and what part of that is asked).
    """

    words: Array
    asked: Array
    ratios: list[tuple[int, NDArray[np.bool_], list[Part]]]


class Flows:
    """Traffic of tilings.

    Args:
        space: the mapspace.
        compiled: the simulator's view of levels and data spaces.
        prices: energy of words.
    """

    def __init__(self, space: Mapspace, compiled: Compiled, prices: Prices) -> None:
        self.compiled, self.prices = compiled, prices
        self.choices = order_choices(space, compiled)
        self._ruled = {level for level, rule in enumerate(space.orders) if rule.first or rule.last}
        self._sliding = [frozenset(d for rank in s.ranks if len(rank) > 1 for d, _ in rank) for s in compiled.spaces]

    def add(
        self,
        view: View,
        extents: list[list[Array]],
        sizes: dict[tuple[int, int], Array],
        kept: Kept,
        s: int,
        savings: dict[int, list[Array | float]],
        traffic: dict[tuple[int, int], Traffic],
    ) -> None:
        """The traffic into every level that keeps a data space, from the next one outward that does."""
        space, prices = self.compiled.spaces[s], self.prices
        serve: Array | float | None = None  # energy at the parent of a word that one child asks for [pJ]
        for index in range(len(self.compiled.levels)):
            if (index, s) in kept:
                mask = kept[index, s]
                if serve is not None:
                    costs = prices.fill[index, s], serve, prices.read[index, s]
                    traffic[index, s] = self._traffic(view, extents, sizes, index, s, costs, mask, savings)
                own: Array | float = prices.read[index, s] + (prices.update[index, s] if space.read_write else 0.0)
                if serve is None and (index, s) in prices.waiting:  # what an order saves are partial sums
                    own = prices.waiting[index, s].read + prices.waiting[index, s].update
                serve = own if mask is None or serve is None else np.where(mask, own, serve)
            if serve is not None and index in view.spread:
                serve = serve / view.irrelevant_spread(index, s)

    def _traffic(
        self,
        view: View,
        extents: list[list[Array]],
        sizes: dict[tuple[int, int], Array],
        level: int,
        s: int,
        costs: tuple[float, Array | float, float],
        mask: Mask,
        savings: dict[int, list[Array | float]],
    ) -> Traffic:
        """Words into the tile of `level`, and what each order of the loops above would save of their energy.

        Args:
            view: products over dimensions.
            extents: iterations by level and dimension.
            sizes: words of tiles.
            level: the level.
            s: the data space.
            costs: energy of a word for the fill, for the parent and, where a neighbour passes it on, for the neighbour [pJ].
            mask: where the level keeps the data space.
            savings: by level and order choice [pJ]; added to.
        """
        words = sizes[level, s] * view.instances[level]
        for above in range(level):
            if above in view.total:
                words = words * view.total[above]
        open_rows = np.ones(len(words), bool)
        ratios: list[tuple[int, NDArray[np.bool_], list[Part]]] = []
        for above in range(level - 1, -1, -1):
            if above not in view.total:
                continue
            moves = view.moves(above, s)
            resting = open_rows & ~moves
            if resting.any():
                words = np.where(resting, words / view.total[above], words)
            at = open_rows & moves
            open_rows = resting
            if at.any():
                links = self._links(view, extents[level], level, above, s)
                choice = self._ratios(view, extents[level], above, s, links)
                ratios.append((above, at, choice))
                if len(choice) > 1:
                    base = np.where(at if mask is None else at & mask, words, 0.0)
                    self._save(base, choice, costs, savings[above])
            if not open_rows.any():
                break
        return Traffic(words, view.ones, ratios)

    def _save(
        self, words: Array, parts: list[Part], costs: tuple[float, Array | float, float], savings: list[Array | float]
    ) -> None:
        """Adds what each order saves of the energy of `words` [pJ]."""
        fill, serve, passed = costs
        known: dict[tuple[int, int], Array | float] = {}
        for g, (ratio, asked) in enumerate(parts):
            if isinstance(ratio, float) and isinstance(asked, float):
                continue
            key = id(ratio), id(asked)
            if key not in known:
                if isinstance(asked, float):
                    known[key] = words * ((1.0 - ratio) * (fill + serve))
                else:
                    known[key] = words * (fill + serve - ratio * (fill + serve * asked + passed * (1.0 - asked)))
            savings[g] = savings[g] + known[key]

    def _links(self, view: View, tile: list[Array], level: int, above: int, s: int) -> dict[int, Array]:
        """By dimension, the part of the words that the parent sends when that loop is the innermost around the tile.

        The rest comes from the neighbour that held it one pass before: where the tile moves by as much as neighbours lie apart
        and none of it overlaps its own last place.
        """
        fan = level - 1
        out: dict[int, Array] = {}
        if fan not in view.spread:
            return out
        for rank in self.compiled.spaces[s].ranks:
            for d, step in rank if len(rank) == 2 else ():
                other, other_step = next(term for term in rank if term[0] != d)
                width, move = view.spread[fan][other], step * tile[d]
                if not (width > 1).any():
                    continue
                met = (width > 1) & (move == other_step * tile[other]) & (move >= rank_extent(tile, rank))
                for between in range(above + 1, level):
                    if between in view.total:
                        met &= view.total[between] <= 1.0
                passes = view.times[above][d]
                if met.any():
                    out[d] = np.where(met, (1.0 + (passes - 1.0) / width) / passes, 1.0)
        return out

    def _ratios(self, view: View, tile: list[Array], above: int, s: int, links: dict[int, Array]) -> list[Part]:
        """What remains of the traffic under each order choice of level `above`."""
        if above in self._ruled:
            return [self._scanned(view, tile, above, s, links, choice.order) for choice in self.choices[above]]
        rest = view.relevant(above, s) / view.total[above]
        slides: dict[int, Array] = {}
        made: dict[tuple[bool, int], Part] = {}
        out: list[Part] = []
        for choice in self.choices[above]:
            own = choice.rests == s
            d = choice.slides if choice.slides in self._sliding[s] else -1
            if not own and d in self.compiled.spaces[choice.rests].dimensions:
                d = -1
            if (own, d) not in made:
                if d >= 0 and d not in slides:
                    slides[d] = self._slide_ratio(view, tile, above, s, d)
                ratio: Array | float = rest * slides[d] if own and d >= 0 else rest if own else slides[d] if d >= 0 else 1.0
                asked: Array | float = links.get(d, 1.0)
                if own and d in links:
                    asked = np.where(rest < 1.0, 1.0, links[d])
                made[own, d] = ratio, asked
            out.append(made[own, d])
        return out

    def _slide_ratio(self, view: View, tile: list[Array], above: int, s: int, d: int) -> Array:
        """Share of a sliding window that is new, averaged over the passes of the loop on `d` (the halo stays)."""
        rank, step = next((rank, c) for rank in self.compiled.spaces[s].ranks for k, c in rank if k == d)
        passes = view.times[above][d]
        fresh = np.minimum(step * tile[d] / rank_extent(tile, rank), 1.0)
        return np.asarray((1.0 + (passes - 1.0) * fresh) / passes)

    def _scanned(
        self, view: View, tile: list[Array], above: int, s: int, links: dict[int, Array], order: tuple[int, ...]
    ) -> Part:
        """The same for one order, loop by loop."""
        ratio, asked = np.ones(len(view.total[above])), np.ones(len(view.total[above]))
        open_rows = np.ones(len(ratio), bool)
        for d in order:
            passes = view.times[above][d]
            if d not in self.compiled.spaces[s].dimensions:
                ratio = np.where(open_rows, ratio / passes, ratio)
                continue
            turns = open_rows & (passes > 1)
            if d in links:
                asked = np.where(turns & (ratio == 1.0), links[d], asked)
            if d in self._sliding[s]:
                ratio = np.where(turns, ratio * self._slide_ratio(view, tile, above, s, d), ratio)
            open_rows &= ~turns
        return ratio, asked
