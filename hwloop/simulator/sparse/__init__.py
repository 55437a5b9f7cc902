"""The sparse half of the simulator: formats, gating, skipping and what they leave to be done (Sparseloop, MICRO 2022)."""

from hwloop.simulator.sparse.analysis import sparse_activity
from hwloop.simulator.sparse.context import SparseContext, prepare, sparse_needed
from hwloop.simulator.sparse.room import data_fits, fits_activity

__all__ = ["SparseContext", "data_fits", "fits_activity", "prepare", "sparse_activity", "sparse_needed"]
