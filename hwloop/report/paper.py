"""The two tables of the paper, filled in from a run: energy under four dataflows, model size under three codings.

Published figures: Wang et al., "Evolutionary Multi-Objective Model Compression for Deep Neural Networks", IEEE Computational
Intelligence Magazine 16(3), 2021: VGG-16 on CIFAR-10 at 0.3 points of accuracy lost, members chosen by the test set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hwloop.report.result import ACCURACY_LOSS, Front, Member

PUBLISHED = "VGG-16 on CIFAR-10, 0.3 points of accuracy lost, chosen by the test set"
# the paper's name and factor; the dataflows of that kind; how accelerators are called that are built for it
_ENERGY = (
    ("X:Y", 14.0, ("xy", "output_stationary"), ("shidiannao_like",)),
    ("CI:CO", 12.2, ("cico", "weight_stationary"), ("tpu_like",)),
    ("FX:FY", 10.4, ("fxfy",), ()),
    ("X:FX", 8.9, ("xfx", "row_stationary"), ("eyeriss_",)),
)
_SIZE = (("normal", 6.1), ("csr", 7.4), ("coo", 2.4))


@dataclass(frozen=True)
class Choice:
    """A member that was chosen, and what it gains.

    Attributes:
        member: its place on the front, from 1.
        factor: times less than the reference.
        plain_factor: times less energy than the dense network where no zero is used; None for sizes, or where it is not known.
        accuracy: (before, after) on the validation images, 0-1.
        test_accuracy: (before, after) on the test set; None without one.
    """

    member: int
    factor: float
    plain_factor: float | None
    accuracy: tuple[float, float]
    test_accuracy: tuple[float, float] | None


@dataclass(frozen=True)
class PaperRow:
    """A line of one of the tables.

    Attributes:
        what: the dataflow or coding, as the paper calls it.
        published: the paper's factor.
        target: whose front it is; empty where the run has none for it.
        chosen: by validation accuracy; None where no member is close enough.
        by_test: by the test set itself, as published figures are; None likewise.
    """

    what: str
    published: float
    target: str = ""
    chosen: Choice | None = None
    by_test: Choice | None = None


def energy_rows(fronts: Sequence[Front]) -> tuple[PaperRow, ...]:
    """Energy under the paper's four dataflows; a line a front, and one for each dataflow that the run does not have."""
    rows = []
    for what, published, names, built in _ENERGY:
        words = [(front, front.target.split()[-1]) for front in fronts]
        found = [front for front, word in words if word in names or word.startswith(built)]
        rows += [_row(what, published, front, "energy_pj") for front in found] or [PaperRow(what, published)]
    return tuple(rows)


def size_rows(fronts: Sequence[Front]) -> tuple[PaperRow, ...]:
    """Model size under the paper's three codings; of the front with the smallest network, as a dataflow changes no size."""
    rows = []
    for coding, published in _SIZE:
        found = [front for front in fronts if all(coding in m.sizes for m in (front.reference, *front.members))]
        each = [_row(coding, published, front, coding) for front in found]
        rows.append(max(each, key=lambda row: row.chosen.factor if row.chosen else 0.0, default=PaperRow(coding, published)))
    return tuple(rows)


def _row(what: str, published: float, front: Front, metric: str) -> PaperRow:
    value = _value(metric)
    best, by_test = front.best_within(ACCURACY_LOSS, value), front.best_by_test(ACCURACY_LOSS, value)
    return PaperRow(what, published, front.target, _choice(front, best, metric), _choice(front, by_test, metric))


def _value(metric: str) -> Callable[[Member], float]:
    return lambda member: member.metrics[metric] if metric in member.metrics else member.sizes[metric]


def _choice(front: Front, member: Member | None, metric: str) -> Choice | None:
    if member is None:
        return None
    value = _value(metric)
    plain = None
    if metric == "energy_pj" and front.plain_energy_pj is not None:
        plain = front.plain_energy_pj / member.metrics["energy_pj"]
    before, after = front.reference.test_accuracy, member.test_accuracy
    return Choice(
        front.members.index(member) + 1,
        value(front.reference) / value(member),
        plain,
        (front.reference.metrics["accuracy"], member.metrics["accuracy"]),
        None if before is None or after is None else (before, after),
    )
