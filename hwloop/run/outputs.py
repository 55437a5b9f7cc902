"""What a run returns, and what it leaves in its folder when it is done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hwloop.memo import MemoStatistics
from hwloop.network.library import Library
from hwloop.report.plots import plot_fronts
from hwloop.report.result import Front, front_document, member_row
from hwloop.search.checkpoint import RunFolder
from hwloop.spec.workload import Workload


@dataclass(frozen=True)
class CompressResult:
    """What `compress` returns.

    Attributes:
        fronts: one a target, in order.
        workload: the network as the accelerator sees it.
        trained: how the trained model came about.
        library: the pruned models.
        folder: of the run; None when nothing was to be written.
        files: what was written there, by what it is.
        memo: what the memo table did; None without one.
        seconds: wall clock by stage.
        notes: what a reader of the numbers must know.
    """

    fronts: tuple[Front, ...]
    workload: Workload
    trained: str
    library: Library
    folder: Path | None
    files: dict[str, Path]
    memo: MemoStatistics | None
    seconds: dict[str, float]
    notes: tuple[str, ...]


def document(result: CompressResult) -> dict[str, Any]:
    """The whole result as plain data: `front.json`, and what `--json` prints."""
    return {
        "network": result.workload.name,
        "macs": result.workload.computes,
        "trained": result.trained,
        "library": {"mode": result.library.mode, "fractions": list(result.library.fractions)},
        "notes": list(result.notes),
        "fronts": [front_document(front) for front in result.fronts],
        "memo": None if result.memo is None else asdict(result.memo),
        "seconds": result.seconds,
        "folder": None if result.folder is None else str(result.folder),
    }


def write_outputs(folder: RunFolder, result: CompressResult, title: str) -> dict[str, Path]:
    """Writes `front.csv`, `front.json` and the plot.

    Raises:
        DataError: the disk refuses.
    """
    rows = [member_row(front, member) for front in result.fronts for member in front.members]
    return {
        "front.csv": folder.write_csv("front.csv", rows),
        "front.json": folder.write_json("front.json", document(result)),
        "plot": plot_fronts(result.fronts, folder.path / "front.png", title),
    }
