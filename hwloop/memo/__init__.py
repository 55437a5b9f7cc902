"""The memo table: every mapper result on disk, so that no result is computed twice."""

from hwloop.memo.check import Check, check
from hwloop.memo.key import MapRequest
from hwloop.memo.memo import Memo, MemoStatistics, Outcome, solve, solve_here
from hwloop.memo.store import Store

__all__ = ["Check", "MapRequest", "Memo", "MemoStatistics", "Outcome", "Store", "check", "solve", "solve_here"]
