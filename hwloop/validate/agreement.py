"""How two simulators agree: by quantity, what is equal, what is rounding, and what differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hwloop.validate.causes import UNEXPLAINED, WORDS
from hwloop.validate.compare import Difference, Pair

FEASIBILITY = "feasibility"
PART_QUANTITIES = ("energy per compute", "leakage", "data space energy", "utilization")
EXACT_QUANTITIES = ("computes", "tile size", "instances")


@dataclass(frozen=True)
class Slack:
    """What counts as rounding.

    Attributes:
        counts: by how much a count may differ.
        counts_relative: or by which fraction.
        cycles: by which fraction cycles may differ.
        energy: by which fraction the energy of everything may differ, beyond the printed decimals.
        parts: likewise that of a component or data space, which a single count may weigh on.
    """

    counts: int = 0
    counts_relative: float = 0.0
    cycles: float = 0.0
    energy: float = 0.0
    parts: float = 0.0

    def allows(self, difference: Difference, counts_rounded: bool = False) -> bool:
        """Whether a difference is no more than that. What a case computes is always exact.

        Args:
            difference: the two numbers.
            counts_rounded: whether counts of the same case differ by rounding; one transfer more can take one cycle more.
        """
        gap, whole = abs(difference.expected - difference.found), abs(difference.expected)
        if difference.quantity in EXACT_QUANTITIES:
            return gap == 0
        if difference.quantity == "energy":
            return gap <= self.energy * whole
        if difference.quantity in PART_QUANTITIES:
            return gap <= self.parts * whole
        if "cycles" in difference.quantity:
            return gap <= max(self.counts if counts_rounded else 0, self.cycles * whole)
        return gap <= max(self.counts, self.counts_relative * whole)


DENSE_SLACK = Slack()
# The sparse analysis rounds an expectation at every step, and the real one computes it through logarithms, so that what is
# a whole number may come out a little above it and round up.
SPARSE_SLACK = Slack(counts=1, counts_relative=1e-6, cycles=1e-5, energy=1e-4, parts=1e-3)


@dataclass
class Agreement:
    """How one quantity agrees over all cases.

    Attributes:
        compared: how many numbers.
        equal: how many of them are equal, energies as far as they are printed.
        close: how many differ by no more than rounding may.
        worst: the largest relative difference.
        cases: ids of the cases where one differs by more, with the first difference of each and its cause.
        rounded: likewise, of those that are close.
        known: how many differ by more, for a cause that was shown.
        explained: likewise the cases of those.
    """

    compared: int = 0
    equal: int = 0
    close: int = 0
    worst: float = 0.0
    cases: dict[str, str] = field(default_factory=dict)
    rounded: dict[str, str] = field(default_factory=dict)
    known: int = 0
    explained: dict[str, str] = field(default_factory=dict)

    def add(
        self, case: str, equal: bool, difference: Difference, close: bool = False, cause: str = "", known: bool = False
    ) -> None:
        """Counts one number."""
        self.compared += 1
        self.equal += equal
        if equal:
            return
        gap = abs(difference.expected - difference.found) / max(abs(difference.expected), 1e-12)
        self.worst = max(self.worst, gap)
        where = f"{difference.where}: " if difference.where else ""
        self.close += close
        self.known += known and not close
        (self.rounded if close else self.explained if known else self.cases).setdefault(
            case, f"{where}Timeloop {difference.expected:.12g}, hwloop {difference.found:.12g}{f' ({cause})' if cause else ''}"
        )


@dataclass
class Report:
    """Agreement of everything compared.

    Attributes:
        quantities: by name.
        cases: how many runs.
        refused: how many of them both refuse.
        failed: cases that hwloop could not read or simulate, with its message.
        causes: by cause, how many numbers of each case differ for it.
    """

    quantities: dict[str, Agreement] = field(default_factory=dict)
    cases: int = 0
    refused: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    causes: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether nothing differs by more than rounding, but for causes that were shown."""
        return not self.failed and all(a.equal + a.close + a.known == a.compared for a in self.quantities.values())

    def add(self, case: str, pairs: Iterable[Pair], slack: Slack, causes: Sequence[str] = (), exact: bool = False) -> None:
        """Counts the numbers of one case.

        Args:
            case: its id.
            pairs: the numbers.
            slack: what counts as rounding.
            causes: of each pair, empty where it is equal; none at all when nobody asked.
            exact: let no cause excuse a difference.
        """
        pairs = list(pairs)
        rounded = any(not equal and "cycles" not in d.quantity and slack.allows(d) for equal, d in pairs)
        for (equal, difference), cause in zip(pairs, causes or [""] * len(pairs), strict=True):
            close = not equal and slack.allows(difference, rounded)
            known = bool(cause) and cause != UNEXPLAINED and not exact
            self.quantities.setdefault(difference.quantity, Agreement()).add(case, equal, difference, close, cause, known)
            if cause:
                self.causes.setdefault(cause, Counter())[case] += 1

    def refusal(self, case: str, what: str, cause: str, exact: bool = False) -> None:
        """One program refuses what the other runs, which has been counted as compared; `what` says which and why."""
        agreement = self.quantities[FEASIBILITY]
        agreement.worst = 1.0
        known = cause != UNEXPLAINED and not exact
        agreement.known += known
        (agreement.explained if known else agreement.cases)[case] = f"{what} ({cause})"
        self.causes.setdefault(cause, Counter())[case] += 1

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        quantities = {
            name: {
                "compared": a.compared,
                "equal": a.equal,
                "rounding": a.close,
                "explained": a.known,
                "worst_relative": a.worst,
                "differ": a.cases,
                "rounded": a.rounded,
                "explained_cases": a.explained,
            }
            for name, a in self.quantities.items()
        }
        return {
            "agrees": self.agrees, "cases": self.cases, "both_refuse": self.refused, "failed": self.failed,
            "quantities": quantities, "causes": {cause: dict(cases) for cause, cases in self.causes.items()},
        }  # fmt: skip


def lines_of(report: Report) -> Iterator[str]:
    """The report as text: one line a quantity, then what differs."""
    yield f"{report.cases} runs, {report.refused} of them refused by both"
    yield f"{'quantity':24} {'compared':>9} {'equal':>9} {'rounding':>9} {'explained':>9} {'differ':>9}  worst difference"
    for name, a in report.quantities.items():
        differ = a.compared - a.equal - a.close - a.known
        counts = f"{a.compared:9d} {a.equal:9d} {a.close:9d} {a.known:9d} {differ:9d}"
        yield f"{name:24} {counts}  {f'{a.worst:.1e}' if a.worst else '-'}"
    rounded = sorted({case for a in report.quantities.values() for case in a.rounded})
    if rounded:
        yield f"rounding in {len(rounded)} runs: {', '.join(rounded)}"
    for cause, cases in sorted(report.causes.items()):
        yield f"cause: {cause}, {sum(cases.values())} numbers in {len(cases)} runs: {WORDS[cause]}"
    for name, a in report.quantities.items():
        for case, what in a.explained.items():
            yield f"explained: {name} of {case}: {what}"
    for name, a in report.quantities.items():
        for case, what in a.cases.items():
            yield f"differs: {name} of {case}: {what}"
    for case, message in report.failed.items():
        yield f"failed: {case}: {message}"
