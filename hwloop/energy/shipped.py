"""The figures that ship with hwloop: a grid of CACTI results over rows, width, banks and technology node, Aladdin's logic at
every node, and DRAM by the bit.

Made by `tools/make_energy_tables.py`; each data file names the estimator, its version and its options. A size that the tool
ran is answered with CACTI's own numbers. Between sizes the logarithms of the figures are interpolated linearly over the
logarithms of rows and width; CACTI chooses another organisation at every size, so no smooth law follows it exactly: the data
file holds the error of this interpolation against CACTI at sizes off the grid (`interpolation_error`). Between nodes figures
are linear, as hwcomponents-cacti has it. Below CACTI's smallest memory (64 rows a bank, 32 bits) its figures are scaled by
the law of hwcomponents-cacti: energy by 0.3 + 0.7 x width and by depth^0.78, leakage and area by the bits.
"""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache
from math import ceil, log2
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwloop.energy.primitives import LOGIC, Figures
from hwloop.errors import EnergyTableError

DATA = Path(__file__).parent / "data"
MIN_WIDTH_BITS, MIN_BANK_ROWS = 32, 64
_HINT = "use --energy hwcomponents (runs CACTI itself), or give a table of your own"

Values = npt.NDArray[np.float64]  # read [pJ], write [pJ], leakage [W], area [um^2]


class ShippedEstimator:
    """Answers from the data files; needs nothing installed."""

    name = "shipped"

    def sram(self, node_nm: float, depth: int, width_bits: int, banks: int) -> Figures:
        """Of the shipped grid, with the laws named above below and between its sizes."""
        grid = _sram_grid()
        at_banks = 2 ** ceil(log2(banks))
        at_width = max(ceil(width_bits / 8) * 8, MIN_WIDTH_BITS)
        at_depth = max(depth, MIN_BANK_ROWS * banks)
        low, high, share = _neighbours(node_nm, grid.nodes, f"an SRAM at {node_nm:g} nm")
        values = (1 - share) * grid.at(low, at_banks, at_width, at_depth) + share * grid.at(high, at_banks, at_width, at_depth)
        width_share, depth_share = width_bits / at_width, depth / at_depth
        energy_scale = (0.3 + 0.7 * width_share) * depth_share**0.78
        read, write, leak, area = (float(v) for v in values)
        bits_share = width_share * depth_share
        exact = all((node, at_banks, at_width, at_depth) in grid.points for node in (low, high))
        how = "" if exact else ", interpolated"
        how += "" if bits_share == 1 else f", scaled from {at_depth} x {at_width} bits"
        source = f"{grid.source}, {at_banks} banks, {node_nm:g} nm{how}"
        return Figures(read * energy_scale, write * energy_scale, leak * bits_share, area * bits_share, source)

    def logic(self, kind: str, node_nm: float) -> Figures:
        """Aladdin's unit at this node."""
        data = _load("logic")
        nodes = tuple(float(n) for n in data["nodes_nm"])
        assert kind in LOGIC
        low, high, share = _neighbours(node_nm, nodes, f"{kind} at {node_nm:g} nm")
        rows = np.asarray(data[kind], dtype=np.float64)
        read, write, leak, area = (1 - share) * rows[nodes.index(low)] + share * rows[nodes.index(high)]
        return Figures(float(read), float(write), float(leak), float(area), f"{data['source'][kind]}, {node_nm:g} nm")

    def dram(self, kind: str) -> Figures:
        """A bit of this kind of DRAM."""
        data = _load("dram")
        if kind not in data["pj_per_bit"]:
            known = ", ".join(sorted(data["pj_per_bit"]))
            raise EnergyTableError(f"energy source 'shipped': no DRAM {kind!r}; it has {known}; or give a table of your own")
        bit = float(data["pj_per_bit"][kind])
        return Figures(bit, bit, 0.0, 0.0, f"{data['source'][kind]}, {kind}, {bit:g} pJ/bit")


class SramGrid:
    """CACTI's answers at the sizes the tool ran."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.source: str = data["source"]
        self.error: dict[str, Any] = data["interpolation_error"]
        self.points: dict[tuple[float, int, int, int], Values] = {}
        on_grid: dict[tuple[float, int, int], list[int]] = defaultdict(list)
        for key in ("grid", "exact"):
            for node, banks, width, depth, *values in data[key]:
                self.points[float(node), banks, width, depth] = np.asarray(values, dtype=np.float64)
                if key == "grid":
                    on_grid[float(node), banks, width].append(depth)
        self._depths = {key: sorted(depths) for key, depths in on_grid.items()}
        self.nodes = tuple(sorted({node for node, _, _ in self._depths}))
        self.widths = sorted({width for _, _, width in self._depths})

    def at(self, node: float, banks: int, width: int, depth: int) -> Values:
        """The figures at a node of the grid, `(4,)`, of any size within it.

        Raises:
            EnergyTableError: the size is outside the grid.
        """
        exact = self.points.get((node, banks, width, depth))
        if exact is not None:
            return exact
        here = [w for w in self.widths if self._covers(node, banks, w, depth)]
        low = max((w for w in here if w <= width), default=None)
        high = min((w for w in here if w >= width), default=None)
        if low is None or high is None:
            raise EnergyTableError(
                f"energy source 'shipped': no SRAM of {depth} rows x {width} bits in {banks} banks at {node:g} nm; "
                f"the grid ends before it: {_HINT}"
            )
        at_low = self._along_depth(node, banks, low, depth)
        if low == high:
            return np.exp(at_low)
        share = log2(width / low) / log2(high / low)
        return np.exp((1 - share) * at_low + share * self._along_depth(node, banks, high, depth))

    def _covers(self, node: float, banks: int, width: int, depth: int) -> bool:
        depths = self._depths.get((node, banks, width))
        return depths is not None and depths[0] <= depth <= depths[-1]

    def _along_depth(self, node: float, banks: int, width: int, depth: int) -> Values:
        depths = self._depths[node, banks, width]
        after = int(np.searchsorted(depths, depth))
        high = np.log(self.points[node, banks, width, depths[after]])
        if depths[after] == depth:
            return np.asarray(high)
        before = depths[after - 1]
        share = log2(depth / before) / log2(depths[after] / before)
        return np.asarray((1 - share) * np.log(self.points[node, banks, width, before]) + share * high)


def interpolation_error() -> dict[str, Any]:
    """How far the interpolated SRAM figures lie from CACTI's own at sizes off the grid, as the tool measured it."""
    return _sram_grid().error


def _neighbours(node_nm: float, nodes: tuple[float, ...], what: str) -> tuple[float, float, float]:
    """The nodes on both sides and the share of the upper one."""
    if not nodes[0] <= node_nm <= nodes[-1]:
        raise EnergyTableError(
            f"energy source 'shipped': no figures for {what}: it covers {nodes[0]:g} to {nodes[-1]:g} nm ({_HINT})"
        )
    low, high = max(n for n in nodes if n <= node_nm), min(n for n in nodes if n >= node_nm)
    return low, high, 0.0 if low == high else (node_nm - low) / (high - low)


@cache
def _sram_grid() -> SramGrid:
    return SramGrid(_load("sram"))


@cache
def _load(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    return data
