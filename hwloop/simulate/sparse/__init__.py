"""The sparse half of the simulator: formats, gating, skipping and what they leave to be done (Sparseloop, MICRO 2022)."""

from hwloop.simulate.sparse.analysis import sparse_activity
from hwloop.simulate.sparse.context import SparseContext, prepare, sparse_needed

__all__ = ["SparseContext", "prepare", "sparse_activity", "sparse_needed"]
