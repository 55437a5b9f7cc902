"""The memo table: every mapper result on disk, so that no result is computed twice."""

from hwloop.memo.check import Check, check
from hwloop.memo.memo import Memo, MemoStatistics, Remembered
from hwloop.memo.store import Store

__all__ = ["Check", "Memo", "MemoStatistics", "Remembered", "Store", "check"]
