"""The report of a compression run as text, Markdown and plain data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hwloop.report.paper import PUBLISHED, Choice, PaperRow, energy_rows, size_rows
from hwloop.report.result import Front, Member
from hwloop.report.run_data import RunData, baselines
from hwloop.report.tables import bits_text, count_text, energy_text, percent, size_text, table

_LEFT = {"", "dataflow", "chosen by", "coding", "target", "bits per weight"}  # columns of words


@dataclass(frozen=True)
class Grid:
    """A table before it is set: a title, column names, and rows of text."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def paper_grids(run: RunData) -> tuple[Grid, Grid]:
    """The paper's two tables beside its published figures."""
    of = baselines(run)
    by_test = "chosen by test: by the test set itself, as published figures are; the other by validation accuracy alone"
    energy_notes = (f"paper: {PUBLISHED}", f"factors: {of.energy}", f"plain: {of.plain}", by_test)
    ends = ("test accuracy", "chosen by test", "test accuracy")
    energy = Grid(
        "Energy within 0.3 points, by dataflow", ("dataflow", "paper", "target", "here", "plain", *ends),
        tuple(_paper_cells(row, True) for row in energy_rows(run.fronts)), energy_notes,
    )  # fmt: skip
    size = Grid(
        "Model size within 0.3 points, by coding", ("coding", "paper", "target", "here", *ends),
        tuple(_paper_cells(row, False) for row in size_rows(run.fronts)), (energy_notes[0], f"factors: {of.size}", by_test),
    )  # fmt: skip
    return energy, size


def _paper_cells(row: PaperRow, plain: bool) -> tuple[str, ...]:
    found = row.chosen
    cells = [row.what, f"{row.published:.1f}x", row.target or "not in this run", _times(found)]
    if plain:
        cells.append("-" if found is None or found.plain_factor is None else f"{found.plain_factor:.1f}x")
    return (*cells, _accuracies(found), _times(row.by_test), _accuracies(row.by_test))


def _times(choice: Choice | None) -> str:
    return "-" if choice is None else f"{choice.factor:.1f}x"


def _accuracies(choice: Choice | None) -> str:
    if choice is None or choice.test_accuracy is None:
        return "-"
    before, after = choice.test_accuracy
    return f"{percent(before)} -> {percent(after)}"


def chosen_grid(run: RunData) -> Grid:
    """Of every target the member with the least energy within 0.3 points: chosen by validation accuracy, and by the test set."""
    rows, notes = [], [f"factors: {baselines(run).energy}; {baselines(run).size}"]
    for front in run.fronts:
        by_test = front.best_by_test() if front.reference.test_accuracy is not None else None
        for how, member in (("validation", front.best_within()), ("the test set", by_test)):
            rows.append((front.target, how, *_gains(front, member)))
        if front.seen_validation:
            scores = f"{percent(front.reference.metrics['accuracy'])} on the validation images"
            notes.append(
                f"{front.target}: the reference scores {scores} and {percent(front.reference.test_accuracy)} on the test set: it "
                "was probably trained on them, so compare by the test set"
            )
    where = dict.fromkeys((front.scored_on or "validation images", front.reported_on or "no test set") for front in run.fronts)
    notes += [f"accuracy is on {scored}, test accuracy on {reported}" for scored, reported in where]
    header = ("target", "chosen by", "member", "less energy", "fewer cycles", "smaller", "pruned", "mean bits", "test accuracy")
    notes.append("chosen by the test set, as published figures are, is optimistic; validation images alone chose the other")
    return Grid("Least energy within 0.3 points", header, tuple(rows), tuple(notes))


def finetuned_grid(run: RunData) -> Grid | None:
    """Members that were fine-tuned after the search, apart from the search's own figures; None where there are none."""
    rows = []
    for front in run.fronts:
        for made in run.document.get("finetuned", ()):
            if made["target"] == front.target and 0 <= made["member"] < len(front.members):
                member = front.members[made["member"]]
                after = (percent(made["accuracy"]), percent(made["test_accuracy"]), str(made["epochs"]))
                before = (percent(member.metrics["accuracy"]), percent(member.test_accuracy))
                rows.append((front.target, str(made["member"] + 1), *before, *after, f"{front.factor(member):.1f}x"))
    header = ("target", "member", "accuracy", "test", "fine-tuned", "test fine-tuned", "epochs", "less energy")
    note = "trained further after the search with their weights on their levels; energy as searched"
    return Grid("Fine-tuned", header, tuple(rows), (note,)) if rows else None


def _gains(front: Front, member: Member | None) -> tuple[str, ...]:
    if member is None:
        return ("none", *"-" * 6)
    factors = (f"{front.factor(member, metric):.1f}x" for metric in ("energy_pj", "cycles", "size_bits"))
    before, after = front.reference.test_accuracy, member.test_accuracy
    tested = "-" if before is None or after is None else f"{percent(before)} -> {percent(after)}"
    return (str(front.members.index(member) + 1), *factors, percent(member.pruned, 0), f"{member.mean_bits:.1f}", tested)


def front_grid(front: Front) -> Grid:
    """The reference and every member of a front, numbered from 1."""
    marks = marks_of(front)
    rows = [("dense", *_member_cells(front, front.reference), "")]
    rows += [(str(at), *_member_cells(front, member), ", ".join(marks[at])) for at, member in enumerate(front.members, 1)]
    header = ("member", "accuracy", "test", "energy", "less", "cycles", "size", "smaller", "pruned", "bits per weight", "")
    return Grid(front.target, header, tuple(rows))


def marks_of(front: Front) -> dict[int, list[str]]:
    """By member, from 1, why it stands out."""
    named: list[tuple[str, Member | None]] = [
        ("knee", front.knee()), ("best within 0.3", front.best_within()), ("best by test", front.best_by_test())
    ]  # fmt: skip
    return {at: [name for name, found in named if found is member] for at, member in enumerate(front.members, 1)}


def _member_cells(front: Front, member: Member) -> tuple[str, ...]:
    metrics = member.metrics
    return (
        percent(metrics["accuracy"]), percent(member.test_accuracy), energy_text(metrics["energy_pj"]),
        f"{front.factor(member):.1f}x", count_text(metrics["cycles"]), size_text(metrics["size_bits"]),
        f"{front.factor(member, 'size_bits'):.1f}x", percent(member.pruned, 0), bits_text(member.weight_bits),
    )  # fmt: skip


def report_document(run: RunData) -> dict[str, Any]:
    """Everything in the report as plain data."""
    return {
        "folder": str(run.folder),
        "finished": run.finished,
        "status": run.status,
        "config": dict(run.config),
        "versions": dict(run.versions),
        "baselines": asdict(baselines(run)),
        "published": PUBLISHED,
        "energy": [asdict(row) for row in energy_rows(run.fronts)],
        "size": [asdict(row) for row in size_rows(run.fronts)],
        "evaluated": {target: len(run.evaluated.get(target, ())) for target in run.targets},
        "fronts": list(run.document.get("fronts", ())) if run.fronts else [],
        "notes": [*run.document.get("notes", ()), *run.notes],
        "seconds": dict(run.document.get("seconds", {})),
    }


def report_text(run: RunData) -> str:
    """The report for a terminal."""
    return _laid_out(run, _text_grid, lambda title: f"{title}\n{'=' * len(title)}")


def report_markdown(run: RunData) -> str:
    """The report as Markdown."""
    return _laid_out(run, _markdown_grid, lambda title: f"# {_plain(title)}")


def _laid_out(run: RunData, grid: Callable[[Grid], str], heading: Callable[[str], str]) -> str:
    parts = [heading(run.title), f"Run {run.folder}: {run.status}."]
    for front in run.fronts:
        parts.append(grid(front_grid(front)))
    grids = (chosen_grid(run), finetuned_grid(run), *paper_grids(run)) if run.fronts else ()
    parts += [grid(each) for each in grids if each is not None]
    notes = [*run.document.get("notes", ()), *run.notes]
    parts += ["\n".join(f"- {note}" for note in notes)] if notes else []
    parts.append(", ".join(f"{name} {version}" for name, version in run.versions.items()))
    return "\n\n".join(part for part in parts if part) + "\n"


def _text_grid(grid: Grid) -> str:
    left = [i for i, name in enumerate(grid.header) if name in _LEFT]
    return "\n".join([grid.title, "", table(grid.rows, grid.header, left=left), *(f"  {note}" for note in grid.notes)])


def _markdown_grid(grid: Grid) -> str:
    lines = [f"## {_plain(grid.title)}", "", _line(grid.header), _line(["---"] * len(grid.header)), *map(_line, grid.rows)]
    return "\n".join([*lines, "", *(f"- {_plain(note)}" for note in grid.notes)]).rstrip()


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_plain(cell) for cell in cells)} |"


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
