"""The sparse half of the simulator: formats, gating, skipping and what they leave to be done (Sparseloop, MICRO 2022)."""

from hwloop.simulator.sparse.analysis import nest_of_batch, nest_of_mapping, shape_of_mapping, sparse_activity
from hwloop.simulator.sparse.context import SparseContext, prepare, sparse_needed, with_densities
from hwloop.simulator.sparse.room import data_fits
from hwloop.simulator.sparse.shape import SparseNest

__all__ = [
    "SparseContext", "SparseNest", "data_fits", "nest_of_batch", "nest_of_mapping", "prepare",
    "shape_of_mapping", "sparse_activity", "sparse_needed", "with_densities",
]  # fmt: skip
