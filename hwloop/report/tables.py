"""Tables as text: numbers in, aligned lines out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hwloop.report.result import ACCURACY_LOSS, Front, Member
from hwloop.units import BITS_PER_BYTE, UM2_PER_MM2

_GAINS = (
    ("energy_pj", "less energy", "more energy"),
    ("cycles", "fewer cycles", "more cycles"),
    ("size_bits", "smaller", "larger"),
)
_LEAST = 8  # characters that a shortened name keeps
_PREFIXES = ((1e12, "J"), (1e9, "mJ"), (1e6, "uJ"), (1e3, "nJ"), (1.0, "pJ"))


def energy_text(energy_pj: float) -> str:
    """Three digits and the unit that fits: `2.31 uJ`."""
    for factor, unit in _PREFIXES:
        if abs(energy_pj) >= factor or unit == "pJ":
            return f"{_three(energy_pj / factor)} {unit}"
    raise AssertionError("not reached")


def size_text(size_bits: float) -> str:
    """`12.3 kB`, in thousands of bytes."""
    size = size_bits / BITS_PER_BYTE
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= factor:
            return f"{_three(size / factor)} {unit}"
    return f"{size:.0f} B"


def count_text(value: float) -> str:
    """`1.23 M`, for cycles and operations."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{_three(value / factor)} {unit}"
    return f"{value:.0f}"


def percent(fraction: float | None, digits: int = 2) -> str:
    """`97.50%`, a dash when there is no number."""
    return "-" if fraction is None else f"{100 * fraction:.{digits}f}%"


def metric_text(metric: str, value: float) -> str:
    """A metric's value with its unit: `2.31 uJ`, `12.3 kB`, `97.50%`, `1.23 M cycles`."""
    if metric in ("energy_pj", "size_bits", "accuracy"):
        return {"energy_pj": energy_text, "size_bits": size_text, "accuracy": percent}[metric](value)
    if metric == "area_um2":
        return f"{_three(value / UM2_PER_MM2)} mm2"
    return count_text(value) + {"cycles": " cycles", "edp": " pJ cycles"}.get(metric, "")


def component_text(name: str) -> str:
    """A component's name as tables have it: `wires PE_column` of the network between two levels."""
    outer, between, _ = name.partition(" <==> ")
    return f"wires {outer.removeprefix('inter_').removesuffix('_spatial')}" if between else name


def bits_text(bits: Mapping[str, int]) -> str:
    """`5 4 4 3 6`; `4` alone where all are the same."""
    values = list(bits.values())
    return str(values[0]) if len(set(values)) == 1 and len(values) > 1 else " ".join(map(str, values))


def table(rows: Sequence[Sequence[str]], header: Sequence[str], left: Sequence[int] = (0,), width: int | None = None) -> str:
    """Aligned columns under a ruled header.

    Args:
        rows: cells as text.
        header: as many names as a row has cells.
        left: columns set flush left; the rest is flush right.
        width: of a terminal; names in the first column lose their beginning where the table is wider. None shortens nothing.
    """
    widths = [max(len(str(line[i])) for line in [header, *rows]) for i in range(len(header))]
    over = 0 if width is None else sum(widths) + 2 * (len(widths) - 1) - width
    if over > 0:
        widths[0] = max(widths[0] - over, len(header[0]), _LEAST)
        rows = [(_tail(row[0], widths[0]), *row[1:]) for row in rows]

    def line(cells: Sequence[str]) -> str:
        parts = [c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return "  ".join(parts).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([line(header), rule, *(line(row) for row in rows)])


def _tail(name: str, width: int) -> str:
    return name if len(name) <= width else f"..{name[len(name) - width + 2 :]}"


def front_table(front: Front, most: int | None = None) -> str:
    """The front of one target: the reference first, then the members; `*` marks the knee, `+` the best within 0.3 points.

    Args:
        front: the numbers.
        most: show at most this many members, evenly spread and with the marked ones; all when None.
    """
    bend, best = front.knee(), front.best_within()
    rows = [_row(front, front.reference, "dense")]
    for member in spread(front, most):
        rows.append(_row(front, member, ("*" if member is bend else "") + ("+" if member is best else "")))
    header = ("", "accuracy", "test", "energy", "factor", "cycles", "size", "factor", "pruned", "bits per weight")
    return table(rows, header, left=(0, 9)) + accuracy_text(front)


def accuracy_text(front: Front) -> str:
    """A line that says which images the two accuracies of a front are of; nothing where it is not known."""
    parts = [f"{what}: {where}" for what, where in (("accuracy", front.scored_on), ("test", front.reported_on)) if where]
    return "\n" + "; ".join(parts) if parts else ""


def _row(front: Front, member: Member, mark: str) -> tuple[str, ...]:
    metrics = member.metrics
    return (
        mark,
        percent(metrics["accuracy"]),
        percent(member.test_accuracy),
        energy_text(metrics["energy_pj"]),
        f"{front.factor(member):.1f}x",
        count_text(metrics["cycles"]),
        size_text(metrics["size_bits"]),
        f"{front.factor(member, 'size_bits'):.1f}x",
        percent(member.pruned, 0),
        bits_text(member.weight_bits),
    )


def verdict(front: Front, loss: float = ACCURACY_LOSS) -> str:
    """What the search gained at the accuracy loss that the paper allows: chosen by validation, and by the test set."""
    points = f"{100 * loss:g} points"
    best, by_test = front.best_within(loss), front.best_by_test(loss)
    if best is None:
        lines = [f"{front.target}: no member of the front stays within {points} of the reference's validation accuracy"]
    else:
        lines = [f"{front.target}, within {points} of validation accuracy: {_gain(front, best)}"]
    if front.plain_energy_pj is not None:
        of = front.plain_energy_pj / (best.metrics if best else front.reference.metrics)["energy_pj"]
        what = "that member" if best else "the reference"
        dense = "the dense network where no zero is used and no feature map stays on chip"
        lines.append(f"  {what} needs {of:.1f}x less energy than {dense}")
    if front.seen_validation:
        lines.append(
            f"  the reference scores {percent(front.reference.metrics['accuracy'])} on the validation images and "
            f"{percent(front.reference.test_accuracy)} on the test set: it was probably trained on "
            "them, so compare by the test set"
        )
    if by_test is not None:
        lines.append(f"  chosen by the test set itself, as published figures are: {_gain(front, by_test)}")
    return "\n".join(lines)


def _gain(front: Front, member: Member) -> str:
    gains = ", ".join(_times(front.factor(member, metric), better, worse) for metric, better, worse in _GAINS)
    gains += f" with {percent(member.pruned, 0)} of the weights pruned and {member.mean_bits:.1f} bits"
    if member.test_accuracy is None or front.reference.test_accuracy is None:
        return gains
    return f"{gains}, test accuracy {percent(front.reference.test_accuracy)} -> {percent(member.test_accuracy)}"


def _times(factor: float, better: str, worse: str) -> str:
    return f"{factor:.1f}x {better}" if factor >= 1 else f"{1 / factor:.1f}x {worse}"


def gap_text(front: Front) -> str:
    """One sentence: what the final mapping of the front changed."""
    gaps = [member.gap for member in front.members]
    if not gaps:
        return ""
    mean, most = sum(gaps) / len(gaps), max(gaps, key=abs)
    return (
        f"{front.target}: the final mapping of the front needs {percent(mean)} less energy than the search estimated "
        f"(at most {percent(most)})"
    )


def spread(front: Front, most: int | None) -> list[Member]:
    """At most so many members, evenly spread, and the knee and the best within 0.3 points with them; all when None."""
    members, keep = front.members, [m for m in (front.knee(), front.best_within()) if m is not None]
    if most is None or len(members) <= most:
        return list(members)
    step = (len(members) - 1) / max(most - 1, 1)
    wanted = {round(i * step) for i in range(most)}
    return [m for i, m in enumerate(members) if i in wanted or any(m is k for k in keep)]


def _three(value: float) -> str:
    """Three significant digits without an exponent."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
