"""What a run returns, and what it leaves in its folder when it is done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwloop.backend.target import file_name
from hwloop.memo import MemoStatistics
from hwloop.report.plots import plot_fronts
from hwloop.report.result import Front, front_document, member_row
from hwloop.report.saved_layers import document_of, file_of
from hwloop.report.tables import bits_text, front_table, gap_text, percent, spread, table, verdict
from hwloop.search.run_folder import RunFolder
from hwloop.spec.workload import Workload

if TYPE_CHECKING:
    from hwloop.network.library.library import Library


@dataclass(frozen=True)
class BankUse:
    """What a run had from its bank.

    Attributes:
        folder: where it lies.
        made: entries that this run made.
        found: entries that were there.
        identity: of how entries are made, see `Bank.identity`.
    """

    folder: str
    made: int
    found: int
    identity: str


@dataclass(frozen=True)
class Finetuned:
    """A member of a front that was fine-tuned after the search.

    Attributes:
        target: of the front.
        member: its position there.
        epochs: of training.
        accuracy: on the validation images, 0 to 1.
        test_accuracy: 0 to 1; None without a test set.
        file: of its weights; empty where nothing was kept.
    """

    target: str
    member: int
    epochs: int
    accuracy: float
    test_accuracy: float | None
    file: str


@dataclass(frozen=True)
class CompressResult:
    """What `compress` returns.

    Attributes:
        fronts: one a target, in order.
        workload: the network as the accelerator sees it.
        trained: how the trained model came about.
        library: the pruned models.
        method: the search method.
        space: what was searched.
        folder: of the run; None when nothing was to be written.
        files: what was written there, by what it is.
        memo: what the memo table did; None without one.
        seconds: wall clock by stage.
        notes: what a reader of the numbers must know.
        bank: what the bank of layers did; None where layers are compressed by magnitude.
        finetuned: members that were fine-tuned after the search.
    """

    fronts: tuple[Front, ...]
    workload: Workload
    trained: str
    library: Library
    method: str
    space: str
    folder: Path | None
    files: dict[str, Path]
    memo: MemoStatistics | None
    seconds: dict[str, float]
    notes: tuple[str, ...]
    bank: BankUse | None = None
    finetuned: tuple[Finetuned, ...] = ()


def document(result: CompressResult) -> dict[str, Any]:
    """The whole result as plain data: `front.json`, and what `--json` prints."""
    return {
        "network": result.workload.name,
        "macs": result.workload.computes,
        "trained": result.trained,
        "method": result.method,
        "space": result.space,
        "library": {"mode": result.library.mode, "fractions": list(result.library.fractions)},
        "bank": None if result.bank is None else asdict(result.bank),
        "finetuned": [asdict(made) for made in result.finetuned],
        "notes": list(result.notes),
        "fronts": [front_document(front) for front in result.fronts],
        "memo": None if result.memo is None else asdict(result.memo),
        "seconds": result.seconds,
        "folder": None if result.folder is None else str(result.folder),
    }


def write_outputs(folder: RunFolder, result: CompressResult, title: str) -> dict[str, Path]:
    """Writes `front.csv`, how the layers of each front's members run (`layers-TARGET.json`), `front.json` and the plot.

    Raises:
        DataError: the disk refuses.
    """
    rows = [member_row(front, member) for front in result.fronts for member in front.members]
    for front in result.fronts:
        layers = document_of(front)
        if layers is not None:
            folder.write_json(file_of(file_name(front.target)), layers, indent=None)
    return {
        "front.csv": folder.write_csv("front.csv", rows),
        "front.json": folder.write_json("front.json", document(result)),
        "plot": plot_fronts(result.fronts, folder.path / "front.png", title),
    }


def result_text(result: CompressResult, most: int | None = 14) -> str:
    """Each front, what it means, and where the files are.

    Args:
        result: of a run.
        most: show at most this many members of a front; all when None.
    """
    lines = []
    for front in result.fronts:
        title = f"{result.workload.name} on {front.target}: {len(front.members)} on the front of {len(front.cloud)} candidates"
        shown = len(spread(front, most))
        title += f"; {shown} of the {len(front.members)} rows shown, all in front.csv" if shown < len(front.members) else ""
        lines += ["", title, "", front_table(front, most)]
    lines += ["", "  * knee   + least energy within 0.3 points of validation accuracy   size factor against 32-bit floats", ""]
    lines += [verdict(front) for front in result.fronts] + [gap_text(front) for front in result.fronts]
    lines += finetuned_lines(result)
    lines += ["", *(f"- {note}" for note in result.notes)]
    lines += ["", "time: " + ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in result.seconds.items())]
    if result.bank is not None:
        lines.append(f"bank of layers: {result.bank.found} read from it, {result.bank.made} made: {result.bank.folder}")
    if result.memo is not None:
        memo = result.memo
        lines.append(
            f"memo table: {memo.hits} mapper results read from it, which saved {memo.seconds_saved:.1f} s of mapping; "
            f"{memo.misses} new ones took {memo.seconds_spent:.1f} s"
        )
    return "\n".join(lines + [f"{what}: {path}" for what, path in result.files.items()])


def finetuned_lines(result: CompressResult) -> list[str]:
    """A table of the members that were fine-tuned, before and after."""
    if not result.finetuned:
        return []
    fronts = {front.target: front for front in result.fronts}
    rows = []
    for made in result.finetuned:
        front = fronts[made.target]
        member = front.members[made.member]
        before, after = (member.metrics["accuracy"], member.test_accuracy), (made.accuracy, made.test_accuracy)
        cells = [percent(value) for pair in zip(before, after, strict=True) for value in pair]
        rows.append((made.target, *cells, f"{front.factor(member):.1f}x", bits_text(member.weight_bits)))
    header = ("", "accuracy", "fine-tuned", "test", "fine-tuned", "energy factor", "bits per weight")
    title = f"fine-tuned after the search, quantisation-aware, {result.finetuned[0].epochs} epochs (energy as searched):"
    return ["", title, "", table(rows, header, left=(0, 6))]
